"""The operations that read, on an engine with a memory store."""

import base64
from typing import Any

import pytest

from stan.engine.limits import ChannelLimits, ChannelOverrides, StoreLimits
from stan.engine.settings import Settings
from stan.errors import AdminError
from stan.server.admin.operations import Operations
from stan.server.admin.reading import Served
from stan.server.admin.settings import find_quantile, find_source, hide_userinfo
from stan.server.admin.times import format_time, parse_time
from stan.server.config.config import load_config
from stan.server.config.options import OPTIONS
from stan.server.histogram import Histogram
from stan.server.monitor.identity import Identity
from tests.tools.rig import START_NS, Rig

LIMITS = StoreLimits(
    defaults=ChannelLimits(max_messages=100), channels={"b": ChannelOverrides(max_messages=7)}
)


class Parts:
    """What a pump is read for."""

    def __init__(self, rig: Rig) -> None:
        self.engine = rig.engine
        self.commit_s = Histogram((0.001, 0.01))


@pytest.fixture
def rig() -> Rig:
    """Three channels, one durable that is stalled and one that is away."""
    rig = Rig(Settings(limits=LIMITS))
    rig.connect("me")
    rig.connect("gone")
    rig.publish(b"one", b"two", b"three", channel="a")
    rig.publish(b"x" * 50, channel="b")
    rig.publish(channel="c.d")
    rig.subscribe("a", "in.1", durableName="d", maxInFlight=2, startPosition=4)
    rig.subscribe("b", "in.2", "gone", durableName="away", maxInFlight=2, startPosition=4)
    rig.subscribe("c.d", "in.3", qGroup="g", durableName="d")
    rig.close("gone")
    return rig


async def ask(rig: Rig, endpoint: str, **request: Any) -> dict[str, Any]:
    """Run one operation."""
    identity = Identity("test-cluster", "id", "1", START_NS)
    config = load_config(["-sql_source", "postgres://u:pw@h/db", "-ns", "nats://u:pw@h"], {})
    served = Served(identity, config, Parts(rig), rig.store)  # type: ignore[arg-type]
    operations = Operations(lambda: served, lambda: "nats://u:pw@h:4222", "full")
    return await operations.run(endpoint, request, "test")


@pytest.mark.parametrize(
    ("request_", "names"),
    [
        ({}, ["a", "b", "c.d"]),
        ({"filter": "c."}, ["c.d"]),
        ({"filter": "?"}, ["a", "b"]),
        ({"sort": "messages", "reverse": True}, ["a", "b", "c.d"]),
        ({"sort": "bytes"}, ["c.d", "a", "b"]),
        ({"offset": 1, "limit": 1}, ["b"]),
        ({"offset": 9}, []),
    ],
)
async def test_channels_are_listed(rig: Rig, request_: dict[str, Any], names: list[str]) -> None:
    answer = await ask(rig, "channel.list", **request_)
    assert [one["name"] for one in answer["channels"]] == names


async def test_a_channel_and_its_limits(rig: Rig) -> None:
    one = await ask(rig, "channel.info", channel="b")
    assert (one["messages"], one["durables"], one["limits"]["max_msgs"]) == (1, 1, 7)
    assert one["limits_source"] == "configured"
    assert (await ask(rig, "channel.info", channel="a"))["limits_source"] == "global"
    with pytest.raises(AdminError, match='channel "z" does not exist') as caught:
        await ask(rig, "channel.info", channel="z")
    assert caught.value.code == 404


