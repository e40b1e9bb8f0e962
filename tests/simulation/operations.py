"""A strict reader of what the engine sends: every byte must belong to a well-formed PUB.

Subjects are split on single spaces and checked character by character, so that nothing a
client says can become an operation of its own. Nothing here is lenient on purpose.
"""

from collections.abc import Iterator

MAX_CONTROL_LINE_BYTES = 4096

Operation = tuple[bytes, bytes, bytes]


class MalformedError(AssertionError):
    """The engine asked to send something that a NATS server would not accept."""


def read_operations(data: bytes, max_payload_bytes: int = 1_048_576) -> Iterator[Operation]:
    """Yield (subject, reply, payload) of each operation in `data`. Raises MalformedError."""
    position = 0
    while position < len(data):
        line_end = data.find(b"\r\n", position)
        if line_end < 0:
            raise MalformedError(f"no end of line in {data[position : position + 80]!r}")
        line = data[position:line_end]
        if len(line) > MAX_CONTROL_LINE_BYTES:
            raise MalformedError(f"a control line of {len(line)} bytes")
        words = line.split(b" ")
        if len(words) not in (3, 4) or words[0] != b"PUB":
            raise MalformedError(f"not a PUB: {line[:80]!r}")
        subject, reply = words[1], words[2] if len(words) == 4 else b""
        check_subject(subject)
        if len(words) == 4:
            check_subject(reply)
        if not words[-1].isdigit():
            raise MalformedError(f"not a size: {line[:80]!r}")
        start = line_end + 2
        end = start + int(words[-1])
        if end - start > max_payload_bytes:
            raise MalformedError(f"a payload of {end - start} bytes")
        if data[end : end + 2] != b"\r\n":
            raise MalformedError(f"a payload of another size than said: {line[:80]!r}")
        yield subject, reply, data[start:end]
        position = end + 2


_FORBIDDEN = frozenset(b" \t\r\n\x00\x0b\x0c")


def check_subject(subject: bytes) -> None:
    """Raise MalformedError when NATS would not carry a message on this subject."""
    tokens = subject.split(b".")
    if not _FORBIDDEN.isdisjoint(subject) or not {b"", b"*", b">"}.isdisjoint(tokens):
        raise MalformedError(f"not a subject to publish on: {subject[:80]!r}")
