"""The views: the numbers of the monitoring, and messages that a person can read."""

import asyncio
import json
import re
import urllib.request
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

import stan
from tests.tools.processes import NatsServer, free_port

from .conftest import Home, Serve
from .test_outbox import receive


async def query(engine: AsyncEngine, sql: str) -> list[dict[str, Any]]:
    async with engine.connect() as db:
        return [dict(row) for row in (await db.execute(text(sql))).mappings()]


async def fetch(port: int, path: str) -> str:
    def get() -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=10) as answer:
            return str(answer.read().decode())

    return await asyncio.to_thread(get)


async def test_messages_can_be_read(
    home: Home, engine: AsyncEngine, serve: Serve, nats_server: NatsServer
) -> None:
    server = serve(home)
    payloads = [
        b'{"order": 7, "city": "K\xc3\xb6ln"}',
        "Grüße, 你好".encode(),
        b"plain",
        b"",
        b"\xff\xfe\x00\x01",
        b"half \xe4\xbd",
        b"lone \x80",
        b"\xed\xa0\x80",
    ]
    before = datetime.now(UTC)
    async with await stan.connect(server.cluster, "writer", servers=nats_server.url) as writer:
        for payload in payloads:
            await writer.publish("orders", payload)
    rows = await query(engine, "SELECT * FROM stan_v_messages ORDER BY sequence")
    assert [row["channel"] for row in rows] == ["orders"] * 8
    assert [row["sequence"] for row in rows] == list(range(1, 9))
    assert [bytes(row["payload"]) for row in rows] == payloads
    assert [row["size"] for row in rows] == [len(payload) for payload in payloads]
    texts: list[str | None] = [payload.decode() for payload in payloads[:4]]
    assert [row["text"] for row in rows] == texts + [None] * 4
    as_json = [row["json"] for row in rows]
    found = json.loads(as_json[0]) if isinstance(as_json[0], str) else as_json[0]
    assert found == {"order": 7, "city": "Köln"}
    assert as_json[1:] == [None] * 7
    moment = datetime.fromisoformat(str(rows[0]["time"]))
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    assert abs((moment - before).total_seconds()) < 60
    assert abs(moment.timestamp() - rows[0]["timestamp_ns"] / 1e9) < 1e-5


async def make_traffic(server_url: str, cluster: str) -> list[stan.Connection]:
    """Durables that lag, a group, one that is offline, one that is up to date."""
    one = await stan.connect(cluster, "one", servers=server_url)
    two = await stan.connect(cluster, "two", servers=server_url)
    slow: list[stan.Message] = []
    held = asyncio.Event()

    async def hold(message: stan.Message) -> None:
        slow.append(message)
        if message.sequence % 2 == 0:
            await message.ack()
        if len(slow) == 6:
            held.set()

    options: dict[str, Any] = {"start_at": "first", "manual_acks": True}
    await one.subscribe("orders", hold, durable="slow", max_in_flight=4, **options)
    await two.subscribe("orders", durable="d", queue="g", max_in_flight=3, **options)
    await one.subscribe("orders", durable="d", queue="g", max_in_flight=3, **options)
    quick = await two.subscribe("orders", durable="quick", start_at="first")
    gone = await two.subscribe("orders", durable="gone", start_at="first")
    await gone.close()
    await one.subscribe("other")
    for number in range(20):
        await one.publish("orders", b"%d" % number)
    await one.publish("short", b"x")
    async with asyncio.timeout(20):
        await held.wait()
        for _ in range(20):
            await quick.next_msg()
        await one.flush()
    return [one, two]


async def see(port: int) -> dict[str, Any]:
    """What the monitoring says."""
    document = json.loads(await fetch(port, "/streaming/channelsz?subs=1"))
    channels = {
        one["name"]: (
            *(one["msgs"], one["bytes"], one["first_seq"], one["last_seq"]),
            len(one.get("subscriptions") or ()),
        )
        for one in document["channels"]
    }
    clients = {
        one["id"]: (one["hb_inbox"], sum(len(some) for some in one["subscriptions"].values()))
        for one in json.loads(await fetch(port, "/streaming/clientsz?subs=1"))["clients"]
    }
    durables: dict[tuple[str, ...], dict[str, float]] = {}
    for line in (await fetch(port, "/metrics")).splitlines():
        found = re.match(r"nss_chan_consumer_(lag|pending|members)\w*\{(.*)\} (\S+)", line)
        if found is not None:
            labels = dict(re.findall(r'(\w+)="([^"]*)"', found[2]))
            names = ("channel", "client_id", "durable_name", "queue_name")
            key = tuple(labels[name] for name in names)
            durables.setdefault(key, {})[found[1]] = float(found[3])
    return {"channels": channels, "clients": clients, "durables": durables}


async def look(engine: AsyncEngine) -> dict[str, Any]:
    """The same by SQL."""
    channels = {
        row["channel"]: (
            *(row["messages"], row["bytes"], row["first_sequence"], row["last_sequence"]),
            row["subscriptions"],
        )
        for row in await query(engine, "SELECT * FROM stan_v_channels")
    }
    clients = {
        row["client_id"]: (row["heartbeat_inbox"], row["subscriptions"])
        for row in await query(engine, "SELECT * FROM stan_v_clients")
    }
    durables = {
        (row["channel"], row["client_id"], row["durable"], row["queue_group"]): {
            "lag": row["lag"],
            "pending": row["pending"],
            "members": row["members"],
        }
        for row in await query(engine, "SELECT * FROM stan_v_durables")
    }
    return {"channels": channels, "clients": clients, "durables": durables}


