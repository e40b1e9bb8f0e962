"""A file system that forgets what was not synced, in memory, by FUSE.

A write is known to the system at once and to the disk after fsync; a name after the fsync of
its folder. `cut` tells what would be on the disk if the power failed now: nothing that was
not synced, or the first part of it, or any of its sectors. The system goes on as if nothing
had happened, so that one run gives many cuts. It can also refuse a write or a sync now and
then, as a disk that is full or failing does.

It runs in a thread of the test; root, /dev/fuse and libfuse are needed.
"""

import errno
import os
import random
import stat
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import mfusepy

SECTOR_BYTES = 512
ROOT = "/"
# Faults of the disk, each a number of the system's.
FAULTS = (errno.EIO, errno.ENOSPC)
Image = dict[str, bytes]


@dataclass
class Change:
    """A write or, without data, a truncation to `offset`; or a name, given or taken."""

    number: int
    offset: int = 0
    data: bytes | None = None


@dataclass
class File:
    now: bytearray = field(default_factory=bytearray)
    synced: bytearray = field(default_factory=bytearray)
    unsynced: list[Change] = field(default_factory=list)


@dataclass
class Naming:
    number: int
    name: str
    file: File | None


class ForgetfulDisk(mfusepy.Operations):  # type: ignore[misc]
    """Use as ``with``; `folder` is where it is mounted."""

    use_ns = True

    def __init__(self, folder: Path, seed: int) -> None:
        self.folder = folder
        self.fault_rate = 0.0
        self.faults = 0
        self.syncs = 0
        self._random = random.Random(seed)
        self._lock = threading.RLock()
        self._number = 0
        self._files: dict[str, File] = {}
        self._synced_names: dict[str, File] = {}
        self._namings: list[Naming] = []
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> "ForgetfulDisk":
        self._thread.start()
        for _ in range(500):
            if os.path.ismount(self.folder):
                return self
            if not self._thread.is_alive():
                break
            time.sleep(0.01)  # a mount tells nobody when it is there
        raise OSError(f"cannot mount a FUSE file system at {self.folder}")

    def __exit__(self, *_: object) -> None:
        subprocess.run(["umount", "-l", str(self.folder)], check=False)
        self._thread.join(10)

    def _serve(self) -> None:
        mfusepy.FUSE(self, str(self.folder), foreground=True, nothreads=True)

    def cut(self, survivors: str) -> Image:
        """What is on the disk after a power cut now. Of what was not synced survives
        "nothing", a "prefix" in the order of time, or any "sectors"."""
        with self._lock:
            changes = [change for file in self._files.values() for change in file.unsynced]
            numbers = sorted(each.number for each in [*changes, *self._namings])
            last = 0
            if survivors == "prefix" and numbers:
                last = self._random.choice(numbers)
            names = dict(self._synced_names)
            for naming in self._namings:
                if self._survives(survivors, naming.number, last):
                    _name(names, naming)
            return {
                name: self._content(file, survivors, last) for name, file in sorted(names.items())
            }

    def _survives(self, survivors: str, number: int, last: int) -> bool:
        if survivors == "sectors":
            return self._random.random() < 0.5
        return survivors == "prefix" and number <= last

    def _content(self, file: File, survivors: str, last: int) -> bytes:
        content = bytearray(file.synced)
        for change in file.unsynced:
            if survivors != "sectors" or change.data is None:
                if self._survives(survivors, change.number, last):
                    _apply(content, change)
                continue
            for start in range(0, len(change.data), SECTOR_BYTES):
                if self._survives(survivors, change.number, last):
                    sector = change.data[start : start + SECTOR_BYTES]
                    _apply(content, Change(0, change.offset + start, sector))
        return bytes(content)

    def _next(self) -> int:
        self._number += 1
        return self._number

    def _find(self, path: str) -> File:
        file = self._files.get(path)
        if file is None:
            raise mfusepy.FuseOSError(errno.ENOENT)
        return file

    def _fail_now_and_then(self, faults: tuple[int, ...] = FAULTS) -> None:
        if self.fault_rate and self._random.random() < self.fault_rate:
            self.faults += 1
            raise mfusepy.FuseOSError(self._random.choice(faults))

    def _rename(self, name: str, file: File | None) -> None:
        naming = Naming(self._next(), name, file)
        self._namings.append(naming)
        _name(self._files, naming)

    # What the kernel asks for.

    def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
        if path == ROOT:
            return {"st_mode": stat.S_IFDIR | 0o755, "st_nlink": 2}
        with self._lock:
            size = len(self._find(path).now)
        return {"st_mode": stat.S_IFREG | 0o644, "st_nlink": 1, "st_size": size}

    def readdir(self, path: str, fh: int) -> list[str]:
        with self._lock:
            return [".", "..", *(name[1:] for name in self._files)]

    def statfs(self, path: str) -> dict[str, int]:
        return {"f_bsize": 4096, "f_frsize": 4096, "f_blocks": 1 << 20, "f_bavail": 1 << 20}

    def create(self, path: str, mode: int, fi: Any = None) -> int:
        with self._lock:
            self._rename(path, File())
        return 0

    def open(self, path: str, flags: int) -> int:
        with self._lock:
            self._find(path)
        return 0

    def chmod(self, path: str, mode: int) -> int:
        return 0

    def chown(self, path: str, uid: int, gid: int) -> int:
        return 0

    def utimens(self, path: str, times: Any = None) -> int:
        return 0

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        with self._lock:
            if not path.endswith("-shm"):
                self._fail_now_and_then((errno.EIO,))
            return bytes(self._find(path).now[offset : offset + size])

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        with self._lock:
            if not path.endswith("-shm"):  # memory that processes share, not storage
                self._fail_now_and_then()
            self._change(path, Change(self._next(), offset, bytes(data)))
        return len(data)

    def truncate(self, path: str, length: int, fh: int | None = None) -> int:
        with self._lock:
            self._change(path, Change(self._next(), length))
        return 0

    def _change(self, path: str, change: Change) -> None:
        file = self._find(path)
        file.unsynced.append(change)
        _apply(file.now, change)

    def unlink(self, path: str) -> int:
        with self._lock:
            self._find(path)
            self._rename(path, None)
        return 0

    def rename(self, old: str, new: str, flags: int = 0) -> int:
        with self._lock:
            file = self._find(old)
            self._rename(new, file)
            self._rename(old, None)
        return 0

    def fsync(self, path: str, datasync: int, fh: int) -> int:
        with self._lock:
            self._fail_now_and_then()
            self.syncs += 1
            file = self._find(path)
            for change in file.unsynced:
                _apply(file.synced, change)
            file.unsynced.clear()
        return 0

    def fsyncdir(self, path: str, datasync: int, fh: int) -> int:
        with self._lock:
            self._synced_names = dict(self._files)
            self._namings.clear()
        return 0


def _apply(content: bytearray, change: Change) -> None:
    end = change.offset + len(change.data or b"")
    if len(content) < end:
        content.extend(bytes(end - len(content)))
    if change.data is None:
        del content[change.offset :]
    else:
        content[change.offset : end] = change.data


def _name(names: dict[str, File], naming: Naming) -> None:
    if naming.file is None:
        names.pop(naming.name, None)
    else:
        names[naming.name] = naming.file
