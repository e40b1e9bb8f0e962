"""SQLite files with a long history, made by SQL instead of by publishing it.

The store itself creates the schema; the rows then go in by a few statements. Invariant: a
file made here is one that a server could have left behind after a polite stop.
"""

import asyncio
import sqlite3
import time
from pathlib import Path

from stan.engine.records import ServerRecord
from stan.store.open import open_store
from stan.store.settings import StoreSettings

CLUSTER = "capacity"
_OVERHEAD_BYTES = 32  # of an encoded message, roughly

_MESSAGES = """
WITH RECURSIVE n(s) AS (SELECT 1 UNION ALL SELECT s + 1 FROM n WHERE s < :count)
INSERT INTO stan_messages (channel_id, sequence, timestamp_ns, position, reply, data)
SELECT :channel, s, :now_ns - (:count - s) * 1000, (s - 1) * :size, NULL, randomblob(:payload)
FROM n
"""
_CHANNEL = (
    "INSERT INTO stan_channels (channel_id, name, deleted, first_sequence, last_sequence, "
    "first_position, end_position, first_timestamp_ns, last_timestamp_ns, count, swept_sequence) "
    "VALUES (?, ?, 0, 1, ?, 0, ?, ?, ?, ?, 1)"
)
_CLIENT = (
    "INSERT INTO stan_clients (client_key, client_id, heartbeat_inbox, connection_id, protocol, "
    "ping_interval_s, ping_max_out) VALUES (?, ?, ?, ?, 1, 5, 88)"
)
_SUBSCRIPTION = (
    "INSERT INTO stan_subscriptions (subscription_id, channel_id, client_id, inbox, ack_inbox, "
    "max_in_flight, ack_wait_s, durable_name, queue_group, is_durable, is_closed, last_sent, "
    "in_flight) VALUES (?, ?, ?, ?, ?, 1024, 30, ?, '', 1, 0, ?, '')"
)


def create(path: Path) -> None:
    """An empty store."""

    async def run() -> None:
        store = open_store("SQL", StoreSettings(sql_source=str(path)))
        await store.open()
        await store.initialize(ServerRecord(CLUSTER, "_INBOX.capacity"))
        await store.close()

    asyncio.run(run())


def add_channels(path: Path, channels: int, messages: int, payload_bytes: int) -> None:
    """Channels c1, c2 and so on, each with this many messages of this size."""
    now_ns = time.time_ns()
    size = payload_bytes + _OVERHEAD_BYTES
    first_ns = now_ns - (messages - 1) * 1000 if messages else 0
    with _open(path) as connection:
        for channel in range(1, channels + 1):
            connection.execute(
                _CHANNEL,
                (
                    *(channel, f"c{channel}", messages, messages * size),
                    *(first_ns, now_ns if messages else 0, messages),
                ),
            )
            if messages:
                connection.execute(
                    _MESSAGES,
                    {
                        "channel": channel,
                        "count": messages,
                        "now_ns": now_ns,
                        "size": size,
                        "payload": payload_bytes,
                    },
                )
    connection.close()


def add_durables(
    path: Path, channels: int, durables: int, clients: int, last_sent: int = 0
) -> None:
    """Durable subscriptions that were sent so many messages and acknowledged them, spread over
    channels and clients."""
    with _open(path) as connection:
        for client in range(clients):
            name = f"client-{client}"
            connection.execute(_CLIENT, (name, name, f"_INBOX.heartbeat{client}", name.encode()))
        connection.executemany(
            _SUBSCRIPTION,
            (
                (
                    *(number + 1, number % channels + 1, f"client-{number % clients}"),
                    *(f"_INBOX.subscription{number:022}", f"_INBOX.capacity.run.{number}"),
                    *(f"durable-{number}", last_sent),
                )
                for number in range(durables)
            ),
        )
    connection.close()


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA synchronous=OFF")  # a file of the test's own, made once
    connection.execute("PRAGMA cache_size=-200000")
    return connection
