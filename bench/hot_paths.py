"""The hot paths, each driven by itself: what `bench.instructions` counts the instructions of.

Frames as NATS sends them go in, operations for NATS come out; between them are the real
framing, engine and store, and nothing of NATS, of sockets or of a clock. `main` marks where a
load begins and where it ends by a system call that nothing else makes.

    python -m bench.hot_paths NAME ...      run these, saying "NAME MESSAGES" for each
"""

import asyncio
import gc
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from stan.engine.engine import Engine
from stan.engine.limits import ChannelLimits, StoreLimits
from stan.engine.records import ServerRecord
from stan.engine.settings import Settings
from stan.store.contract import Store
from stan.store.open import open_store
from stan.store.settings import StoreSettings
from stan.wire.frames import Said, split
from stan.wire.stan_pb2 import (
    Ack,
    ConnectRequest,
    PubMsg,
    SubscriptionRequest,
)

CLUSTER = "test-cluster"
OURS = "_INBOX.server"
CONN_ID = b"ABCDEFGHIJKLMNOPQRSTUV"
PAYLOAD = b"x" * 128
TAPPED = frozenset({b"1"})
UNLIMITED = StoreLimits(0, ChannelLimits(max_messages=0, max_bytes=0, max_subscriptions=0))
# A turn as the pump makes them under load.
TURN = 256


@dataclass(frozen=True)
class HotPath:
    """A load: how many messages arrive in a turn, to how many channels, on which store."""

    messages: int
    turn: int = TURN
    channels: int = 1
    is_subscribed: bool = False
    is_sqlite: bool = False


PATHS = {
    "publish": HotPath(20 * TURN),
    "publish and deliver": HotPath(20 * TURN, is_subscribed=True),
    "one at a time": HotPath(500, turn=1),
    "one at a time, delivered": HotPath(500, turn=1, is_subscribed=True),
    "100 channels in turns": HotPath(10 * TURN, channels=100),
    "1,000 channels in turns": HotPath(4 * 1000, turn=1000, channels=1000),
    "SQLite, publish": HotPath(10 * TURN, is_sqlite=True),
    "SQLite, one at a time": HotPath(60, turn=1, is_sqlite=True),
}


# A fixed piece of Python, for comparing builds of the interpreter.
REFERENCE = "reference"
REFERENCE_ROUNDS = 2000


def run_reference() -> int:
    """Calls, dictionaries, bytes and a parse, as the hot paths have them; a number of bytes."""
    made: dict[bytes, bytes] = {}
    message = PubMsg(clientID="me", guid="ABCDEFGHIJKL0000000000", subject="foo", data=PAYLOAD)
    for number in range(REFERENCE_ROUNDS):
        parsed = PubMsg.FromString(message.SerializeToString())
        key = b"%d" % (number % 100)
        made[key] = b"".join((key, parsed.data, made.get(key, b"")[:50]))
        made[key] = bytes(reversed(made[key].split(b"x")[0]))
    return sum(map(len, made.values()))


def frame(subject: str, reply: str, payload: bytes) -> bytes:
    """A message as a NATS server sends it."""
    return b"MSG %s 1 %s %d\r\n%b\r\n" % (subject.encode(), reply.encode(), len(payload), payload)


