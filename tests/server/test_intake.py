"""Publishes that wait outside the engine: in order, each once, within bounds, no loop needed."""

import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from stan.server import intake as intakes
from stan.server.intake import MESSAGE_BYTES, Intake
from stan.server.spill import Spill
from stan.wire.frames import Frame
from stan.wire.stan_pb2 import CloseRequest, PubMsg

PREFIX = "_STAN.pub.c"
CLOSE = "_STAN.close.c"
LIMIT = 64 * 1024


class Engine:
    """Queues what it gets and stores it when told to."""

    def __init__(self) -> None:
        self.queue: list[tuple[str, str, int]] = []
        self.stored: list[tuple[str, str]] = []
        self.refused: list[tuple[str, str]] = []

    @property
    def queued_bytes(self) -> int:
        return sum(size for _, _, size in self.queue)

    @property
    def queued_messages(self) -> int:
        return len(self.queue)

    def has_several(self, client_id: str) -> bool:
        return sum(client == client_id for client, _, _ in self.queue) > 1

    def receive(self, frames: list[Frame]) -> None:
        for subject, _, payload in frames:
            assert payload is not None
            if subject == CLOSE.encode():
                self.queue.append((CloseRequest.FromString(payload).clientID, "close", 0))
            else:
                message = PubMsg.FromString(payload)
                self.queue.append((message.clientID, message.guid, len(payload)))

    def store(self, count: int) -> None:
        self.stored += [(client, guid) for client, guid, _ in self.queue[:count]]
        del self.queue[:count]

    def refuse(self, payload: bytes, reply: bytes) -> None:
        message = PubMsg.FromString(payload)
        self.refused.append((message.clientID, message.guid))


def publish(client: str, number: int, size: int = 1000) -> Frame:
    message = PubMsg(clientID=client, guid=f"{number:06}", subject="foo", data=bytes(size))
    return f"{PREFIX}.foo".encode(), f"acks.{client}".encode(), message.SerializeToString()


def close(client: str) -> Frame:
    return CLOSE.encode(), b"answer", CloseRequest(clientID=client).SerializeToString()


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
def spill(tmp_path: Path) -> Iterator[Spill]:
    spill = Spill(str(tmp_path))
    yield spill
    spill.close()


@pytest.fixture
def intake(engine: Engine, spill: Spill, monkeypatch: pytest.MonkeyPatch) -> Intake:
    monkeypatch.setattr(intakes, "MEMORY_BYTES", 32 * 1024)
    monkeypatch.setattr(intakes, "PIECE_BYTES", 8 * 1024)
    return Intake(engine, spill, PREFIX, CLOSE, LIMIT, engine.refuse)


def drain(engine: Engine, intake: Intake) -> None:
    for _ in range(100_000):
        engine.receive(intake.take_back())
        if not engine.queue and intake.is_empty:
            return
        engine.store(20)
    raise AssertionError("it never ends")


def test_what_fits_is_not_looked_at(intake: Intake) -> None:
    frames = [publish("me", 1)]
    assert intake.admit(frames) is frames


def test_everything_arrives_once_and_in_order_of_its_client(
    engine: Engine, intake: Intake, spill: Spill
) -> None:
    source = random.Random(5)
    numbers: Counter[str] = Counter()
    most_queued = most_spilled = 0
    for _ in range(300):
        frames = []
        for _ in range(source.randrange(8)):
            client = source.choice(("a", "b", "c" * 200))
            for _ in range(source.randrange(1, 6)):
                numbers[client] += 1
                frames.append(publish(client, numbers[client], source.randrange(3000)))
        engine.receive(intake.admit(frames))
        most_queued = max(most_queued, engine.queued_bytes)
        most_spilled = max(most_spilled, spill.waiting_bytes)
        if source.random() < 0.3:
            engine.store(source.randrange(10))
            engine.receive(intake.take_back())
    assert most_spilled > LIMIT
    assert most_queued < 2 * LIMIT
    drain(engine, intake)
    assert len(engine.stored) == numbers.total()
    for client, count in numbers.items():
        own = [guid for name, guid in engine.stored if name == client]
        assert own == [f"{number:06}" for number in range(1, count + 1)]
    assert (intake.held_messages, intake.held_bytes, spill.waiting_bytes) == (0, 0, 0)
    assert not engine.refused


