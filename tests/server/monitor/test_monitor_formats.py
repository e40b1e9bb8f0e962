"""Values as the original writes them: JSON in Go's manner, times, uptimes, integers."""

import json
import time
from collections.abc import Iterator

import pytest

from stan.server.monitor.documents import format_time, format_uptime
from stan.server.monitor.gojson import PLACE, Map, Value, encode, encode_list, fill_in, quote


@pytest.fixture
def zone(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The time zone of the test's parameter."""
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("zone", "time_ns", "text"),
    [
        ("UTC", 1704164645123456789, "2024-01-02T03:04:05.123456789Z"),
        ("UTC", 1704164640000000000, "2024-01-02T03:04:00Z"),
        ("UTC", 1704164645120000000, "2024-01-02T03:04:05.12Z"),
        ("UTC", 1704164645000000001, "2024-01-02T03:04:05.000000001Z"),
        ("XXX-2", 1704164645100000000, "2024-01-02T05:04:05.1+02:00"),
        ("XXX+3:30", 1704164645000000000, "2024-01-01T23:34:05-03:30"),
    ],
    indirect=["zone"],
)
@pytest.mark.usefixtures("zone")
def test_times(time_ns: int, text: str) -> None:
    assert format_time(time_ns) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (5, "5s"),
        (62, "1m2s"),
        (3600, "1h0m0s"),
        (3723, "1h2m3s"),
        (86400 + 2 * 3600 + 3 * 60 + 4, "1d2h3m4s"),
        (365 * 86400 + 2 * 86400 + 3 * 3600 + 4 * 60 + 5, "1y2d3h4m5s"),
    ],
)
def test_uptimes(seconds: int, text: str) -> None:
    assert format_uptime(seconds) == text


def test_strings_escape_what_go_escapes() -> None:
    assert quote("foo.>") == '"foo.\\u003e"'
    assert quote("<&>") == '"\\u003c\\u0026\\u003e"'
    assert quote('a"\\\n\u2028é') == '"a\\"\\\\\\n\\u2028é"'


def test_layout_equals_the_indenting_encoder() -> None:
    document: dict[str, Value] = {
        "text": "t",
        "number": 3,
        "yes": True,
        "no": False,
        "one": 1,
        "empty list": [],
        "list": [{"a": 1, "b%": ["x", "y"]}, {"a": 2, "b%": []}],
        "object": Map({"10%": [1], "b": {"c": "d"}}),
        "empty object": {},
    }
    assert encode(document) == json.dumps(document, indent=2)


@pytest.mark.parametrize("length", [0, 1, 63, 64, 65, 66, 129, 200])
async def test_lists_in_pieces_equal_those_in_one(length: int) -> None:
    async def write(number: int) -> str | None:
        return None if number == 7 else encode({"n": number}, 2)

    found = await encode_list(range(length), write, 1)
    document: dict[str, Value] = {"before": 1, "items": PLACE, "after": 2}
    wanted = [{"n": number} for number in range(length) if number != 7]
    whole = {"before": 1, "items": wanted, "after": 2}
    assert b"".join(fill_in(document, found)).decode() == json.dumps(whole, indent=2)
    assert found.length == len(wanted)
