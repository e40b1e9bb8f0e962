"""Where hostile frames come from: honest requests with nasty fields, then damaged bytes.

Everything follows from the given generator, so an input is reproduced by its seed and
number. Nothing here knows what the answer should be.
"""

from collections.abc import Callable
from random import Random

from google.protobuf.message import Message

from stan.wire.frames import Frame
from stan.wire.stan_pb2 import (
    Ack,
    CloseRequest,
    ConnectRequest,
    Ping,
    PubMsg,
    SubscriptionRequest,
    UnsubscribeRequest,
)

INJECTION = "in\r\nPUB stolen 3\r\nbad\r\n"
NAMES = [
    *("", "foo", "Foo", "bar", "me", "you", "foo.bar", "in.me", "in.you", "g", "d", "d:g"),
    *("a b", "foo*", "foo.>", ">", "*", ".foo", "foo.", "foo..bar", "a/b", "\x00", "\t", "a\x0bb"),
    *(
        INJECTION,
        "x\r\n",
        "\r\n",
        "\n",
        "\u2028",
        "ä.ö",
        "𝄞" * 300,
        "x" * 1024,
        "x" * 1025,
        "x" * 10_000,
        "a." * 2000 + "a",
    ),
]
NUMBERS = [0, 1, 2, 5, 10, 30, -1, -5, 127, 128, 2**31 - 1, -(2**31), 65536]
UNSIGNED = [0, 1, 2, 3, 7, 128, 2**31, 2**32, 2**63, 2**64 - 1]
SIGNED = [0, 1, -1, 10**9, -(10**9), 2**63 - 1, -(2**63)]
BLOBS = [
    b"",
    b"x",
    b"conn-me",
    b"conn-you",
    b"\x00",
    b"\xff" * 9,
    b"\r\nPUB a 0\r\n\r\n",
    b"y" * 3000,
]

PIECES = [
    *(b"MSG a 7 3\r\nabc\r\n", b"MSG a 7 r 0\r\n\r\n", b"MSG a 7 -9\r\n", b"MSG "),
    *(b"HMSG a 7 12 12\r\nNATS/1.0\r\n\r\n\r\n", b"HMSG a 7 99 1\r\n", b"\r\n", b"PING\r\n"),
    *(b"-ERR 'x'\r\n", b"9" * 20, b" ", b"7", b"MSG a 7 99999999999999999999\r\n"),
]

DISCOVER = b"_STAN.discover.test-cluster"
SUBJECTS = {
    "connect": DISCOVER,
    "ping": DISCOVER + b".pings",
    "subscribe": b"_STAN.sub.test-cluster",
    "unsubscribe": b"_STAN.unsub.test-cluster",
    "subclose": b"_STAN.subclose.test-cluster",
    "close": b"_STAN.close.test-cluster",
    "publish": b"_STAN.pub.test-cluster.foo",
}