def test_a_close_stays_behind_what_its_client_published(engine: Engine, intake: Intake) -> None:
    engine.receive(intake.admit([publish("a", number) for number in range(100)]))
    engine.receive(intake.admit([publish("a", number) for number in range(100, 200)]))
    assert intake.held_messages == 100
    assert intake.admit([close("b"), close("a")]) == [close("b")]
    drain(engine, intake)
    assert engine.stored[-1] == ("a", "close")
    assert len(engine.stored) == 201


def test_who_has_little_in_the_queue_passes_by(engine: Engine, intake: Intake) -> None:
    engine.receive(intake.admit([publish("flood", number) for number in range(70)]))
    single = publish("single", 1)
    assert intake.admit([publish("flood", 70), single]) == [single]


def test_nobody_passes_a_queue_that_is_over_its_ceiling(engine: Engine, intake: Intake) -> None:
    for number in range(200):
        engine.receive(intake.admit([publish(f"client{number}", 1)]))
    assert engine.queued_bytes + MESSAGE_BYTES * engine.queued_messages < 2 * LIMIT
    assert intake.held_messages > 0
    drain(engine, intake)
    assert len(engine.stored) == 200


def test_requests_and_acks_never_wait(engine: Engine, intake: Intake) -> None:
    engine.receive(intake.admit([publish("a", number) for number in range(100)]))
    others: list[Frame] = [
        (b"_STAN.sub.c", b"r", b"x"),
        (b"inbox.7", b"", b"y"),
        (b"hb", b"", None),
    ]
    assert intake.admit([*others, publish("a", 100)]) == others


def test_lanes_are_taken_back_in_turn(engine: Engine, intake: Intake) -> None:
    engine.receive(intake.admit([publish("first", number) for number in range(70)]))
    intake.admit([publish("first", number) for number in range(70, 170)])
    engine.receive([publish("second", number) for number in range(2)])
    intake.admit([publish("second", number) for number in range(2, 102)])
    engine.store(len(engine.queue))
    taken = [PubMsg.FromString(payload or b"").clientID for _, _, payload in intake.take_back()]
    assert min(taken.count("first"), taken.count("second")) > 20


def test_what_can_wait_nowhere_is_refused_and_said_once(
    engine: Engine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(intakes, "MEMORY_BYTES", 32 * 1024)
    intake = Intake(engine, Spill(str(tmp_path), 100_000), PREFIX, CLOSE, LIMIT, engine.refuse)
    for start in range(0, 1000, 100):
        engine.receive(intake.admit([publish("a", start + number) for number in range(100)]))
    assert engine.refused
    assert len([record for record in caplog.records if "refused" in record.message]) == 1
    engine.receive(intake.admit([close("a")]))
    drain(engine, intake)
    assert engine.stored[-1] == ("a", "close")
    answered = [guid for _, guid in engine.stored[:-1]] + [guid for _, guid in engine.refused]
    assert sorted(answered) == [f"{number:06}" for number in range(1000)]


def test_a_folder_that_is_not_there_refuses(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intakes, "MEMORY_BYTES", 1024)
    intake = Intake(engine, Spill("/nowhere"), PREFIX, CLOSE, LIMIT, engine.refuse)
    engine.receive(intake.admit([publish("a", number) for number in range(100)]))
    intake.admit([publish("a", 100), publish("a", 101)])
    assert [guid for _, guid in engine.refused] == ["000100", "000101"]


def test_closing_tells_what_was_dropped(engine: Engine, intake: Intake) -> None:
    engine.receive(intake.admit([publish("a", number) for number in range(100)]))
    intake.admit([publish("a", number) for number in range(100, 150)])
    assert intake.close() == 50
    assert intake.is_empty
