"""How much memory there is for what NATS has not handed over yet.

A NATS server cuts off a connection that lags further behind than `max_pending`, and the
publishers of large messages fill that faster than anybody can read: three of them send 2 GB a
second. What is cut off loses all that was on its way, so the bound is as large as the memory
allows. Only files of the system are read.
"""

import os
from pathlib import Path, PurePosixPath

# Where Linux has groups of processes, and which file says what one of them may take in memory, by
# the version of the groups.
_GROUPS, _OWN_GROUPS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")
_LIMITS = (("", "memory.max"), ("memory", "memory.limit_in_bytes"))
# What one lagging connection may cost of all the memory: a quarter, or all but this much, which
# is for both servers.
SHARE = 4
OURS_BYTES = 512 * 1024 * 1024
LEAST_BYTES = 64 * 1024 * 1024  # the default of a NATS server
MOST_BYTES = 1024 * 1024 * 1024
# Where the system does not tell.
UNKNOWN_BYTES = 1024 * 1024 * 1024


def choose_max_pending(memory_bytes: int) -> int:
    """What a connection may lag behind on a machine, or in a container, with so much memory."""
    room_bytes = max(memory_bytes // SHARE, memory_bytes - OURS_BYTES)
    return max(LEAST_BYTES, min(room_bytes, MOST_BYTES))


def find_memory_bytes(groups: Path = _GROUPS, own: Path = _OWN_GROUPS) -> int:
    """The memory of the machine, or what this container, or this service, may take of it."""
    try:
        found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        found = UNKNOWN_BYTES
    paths = _find_own_groups(own)
    for controller, name in _LIMITS:
        path = PurePosixPath(paths.get(controller, "/"))
        for group in (path, *path.parents):  # each of them limits what is below it
            try:
                words = (groups / controller / str(group)[1:] / name).read_text().split()
            except OSError:  # a container sees its own group as the root
                continue
            if words and words[0].isdigit():  # "max" is none
                found = min(found, int(words[0]))
    return found


def _find_own_groups(own: Path) -> dict[str, str]:
    """In which group we are, by controller; version 2 has none."""
    try:
        lines = [line.split(":", 2) for line in own.read_text().splitlines()]
    except OSError:
        return {}
    return {
        controller: path
        for _, controllers, path in [line for line in lines if len(line) == 3]
        for controller in controllers.split(",")
        if path.startswith("/")
    }
