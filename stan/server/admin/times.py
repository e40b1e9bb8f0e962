"""Times in answers and requests: RFC 3339 in UTC, with nanoseconds."""

import re
from datetime import UTC, datetime

from stan.errors import AdminError
from stan.units import SECOND_NS

_TIME = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)")


def format_time(time_ns: int) -> str:
    """The time; nothing for 0."""
    if time_ns <= 0:
        return ""
    seconds, rest_ns = divmod(time_ns, SECOND_NS)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest_ns:09}Z"


def parse_time(text: str) -> int:
    """Unix nanoseconds. Raises AdminError."""
    found = _TIME.fullmatch(text)
    try:
        if found is None:
            raise ValueError
        whole = datetime.fromisoformat(found[1] + found[3])
    except ValueError:
        raise AdminError(400, f'"{text}" is no time: write it like 2026-01-31T12:34:56Z') from None
    return int(whole.timestamp()) * SECOND_NS + int((found[2] or "").ljust(9, "0"))