async def test_durables_and_groups(rig: Rig) -> None:
    answer = await ask(rig, "durable.list")
    found = {(one["durable"] or one["queue_group"]): one for one in answer["durables"]}
    assert set(found) == {"d", "away", "d:g"}
    stalled, away = found["d"], found["away"]
    assert (stalled["is_stalled"], stalled["pending"], stalled["unsent"]) == (True, 2, 1)
    assert (stalled["oldest_unacked"], stalled["oldest_unacked_time"]) == (1, format_time(START_NS))
    assert (away["is_online"], away["lag"]) == (False, 1)
    only = await ask(rig, "durable.list", stalled=True)
    assert [one["durable"] for one in only["durables"]] == ["d"]
    assert (await ask(rig, "durable.list", filter="aw"))["total"] == 1
    assert (await ask(rig, "durable.list", channel="c.d"))["total"] == 1
    one = await ask(rig, "durable.info", channel="a", client_id="me", durable="d")
    assert one["members"][0]["max_in_flight"] == 2
    group = await ask(rig, "durable.info", channel="c.d", queue_group="d:g")
    assert [one["client_id"] for one in group["members"]] == ["me"]
    assert (await ask(rig, "durable.list", channel="none"))["total"] == 0
    assert (await ask(rig, "durable.list", offset=1, limit=1))["durables"][0]["channel"] == "b"
    for name in ({"durable": "e"}, {"durable": "d", "queue_group": "g"}, {"queue_group": "d"}):
        with pytest.raises(AdminError, match="no such durable or group"):
            await ask(rig, "durable.info", channel="a", client_id="me", **name)


async def test_clients(rig: Rig) -> None:
    answer = await ask(rig, "client.list")
    assert [one["client_id"] for one in answer["clients"]] == ["me"]
    one = await ask(rig, "client.info", client_id="me")
    assert [some["channel"] for some in one["subscriptions"]] == ["a", "c.d"]
    with pytest.raises(AdminError, match='client "gone" does not exist'):
        await ask(rig, "client.info", client_id="gone")


@pytest.mark.parametrize(
    ("request_", "data"),
    [
        ({"sequence": 2}, [b"two"]),
        ({"sequence": 0, "count": 2}, [b"one", b"two"]),
        ({"sequence": 4, "count": 2}, []),
        ({"last": 2}, [b"two", b"three"]),
        ({"last": 20, "max_bytes": 2}, [b"on", b"tw", b"th"]),
        ({"time": "2000-01-01T00:00:00Z"}, [b"one"]),
        ({"time": "2100-01-01T00:00:00Z"}, []),
    ],
)
async def test_messages(rig: Rig, request_: dict[str, Any], data: list[bytes]) -> None:
    answer = await ask(rig, "message.get", channel="a", **request_)
    assert [base64.b64decode(one["data"]) for one in answer["messages"]] == data


async def test_the_server_and_its_options_hide_secrets(rig: Rig) -> None:
    info = await ask(rig, "server.info")
    assert (info["channels"], info["mode"], info["nats_url"]) == (3, "full", "nats://***@h:4222")
    config = await ask(rig, "server.config")
    options = {one["name"]: one for one in config["options"]}
    assert options["sql.source"] == {"name": "sql.source", "value": "***", "source": "flag"}
    assert options["nats_server_url"]["value"] == "nats://***@h"
    assert options["cluster_id"]["source"] == "default"
    limits = await ask(rig, "server.limits")
    assert (limits["global"]["max_msgs"], limits["channels"][0]["name"]) == (100, "b")


async def test_a_standby_and_an_unknown_operation_are_refused(rig: Rig) -> None:
    with pytest.raises(AdminError, match="stands by"):
        await Operations(lambda: None, lambda: "").run("server.info", {}, "test")
    with pytest.raises(AdminError, match="there is no operation"):
        await ask(rig, "server.explode")


def test_where_an_option_came_from() -> None:
    (option,) = (one for one in OPTIONS if one.field == "sql_source")
    given = {"STAN_SQL_SOURCE": "x.db"}
    assert find_source(load_config([], {}), option, {}) == "default"
    assert find_source(load_config([], given), option, given) == "environment"
    assert find_source(load_config(["-sql_source", "x.db"], {}), option, {}) == "flag"


def test_times_and_quantiles() -> None:
    assert format_time(1) == "1970-01-01T00:00:00.000000001Z"
    assert parse_time("1970-01-01T00:00:00.5Z") == 500_000_000
    assert parse_time("1970-01-01T01:00:00+01:00") == 0
    with pytest.raises(AdminError, match="is no time"):
        parse_time("1970-13-01T00:00:00Z")
    histogram = Histogram((0.001, 0.01))
    assert find_quantile(histogram, 0.5) == 0.0
    for value in (0.0005, 0.0005, 0.005, 3.0):
        histogram.observe(value)
    assert (find_quantile(histogram, 0.5), find_quantile(histogram, 0.99)) == (0.001, 0.01)
    assert hide_userinfo("postgres://a:b@h/c") == "postgres://***@h/c"
