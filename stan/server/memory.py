"""How the process deals with the memory that messages took: it keeps it for the next ones.

The C library gives large pieces back to the kernel as soon as they are freed. Getting them
anew costs a page fault for each 4 KB, eight times what copying a message of 1 MB costs, and
so much that a NATS server can send faster than we read. Only the GNU library is asked.
"""

import ctypes

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
# What is free at the end of the heap and more than this is given back.
KEPT_BYTES = 64 * 1024 * 1024
# Pieces below this, the most the library takes, come from the heap.
HEAP_PIECE_BYTES = 32 * 1024 * 1024


def keep_freed_memory() -> None:
    """To be called once, before there is load."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):  # another C library
        return
    mallopt(_M_TRIM_THRESHOLD, KEPT_BYTES)
    mallopt(_M_MMAP_THRESHOLD, HEAP_PIECE_BYTES)
