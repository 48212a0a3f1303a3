"""Lets a long-running process give memory back that it no longer uses."""

import ctypes

# Of glibc's malloc.h: from how many bytes on a block is mapped by itself, and so given back.
_M_MMAP_THRESHOLD, _BLOCK_BYTES = -3, 1 << 20
# Else threads keep what they freed apart, in eight times as many pools as there are cores.
_M_ARENA_MAX, _ARENAS = -8, 2


def give_back_large_blocks() -> None:
    """Have each block of a megabyte or more given back to the system as soon as it is free.

    Checking a password takes 19 MiB for a moment. glibc takes the first one that is freed for a
    habit, and keeps as much for every thread from then on. Elsewhere nothing is done.
    """
    try:
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_THRESHOLD, _BLOCK_BYTES)
        libc.mallopt(_M_ARENA_MAX, _ARENAS)
    except (AttributeError, OSError, TypeError):
        # Another C library, or Windows, whose CDLL wants a name.
        return