class Driver:
    """An engine on a store, and a client that publishes and takes what comes."""

    def __init__(self, path: HotPath, store: Store, engine: Engine) -> None:
        self._path = path
        self._store = store
        self._engine = engine
        self._now_ns = 1_700_000_000_000_000_000
        self._ack_inbox = ""
        # The lines that came before, for `split`.
        self.known: dict[bytes, Said] = {}

    async def connect(self) -> None:
        """Register the client, make the channels, subscribe where the path asks for it."""
        request = ConnectRequest(
            clientID="me", heartbeatInbox="beat", connID=CONN_ID, protocol=1
        ).SerializeToString()
        await self._turn(frame(f"_STAN.discover.{CLUSTER}", "answer", request))
        await self._turn(b"".join(self._publishes(0, self._path.channels)))
        if self._path.is_subscribed:
            request = SubscriptionRequest(
                clientID="me", subject="foo.0", inbox="in", maxInFlight=100_000, ackWaitInSecs=30
            ).SerializeToString()
            answer = await self._turn(frame(f"_STAN.sub.{CLUSTER}", "answer", request))
            self._ack_inbox = OURS + answer.split(OURS.encode())[1].split(b"\r\n")[0].decode()

    def make_turns(self, first: int) -> list[tuple[bytes, bytes]]:
        """The bytes of every turn, and behind them those of the acks that follow."""
        path = self._path
        turns = []
        for begin in range(first, first + path.messages, path.turn):
            acks = b""
            if path.is_subscribed:
                acks = b"".join(
                    frame(
                        self._ack_inbox,
                        "",
                        Ack(subject="foo.0", sequence=path.channels + at + 1).SerializeToString(),
                    )
                    for at in range(begin, begin + path.turn)
                )
            turns.append((b"".join(self._publishes(begin, path.turn)), acks))
        return turns

    async def run(self, turns: list[tuple[bytes, bytes]]) -> int:
        """How many bytes left for NATS."""
        sent = 0
        for publishes, acks in turns:
            sent += len(await self._turn(publishes))
            if acks:
                sent += len(await self._turn(acks))
        return sent

    def _publishes(self, first: int, count: int) -> list[bytes]:
        frames = []
        for number in range(first, first + count):
            channel = f"foo.{number % self._path.channels}"
            publish = PubMsg(
                clientID="me",
                guid=f"ABCDEFGHIJKL{number:010d}",
                subject=channel,
                data=PAYLOAD,
                connID=CONN_ID,
            ).SerializeToString()
            frames.append(frame(f"_STAN.pub.{CLUSTER}.{channel}", "acks", publish))
        return frames

    async def _turn(self, arrived: bytes) -> bytes:
        """What the pump does with a chunk; the clock goes on by a millisecond."""
        engine, instant = self._engine, self._store.instant
        self._now_ns += 1_000_000
        now = self._now_ns
        engine.receive(split(arrived, TAPPED, self.known)[0], now)
        while (batch := engine.seal(now)) is not None:
            if instant is not None:
                engine.committed(batch, instant.commit_now(batch), now)
            else:
                engine.committed(batch, await self._store.commit(batch), now)
        return b"".join(engine.take_sends())


async def drive(path: HotPath, folder: str, mark: Callable[[], object]) -> None:
    """Run a load between two marks, after one of the same kind that has warmed everything.

    Raises AssertionError when it did not do what it is for.
    """
    kind = "SQL" if path.is_sqlite else "MEMORY"
    source = str(Path(folder) / "stan.db")
    store = open_store(kind, StoreSettings(sql_source=source) if path.is_sqlite else None)
    await store.open()
    try:
        numbers = iter(range(1_000_000))
        engine = Engine(
            Settings(limits=UNLIMITED),
            await store.recover(),
            ServerRecord(CLUSTER, OURS),
            lambda: f"id{next(numbers)}",
            1_700_000_000_000_000_000,
        )
        driver = Driver(path, store, engine)
        await driver.connect()
        await driver.run(driver.make_turns(0))
        turns = driver.make_turns(path.messages)
        gc.collect()
        gc.freeze()
        gc.disable()
        mark()
        sent = await driver.run(turns)
        mark()
        gc.enable()
        # An ack of each publish at least, and each message where somebody listens.
        least = len(PAYLOAD) if path.is_subscribed else 20
        assert sent > path.messages * least, f"only {sent} bytes came out"
    finally:
        await store.close()


def main(names: list[str]) -> None:
    """Run the paths of these names in turn."""
    for name in names:
        if name == REFERENCE:
            os.getsid(0)
            run_reference()
            os.getsid(0)
            print(name, REFERENCE_ROUNDS, sep="\t", flush=True)
            continue
        with tempfile.TemporaryDirectory() as folder:
            asyncio.run(drive(PATHS[name], folder, lambda: os.getsid(0)))
        print(name, PATHS[name].messages, sep="\t", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:] or [REFERENCE, *PATHS])
