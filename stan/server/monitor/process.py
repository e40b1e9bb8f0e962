"""This process as its operating system sees it: files, memory, time.

Everything comes from procfs and is 0 where there is none; nothing here raises.
"""

import os
import resource
import time

_PAGE_BYTES = resource.getpagesize()


def count_open_files() -> int:
    """How many file descriptors are open."""
    try:
        return len(os.listdir("/proc/self/fd")) - 1  # one of them reads the directory
    except OSError:
        return 0


def max_open_files() -> int:
    """How many file descriptors may be open; 0 when there is no limit, or no procfs."""
    if not os.path.isdir("/proc/self/fd"):
        return 0
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return limit if limit != resource.RLIM_INFINITY else 0


def resident_bytes() -> int:
    """The physical memory in use."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * _PAGE_BYTES
    except (OSError, ValueError, IndexError):
        return 0


def cpu_s() -> float:
    """The processor time used so far, in seconds."""
    return time.process_time()
