"""What options make sense, and how they travel."""

import datetime
from typing import Any

import pytest

import stan
from stan.client.options import ConnectOptions, SubscribeOptions, join_nats_options, split_urls
from stan.wire.stan_pb2 import SubscriptionRequest

NOW_NS = 1_700_000_000_000_000_000


def filled(**options: Any) -> SubscriptionRequest:
    request = SubscriptionRequest()
    SubscribeOptions(**options).fill(request, NOW_NS)
    return request


@pytest.mark.parametrize(("interval", "max_out"), [(0, 10), (1, 1), (1, -1), (-5, 88)])
def test_statement_121_ping_values_that_make_no_sense(interval: int, max_out: int) -> None:
    text = f"invalid ping values: interval={interval} (min>0) maxOut={max_out} (min=2)"
    with pytest.raises(stan.ConfigError) as raised:
        stan.connect("c", "me", ping_interval=interval, ping_max_out=max_out)
    assert str(raised.value) == text


@pytest.mark.parametrize(
    "options",
    [
        {"connect_wait": 0},
        {"pub_ack_wait": -1},
        {"max_pub_acks_inflight": 0},
        {"discover_prefix": "a b"},
        {"ping_interval": 1.5},
        {"give_up_after": 0},
        {"while_disconnected": "panic"},
        {"resend": "often"},
    ],
)
def test_other_values_that_make_no_sense(options: dict[str, Any]) -> None:
    with pytest.raises(stan.ConfigError):
        ConnectOptions("c", "me", **options)


def test_an_invalid_cluster_id_is_refused_before_anything_travels() -> None:
    with pytest.raises(stan.ConfigError, match="cluster ID"):
        stan.connect("not a cluster", "me")


def test_the_defaults_travel() -> None:
    request = filled()
    assert (request.maxInFlight, request.ackWaitInSecs) == (1024, 30)
    assert (request.startPosition, request.qGroup, request.durableName) == (0, "", "")


@pytest.mark.parametrize(
    ("start", "position"),
    [("new", 0), ("last", 1), ("first", 4), (stan.StartPosition.LAST, 1)],
)
def test_start_at(start: str, position: int) -> None:
    assert filled(start_at=start).startPosition == position


def test_start_at_sequence() -> None:
    request = filled(sequence=22)
    assert (request.startPosition, request.startSequence) == (3, 22)


@pytest.mark.parametrize(
    "time",
    [
        NOW_NS / 1e9 - 60,
        datetime.datetime.fromtimestamp(NOW_NS // 10**9 - 60, datetime.UTC),
        datetime.datetime.fromtimestamp(NOW_NS // 10**9 - 60),
    ],
)
def test_start_at_time_travels_as_nanoseconds_ago(time: Any) -> None:
    request = filled(time=time)
    assert (request.startPosition, request.startTimeDelta) == (2, 60 * 10**9)


def test_a_datetime_keeps_its_microseconds() -> None:
    time = datetime.datetime.fromtimestamp(NOW_NS // 10**9, datetime.UTC)
    request = filled(time=time - datetime.timedelta(microseconds=1))
    assert request.startTimeDelta == 1000


@pytest.mark.parametrize("delta", [1.5, datetime.timedelta(seconds=1.5)])
def test_start_at_delta(delta: Any) -> None:
    assert filled(delta=delta).startTimeDelta == 1_500_000_000


@pytest.mark.parametrize("delta", [-2, datetime.timedelta(seconds=-1)])
def test_a_delta_counts_back(delta: Any) -> None:
    with pytest.raises(stan.ConfigError, match="delta"):
        SubscribeOptions(delta=delta)


def test_a_time_may_lie_in_the_future() -> None:
    assert filled(time=NOW_NS / 1e9 + 60).startTimeDelta == -60 * 10**9


@pytest.mark.parametrize(
    "options",
    [
        {"queue": 5},
        {"durable": None},
        {"start_at": 5},
        {"sequence": "5"},
        {"sequence": True},
        {"time": "yesterday"},
        {"delta": "1h"},
        {"delta": float("inf")},
        {"manual_acks": "yes"},
        {"max_in_flight": 1.5},
        {"ack_wait": "30"},
        {"durable": "\udcff"},
    ],
)
def test_values_of_another_kind_are_no_options(options: dict[str, Any]) -> None:
    with pytest.raises(stan.ConfigError, match=next(iter(options))):
        SubscribeOptions(**options)


def test_an_ack_wait_is_cut_to_whole_seconds() -> None:
    assert filled(ack_wait=2.9).ackWaitInSecs == 2
    assert filled(ack_wait=0.02).ackWaitInSecs == 0


@pytest.mark.parametrize(
    "options",
    [
        {"sequence": 1, "start_at": "new"},
        {"time": 1.0, "delta": 1.0},
        {"start_at": "middle"},
        {"sequence": -1},
        {"max_in_flight": 2**31},
        {"ack_wait": float("nan")},
        {"ack_wait": 2.0**31},
    ],
)
def test_subscribe_options_that_make_no_sense(options: dict[str, Any]) -> None:
    with pytest.raises(stan.ConfigError):
        SubscribeOptions(**options)


def test_urls() -> None:
    assert split_urls(None) == ["nats://127.0.0.1:4222"]
    assert split_urls("nats://a:1, nats://b:2") == ["nats://a:1", "nats://b:2"]
    assert split_urls(["nats://a:1"]) == ["nats://a:1"]
    for urls in (" ,", 5, ["nats://a:1", 5]):
        with pytest.raises(stan.ConfigError):
            split_urls(urls)  # type: ignore[arg-type]


def test_servers_are_no_option_of_the_connection_below() -> None:
    with pytest.raises(stan.ConfigError, match="servers"):
        join_nats_options({"servers": ["nats://a:1"]}, {})


def test_what_passes_through_is_given_once() -> None:
    assert join_nats_options({"user": "a"}, {"token": "t"}) == {"user": "a", "token": "t"}
    assert join_nats_options(None, {"user": "a"}) == {"user": "a"}
    with pytest.raises(stan.ConfigError, match="user is given twice"):
        join_nats_options({"user": "a"}, {"user": "b"})
