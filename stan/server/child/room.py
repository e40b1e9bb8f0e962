"""How much memory there is for what NATS has not handed over yet.

A NATS server cuts off a connection that lags further behind than `max_pending`, and the
publishers of large messages fill that faster than anybody can read: three of them send 2 GB a
second. What is cut off loses all that was on its way, so the bound is as large as the memory
allows. Only files of the system are read.
"""

import os
from pathlib import Path

# Where Linux says what the processes of this container may take, by the version of its groups.
_LIMITS = ("memory.max", "memory/memory.limit_in_bytes")
# What one lagging connection may cost of all the memory.
SHARE = 4
LEAST_BYTES = 64 * 1024 * 1024  # the default of a NATS server
MOST_BYTES = 1024 * 1024 * 1024
# Where the system does not tell.
UNKNOWN_BYTES = 1024 * 1024 * 1024


def choose_max_pending(memory_bytes: int) -> int:
    """What a connection may lag behind on a machine, or in a container, with so much memory."""
    return max(LEAST_BYTES, min(memory_bytes // SHARE, MOST_BYTES))


def find_memory_bytes(groups: Path = Path("/sys/fs/cgroup")) -> int:
    """The memory of the machine, or what this container may take of it."""
    try:
        found = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        found = UNKNOWN_BYTES
    for name in _LIMITS:
        try:
            words = (groups / name).read_text().split()
        except OSError:
            continue
        if words and words[0].isdigit():  # "max" is none
            found = min(found, int(words[0]))
    return found
