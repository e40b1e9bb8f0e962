"""Why a durable does not progress; what people type; how numbers are shown."""

import base64
from typing import Any

import pytest

from stan.console import formats, language
from stan.console.diagnosis import find_alarms, find_reasons
from stan.console.fields import read_limits, read_number, read_time, write_span
from stan.console.urls import durable_identity, link
from tests.console.pretending import describe_durable


def first(**fields: Any) -> str:
    """The key of the reason that matters most."""
    more = {name: fields.pop(name) for name in ("oversize", "lost") if name in fields}
    return find_reasons(describe_durable("c", "client", "d", **fields) | more)[0].key


@pytest.mark.parametrize(
    ("fields", "key"),
    [
        ({}, "why.done"),
        ({"pending": 3}, "why.working"),
        ({"unsent": 3, "pending": 1}, "why.behind"),
        ({"online": False, "unsent": 1}, "why.offline"),
        ({"online": False}, "why.offline_idle"),
        ({"pending": 5, "most": 5, "unsent": 9}, "why.stalled"),
        ({"oversize": 1, "unsent": 9}, "why.oversize"),
        ({"online": False, "unsent": 9, "oversize": 1}, "why.offline"),
    ],
)
def test_the_first_reason_is_the_one_to_remove(fields: dict[str, Any], key: str) -> None:
    assert first(**fields) == key


def test_stalled_below_the_most_is_a_client_that_does_not_read() -> None:
    durable = describe_durable("c", "client", "d", pending=3, most=10) | {"is_stalled": True}
    assert find_reasons(durable)[0].key == "why.reading"


def test_one_stalled_member_of_a_group_is_named() -> None:
    group = describe_durable("c", "", "g", pending=3, most=10)
    stuck = {**group["members"][0], "client_id": "two", "is_stalled": True}
    group["members"].append(stuck)
    (reason,) = find_reasons(group)
    assert (reason.key, reason.words["client"]) == ("why.member", "two")


def test_lost_messages_are_said_besides() -> None:
    durable = describe_durable("c", "client", "d") | {"lost": 4}
    assert [one.key for one in find_reasons(durable)] == ["why.done", "why.lost"]


def test_alarms() -> None:
    info = {
        "commit_ms": {"p50": 1, "p99": 2000}, "queued_messages": 20_000, "refused": 3,
        "store": {"persistent": False},
    }  # fmt: skip
    keys = [one.key for one in find_alarms(info, 2)]
    assert keys == [
        "alarm.commit", "alarm.queue", "alarm.stalled", "alarm.refused", "alarm.memory",
    ]  # fmt: skip
    assert find_alarms({}, 0) == []


@pytest.mark.parametrize("code", language.NAMES)
def test_every_finding_and_remedy_has_words(code: str) -> None:
    import inspect
    import re

    from stan.console import changes, diagnosis

    source = inspect.getsource(diagnosis)
    keys = set(re.findall(r'"((?:why|alarm)\.[a-z_]+)"', source))
    keys |= {f"remedy.{one}" for tail in re.findall(r"\}?, \((\".*?)\)\)", source)
             for one in re.findall(r'"([a-z]+)"', tail)}  # fmt: skip
    names = {name.replace(".", "_"): change for name, change in changes.CHANGES.items()}
    keys |= {f"done.{name}" for name in names}
    keys |= {f"confirm.{name}" for name, change in names.items() if change.asks}
    keys |= {f"confirm.do_{name}" for name, change in names.items() if change.asks}
    keys -= {"remedy.store", "remedy.stalled", "remedy.log"}  # an alarm's lead to pages
    assert keys <= set(language.catalogue(code))


def test_words_are_never_read_as_sentences() -> None:
    assert "{purged}" in language.say("en", "done.channel_delete", {"channel": "{purged}"})
    assert "?" in language.say("en", "done.channel_delete", {})


