"""Messages as the commands print them: text, raw bytes, JSON, or the Go-quoted form.

Text shows UTF-8 as what it says and everything else as escapes, so that no payload can play
with the terminal. JSON is one object a line, with the bytes in base64 and, where they are
UTF-8, as text. Nothing is fetched here.
"""

import base64
import json
import sys
from dataclasses import dataclass
from datetime import UTC, datetime

from stan.cli.tables import is_terminal, printable
from stan.cli.text import say
from stan.client.message import Message, quote
from stan.units import SECOND_NS

FORMS = ("text", "raw", "json", "quote")


@dataclass(frozen=True, slots=True)
class Shown:
    """A message that is to be printed."""

    channel: str
    sequence: int
    timestamp_ns: int
    data: bytes
    reply: str = ""
    redelivery_count: int = 0

    @classmethod
    def of(cls, message: Message) -> "Shown":
        """One that was delivered."""
        return cls(
            message.channel,
            message.sequence,
            message.timestamp,
            message.data,
            message.reply,
            message.redelivery_count or int(message.redelivered),
        )


def readable(data: bytes) -> str:
    """UTF-8 as text in one line's worth of escapes; other bytes as octal escapes."""
    try:
        return printable(data.decode())
    except UnicodeDecodeError:
        return quote(data)[1:-1]


def quote_text(data: bytes) -> str:
    """In double quotes like `quote`, with UTF-8 left as it is where it can be seen."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        return quote(data)
    if text.isascii():
        return quote(data)
    parts = (one if one.isprintable() and one not in '"\\' else _escape(one) for one in text)
    return '"' + "".join(parts) + '"'


def _escape(one: str) -> str:
    return quote(one.encode())[1:-1]


def rfc3339(timestamp_ns: int) -> str:
    """UTC, with nanoseconds."""
    seconds, rest_ns = divmod(timestamp_ns, SECOND_NS)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{rest_ns:09}Z"


def write_message(shown: Shown, form: str, *, newline: bool = True) -> None:
    """Write it to stdout at once. Raises OSError when nobody reads any more."""
    if form == "raw":
        end = b"\n" if newline else b""
        sys.stdout.flush()
        sys.stdout.buffer.write(shown.data + end)
        sys.stdout.buffer.flush()
    elif form == "json":
        say(json.dumps(as_json(shown), ensure_ascii=False))
    else:
        say(f"{_head(shown)}{quote(shown.data) if form == 'quote' else readable(shown.data)}")


def as_json(shown: Shown) -> dict[str, object]:
    """The object that is written."""
    found: dict[str, object] = {
        "channel": shown.channel,
        "sequence": shown.sequence,
        "time": rfc3339(shown.timestamp_ns),
        "data": base64.b64encode(shown.data).decode(),
    }
    try:
        found["text"] = shown.data.decode()
    except UnicodeDecodeError:
        pass
    if shown.reply:
        found["reply"] = shown.reply
    if shown.redelivery_count:
        found["redelivery_count"] = shown.redelivery_count
    return found


def _head(shown: Shown) -> str:
    """What stands before the data: sequence, time, and whether it was here before."""
    again = f" redelivered {shown.redelivery_count}" if shown.redelivery_count else ""
    if not is_terminal():
        return f"#{shown.sequence}\t{rfc3339(shown.timestamp_ns)}{again}\t"
    time = datetime.fromtimestamp(shown.timestamp_ns // SECOND_NS)
    millis = shown.timestamp_ns // 1_000_000 % 1000
    return _dim(f"#{shown.sequence} {time:%Y-%m-%d %H:%M:%S}.{millis:03}{again}") + "  "


def _dim(text: str) -> str:
    import os

    colours = not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"
    return f"\x1b[2m{text}\x1b[0m" if colours else text
