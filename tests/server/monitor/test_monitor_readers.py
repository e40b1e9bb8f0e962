"""What known readers take from the documents, each as it reads them.

The fields and the arithmetic are those of the programs themselves: the KEDA scaler, the
Metricbeat module, the Prometheus exporter and the KualiCo console.
"""

import json
from typing import Any

import pytest

from tests.server.monitor.conftest import Monitored


async def document(played: Monitored, path: str) -> Any:
    """A document, parsed."""
    answer = await played.get(f"streaming/{path}")
    assert (answer.status, answer.content_type) == (200, "application/json")
    return json.loads(answer.body)


def check_types(value: dict[str, Any], fields: dict[str, type]) -> None:
    """Each field there, and of exactly this type: a bool is no int."""
    for name, kind in fields.items():
        assert type(value[name]) is kind, name


async def test_keda_scaler(played: Monitored) -> None:
    channel = await document(played, "channelsz?channel=zed&subs=1")
    check_types(channel, {"name": str, "msgs": int, "last_seq": int, "subscriptions": list})
    group = [one for one in channel["subscriptions"] if one.get("queue_name") == "dur:group"]
    for one in group:
        check_types(one, {"client_id": str, "last_sent": int, "pending_count": int})
        check_types(one, {"is_durable": bool, "is_offline": bool, "is_stalled": bool})
    assert channel["msgs"] - max(one["last_sent"] for one in group) == 0
    assert any(one["pending_count"] > 0 for one in group)
    assert (await played.get("streaming/channelsz?channel=absent&subs=1")).status == 404


async def test_keda_takes_the_furthest_member(played: Monitored) -> None:
    channel = await document(played, "channelsz?channel=bar.one&subs=1")
    sent = [one["last_sent"] for one in channel["subscriptions"]]
    assert (sorted(sent), channel["last_seq"]) == ([4, 5], 5)


async def test_metricbeat_module(played: Monitored) -> None:
    server = await document(played, "serverz")
    check_types(server, {"server_id": str, "cluster_id": str, "state": str})
    for name in ("clients", "subscriptions", "channels", "total_msgs", "total_bytes"):
        check_types(server, {name: int})
    page = await document(played, "channelsz?subs=1")
    check_types(page, {"cluster_id": str, "server_id": str, "limit": int, "total": int})
    for channel in page["channels"]:
        check_types(channel, {"name": str, "msgs": int, "bytes": int})
        check_types(channel, {"first_seq": int, "last_seq": int})
        for one in channel.get("subscriptions", []):
            check_types(one, {"client_id": str, "last_sent": int, "pending_count": int})
            check_types(one, {"is_offline": bool, "is_stalled": bool})
            assert type(one.get("queue_name", "")) is str


async def test_exporter(played: Monitored) -> None:
    server = await document(played, "serverz")
    for name in ("cluster_id", "server_id", "version", "go", "state", "start_time"):
        check_types(server, {name: str})
    for name in ("clients", "subscriptions", "channels"):
        check_types(server, {name: int})
    for name in ("msgs", "bytes"):
        check_types(server, {f"total_{name}": int, f"in_{name}": int, f"out_{name}": int})
    assert server.get("role", "") == ""
    for channel in (await document(played, "channelsz?subs=1"))["channels"]:
        check_types(channel, {"name": str, "bytes": int, "msgs": int, "last_seq": int})
        for one in channel.get("subscriptions", []):
            check_types(one, {"last_sent": int, "pending_count": int, "max_inflight": int})
            check_types(one, {"client_id": str, "inbox": str})
            check_types(one, {"is_durable": bool, "is_offline": bool})
            assert type(one.get("queue_name", "")) is type(one.get("durable_name", "")) is str
            if one["is_durable"] and one.get("queue_name"):
                assert len(one["queue_name"].split(":")) == 2


async def test_kualico_console(played: Monitored) -> None:
    store = await document(played, "storez")
    assert all(type(value) is int for name, value in store["limits"].items() if name != "channels")
    clients = (await document(played, "clientsz?subs=1"))["clients"]
    for client in clients:
        check_types(client, {"id": str})
        for channel, some in client.get("subscriptions", {}).items():
            assert type(channel) is str
            for one in some:
                check_types(one, {"client_id": str, "last_sent": int})
                if one["is_durable"] and "queue_name" in one:  # shown as name and group
                    assert [*map(bool, one["queue_name"].split(":"))] == [True, True]
    total = sum(len(some) for one in clients for some in one.get("subscriptions", {}).values())
    assert total == sum(one["subs_count"] for one in clients) == 7
    channels = (await document(played, "channelsz?subs=1"))["channels"]
    assert [one["name"] for one in channels] == sorted(one["name"] for one in channels)
    server = await document(played, "serverz")
    assert sum(one["msgs"] for one in channels) == server["total_msgs"]
    assert (len(channels), len(clients)) == (server["channels"], server["clients"])
    for one in channels:
        check_types(one, {"last_seq": int})
        assert len(one.get("subscriptions", [])) == one["subs_count"]


@pytest.mark.parametrize("field", ["in_msgs", "in_bytes", "out_msgs", "out_bytes"])
async def test_a_counter_that_readers_parse_is_an_integer(played: Monitored, field: str) -> None:
    check_types(await document(played, "serverz"), {field: int})
