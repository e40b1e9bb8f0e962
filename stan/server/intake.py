"""What was read from NATS and has no room in the engine yet.

The socket is read at all times: a NATS server cuts off whoever reads too slowly. So what the
engine cannot queue waits here, as the frames that came, in a lane for each client: in memory up
to a small bound, then on disk. A client that has little in the engine's queue passes by, so a
flood holds up itself only. Invariant: what one client publishes, and the close behind it,
reach the engine in the order in which they came, each once, or are refused.
"""

import logging
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Protocol

from stan.server.spill import Extent, Spill
from stan.wire.frames import CRLF, Frame, split

log = logging.getLogger("stan.server")

# What a message costs besides its bytes, wherever it waits.
MESSAGE_BYTES = 160
# How much waits in memory before it goes to disk, and how much of it is written in one piece.
MEMORY_BYTES = 8 * 1024 * 1024
PIECE_BYTES = 1024 * 1024

_TAG = 0x0A  # of the client ID, which is the first field of a PubMsg and of a CloseRequest
_SID = b"1"
_TAPPED = frozenset((_SID,))


class Queue(Protocol):
    """What is asked of the engine's queue of publishes."""

    queued_bytes: int
    queued_messages: int

    def has_several(self, client_id: str) -> bool:
        """Whether more than one burst of this client waits; who has less passes."""


class Lane:
    """What one client sent, in order: first what is on disk, then what is in memory."""

    def __init__(self) -> None:
        self.pieces: deque[tuple[Extent, int]] = deque()  # where, and how many frames
        self.frames: list[Frame] = []
        self.frames_bytes = 0


