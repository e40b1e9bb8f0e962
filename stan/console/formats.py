"""Numbers, sizes, times and payloads as people read them. Text in, text out, nothing raised."""

import json
from datetime import UTC, datetime

_SIZES = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_HEX_COLUMNS = 16
# What a page shows of one payload in full; the rest is behind the download.
SHOWN_BYTES = 4096


def count(value: float) -> str:
    """12345678 as 12,345,678; a fraction keeps one decimal."""
    if isinstance(value, float) and not value.is_integer():
        return f"{value:,.1f}"
    return f"{int(value):,}"


def size(value: float) -> str:
    """A count of bytes with a unit."""
    scaled = float(value)
    for unit in _SIZES[:-1]:
        if abs(scaled) < 1024:
            return f"{int(scaled)} B" if unit == "B" else f"{scaled:.1f} {unit}"
        scaled /= 1024
    return f"{scaled:,.1f} {_SIZES[-1]}"


def rate(value: float) -> str:
    """Per second."""
    return f"{count(round(value, 1))}/s"


def milliseconds(value: float) -> str:
    """A latency."""
    return f"{value:,.2f} ms" if value < 10 else f"{value:,.0f} ms"


def span(value_s: float) -> str:
    """A duration by its two largest units: 3d 4h, 5m 7s, 0.3s."""
    if value_s < 1:
        return f"{max(value_s, 0):.1f}s" if value_s > 0 else "0s"
    rest = int(value_s)
    parts: list[str] = []
    for unit, length in (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1)):
        whole, rest = divmod(rest, length)
        if whole or parts:
            parts.append(f"{whole}{unit}")
    shown = [part for part in parts[:2] if not part.startswith("0")]
    return " ".join(shown)


def moment(text: str) -> str:
    """A time of the operations, to the second: 2026-01-31 12:34:56."""
    return text[:19].replace("T", " ") if text else "-"


def parse_moment(text: str) -> datetime | None:
    """A time of the operations; None for none."""
    if not text:
        return None
    whole, _, fraction = text.removesuffix("Z").partition(".")
    try:
        parsed = datetime.fromisoformat(f"{whole}.{(fraction + '000000')[:6]}")
    except ValueError:
        return None
    return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed


def age_s(text: str, now: datetime) -> float:
    """Seconds since a time of the operations; 0 for none."""
    then = parse_moment(text)
    return max((now - then).total_seconds(), 0.0) if then is not None else 0.0


def show_text(data: bytes) -> str | None:
    """The payload as text, None when it is none."""
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        # The end may be cut within a character.
        if error.end < len(data) or error.reason != "unexpected end of data":
            return None
        text = data[: error.start].decode()
    has_controls = any(ord(one) < 32 and one not in "\n\r\t" for one in text)
    return None if has_controls else text


def show_json(data: bytes) -> str | None:
    """The payload as indented JSON, None when it is none."""
    try:
        return json.dumps(json.loads(data), indent=2, ensure_ascii=False)
    except (ValueError, RecursionError):
        return None


def show_hex(data: bytes) -> str:
    """The payload as a dump: offset, bytes, characters."""
    lines = []
    for start in range(0, len(data), _HEX_COLUMNS):
        row = data[start : start + _HEX_COLUMNS]
        characters = "".join(chr(one) if 32 <= one < 127 else "." for one in row)
        lines.append(f"{start:08x}  {row.hex(' '):<47}  {characters}")
    return "\n".join(lines)
