"""stan top and stan server report: rates from two looks, the worst first."""

import asyncio
import json
from typing import Any

import pytest

from stan.cli.commands.top import Look, compare
from tests.cli.conftest import Open, Run
from tests.cli.test_tables import channel_row
from tests.tools.admin_service import AdminService, Fields, page


def server_row(second: int, **more: Any) -> Fields:
    """The server at a moment."""
    counters = ("in_messages", "in_bytes", "out_messages", "out_bytes", "redelivered", "refused")
    return {
        "cluster_id": "c",
        "server_id": "s",
        "version": "1",
        "engine": "pure",
        "state": "STANDALONE",
        "mode": "read",
        "start_time": "2026-01-02T03:00:00.000000000Z",
        "now": f"2026-01-02T03:04:{second:02}.000000000Z",
        "uptime_s": 245.0 + second,
        "nats_url": "nats://127.0.0.1:4222",
        "store": {"kind": "MEMORY", "location": "", "persistent": False},
        **dict.fromkeys(("clients", "channels", "subscriptions", "messages", "bytes"), 7),
        **dict.fromkeys(counters, 100 * second),
        "queued_messages": 0,
        "queued_bytes": 0,
        "commit_ms": {"p50": 0.25, "p99": 1.5},
        "group": None,
        **more,
    }


def durable_row(name: str, lag: int, **more: Any) -> Fields:
    """A durable as the service lists it."""
    return {
        "channel": "orders",
        "client_id": "billing",
        "durable": name,
        "queue_group": "",
        "is_durable": True,
        "is_online": True,
        "is_stalled": False,
        "members_count": 1,
        "last_sent": 10,
        "pending": 0,
        "unsent": lag,
        "lag": lag,
        "oldest_unacked": 0,
        "oldest_unacked_time": "",
        "redelivered": 0,
        "lost": 0,
        **more,
    }


def look(second: int, channels: list[Fields], durables: list[Fields]) -> Look:
    return Look(
        server_row(second),
        {row["name"]: row for row in channels},
        {(row["channel"], row["durable"]): row for row in durables},
        sum(row["is_stalled"] for row in durables),
    )


def test_rates_are_differences_by_the_servers_clock() -> None:
    before = look(1, [channel_row("a", last_sequence=10)], [durable_row("d", 5, last_sent=10)])
    now = look(3, [channel_row("a", last_sequence=110)], [durable_row("d", 5, last_sent=30)])
    found = compare(before, now, 10)
    assert found["server"]["in_rate"] == 100.0
    assert found["server"]["redelivered_rate"] == 100.0
    assert found["channels"][0]["in_rate"] == 50.0
    assert found["durables"][0]["out_rate"] == 10.0


def test_a_counter_that_fell_is_no_rate() -> None:
    before = look(5, [channel_row("a", last_sequence=100)], [])
    now = look(6, [channel_row("a", last_sequence=3), channel_row("b")], [])
    now.server["in_messages"] = 0
    found = compare(before, now, 10)
    assert found["server"]["in_rate"] == 0.0
    assert [row["in_rate"] for row in found["channels"]] == [0.0, 0.0]


def test_who_is_stalled_comes_first_then_the_furthest_behind() -> None:
    rows = [durable_row("a", 1), durable_row("b", 100), durable_row("c", 50, is_stalled=True)]
    found = compare(look(1, [], rows), look(2, [], rows), 2)
    assert [row["durable"] for row in found["durables"]] == ["c", "b"]
    assert found["server"]["stalled"] == 1


@pytest.fixture
def busy(service: AdminService) -> AdminService:
    """A server on which something happens: 100 messages between two looks, in a second."""
    seconds = iter(range(1, 60))
    sequences = iter(range(100, 100_000, 100))
    durables = [durable_row("d", 12345, is_stalled=True)]
    service.answers["server.info"] = lambda _: server_row(next(seconds))
    service.answers["channel.list"] = lambda fields: page(
        fields, "channels", [channel_row("orders", last_sequence=next(sequences))]
    )
    service.answers["durable.list"] = lambda fields: page(fields, "durables", durables)
    return service


async def test_top_for_scripts(run: Run, busy: AdminService) -> None:
    outcome = await run("top", "--once", "--json", "--interval", "10ms")
    assert (outcome.code, outcome.stderr) == (0, "")
    found = json.loads(outcome.stdout)
    assert found["server"]["in_rate"] == 100.0
    assert found["channels"][0]["in_rate"] == 100.0
    assert found["durables"][0]["lag"] == 12345
    outcome = await run("top", "--once", "--interval", "10ms")
    assert "\norders\t100.0\t" in outcome.stdout
    assert "\norders\tbilling/d\tstalled\t12345\t" in outcome.stdout
    assert "\x1b" not in outcome.stdout


async def test_top_lives_on_a_terminal(open_terminal: Open, busy: AdminService) -> None:
    terminal = await open_terminal("top", "--interval", "10ms")
    await terminal.until("\x1b[?1049h")  # a screen of its own
    await terminal.until("100/s")
    await terminal.until("12,345")
    code, written = await terminal.interrupt()
    assert code == 130
    assert "\x1b[?1049l" in written  # and the former one is back
    assert "Traceback" not in written


async def test_the_report(run: Run, open_terminal: Open, busy: AdminService) -> None:
    outcome = await run("server", "report", "--json")
    assert {"server", "channels", "durables"} == json.loads(outcome.stdout).keys()
    code, written = await (await open_terminal("server", "report")).end()
    assert code == 0
    for text in ("Largest channels", "Furthest behind", "billing/d", "stalled", "MEMORY"):
        assert text in written


async def test_top_outlives_a_server_that_is_away(open_terminal: Open, busy: AdminService) -> None:
    terminal = await open_terminal("top", "--interval", "10ms")
    await terminal.until("100/s")
    former = busy.answers["server.info"]
    busy.refuse("server.info", 503, "the server does not serve")
    await terminal.until("the server does not serve")
    busy.answers["server.info"] = former
    seen = len(terminal.written)
    async with asyncio.timeout(30):
        while "100/s" not in terminal.written[seen:]:
            terminal.grown.clear()
            await terminal.grown.wait()
    assert (await terminal.interrupt())[0] == 130