@pytest.mark.parametrize(
    ("form", "limits"),
    [
        ({}, {}),
        ({"max_msgs": "1,000", "max_bytes": "10MB"}, {"max_msgs": 1000, "max_bytes": 10 << 20}),
        ({"max_age_s": "1h30m"}, {"max_age_s": 5400}),
        ({"max_inactivity_s": "90"}, {"max_inactivity_s": 90}),
        ({"max_age_s": "1.5s", "max_subs": "0", "x": "1"}, {"max_age_s": 1.5, "max_subs": 0}),
    ],
)  # fmt: skip
def test_limits_are_read(form: dict[str, str], limits: dict[str, float]) -> None:
    assert read_limits(form) == limits


@pytest.mark.parametrize(
    "form", [{"max_msgs": "many"}, {"max_bytes": "-1"}, {"max_age_s": "1x"}, {"max_subs": "²"}]
)
def test_wrong_limits_are_a_sentence(form: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"[\"']"):
        read_limits(form)


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2026-01-31T12:34", "2026-01-31T12:34:00.000000Z"),
        ("2026-01-31 12:34:56", "2026-01-31T12:34:56.000000Z"),
        ("2026-01-31T12:34:56.123456789Z", "2026-01-31T12:34:56.123456789Z"),
    ],
)
def test_times_are_read(text: str, time: str) -> None:
    assert read_time(text) == time


@pytest.mark.parametrize("text", ["", "now", "2026-01-31", "2026-13-31T00:00:00", "T"])
def test_wrong_times_are_a_sentence(text: str) -> None:
    with pytest.raises(ValueError, match="is no time"):
        read_time(text)


@pytest.mark.parametrize("text", ["", "-1", "1.5", "9" * 21, "٣"])
def test_wrong_numbers_are_a_sentence(text: str) -> None:
    with pytest.raises(ValueError, match="no whole number"):
        read_number(text)


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (formats.count(1234567), "1,234,567"),
        (formats.count(0.5), "0.5"),
        (formats.size(1023), "1023 B"),
        (formats.size(1536), "1.5 KiB"),
        (formats.size(1 << 60), "1,024.0 PiB"),
        (formats.rate(12.34), "12.3/s"),
        (formats.milliseconds(0.5), "0.50 ms"),
        (formats.milliseconds(1234), "1,234 ms"),
        (formats.span(0), "0s"),
        (formats.span(0.25), "0.2s"),
        (formats.span(59), "59s"),
        (formats.span(3600), "1h"),
        (formats.span(93_784), "1d 2h"),
        (formats.moment("2026-01-31T12:34:56.789Z"), "2026-01-31 12:34:56"),
        (formats.moment(""), "-"),
        (write_span(5400), "1h30m0s"),
    ],
)
def test_formats(shown: str, expected: str) -> None:
    assert shown == expected


@pytest.mark.parametrize(
    ("data", "text", "json"),
    [
        (b"plain", "plain", None),
        (b"[1,2]", "[1,2]", "[\n  1,\n  2\n]"),
        ("é".encode()[:1], "", None),
        (b"\xff\xfe", None, None),
        (b"\x00", None, None),
        (b"[" * 100_000, "[" * 100_000, None),
        (b"9" * 5000, "9" * 5000, None),
    ],
)
def test_payloads_are_shown_as_what_they_are(
    data: bytes, text: str | None, json: str | None
) -> None:
    assert formats.show_text(data) == text
    assert formats.show_json(data) == json


def test_a_dump_shows_offset_bytes_and_characters() -> None:
    dump = formats.show_hex(b"0123456789abcdef\x00")
    assert dump.splitlines() == [
        "00000000  30 31 32 33 34 35 36 37 38 39 61 62 63 64 65 66  0123456789abcdef",
        "00000010  00                                               .",
    ]


def test_addresses_escape_everything() -> None:
    assert link("channel", channel="a&b=c d") == "channel?channel=a%26b%3Dc+d"
    assert link("channel", channel="") == "channel"
    group = {"channel": "c", "client_id": "x", "durable": "d", "queue_group": "d:g"}
    assert durable_identity(group) == {"channel": "c", "queue_group": "d:g"}


def test_a_cut_payload_is_not_read_as_json() -> None:
    from stan.console.channels import _show

    message = {"sequence": 1, "size_bytes": 9, "data": base64.b64encode(b"[1]").decode()}
    assert _show(message, "json")["kind"] == "text"
    assert not _show(message, "json")["is_whole"]
