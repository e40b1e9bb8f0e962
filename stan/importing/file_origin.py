"""The original's FILE store: a folder with a folder for each channel.

Records are read in threads, a piece at a time; the index files, which only repeat what is
in the data files, are not looked at. Messages below the limits that the original had may
still be there: our server applies its own limits when it starts. Invariant: nothing in the
folder is changed.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from stan.errors import OriginError
from stan.importing.origin import (
    PIECE_BYTES,
    PIECE_MESSAGES,
    OriginChannel,
    OriginMessage,
    OriginSubscription,
    Warn,
    decode_message,
)
from stan.importing.record_files import Record, read_records
from stan.wire.messages import M, parse
from stan.wire.server_pb2 import (
    ClientDelete,
    ClientInfo,
    ServerInfo,
    SubState,
    SubStateDelete,
    SubStateUpdate,
)
from stan.wire.subjects import is_valid_channel

T = TypeVar("T")

_SLICE = re.compile(r"msgs\.(\d+)\.dat$")
_SUBSCRIPTIONS = "subs.dat"
_CLIENT_ADDED, _CLIENT_DELETED = 1, 2
_NEW, _UPDATED, _DELETED, _ACKED, _SENT = 1, 2, 3, 4, 5


class FileOrigin:
    """See stan.importing.origin.Origin. `check_crc` may be turned off for a store that was
    written with another polynomial than the usual one."""

    follows_messages = True

    def __init__(self, folder: Path, warn: Warn, *, check_crc: bool = True) -> None:
        self.location = str(folder)
        self._folder = folder
        self._warn = warn
        self._check_crc = check_crc
        self._size_bytes: dict[str, int] = {}

    async def open(self) -> str:
        return await self._ask(self._read_cluster_id)

    async def channels(self) -> list[OriginChannel]:
        return await self._ask(self._find_channels)

    async def count_clients(self) -> int:
        return await self._ask(self._count_clients)

    async def subscriptions(self, channel: OriginChannel) -> list[OriginSubscription]:
        return await self._ask(self._read_subscriptions, channel)

    async def messages(self, channel: OriginChannel) -> AsyncIterator[list[OriginMessage]]:
        self._size_bytes[channel.name] = await self._ask(_size_bytes, self._folder / channel.name)
        pieces = self._read_messages(channel)
        while piece := await self._ask(next, pieces, None):
            yield piece

    async def has_grown(self, channel: OriginChannel, last_sequence: int) -> bool:
        size_bytes = await self._ask(_size_bytes, self._folder / channel.name)
        return size_bytes != self._size_bytes[channel.name]

    async def close(self) -> None:
        """Nothing stays open."""

    async def _ask(self, work: Callable[..., T], *arguments: Any) -> T:
        """Do it in a thread; what the file system says becomes one clear error."""
        try:
            return await asyncio.to_thread(work, *arguments)
        except OSError as error:
            where = error.filename or self.location
            raise OriginError(f"{where} cannot be read: {error.strerror}") from None

    def _read_cluster_id(self) -> str:
        if not self._folder.is_dir():
            raise OriginError(f"there is no folder {self._folder}")
        path = self._folder / "server.dat"
        for record in self._records(path) if path.is_file() else ():
            return _decode(ServerInfo, record, path).ClusterID
        if path.is_file() or self._find_channels():
            return ""
        raise OriginError(f"{self._folder} does not hold a FILE store of nats-streaming-server")

    def _find_channels(self) -> list[OriginChannel]:
        folders = sorted(path for path in self._folder.iterdir() if path.is_dir())
        names = [path.name for path in folders if _is_channel(path)]
        return [OriginChannel(number, name, 0) for number, name in enumerate(names)]

    def _count_clients(self) -> int:
        path = self._folder / "clients.dat"
        clients: set[str] = set()
        for record in self._records(path, typed=True) if path.is_file() else ():
            if record.kind == _CLIENT_ADDED:
                clients.add(_decode(ClientInfo, record, path).ID)
            elif record.kind == _CLIENT_DELETED:
                clients.discard(_decode(ClientDelete, record, path).ID)
            else:
                raise _unknown(record, path)
        return len(clients)

    def _read_subscriptions(self, channel: OriginChannel) -> list[OriginSubscription]:
        path = self._folder / channel.name / _SUBSCRIPTIONS
        found: dict[int, OriginSubscription] = {}
        for record in self._records(path, typed=True) if path.is_file() else ():
            _apply(found, record, path)
        return list(found.values())

    def _read_messages(self, channel: OriginChannel) -> Iterator[list[OriginMessage]]:
        piece: list[OriginMessage] = []
        piece_bytes = last = 0
        paths = _slices(self._folder / channel.name)
        for path in paths:
            for record in self._records(path, growing=path == paths[-1]):
                where = f"{path}: the message at offset {record.offset}"
                message = decode_message(record.payload, where)
                if message.sequence <= last:
                    raise OriginError(
                        f"{where} has sequence {message.sequence}, although the one before it "
                        f"has {last}"
                    )
                last = message.sequence
                size_bytes = len(record.payload)
                if piece and (
                    len(piece) == PIECE_MESSAGES or piece_bytes + size_bytes > PIECE_BYTES
                ):
                    yield piece
                    piece, piece_bytes = [], 0
                piece.append(message)
                piece_bytes += size_bytes
        if piece:
            yield piece

    def _records(
        self, path: Path, *, typed: bool = False, growing: bool = True
    ) -> Iterator[Record]:
        return read_records(
            path, self._warn, typed=typed, check_crc=self._check_crc, growing=growing
        )


def _is_channel(folder: Path) -> bool:
    """Whether the folder is a channel's, and not something that a file system or an operator
    put there."""
    try:
        folder.name.encode()
    except UnicodeEncodeError:  # the original names folders in UTF-8
        return False
    is_used = (folder / _SUBSCRIPTIONS).is_file() or bool(_slices(folder))
    return is_used and is_valid_channel(folder.name)


def _slices(folder: Path) -> list[Path]:
    """The files with a channel's messages, oldest first."""
    numbered = [(_SLICE.match(path.name), path) for path in folder.iterdir()]
    return [path for _, path in sorted((int(match[1]), path) for match, path in numbered if match)]


def _size_bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in _slices(folder))


def _apply(found: dict[int, OriginSubscription], record: Record, path: Path) -> None:
    """What a record of subs.dat changes."""
    if record.kind in (_NEW, _UPDATED):
        state = _decode(SubState, record, path)
        known = found.setdefault(state.ID, OriginSubscription(state, 0))
        known.state = state
        known.last_sent = max(known.last_sent, state.lastSent)
    elif record.kind == _DELETED:
        found.pop(_decode(SubStateDelete, record, path).ID, None)
    elif record.kind in (_ACKED, _SENT):
        update = _decode(SubStateUpdate, record, path)
        subscription = found.get(update.ID)
        if subscription is None:
            return
        if record.kind == _ACKED:
            subscription.pending.discard(update.seqno)
        else:
            subscription.pending.add(update.seqno)
            subscription.last_sent = max(subscription.last_sent, update.seqno)
    else:
        raise _unknown(record, path)


def _decode(kind: type[M], record: Record, path: Path) -> M:
    try:
        return parse(kind, record.payload)
    except ValueError as error:
        where = f"{path}: the record at offset {record.offset}"
        raise OriginError(f"{where} cannot be read: {error}") from None


def _unknown(record: Record, path: Path) -> OriginError:
    return OriginError(
        f"{path}: the record at offset {record.offset} is of an unknown kind ({record.kind})"
    )