class Inputs:
    """An endless source of frames. `ack_inboxes` are subjects that somebody may ack to."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.ack_inboxes: list[bytes] = []
        self._makers: dict[str, Callable[[], Message]] = {
            "connect": self._connect,
            "ping": lambda: Ping(connID=self._blob()),
            "subscribe": self._subscription,
            "unsubscribe": self._unsubscription,
            "subclose": self._unsubscription,
            "close": lambda: CloseRequest(clientID=self._name()),
            "publish": self._publish,
        }
        self._kinds = [*self._makers, "subscribe", "publish", "publish", "publish"]

    def frame(self) -> Frame:
        """The next frame, as a NATS server would hand it over."""
        rng = self.rng
        chance = rng.random()
        reply = b"reply" if rng.random() < 0.95 else b""
        if chance < 0.2 and self.ack_inboxes:
            subject = rng.choice(self.ack_inboxes)
            return subject, b"", self.damage(self._ack().SerializeToString())
        if chance < 0.22:
            return rng.choice((b"_INBOX.fuzz.f1h1", b"_INBOX.fuzz.f1h2", b"x")), b"", None
        kind = rng.choice(self._kinds)
        source = kind if rng.random() < 0.9 else rng.choice(self._kinds)
        return SUBJECTS[kind], reply, self.damage(self._makers[source]().SerializeToString())

    def damage(self, payload: bytes) -> bytes:
        """Half of all payloads stay as they are."""
        rng = self.rng
        if rng.random() < 0.5:
            return payload
        data = bytearray(payload)
        for _ in range(rng.choice((1, 1, 2, 8))):
            at = rng.randrange(len(data) + 1)
            how = rng.randrange(6)
            if how == 0 and data:
                data[at % len(data)] = rng.randrange(256)
            elif how == 1 and data:
                data[at % len(data)] ^= 1 << rng.randrange(8)
            elif how == 2:
                del data[at:]
            elif how == 3:
                data[at:at] = rng.randbytes(rng.choice((1, 2, 9)))
            elif how == 4:
                data[at:at] = rng.choice((b"\xff" * 10, b"\x0a\xff\xff\xff\xff\x0f", b"\xc3\x28"))
            else:
                data += data[at : at + 20]
        return bytes(data)

    def chunk(self) -> bytes:
        """What a broken NATS server might send."""
        rng = self.rng
        return self.damage(b"".join(rng.choice(PIECES) for _ in range(rng.randrange(6))))

    # Fields.

    def _name(self) -> str:
        rng = self.rng
        if rng.random() < 0.02:
            return "".join(
                chr(rng.choice((32, 42, 46, 62, 97, 0x2028, 0x10FFFF))) for _ in range(9)
            )
        # The honest names come first and are drawn more often.
        return NAMES[min(rng.randrange(len(NAMES)), rng.randrange(len(NAMES)))]

    def _blob(self) -> bytes:
        return self.rng.choice(BLOBS)

    def _connect(self) -> ConnectRequest:
        rng = self.rng
        return ConnectRequest(
            clientID=self._name(),
            heartbeatInbox=self._name(),
            protocol=rng.choice(NUMBERS),
            connID=self._blob(),
            pingInterval=rng.choice(NUMBERS),
            pingMaxOut=rng.choice(NUMBERS),
        )

    def _subscription(self) -> SubscriptionRequest:
        rng = self.rng
        return SubscriptionRequest(
            clientID=rng.choice(("me", "you", self._name())),
            subject=rng.choice(("foo", "bar", self._name())),
            qGroup=rng.choice(("", "", self._name())),
            inbox=rng.choice(("in.me", "in.you", self._name())),
            maxInFlight=rng.choice((1, 3, rng.choice(NUMBERS))),
            ackWaitInSecs=rng.choice((1, 2, rng.choice(NUMBERS))),
            durableName=rng.choice(("", "", self._name())),
            startPosition=rng.choice((0, 1, 2, 3, 4, rng.choice(NUMBERS))),  # type: ignore[arg-type]
            startSequence=rng.choice(UNSIGNED),
            startTimeDelta=rng.choice(SIGNED),
        )

    def _unsubscription(self) -> UnsubscribeRequest:
        rng = self.rng
        inbox = self._name()
        if self.ack_inboxes and rng.random() < 0.5:
            inbox = rng.choice(self.ack_inboxes).decode()
        client_id = rng.choice(("me", "you", self._name()))
        return UnsubscribeRequest(
            clientID=client_id, subject=self._name(), inbox=inbox, durableName=self._name()
        )

    def _publish(self) -> PubMsg:
        rng = self.rng
        return PubMsg(
            clientID=rng.choice(("me", "you", self._name())),
            guid=rng.choice(("guid", "guid2", self._name())),
            subject=rng.choice(("foo", "bar", self._name())),
            reply=rng.choice(("", "", self._name())),
            data=self._blob() if rng.random() < 0.999 else b"z" * (1 << 20),
            connID=rng.choice((b"", b"conn-me", self._blob())),
            sha256=rng.choice((b"", self._blob())),
        )

    def _ack(self) -> Ack:
        rng = self.rng
        return Ack(
            subject=rng.choice(("foo", "bar", self._name())),
            sequence=rng.choice((rng.randrange(40), rng.choice(UNSIGNED))),
        )
