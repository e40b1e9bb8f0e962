"""The original's SQL store: PostgreSQL and MySQL as it spells them, and SQLite files with
the same tables.

Read by primary key, a piece at a time, over connections like the store's own. Invariants:
the statements are the same for every database, and no column is trusted to be filled that
older servers left empty.
"""

from collections.abc import AsyncIterator
from typing import Any

from stan.errors import OriginError
from stan.importing.origin import (
    PIECE_BYTES,
    PIECE_MESSAGES,
    OriginChannel,
    OriginMessage,
    OriginSubscription,
    decode_message,
)
from stan.importing.pending import apply_rows
from stan.store.settings import StoreSettings
from stan.store.sql.database import Database, connect_database
from stan.store.sql.dialect import Session
from stan.store.sql.original import NAMES, find_tables
from stan.store.sql.sources import parse_source
from stan.wire.messages import parse
from stan.wire.server_pb2 import ServerInfo, SubState

_VERSION = 1
_SETTINGS = StoreSettings(timeout_s=60.0, lease_s=60.0)

_SERVER = "SELECT id, proto, version FROM {ServerInfo}"
_CLIENTS = "SELECT COUNT(*) FROM {Clients}"
_CHANNELS = "SELECT id, name, maxseq, deleted FROM {Channels} ORDER BY id"
_SUBSCRIPTIONS = (
    "SELECT subid, lastsent, proto, deleted FROM {Subscriptions} WHERE id=? ORDER BY subid"
)
_PENDING = (
    "SELECT {row}, seq, lastsent, pending, acks FROM {SubsPending} "
    "WHERE subid=? AND {row}>? ORDER BY {row} LIMIT 1000"
)
_SIZES = (
    f"SELECT seq, size FROM {{Messages}} WHERE id=? AND seq>? ORDER BY seq LIMIT {PIECE_MESSAGES}"
)
_NEWER = "SELECT seq FROM {Messages} WHERE id=? AND seq>? LIMIT 1"
_MESSAGES = "SELECT seq, data FROM {Messages} WHERE id=? AND seq>? AND seq<=? ORDER BY seq"


class SqlOrigin:
    """See stan.importing.origin.Origin. Raises ConfigError for a source that makes no sense."""

    follows_messages = False

    def __init__(self, driver: str, source: str) -> None:
        parsed = parse_source(driver, source)
        self.location = parsed.location
        self._file = parsed.path if parsed.family == "sqlite" else None
        self._database: Database = connect_database(parsed, _SETTINGS)
        self._names: dict[str, str] = {}

    async def open(self) -> str:
        """Find the tables and whom they belong to."""
        if self._file is not None and not self._file.is_file():
            raise OriginError(f"there is no file {self._file}")
        self._names = await self._database.read(lambda session: find_tables(session.connection))
        missing = [name for name in NAMES if name not in self._names]
        if missing:
            raise OriginError(
                f"{self.location} does not hold the tables of nats-streaming-server "
                f"(missing: {', '.join(missing)})"
            )
        self._names["row"] = "`row`" if self._database.dialect.name == "mysql" else '"row"'
        rows = await self._fetch(_SERVER)
        return _cluster_id(rows[0]) if rows else ""

    async def channels(self) -> list[OriginChannel]:
        found: dict[str, OriginChannel] = {}
        for number, name, maxseq, deleted in await self._fetch(_CHANNELS):
            if deleted:
                continue
            if not isinstance(name, str) or not name or name in found:
                raise OriginError(
                    f"channel {number} in {self.location} has no name of its own: {name!r}"
                )
            found[name] = OriginChannel(number, name, maxseq or 0)
        return list(found.values())

    async def count_clients(self) -> int:
        return int((await self._fetch(_CLIENTS))[0][0])

    async def subscriptions(self, channel: OriginChannel) -> list[OriginSubscription]:
        found: list[OriginSubscription] = []
        for number, last_sent, proto, deleted in await self._fetch(_SUBSCRIPTIONS, channel.number):
            if not deleted:
                found.append(await self._subscription(channel, number, last_sent or 0, proto))
        return found

    async def _subscription(
        self, channel: OriginChannel, number: int, last_sent: int, proto: bytes | None
    ) -> OriginSubscription:
        if proto is None:
            return OriginSubscription(None, last_sent)
        where = f'subscription {number} of channel "{channel.name}"'
        try:
            state = parse(SubState, _blob(proto))
        except ValueError as error:
            raise OriginError(f"{where} cannot be read: {error}") from None
        subscription = OriginSubscription(state, max(last_sent, state.lastSent))
        after = -1
        while rows := await self._fetch(_PENDING, number, after):
            after = rows[-1][0]
            try:
                subscription.last_sent = apply_rows(
                    subscription.pending, subscription.last_sent, [row[1:] for row in rows]
                )
            except OriginError as error:
                raise OriginError(f"{where} cannot be read: {error}") from None
        return subscription

    async def messages(self, channel: OriginChannel) -> AsyncIterator[list[OriginMessage]]:
        after = 0
        while sizes := await self._fetch(_SIZES, channel.number, after):
            for last in _cut(sizes):
                rows = await self._fetch(_MESSAGES, channel.number, after, last)
                yield [_message(channel, sequence, data) for sequence, data in rows]
                after = last

    async def has_grown(self, channel: OriginChannel, last_sequence: int) -> bool:
        return bool(await self._fetch(_NEWER, channel.number, last_sequence))

    async def close(self) -> None:
        await self._database.close()

    async def _fetch(self, sql: str, *parameters: int) -> list[tuple[Any, ...]]:
        statement = sql.format(**self._names)

        def step(session: Session) -> list[tuple[Any, ...]]:
            return session.fetch(statement, parameters)

        return await self._database.read(step)


def _blob(value: Any) -> bytes:
    """A column's bytes; an SQLite file may hold text there."""
    return value.encode(errors="replace") if isinstance(value, str) else bytes(value or b"")


def _cluster_id(row: tuple[Any, ...]) -> str:
    cluster_id, proto, version = row
    if version != _VERSION:
        raise OriginError(f"sql: unsupported version: {version} (supports [1..{_VERSION}])")
    try:
        information = parse(ServerInfo, _blob(proto))
    except ValueError as error:
        raise OriginError(f"the row of ServerInfo cannot be read: {error}") from None
    if cluster_id != information.ClusterID:
        raise OriginError(
            f'sql: id "{cluster_id}" in column does not match cluster ID in data '
            f'"{information.ClusterID}"'
        )
    return information.ClusterID


def _cut(sizes: list[tuple[Any, ...]]) -> list[int]:
    """The last sequences of pieces that keep below PIECE_BYTES."""
    ends: list[int] = []
    piece_bytes = 0
    previous = 0
    for sequence, size in sizes:
        if piece_bytes and piece_bytes + (size or 0) > PIECE_BYTES:
            ends.append(previous)
            piece_bytes = 0
        piece_bytes += size or 0
        previous = sequence
    return [*ends, previous]


def _message(channel: OriginChannel, sequence: int, data: bytes | None) -> OriginMessage:
    where = f'message {sequence} of channel "{channel.name}"'
    message = decode_message(_blob(data), where)
    if message.sequence != sequence:
        raise OriginError(f"{where} says that it is message {message.sequence}")
    return message
