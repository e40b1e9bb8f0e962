"""Bytes that wait on disk: written in order, read back once, freed as they are read.

They lie in temporary files without a name, which vanish with the process, however it ends.
Nothing here knows what the bytes are. Invariant: no more than `limit_bytes` wait, and a file
that nobody waits for any more is closed, which gives its space back.
"""

import errno
import os
import tempfile
from typing import BinaryIO

SEGMENT_BYTES = 64 * 1024 * 1024
# So many pieces are written at once where they lie; smaller ones are joined before.
_MOST_PARTS = 1024
_SMALL_BYTES = 4096


class Segment:
    """One file. `written` is where the next bytes go, `waiting` how many are still wanted."""

    def __init__(self, directory: str) -> None:
        # Unbuffered, and without a name from the start.
        self.file: BinaryIO = tempfile.TemporaryFile(  # noqa: SIM115
            prefix="stan-intake-", dir=directory or None, buffering=0
        )
        self.written = 0
        self.waiting = 0


class Extent:
    """Where some bytes are."""

    __slots__ = ("position", "segment", "size")

    def __init__(self, segment: Segment, position: int, size: int) -> None:
        self.segment = segment
        self.position = position
        self.size = size


class Spill:
    """`directory` may be empty for the system's own; a limit of 0 is none."""

    def __init__(self, directory: str = "", limit_bytes: int = 0) -> None:
        self.directory = directory
        self.limit_bytes = limit_bytes
        self.waiting_bytes = 0
        self._last: Segment | None = None
        self._open: set[Segment] = set()

    def put(self, parts: list[bytes]) -> Extent:
        """Write these bytes. Raises OSError, and nothing is kept, when they cannot be."""
        size = sum(map(len, parts))
        if self.limit_bytes and self.waiting_bytes + size > self.limit_bytes:
            raise OSError(errno.EDQUOT, f"{self.limit_bytes} bytes wait already")
        segment = self._last
        if segment is None:
            segment = self._last = Segment(self.directory)
            self._open.add(segment)
        position = segment.written
        if len(parts) > _MOST_PARTS or size < len(parts) * _SMALL_BYTES:
            parts = [b"".join(parts)]
        written = os.pwritev(segment.file.fileno(), parts, position)
        if written < size:  # as when the disk is all but full
            view = memoryview(b"".join(parts))
            while written < size:
                written += os.pwrite(segment.file.fileno(), view[written:], position + written)
        segment.written += size
        segment.waiting += size
        self.waiting_bytes += size
        if segment.written >= SEGMENT_BYTES:
            self._last = None
        return Extent(segment, position, size)

    def take(self, extent: Extent) -> bytes:
        """Read what `put` wrote there, and forget it. Raises OSError."""
        segment = extent.segment
        size = extent.size
        try:
            data = os.pread(segment.file.fileno(), size, extent.position)
            while len(data) < size:
                more = os.pread(
                    segment.file.fileno(), size - len(data), extent.position + len(data)
                )
                if not more:
                    raise OSError(errno.EIO, "a part of what was written is missing")
                data += more
        finally:
            self._forget(segment, size)
        return data

    def _forget(self, segment: Segment, size: int) -> None:
        segment.waiting -= size
        self.waiting_bytes -= size
        if not segment.waiting:
            segment.file.close()
            self._open.discard(segment)
            if self._last is segment:
                self._last = None

    def close(self) -> None:
        """Give up everything that waits."""
        for segment in self._open:
            segment.file.close()
        self._open.clear()
        self._last = None
        self.waiting_bytes = 0
