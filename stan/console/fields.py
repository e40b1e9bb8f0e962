"""What people type into forms, as the operations want it. Raises ValueError, in plain words."""

from stan.console.formats import parse_moment
from stan.units import SECOND_NS, format_duration, parse_duration, parse_size

_FIELDS = ("max_msgs", "max_bytes", "max_age_s", "max_inactivity_s", "max_subs")


def read_number(text: str, least: int = 0) -> int:
    """A whole number; commas and spaces between the digits are read over."""
    digits = text.replace(",", "").replace(" ", "")
    if not (digits.isascii() and digits.isdigit() and len(digits) <= 20 and int(digits) >= least):
        raise ValueError(f'"{text[:40]}" is no whole number from {least} on')
    return int(digits)


def read_time(text: str) -> str:
    """A time in UTC, as a browser's field or RFC 3339 writes it, as RFC 3339."""
    if "T" not in text and " " not in text:
        raise ValueError(f'"{text[:40]}" is no time: write it like 2026-01-31T12:34:56')
    parsed = parse_moment(text.replace(" ", "T", 1))
    if parsed is None:
        raise ValueError(f'"{text[:40]}" is no time: write it like 2026-01-31T12:34:56')
    if text.endswith("Z") and "." in text:
        return text.replace(" ", "T", 1)  # with all its decimals
    return parsed.isoformat(timespec="microseconds").replace("+00:00", "Z")


def read_limits(form: dict[str, str]) -> dict[str, float]:
    """Those limits that were typed: numbers, sizes like 10MB, durations like 1h30m."""
    limits: dict[str, float] = {}
    for name in _FIELDS:
        text = form.get(name, "").strip()
        if not text:
            continue
        if name == "max_bytes":
            limits[name] = parse_size(text)
        elif name.endswith("_s"):
            limits[name] = _seconds(text)
        else:
            limits[name] = read_number(text)
        if limits[name] < 0:
            raise ValueError(f'"{text[:40]}" is below zero')
    return limits


def write_span(value_s: float) -> str:
    """Seconds as `read_limits` reads them."""
    return format_duration(int(value_s * SECOND_NS))


def _seconds(text: str) -> float:
    duration_ns = parse_duration(text) if not text.isdigit() else int(text) * SECOND_NS
    whole, rest = divmod(duration_ns, SECOND_NS)
    return whole if not rest else duration_ns / SECOND_NS
