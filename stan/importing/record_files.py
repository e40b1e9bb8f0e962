"""The original's data files: a version, then records, each with its size and a CRC-32.

Blocking and streaming; what a record means is stan.importing.file_origin's. Invariants: a
file is never written, a torn end is only forgiven where the original could have been
stopped in the middle of a write, and every error names the file and the offset.
"""

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, NamedTuple
from zlib import crc32

from stan.errors import OriginError
from stan.importing.origin import Warn

_VERSION = 1
_VERSION_BYTES = 4
_HEADER = struct.Struct("<II")
_SIZE_MASK = 0xFFFFFF


class Record(NamedTuple):
    """A record's place in its file, its kind (0 where records have none), what it holds."""

    offset: int
    kind: int
    payload: bytes


def read_records(
    path: Path, warn: Warn, *, typed: bool = False, check_crc: bool = True, growing: bool = True
) -> Iterator[Record]:
    """The records of a file that is there.

    `growing` says that the original was writing at its end, so that the last record may be
    torn: then it is left out with a warning. Raises OriginError.
    """
    try:
        with path.open("rb") as file:
            size_bytes = path.stat().st_size
            if size_bytes == 0:
                return
            _check_version(path, file)
            offset = _VERSION_BYTES
            while record := _read_record(path, file, offset, size_bytes, typed, check_crc):
                yield record
                offset = file.tell()
    except _Torn as torn:
        if not growing:
            raise OriginError(str(torn)) from None
        warn(f"{torn}; the {torn.lost_bytes} bytes from there on are left out")
    except OSError as error:
        raise OriginError(f"{path} cannot be read: {error.strerror}") from None


class _Torn(Exception):
    """The last record is not whole."""

    def __init__(self, path: Path, offset: int, lost_bytes: int) -> None:
        super().__init__(f"{path} ends in the middle of the record at offset {offset}")
        self.lost_bytes = lost_bytes


def _check_version(path: Path, file: BinaryIO) -> None:
    head = file.read(_VERSION_BYTES)
    version = int.from_bytes(head, "little")
    if len(head) < _VERSION_BYTES or version != _VERSION:
        raise OriginError(f"{path} is not a data file of nats-streaming-server, version 1")


def _read_record(
    path: Path, file: BinaryIO, offset: int, size_bytes: int, typed: bool, check_crc: bool
) -> Record | None:
    """The next record; None at the end of the data, which may come before that of the file."""
    head = file.read(_HEADER.size)
    if not any(head):  # the end of the file, or of what was written of it
        return None
    if len(head) < _HEADER.size:
        raise _Torn(path, offset, size_bytes - offset)
    first, crc = _HEADER.unpack(head)
    kind, length = (first >> 24, first & _SIZE_MASK) if typed else (0, first)
    if length > size_bytes - offset - _HEADER.size:
        raise _Torn(path, offset, size_bytes - offset)
    payload = file.read(length)
    if check_crc and crc32(payload) != crc:
        if file.tell() == size_bytes:
            raise _Torn(path, offset, size_bytes - offset)
        raise OriginError(
            f"{path} is damaged: the record at offset {offset} does not match its checksum"
        )
    return Record(offset, kind, payload)
