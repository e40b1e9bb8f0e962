"""Durations and sizes as operators write them: Go durations, sizes with units.

Only conversions between text and integers live here, with no knowledge of any option.
Inside the program a duration is a count of nanoseconds and a size a count of bytes;
whatever `format_duration` writes, `parse_duration` reads back to the same number.
"""

import re
from fractions import Fraction

SECOND_NS = 1_000_000_000

_UNITS_NS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": SECOND_NS,
    "m": 60 * SECOND_NS,
    "h": 3_600 * SECOND_NS,
}
_DURATION = re.compile(r"([-+]?)((?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+)")
_DURATION_PART = re.compile(r"(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)")

_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}
_SIZE = re.compile(r"([-+]?\d+)\s*([kmgt]?)(i?b?)", re.IGNORECASE)

_MAX_INT64 = 2**63 - 1


def parse_duration(text: str) -> int:
    """Nanoseconds in a Go duration such as ``1h30m``, ``1.5s``, ``-10ms`` or ``0``.

    Raises ValueError, naming the text, for anything else.
    """
    if text in ("0", "+0", "-0"):
        return 0
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(f"invalid duration {text!r}: write it like 30s, 1h15m or 500ms")
    total = sum(
        (Fraction(number) * _UNITS_NS[unit] for number, unit in _DURATION_PART.findall(match[2])),
        Fraction(0),
    )
    nanoseconds = int(total)
    if nanoseconds > _MAX_INT64:
        raise ValueError(f"invalid duration {text!r}: too long")
    return -nanoseconds if match[1] == "-" else nanoseconds


def format_duration(duration_ns: int) -> str:
    """The duration as Go prints it: ``0s``, ``1.5ms``, ``1h30m5.5s``."""
    if duration_ns < 0:
        return "-" + format_duration(-duration_ns)
    if duration_ns == 0:
        return "0s"
    if duration_ns < 1_000:
        return f"{duration_ns}ns"
    if duration_ns < 1_000_000:
        return f"{_decimal(duration_ns, 1_000)}µs"
    if duration_ns < SECOND_NS:
        return f"{_decimal(duration_ns, 1_000_000)}ms"
    minutes, rest_ns = divmod(duration_ns, _UNITS_NS["m"])
    seconds = f"{_decimal(rest_ns, SECOND_NS)}s"
    if minutes == 0:
        return seconds
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes}m{seconds}" if hours else f"{minutes}m{seconds}"


def parse_size(text: str) -> int:
    """Bytes in a size such as ``1000``, ``64KB`` or ``1g``. As in the NATS configuration
    language ``KB``, ``KiB`` and ``Ki`` are 1024 bytes, a bare ``k`` is 1000.

    Raises ValueError, naming the text, for anything else.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"invalid size {text!r}: write it like 1000, 64KB or 2GB")
    base = 1024 if match[3] else 1000
    return int(match[1]) * int(base ** _POWERS[match[2].lower()])


def format_size(size_bytes: int) -> str:
    """The size as the startup banner prints it: ``512 B``, ``976.56 MB``."""
    if size_bytes < 1 << 10:
        return f"{size_bytes} B"
    for unit, scale in (("KB", 1 << 10), ("MB", 1 << 20), ("GB", 1 << 30)):
        if size_bytes < scale << 10:
            return f"{size_bytes / scale:.2f} {unit}"
    return f"{size_bytes / (1 << 40):.2f} TB"


def _decimal(value: int, scale: int) -> str:
    whole, rest = divmod(value, scale)
    if rest == 0:
        return str(whole)
    digits = len(str(scale)) - 1
    return f"{whole}.{rest:0{digits}d}".rstrip("0")
