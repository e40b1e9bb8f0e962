"""What is printed: plain for scripts, drawn for people, and safe whatever a name holds."""

import json
from typing import Any

import pytest

from stan.cli.tables import ago, printable, span
from tests.cli.conftest import Open, Run
from tests.tools.admin_service import AdminService, Fields, page

BOX = "╭╮╰╯│─┏┓"
HOSTILE = "a\x1b[31m\n\tb\u202ec\u2028"


def channel_row(name: str, **more: Any) -> Fields:
    """A channel as the service lists it."""
    limits = {"max_msgs": 1000, "max_bytes": 0, "max_age_s": 3600.0}
    return {
        "name": name,
        "messages": 1234567,
        "bytes": 5 << 20,
        "first_sequence": 1,
        "last_sequence": 1234567,
        "first_time": "2026-01-02T03:04:05.000000006Z",
        "last_time": "2026-01-02T03:04:05.000000007Z",
        "subscriptions": 2,
        "durables": 1,
        "limits": limits | {"max_inactivity_s": 0, "max_subs": 0},
        "limits_source": "global",
        "removing": 0,
        **more,
    }


async def test_a_table_is_tabs_and_numbers_when_it_is_piped(
    run: Run, service: AdminService
) -> None:
    rows = [channel_row("orders"), channel_row("payments", removing=5)]
    service.answers["channel.list"] = lambda fields: page(fields, "channels", rows)
    outcome = await run("channel", "ls")
    assert (outcome.code, outcome.stderr) == (0, "")
    head, first, second = outcome.stdout.splitlines()
    assert head.split("\t")[:4] == ["CHANNEL", "MESSAGES", "BYTES", "FIRST"]
    fields = ["orders", "1234567", "5242880", "1", "1234567", "2026-01-02T03:04:05.000000007Z"]
    assert first.split("\t")[:6] == fields
    assert second.split("\t")[-1] == "5"
    assert not set(BOX + "\x1b") & set(outcome.stdout)


async def test_a_table_is_drawn_on_a_terminal(open_terminal: Open, service: AdminService) -> None:
    rows = [channel_row("orders")]
    service.answers["channel.list"] = lambda fields: page(fields, "channels", rows)
    code, written = await (await open_terminal("channel", "ls")).end()
    assert code == 0
    assert "1,234,567" in written
    assert "5.00 MB" in written
    assert " ago" in written
    assert "\x1b[36m" in written  # a colour
    assert set(BOX) & set(written)


@pytest.mark.parametrize("variable", ["NO_COLOR", "TERM"])
async def test_no_colours_where_they_are_not_wanted(
    open_terminal: Open, service: AdminService, variable: str
) -> None:
    service.answers["channel.info"] = channel_row("orders", removing=3)
    env = {"NO_COLOR": "1"} if variable == "NO_COLOR" else {"TERM": "dumb"}
    code, written = await (await open_terminal("channel", "info", "orders", env=env)).end()
    assert code == 0
    assert "1,234,567" in written
    assert "\x1b[3" not in written


async def test_names_and_json(run: Run, service: AdminService) -> None:
    rows = [channel_row("a"), channel_row("b")]
    service.answers["channel.list"] = lambda fields: page(fields, "channels", rows)
    assert (await run("channel", "ls", "--names")).stdout == "a\nb\n"
    outcome = await run("channel", "ls", "x*", "--json", "--sort", "last", "-r")
    assert json.loads(outcome.stdout) == rows
    asked = {"offset": 0, "limit": 1024, "filter": "x*", "sort": "last", "reverse": True}
    assert service.asked[-1] == ("channel.list", asked)


async def test_ten_thousand_channels(run: Run, open_terminal: Open, service: AdminService) -> None:
    rows = [channel_row(f"c{number:05}") for number in range(10_000)]
    service.answers["channel.list"] = lambda fields: page(fields, "channels", rows)
    outcome = await run("channel", "ls", "--names")
    assert outcome.stdout.split() == [row["name"] for row in rows]
    assert len(service.asked) == 10
    outcome = await run("channel", "ls", "--limit", "3")
    assert len(outcome.stdout.splitlines()) == 4
    code, written = await (await open_terminal("channel", "ls")).end()
    assert code == 0
    assert "c00499" in written
    assert "c00500" not in written
    assert "The first 500; --limit 0 lists all." in written


@pytest.mark.parametrize("command", [("ls",), ("info", "x"), ("ls", "--names")])
async def test_a_hostile_name_stays_on_its_line(
    run: Run, open_terminal: Open, service: AdminService, command: tuple[str, ...]
) -> None:
    service.answers["channel.list"] = lambda fields: page(
        fields, "channels", [channel_row(HOSTILE)]
    )
    service.answers["channel.info"] = channel_row(HOSTILE)
    shown = "a\\x1b[31m\\n\\tb\\u202ec\\u2028"
    outcome = await run("channel", *command)
    assert shown in outcome.stdout
    assert "\x1b" not in outcome.stdout
    code, written = await (await open_terminal("channel", *command)).end()
    assert code == 0
    assert shown in written
    assert "\x1b[31m" not in written


async def test_markup_in_a_name_means_nothing(open_terminal: Open, service: AdminService) -> None:
    name = "[red]x[/red]:smile:"
    service.answers["channel.list"] = lambda fields: page(fields, "channels", [channel_row(name)])
    _, written = await (await open_terminal("channel", "ls")).end()
    assert name in written


async def test_an_empty_list(run: Run, open_terminal: Open, service: AdminService) -> None:
    service.answers["durable.list"] = {"total": 0, "offset": 0, "durables": []}
    outcome = await run("durable", "ls")
    assert (outcome.code, len(outcome.stdout.splitlines())) == (0, 1)
    assert await (await open_terminal("durable", "ls")).end() == (
        0,
        "no durables and no groups\r\n",
    )


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (0.25, "250ms"), (1.5, "1.5s"), (59, "59s"), (61, "1m1s"), (90_061, "1d1h")],
)
def test_spans(seconds: float, text: str) -> None:
    assert span(seconds) == text


def test_what_is_printable() -> None:
    assert printable("naïve ☕ 👩\u200d👧") == "naïve ☕ 👩\u200d👧"
    assert printable("a\0b\x9bc\ud800") == "a\\x00b\\x9bc\\ud800"
    assert ago("") == "never"