class Intake:
    """`limit_bytes` bounds the engine's queue; `refuse` is told of a publish that can wait
    nowhere: payload and reply."""

    def __init__(
        self,
        queue: Queue,
        spill: Spill,
        publish_prefix: str,
        close_subject: str,
        limit_bytes: int,
        refuse: Callable[[bytes, bytes], None],
    ) -> None:
        self.held_messages = 0
        self.refused = 0
        self._queue = queue
        self._spill = spill
        self._head = publish_prefix.encode() + b"."
        self._close = close_subject.encode()
        self._limit_bytes = limit_bytes
        self._refuse = refuse
        self._lanes: OrderedDict[bytes, Lane] = OrderedDict()
        self._memory_bytes = 0
        self._is_failing = False

    @property
    def held_bytes(self) -> int:
        """How much waits here, in memory and on disk."""
        return self._memory_bytes + self._spill.waiting_bytes

    @property
    def is_empty(self) -> bool:
        return not self._lanes

    # In.

    def admit(self, frames: list[Frame]) -> list[Frame]:
        """What of these the engine is to have now; the rest is kept."""
        if not self._lanes and self._room() > 0:
            return frames
        passed: list[Frame] = []
        ceiling = self._room() + self._limit_bytes // 2  # for those who have little
        # The last client's, so that neighbors are looked at once.
        start = b""
        lane: Lane | None = None
        for frame in frames:
            subject, _, payload = frame
            if payload is None or not (subject.startswith(self._head) or subject == self._close):
                passed.append(frame)
                continue
            if not start or not payload.startswith(start):
                start, lane = self._find(payload)
            if lane is None and subject != self._close and self._must_wait(start, ceiling):
                lane = self._lanes[start] = Lane()
            if lane is None:
                passed.append(frame)
                ceiling -= len(payload) + MESSAGE_BYTES
                continue
            size = len(payload) + MESSAGE_BYTES
            lane.frames.append(frame)
            lane.frames_bytes += size
            self._memory_bytes += size
            self.held_messages += 1
        if self._memory_bytes > MEMORY_BYTES:
            self._write()
        return passed

    def _room(self) -> int:
        """How much more the engine may queue."""
        queue = self._queue
        return self._limit_bytes - queue.queued_bytes - queue.queued_messages * MESSAGE_BYTES

    def _find(self, payload: bytes) -> tuple[bytes, Lane | None]:
        """How this client's messages begin, and its lane if it has one."""
        start = client_field(payload)
        return start, self._lanes.get(start)

    def _must_wait(self, start: bytes, ceiling: int) -> bool:
        if self._room() > 0:
            return False
        if ceiling <= 0:
            return True
        return self._queue.has_several(client_id(start))

    # To disk.

    def _write(self) -> None:
        """Make room in memory: everything goes to disk, or is refused."""
        for lane in self._lanes.values():
            if lane.frames:
                try:
                    self._write_lane(lane)
                except OSError as error:
                    self._fail(lane, error)

    def _write_lane(self, lane: Lane) -> None:
        frames = lane.frames
        begin = size = 0
        for index, frame in enumerate(frames):
            payload = frame[2]
            size += len(payload) if payload is not None else 0
            if size >= PIECE_BYTES or index == len(frames) - 1:
                piece = frames[begin : index + 1]
                try:
                    lane.pieces.append((self._spill.put(_pack(piece)), len(piece)))
                except OSError:
                    lane.frames = frames[begin:]
                    raise
                self._leave_memory(lane, piece)
                begin, size = index + 1, 0
        lane.frames = []

    def _leave_memory(self, lane: Lane, frames: list[Frame]) -> None:
        size = sum([len(frame[2] or b"") for frame in frames]) + MESSAGE_BYTES * len(frames)
        lane.frames_bytes -= size
        self._memory_bytes -= size

    def _fail(self, lane: Lane, error: OSError) -> None:
        """Refuse what cannot wait; a close is small, and stays."""
        if not self._is_failing:
            log.error(
                "Publishes are refused, there is no room to let them wait: %s",
                error.strerror or error,
            )
            self._is_failing = True
        kept = [frame for frame in lane.frames if frame[0] == self._close]
        refused = [frame for frame in lane.frames if frame[0] != self._close]
        self._leave_memory(lane, refused)
        lane.frames = kept
        self.held_messages -= len(refused)
        self.refused += len(refused)
        for _, reply, payload in refused:
            if payload is not None:
                self._refuse(payload, reply)

    # Back.

    def take_back(self) -> list[Frame]:
        """What the engine has room for now, of each client in turn."""
        taken: list[Frame] = []
        room = self._room()
        while room > 0 and self._lanes:
            start, lane = self._lanes.popitem(last=False)
            frames = self._take(lane)
            if lane.pieces or lane.frames:
                self._lanes[start] = lane
            taken += frames
            room -= sum([len(frame[2] or b"") + MESSAGE_BYTES for frame in frames])
        if not self._lanes:
            self._is_failing = False
        return taken

    def _take(self, lane: Lane) -> list[Frame]:
        """The first piece of a lane."""
        if lane.pieces:
            extent, count = lane.pieces.popleft()
            self.held_messages -= count
            try:
                return split(self._spill.take(extent), _TAPPED)[0]
            except OSError as error:  # nobody was told that they are stored
                log.error("%d publishes that waited on disk are lost: %s", count, error)
                return []
        size = count = 0
        for frame in lane.frames:
            size += len(frame[2] or b"")
            count += 1
            if size >= PIECE_BYTES:
                break
        frames = lane.frames[:count]
        self._leave_memory(lane, frames)
        self.held_messages -= count
        del lane.frames[:count]
        return frames

    def close(self) -> int:
        """Drop everything that waits; how many messages that were."""
        dropped, self.held_messages = self.held_messages, 0
        self._lanes.clear()
        self._memory_bytes = 0
        self._spill.close()
        return dropped


def client_field(payload: bytes) -> bytes:
    """The client ID at the front of a request, as it is encoded; empty when there is none."""
    if len(payload) < 2 or payload[0] != _TAG:
        return b""
    size, start = payload[1], 2
    if size > 127:
        if len(payload) < 3 or payload[2] > 127:
            return b""
        size, start = size & 127 | payload[2] << 7, 3
    return payload[: start + size]


def client_id(field: bytes) -> str:
    """The client ID in such a field."""
    return field[2 if len(field) < 130 else 3 :].decode(errors="replace")


def _pack(frames: list[Frame]) -> list[bytes]:
    """Frames as NATS sends them, in parts."""
    parts: list[bytes] = []
    for subject, reply, payload in frames:
        body = payload or b""
        if reply:
            parts.append(b"MSG %b %b %b %d\r\n" % (subject, _SID, reply, len(body)))
        else:
            parts.append(b"MSG %b %b %d\r\n" % (subject, _SID, len(body)))
        parts += (body, CRLF)
    return parts
