"""An outbox: `publish` writes a row by the transaction that the caller is in.

There is one for sessions and connections that wait and one for those that do not, so that
`publish` is awaited exactly where `execute` is. Nothing is committed here. Invariant: a row that
is written can become a message, as far as that can be known here.
"""

from __future__ import annotations

from functools import cache
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, TypeAlias, overload

from stan.errors import ConfigError, PayloadTooLargeError, PublishError
from stan.transactions.tables import outbox_table
from stan.wire.subjects import is_publishable_subject, is_valid_channel

if TYPE_CHECKING:
    from sqlalchemy import Connection, Insert, Table
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession, async_scoped_session
    from sqlalchemy.orm import Session, scoped_session

    Waiting: TypeAlias = AsyncSession | AsyncConnection | async_scoped_session[Any]
    Plain: TypeAlias = Session | Connection | scoped_session[Any]

Data: TypeAlias = bytes | bytearray | memoryview

# What NATS carries unless its operator said otherwise, less what surrounds a payload.
MAX_PAYLOAD_BYTES = 1_048_576 - 1024
MAX_NAME_BYTES = 1024
_MAX_ID_BYTES = 64 * 1024


class Outbox:
    """Of a session or connection whose `execute` is called without await."""

    def __init__(self, db: Plain, statement: Insert, max_payload_bytes: int) -> None:
        self._db = db
        self._statement = statement
        self._max_payload_bytes = max_payload_bytes

    def publish(
        self, channel: str, data: Data, *, msg_id: str | None = None, reply: str | None = None
    ) -> None:
        """Write a message that is published when the transaction is committed, and never when it
        is rolled back.

        `msg_id` makes it idempotent, as that of `Connection.publish`. Raises PublishError for a
        name that no channel can have, PayloadTooLargeError, ConfigError for arguments that make
        no sense, and what the database raises.
        """
        row = make_row(channel, data, msg_id, reply, self._max_payload_bytes)
        self._db.execute(self._statement, row)


class AsyncOutbox:
    """Of a session or connection whose `execute` is awaited."""

    def __init__(self, db: Waiting, statement: Insert, max_payload_bytes: int) -> None:
        self._db = db
        self._statement = statement
        self._max_payload_bytes = max_payload_bytes

    async def publish(
        self, channel: str, data: Data, *, msg_id: str | None = None, reply: str | None = None
    ) -> None:
        """See `Outbox.publish`."""
        row = make_row(channel, data, msg_id, reply, self._max_payload_bytes)
        await self._db.execute(self._statement, row)


@overload
def outbox(
    db: Waiting, *, table: Table | None = None, max_payload_bytes: int = MAX_PAYLOAD_BYTES
) -> AsyncOutbox: ...


@overload
def outbox(
    db: Plain, *, table: Table | None = None, max_payload_bytes: int = MAX_PAYLOAD_BYTES
) -> Outbox: ...


def outbox(
    db: Waiting | Plain, *, table: Table | None = None, max_payload_bytes: int = MAX_PAYLOAD_BYTES
) -> AsyncOutbox | Outbox:
    """The outbox of a SQLAlchemy session or connection: what its `publish` writes belongs to the
    transaction that `db` is in.

    `table` is another one than stan_outbox of the default schema (see `outbox_table`). Raise
    `max_payload_bytes` where NATS carries more. Raises ConfigError for anything but a session
    or a connection.
    """
    execute = getattr(db, "execute", None)
    if execute is None or not (hasattr(db, "get_bind") or hasattr(db, "dialect")):
        raise ConfigError(
            f"stan: an outbox needs a SQLAlchemy session or connection, not {type(db).__name__}"
        )
    statement = _insert() if table is None else table.insert().inline()
    made: Any = AsyncOutbox if iscoroutinefunction(execute) else Outbox
    outbox: AsyncOutbox | Outbox = made(db, statement, max_payload_bytes)
    return outbox


@cache
def _insert() -> Insert:
    from sqlalchemy import MetaData

    return outbox_table(MetaData()).insert().inline()


def make_row(
    channel: str, data: Data, msg_id: str | None, reply: str | None, max_payload_bytes: int
) -> dict[str, object]:
    """The row of a message. Raises what `Outbox.publish` does."""
    for name, text in (("a channel", channel), ("msg_id", msg_id), ("reply", reply)):
        if text is not None or name == "a channel":
            _require_text(name, text)
    if not isinstance(data, bytes | bytearray | memoryview):
        raise ConfigError(f"stan: data must be bytes, not {type(data).__name__}")
    if not (
        is_valid_channel(channel)
        and is_publishable_subject(channel)
        and len(channel.encode()) <= MAX_NAME_BYTES
    ):
        raise PublishError(f"stan: {channel[:80]!r} is no valid channel name")
    if msg_id is not None and len(msg_id.encode()) > _MAX_ID_BYTES:
        raise ConfigError("stan: msg_id is too long")
    body = bytes(data)
    if len(body) > max_payload_bytes:
        raise PayloadTooLargeError(
            f"stan: the payload has {len(body)} bytes, and {max_payload_bytes} are carried"
        )
    return {"channel": channel, "data": body, "msg_id": msg_id or None, "reply": reply or None}


def _require_text(name: str, text: object) -> None:
    if not isinstance(text, str):
        raise ConfigError(f"stan: {name} is text, not {type(text).__name__}")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ConfigError(f"stan: {name} is not valid text") from None
    if "\0" in text:
        raise ConfigError(f"stan: {name} holds a NUL")
