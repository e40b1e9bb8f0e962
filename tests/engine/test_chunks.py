"""A chunk means what its frames mean one at a time: whatever the engine does for many frames
at once (publishes that are alike, acks in a row) is compared with the long way.

Each seed is a world of limits and chunks in which clients come and go between publishes.
"""

from random import Random

import pytest

from stan.engine.settings import Settings
from stan.errors import StoreError, StoreRefusedError, StoreUnavailableError
from stan.wire.frames import Frame
from stan.wire.stan_pb2 import CloseRequest, UnsubscribeRequest
from tests.tools.rig import Rig, ack, connect, publish, receive_both_ways

_ODD_ACKS = (b"", b"\x00", b"\x10\x03", b"\x80\x01", b"\xff" * 9 + b"\x01", b"\xff" * 10 + b"\x01")


class Chunks:
    """Where the frames come from. `ack_inboxes` are those of all subscriptions made so far."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.ack_inboxes: list[str] = []
        self._number = 0
        self._channels = ["foo"]

    def settings(self) -> Settings:
        choose = self.random.choice
        return Settings(
            queue_messages=choose([3, 50, 10_000]),
            queue_bytes=choose([300, 5000, 1 << 20]),
            max_payload_bytes=choose([400, 1 << 20]),
            payload_overhead_bytes=choose([0, 29]),
        )

    def make(self) -> list[Frame]:
        choose = self.random.choice
        odd = [[0, 1, 4], [126, 127, 128, 129], [0, 4, 130, 360, 500], [9, 16_383, 16_384]]
        sizes = choose([[0], [4], [130], *odd])
        connection_id = choose([b"", b"conn-you"])
        self._channels = choose([["foo"], ["foo", "bar"]])
        count = self.random.randrange(1, 60)
        return [self._frame(choose(sizes), connection_id) for _ in range(count)]

    def _frame(self, size: int, connection_id: bytes) -> Frame:
        chance = self.random.random()
        self._number += 1
        if chance < 0.7:
            guid, channel = f"{self._number:05}", self.random.choice(self._channels)
            frame = publish(b"x" * size, channel, guid=guid, connID=connection_id)
            return self._damage(frame) if chance < 0.1 else frame
        if chance < 0.8:
            return self._odd_publish(size)
        if chance < 0.95:
            return self._ack()
        return self._request()

    def _damage(self, frame: Frame) -> Frame:
        """One byte is another one."""
        subject, reply, payload = frame
        assert payload is not None
        at = self.random.randrange(len(payload))
        byte = bytes((self.random.choice([payload[at] ^ 1, self.random.randrange(256)]),))
        return subject, reply, payload[:at] + byte + payload[at + 1 :]

    def _odd_publish(self, size: int) -> Frame:
        """A publish that is nearly like the others."""
        choose = self.random.choice
        subject, reply, payload = publish(
            b"x" * choose([size, size + 1, 300]),
            channel=choose(["foo", "bar", "f*o"]),
            client_id=choose(["me", "you", "no", ""]),
            guid=choose([f"{self._number:05}", f"ä{self._number:03}", "g" * 128]),
            connID=choose([b"", b"conn-you", b"nope"]),
            reply=choose(["", "", "back"]),
        )
        assert payload is not None
        payload += choose([b"", b"", b"\x08\x01", payload[:4]])
        return subject + choose([b"", b".y"]), choose([reply, b"", b"other"]), payload

    def _ack(self) -> Frame:
        choose = self.random.choice
        subject, reply, payload = ack(
            choose(self.ack_inboxes), self.random.randrange(60), choose(["foo", "foo", "bar"])
        )
        assert payload is not None
        if self.random.random() < 0.2:
            payload = payload[: -self.random.randrange(2) or None] + choose(_ODD_ACKS)
        return subject, reply, payload if self.random.random() < 0.95 else None

    def _request(self) -> Frame:
        """Something that changes who may publish or ack, in the middle of a chunk."""
        client_id, connection_id = self.random.choice([("me", b""), ("you", b"conn-you")])
        subject, message = self.random.choice(
            [
                ("_STAN.close.test-cluster", CloseRequest(clientID=client_id)),
                ("_STAN.discover.test-cluster", connect(client_id, connection_id)),
                (
                    "_STAN.unsub.test-cluster",
                    UnsubscribeRequest(
                        clientID=client_id,
                        subject="foo",
                        inbox=self.random.choice(self.ack_inboxes),
                    ),
                ),
            ]
        )
        return subject.encode(), b"answers", message.SerializeToString()


def furnish(rig: Rig) -> list[str]:
    """Clients that are new or back, with subscriptions; the ack inboxes."""
    for client_id, connection_id in (("me", b""), ("you", b"conn-you")):
        if client_id not in rig.engine.clients.by_id:
            rig.connect(client_id, connection_id)
    return [
        rig.subscribe(channel, inbox, "me", qGroup=group, maxInFlight=10_000).ackInbox
        for channel, inbox, group in (("foo", "a", ""), ("foo", "b", "g"), ("foo", "c", "g"))
    ]


def settle(rig: Rig, error: StoreError | None) -> None:
    """The batch in flight becomes true or fails; so does nothing behind it."""
    if rig.batch is not None and error is not None:
        rig.fail(error)
    elif rig.batch is not None:
        rig.commit()
    rig.hold = False
    rig.wait(rig.settings.retry_interval_ns)


@pytest.mark.parametrize("seed", range(40))
def test_a_chunk_means_what_its_frames_mean_one_at_a_time(seed: int) -> None:
    chunks = Chunks(seed)
    settings = chunks.settings()
    together, alone = Rig(settings), Rig(settings)
    stored = 0
    for _ in range(8):
        chunks.ack_inboxes += furnish(together)
        furnish(alone)
        frames = chunks.make()
        receive_both_ways(frames, together, alone)
        ours, theirs = together.engine.publishing, alone.engine.publishing
        assert (ours.queued_messages, ours.queued_bytes) == (
            theirs.queued_messages,
            theirs.queued_bytes,
        )
        assert (ours.in_messages, ours.in_bytes) == (theirs.in_messages, theirs.in_bytes)
        error = chunks.random.choice([None, None, StoreRefusedError("no"), StoreUnavailableError()])
        for rig in (together, alone):
            settle(rig, error)
        assert together.sent == alone.sent
        stored = sum(channel.count for channel in together.engine.channels.by_id.values())
    assert stored > 8
