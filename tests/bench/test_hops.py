"""The way of a message by itself: the stages inside our server, and a server with nothing in it."""

import pytest

from bench import bare, peers, stages
from bench.loads import find_generator, generate, read_rate
from bench.peers import Running
from stan.wire.stan_pb2 import PubAck, PubMsg


def test_each_stage_takes_its_time() -> None:
    took_us = stages.measure()
    assert tuple(took_us) == stages.STAGES
    assert min(took_us.values()) > 0


@pytest.mark.parametrize("client_id", ["me", "m" * 100])
def test_the_bare_server_acks_the_guid(client_id: str) -> None:
    publish = PubMsg(clientID=client_id, guid="g" * 22, subject="foo", data=b"data", connID=b"id")
    ack = PubAck.FromString(bare.make_ack(publish.SerializeToString()))
    assert (ack.guid, ack.error) == ("g" * 22, "")


def test_the_bare_server_takes_the_load() -> None:
    with Running(peers.bare(), "memory", {}) as running:
        flags = ("-np", "1", "-ns", "0", "-ms", "128", "-sync")
        assert read_rate(generate(find_generator(""), running, flags, 50), "Pub") > 0
