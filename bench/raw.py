"""A streaming client as thin as it can be: NATS frames on a socket, no event loop.

For the load generator only, whose own cost must be small. It blocks while it is set up and
never afterwards. Heartbeats and NATS pings are answered wherever frames are read.
"""

import os
import select
import socket
import time
from typing import cast
from urllib.parse import urlsplit

from stan.wire.frames import split
from stan.wire.stan_pb2 import (
    CloseRequest,
    ConnectRequest,
    ConnectResponse,
    StartPosition,
    SubscriptionRequest,
    SubscriptionResponse,
)

FrameWithPayload = tuple[bytes, bytes, bytes]
_READ_BYTES = 256 * 1024
_SETUP_S = 10.0


class Line:
    """A connection to a NATS server. Never blocks but in `settle`.

    OSError says that it ended.
    """

    def __init__(self, url: str) -> None:
        where = urlsplit(url)
        address = (where.hostname or "127.0.0.1", where.port or 4222)
        self._socket = socket.create_connection(address, _SETUP_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.setblocking(False)
        self._in = b""
        self._sids: frozenset[bytes] = frozenset()
        self._pongs = 0
        self.unsent = bytearray()
        self.frames: list[FrameWithPayload] = []
        self.send(b'CONNECT {"verbose":false,"pedantic":false,"lang":"bench"}\r\n')
        self.settle()

    def fileno(self) -> int:
        """For `select`."""
        return self._socket.fileno()

    def send(self, operations: bytes) -> None:
        """Send, or keep what the socket does not take in `unsent`."""
        if operations:
            self.unsent += operations
            self.flush()

    def flush(self) -> None:
        """Try to send what is unsent."""
        try:
            del self.unsent[: self._socket.send(self.unsent)]
        except BlockingIOError:
            return

    def subscribe(self, subject: bytes) -> None:
        """Subscribe; the messages are among the frames."""
        sid = b"%d" % (len(self._sids) + 1)
        self._sids |= {sid}
        self.send(b"SUB %b %b\r\n" % (subject, sid))

    def receive(self) -> bool:
        """Read what is there. Whether there are frames now."""
        try:
            chunk = self._socket.recv(_READ_BYTES)
        except BlockingIOError:
            return False
        if not chunk:
            raise ConnectionError("the NATS server closed the connection")
        chunk = self._in + chunk
        frames, others, consumed, _ = split(chunk, self._sids)
        self._in = chunk[consumed:]
        # Without headers no frame lacks a payload.
        self.frames += cast(list[FrameWithPayload], frames)
        for operation in others:
            if operation.startswith(b"PING"):
                self.send(b"PONG\r\n")
            elif operation.startswith(b"PONG"):
                self._pongs += 1
            elif operation.startswith(b"-ERR"):
                raise ConnectionError(operation.decode(errors="replace").strip())
        return bool(self.frames)

    def settle(self) -> None:
        """Wait until the server has seen all that was sent."""
        pongs = self._pongs
        self.send(b"PING\r\n")
        end_s = time.monotonic() + _SETUP_S
        while self._pongs == pongs:
            self.wait(end_s)

    def wait(self, end_s: float) -> None:
        """Wait until something was read, or raise TimeoutError at the end."""
        left_s = end_s - time.monotonic()
        readable, _, _ = select.select([self], [self] if self.unsent else [], [], max(0.0, left_s))
        if left_s <= 0:
            raise TimeoutError("the server does not answer")
        if self.unsent:
            self.flush()
        if readable:
            self.receive()

    def close(self) -> None:
        self._socket.close()


class RawClient:
    """A streaming client on a line of its own. Raises OSError when it is not let in."""

    def __init__(self, url: str, client_id: str, cluster_id: str = "test-cluster") -> None:
        self.client_id = client_id
        self.connection_id = os.urandom(11).hex().encode()
        self.line = Line(url)
        self._heartbeat = new_inbox()
        self.line.subscribe(self._heartbeat)
        request = ConnectRequest(
            clientID=client_id,
            heartbeatInbox=self._heartbeat.decode(),
            connID=self.connection_id,
            protocol=1,
            pingInterval=3600,
            pingMaxOut=2,
        )
        answer = self._ask(f"_STAN.discover.{cluster_id}", request.SerializeToString())
        self.server = ConnectResponse.FromString(answer)
        if self.server.error:
            raise ConnectionError(self.server.error)

    def subscribe(self, channel: str) -> tuple[bytes, bytes]:
        """Subscribe to what is new, with the usual limits: the inbox, and where to ack."""
        inbox = new_inbox()
        self.line.subscribe(inbox)
        request = SubscriptionRequest(
            clientID=self.client_id,
            subject=channel,
            inbox=inbox.decode(),
            maxInFlight=1024,
            ackWaitInSecs=30,
            startPosition=StartPosition.NewOnly,
        )
        answer = self._ask(self.server.subRequests, request.SerializeToString())
        response = SubscriptionResponse.FromString(answer)
        if response.error:
            raise ConnectionError(response.error)
        return inbox, response.ackInbox.encode()

    def frames(self, subject: bytes) -> list[FrameWithPayload]:
        """The frames that were read, all of this subject: heartbeats are answered here."""
        frames, self.line.frames = self.line.frames, []
        wanted = [frame for frame in frames if frame[0] == subject]
        if len(wanted) < len(frames):
            for to, reply, _ in frames:
                if to == self._heartbeat:
                    self.line.send(b"PUB %b 0\r\n\r\n" % reply)
        return wanted

    def close(self) -> None:
        """Leave the server and end the line."""
        request = CloseRequest(clientID=self.client_id)
        self._ask(self.server.closeRequests, request.SerializeToString())
        self.line.close()

    def _ask(self, subject: str, payload: bytes) -> bytes:
        inbox = new_inbox()
        self.line.subscribe(inbox)
        size = len(payload)
        self.line.send(b"PUB %b %b %d\r\n%b\r\n" % (subject.encode(), inbox, size, payload))
        end_s = time.monotonic() + _SETUP_S
        while True:
            self.line.wait(end_s)
            for _, _, answer in self.frames(inbox):
                return answer


def new_inbox() -> bytes:
    """A subject of one's own."""
    return b"_INBOX." + os.urandom(11).hex().encode()
