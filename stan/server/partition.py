"""The channels of one partition, told to the other servers of the cluster ID and kept apart.

Servers that share a cluster ID and no store may each serve a list of channels. At its start,
and when other servers may have come within reach, each tells its list to the others, who
object when they serve one of these channels. The messages are the original's. Invariant: a
server that heard an objection does not serve.
"""

import asyncio
import logging
from collections.abc import Iterable

from stan.errors import ConfigError
from stan.server.transport import Transport
from stan.wire.messages import parse
from stan.wire.server_pb2 import CtrlMsg
from stan.wire.subjects import patterns_overlap

log = logging.getLogger("stan.server")

# Who has said nothing for so long has no objection.
QUIET_S = 1.0
# How long after a change of NATS's topology the others are asked: what they listen to has to
# become known first.
SETTLE_S = 0.5
# What a control message costs besides the list in it.
_HEAD_BYTES = 256
_SIZE_BYTES = 2


class Partition:
    """The list of one server. The members of a group of servers have the same list, and do not
    object to each other's."""

    def __init__(
        self,
        server_id: str,
        cluster_id: str,
        channels: tuple[str, ...],
        group: str,
        transport: Transport,
    ) -> None:
        self._server_id = server_id
        self._subject = f"_STAN.part.{cluster_id}"
        self._channels = channels
        self._group = group
        self._transport = transport
        self._inbox = transport.new_inbox()
        self._moved = asyncio.Event()
        self._heard = asyncio.Event()
        self._objection = ""

    async def join(self) -> None:
        """Tell the others, and hear them from now on. Raises ConfigError when one objects."""
        self._transport.on_topology = self._moved.set
        await self._transport.hear(self._inbox, self._take_answer)
        await self._transport.hear(self._subject, self._answer)
        await self._ask()

    async def watch(self) -> None:
        """Ask again whenever others may have come within reach. Raises ConfigError."""
        while True:
            await self._moved.wait()
            await asyncio.sleep(SETTLE_S)
            self._moved.clear()
            await self._ask()

    async def _ask(self) -> None:
        most_bytes = max(self._transport.max_payload_bytes - _HEAD_BYTES, 1)
        for names in split_names(self._channels, most_bytes):
            await self._transport.say(self._subject, self._message(names), self._inbox)
        while not self._objection:
            self._heard.clear()
            try:
                async with asyncio.timeout(QUIET_S):
                    await self._heard.wait()
            except TimeoutError:
                return
        raise ConfigError(self._objection)

    def _answer(self, question: bytes) -> bytes | None:
        """The first of another server's channels that is ours, too, or no name."""
        told = _parse(question)
        if told is None or told.ServerID == self._server_id:
            return None
        if self._group and told.RefID == self._group:
            return None
        for name in unpack_names(told.Data):
            if any(patterns_overlap(name, ours) for ours in self._channels):
                log.error('Server "%s" wants channel "%s", which is ours', told.ServerID, name)
                return self._message(name.encode())
        return self._message(b"")

    def _take_answer(self, answer: bytes) -> None:
        told = _parse(answer)
        if told is not None and told.Data and not self._objection:
            name = told.Data.decode(errors="replace")
            self._objection = (
                f'channel "{name}" causes conflict with channels on server "{told.ServerID}"'
            )
        self._heard.set()

    def _message(self, data: bytes) -> bytes:
        message = CtrlMsg(
            MsgType=CtrlMsg.Partitioning,
            ServerID=self._server_id,
            Data=data,
            RefID=self._group,
        )
        return message.SerializeToString()


def split_names(names: Iterable[str], most_bytes: int) -> list[bytes]:
    """The names, each behind its length, in pieces of at most so many bytes."""
    pieces = [b""]
    for name in names:
        data = name.encode()
        packed = len(data).to_bytes(_SIZE_BYTES, "little") + data
        if pieces[-1] and len(pieces[-1]) + len(packed) > most_bytes:
            pieces.append(b"")
        pieces[-1] += packed
    return pieces


def unpack_names(data: bytes) -> list[str]:
    """What `split_names` packed; nothing behind what is cut short."""
    names = []
    at = 0
    while at + _SIZE_BYTES <= len(data):
        end = at + _SIZE_BYTES + int.from_bytes(data[at : at + _SIZE_BYTES], "little")
        if end > len(data):
            break
        names.append(data[at + _SIZE_BYTES : end].decode(errors="replace"))
        at = end
    return names


def _parse(word: bytes) -> CtrlMsg | None:
    try:
        message = parse(CtrlMsg, word)
    except ValueError:
        return None
    return message if message.MsgType == CtrlMsg.Partitioning else None
