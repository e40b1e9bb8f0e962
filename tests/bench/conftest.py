"""A streaming server of ours and a NATS server with JetStream, as the benchmark starts them."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.jetstream import RunningJetStream
from bench.peers import Peer, Running

OURS = Peer("pure", (sys.executable, "-m", "stan.cli.server"), False, Path(__file__).parents[2])


@pytest.fixture(scope="module")
def ours() -> Iterator[Running]:
    with Running(OURS, "memory", {}) as running:
        yield running


@pytest.fixture(scope="module")
def jetstream() -> Iterator[RunningJetStream]:
    with RunningJetStream(in_memory=True, syncs=False) as running:
        yield running
