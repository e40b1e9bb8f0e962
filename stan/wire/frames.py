"""The framing of the NATS client protocol, a read chunk at a time.

`split` turns a chunk of what a NATS server sent into frames for the subscriptions that
are *tapped*, and leaves every other operation as bytes for somebody else. A frame is
``(subject, reply, payload)``; a payload of None means that the NATS server found nobody
listening (status 503). `pub` is the way out. Nothing here keeps state between calls, but for
the lines that a caller lets `split` remember.
"""

from typing import Final

Frame = tuple[bytes, bytes, bytes | None]
# What a MSG line says: subject, reply, size of the payload; and the line without that size.
Said = tuple[bytes, bytes, int, bytes]

CRLF = b"\r\n"
# Longer lines are not remembered: clients choose much of what is in them.
MEMORABLE_BYTES: Final = 512


def split(
    chunk: bytes, tapped: frozenset[bytes], known: dict[bytes, Said] | None = None
) -> tuple[list[Frame], list[bytes], int, int]:
    """Split the complete operations at the start of `chunk`.

    `tapped` holds subscription IDs as they stand on the wire. Returns the frames of those, the
    other operations whole (in order), how many bytes were consumed, and how many the unfinished
    operation behind them is known to need (0 when its length is not known yet).

    `known` holds lines of tapped subscriptions that came before, and gets those that come now:
    they are looked up, not read again. Whoever gives it bounds it, and empties it when `tapped`
    changes.
    """
    if known is None:
        known = {}
    frames: list[Frame] = []
    others: list[bytes] = []
    find, startswith = chunk.find, chunk.startswith
    # The last frame's line, and all of it but the size: neighbors often share one of the two.
    line = head = subject = reply = b""
    line_size = head_size = length = 0
    position, size = 0, len(chunk)
    while position < size:
        if head_size and startswith(head, position):
            while startswith(line, position):
                start = position + line_size
                end = start + length
                if end + 2 > size:
                    return frames, others, position, end + 2 - position
                frames.append((subject, reply, chunk[start:end]))
                position = end + 2
            if not startswith(head, position):
                continue
            line_end = find(CRLF, position + head_size)
            digits = chunk[position + head_size : line_end] if line_end > 0 else b""
            if digits.isdigit():
                length, line_size = int(digits), line_end + 2 - position
                line = chunk[position : line_end + 2]
                continue
        line_end = find(CRLF, position)
        if line_end < 0:
            return frames, others, position, 0
        start = line_end + 2
        operation = chunk[position:start]
        said = known.get(operation)
        sid, headers_size = b"", 0
        if said is None:
            said, sid, headers_size = _read(operation)
            if not sid:
                others.append(operation)
                position = start
                continue
        end = start + said[2]
        if end + 2 > size:
            return frames, others, position, end + 2 - position
        if sid and sid not in tapped:
            others.append(chunk[position : end + 2])
            position = end + 2
            continue
        subject, reply, length, head = said
        line, line_size, head_size = operation, start - position, len(head)
        if sid and head_size and line_size <= MEMORABLE_BYTES:
            known[operation] = said
        body = start + headers_size
        nobody = headers_size and body == end and startswith(b"NATS/1.0 503", start)
        frames.append((subject, reply, None if nobody else chunk[body:end]))
        position = end + 2
    return frames, others, position, 0


def _read(operation: bytes) -> tuple[Said, bytes, int]:
    """What a line says, the subscription's ID, and the size of the headers. No ID: it is no
    message. Raises ValueError for impossible sizes."""
    first = operation[0]
    # M: "MSG subject sid [reply] size", H: "HMSG subject sid [reply] header-size size".
    words = operation.split() if first == 77 or first == 72 else []
    extra = 0 if first == 77 else 1
    count = len(words) - extra
    if (count != 4 and count != 5) or words[0] != (b"HMSG" if extra else b"MSG"):
        return (b"", b"", 0, b""), b"", 0
    size = int(words[-1])
    headers_size = int(words[-2]) if extra else 0
    if not 0 <= headers_size <= size:
        raise ValueError("impossible size")
    # Not with headers, nor with white space behind the size, which NATS never writes.
    is_plain = not extra and operation.endswith(words[-1] + CRLF)
    head = operation[: -2 - len(words[-1])] if is_plain else b""
    return (words[1], words[3] if count == 5 else b"", size, head), words[2], headers_size


def pub(subject: str | bytes, payload: bytes, reply: str | bytes = b"") -> bytes:
    """One PUB operation. The subject must be one that NATS can carry."""
    to = subject.encode() if isinstance(subject, str) else subject
    back = reply.encode() if isinstance(reply, str) else reply
    if back:
        return b"PUB %b %b %d\r\n%b\r\n" % (to, back, len(payload), payload)
    return b"PUB %b %d\r\n%b\r\n" % (to, len(payload), payload)