async def test_the_numbers_are_those_of_the_monitoring(
    home: Home, engine: AsyncEngine, serve: Serve, nats_server: NatsServer
) -> None:
    port = free_port()
    server = serve(home, "-m", str(port), "-mm", "15")
    connections = await make_traffic(nats_server.url, server.cluster)
    seen, found = await see(port), await look(engine)
    for _ in range(100):  # what was acknowledged is written a little later
        if seen == found:
            break
        await asyncio.sleep(0.1)
        seen, found = await see(port), await look(engine)
    assert found == seen
    assert set(seen["channels"]) == {"orders", "other", "short"}
    assert {key[2:] for key in seen["durables"]} == {
        ("slow", ""), ("d", "g"), ("quick", ""), ("gone", ""),
    }  # fmt: skip
    rows = {row["durable"]: row for row in await query(engine, "SELECT * FROM stan_v_durables")}
    assert rows["quick"]["oldest_sequence"] in (0, 20)
    assert 0 <= rows["gone"]["oldest_age_s"] < 60
    assert rows["gone"]["oldest_sequence"] == 6
    for connection in connections:
        await connection.close()


async def test_a_login_that_may_only_read_the_views(
    home: Home, engine: AsyncEngine, serve: Serve
) -> None:
    serve(home)
    if home.kind != "postgres":
        pytest.skip("roles of PostgreSQL")
    async with engine.begin() as db:
        await db.execute(text("CREATE ROLE stan_reader"))
        await db.execute(
            text(
                "GRANT SELECT ON stan_v_messages, stan_v_channels, stan_v_durables, "
                "stan_v_clients TO stan_reader"
            )
        )
    async with engine.connect() as db:
        await db.execute(text("SET ROLE stan_reader"))
        for view in ("messages", "channels", "durables", "clients"):
            assert (await db.execute(text(f"SELECT * FROM stan_v_{view}"))).all() == []
        with pytest.raises(Exception, match="permission denied"):
            await db.execute(text("SELECT * FROM stan_messages"))
        await db.rollback()
    async with engine.begin() as db:
        await db.execute(text("DROP OWNED BY stan_reader"))
        await db.execute(text("DROP ROLE stan_reader"))


FIND = {
    "postgres": "json ->> 'city' = 'Bern'",
    "sqlite": "json_extract(json, '$.city') = 'Bern'",
    "mysql": "json_value(json, '$.city') = 'Bern'",
}
HOURS = {"postgres": "date_trunc('hour', time)"}
LAST = """
INSERT INTO last_order
SELECT DISTINCT ON (json ->> 'id') json ->> 'id', sequence, json FROM stan_v_messages
WHERE channel = 'orders' AND json ->> 'id' IS NOT NULL
  AND sequence > (SELECT coalesce(max(sequence), 0) FROM last_order)
ORDER BY json ->> 'id', sequence DESC
ON CONFLICT (id) DO UPDATE SET sequence = excluded.sequence, body = excluded.body
"""


async def test_the_recipes(
    home: Home, engine: AsyncEngine, serve: Serve, nats_server: NatsServer
) -> None:
    server = serve(home)
    async with await stan.connect(server.cluster, "writer", servers=nats_server.url) as writer:
        for city in ("Bern", "Basel", "Bern"):
            await writer.publish("orders", json.dumps({"id": city[1], "city": city}).encode())
        await writer.publish("orders", b"no JSON")
        messages = "stan_v_messages WHERE channel = 'orders'"
        found = await query(engine, f"SELECT sequence FROM {messages} AND {FIND[home.kind]}")
        assert sorted(row["sequence"] for row in found) == [1, 3]
        hour = HOURS.get(home.kind, "substr(time, 1, 13)")
        sql = f"SELECT {hour} AS hour, count(*) AS n FROM {messages} GROUP BY 1 ORDER BY 1"
        assert sum(row["n"] for row in await query(engine, sql)) == 4
        async with engine.begin() as db:
            await db.execute(
                text(
                    "INSERT INTO stan_outbox (channel, data) SELECT 'again', payload "
                    f"FROM {messages} AND sequence BETWEEN 2 AND 4 ORDER BY sequence"
                )
            )
        again = await receive(writer, "again", 3)
        assert again[0].data == b'{"id": "a", "city": "Basel"}'
        assert again[2].data == b"no JSON"
        if home.kind != "postgres":
            return
        async with engine.begin() as db:
            await db.execute(
                text("CREATE TABLE last_order (id text PRIMARY KEY, sequence bigint, body jsonb)")
            )
        for _ in range(2):
            async with engine.begin() as db:
                await db.execute(text(LAST))
        rows = await query(engine, "SELECT id, sequence FROM last_order ORDER BY id")
        assert [tuple(row.values()) for row in rows] == [("a", 2), ("e", 3)]
