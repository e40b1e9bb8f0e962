"""What the system tells about processes under measurement: CPU time and memory.

Nothing here starts or ends one, or knows what is measured. Invariant: where the system does
not tell, the answer is 0, never an error.
"""

import os
import re
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """User and system time of a process and of its children that have ended, in seconds."""
    try:
        words = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except OSError:
        return 0.0
    return sum(int(word) for word in words[11:15]) / _TICKS_PER_S


def peak_memory_bytes(pid: int) -> int:
    """The most memory that the process ever had resident."""
    return _status_bytes(pid, "VmHWM")


def resident_bytes(pid: int) -> int:
    """The memory that the process has resident now."""
    return _status_bytes(pid, "VmRSS")


def _status_bytes(pid: int, field: str) -> int:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    found = re.search(rf"{field}:\s+(\d+) kB", status)
    return int(found.group(1)) * 1024 if found else 0
