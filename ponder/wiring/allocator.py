"""How the process's memory is given out, for work in many parts."""

import ctypes

M_ARENA_MAX, M_MMAP_THRESHOLD, M_TRIM_THRESHOLD = -8, -3, -1
"""Of glibc's `mallopt`: how many arenas there may be, from what size on an array lies by itself,
and how much may lie free at the end of an arena."""


def share_one_arena() -> None:
    """Let all threads of the process take memory from one arena, from now on, and give it back.

    glibc gives threads arenas of their own, and each keeps what its busiest moment took: an export
    in ten parts grew by 20 MiB with each, though nothing was held. And it learns to put arrays of
    up to 32 MiB into them, whose place it keeps as well. Does nothing without glibc.
    """
    try:
        c = ctypes.CDLL(None)
        c.mallopt(M_ARENA_MAX, 1)
        c.mallopt(M_MMAP_THRESHOLD, 4 << 20)
        c.mallopt(M_TRIM_THRESHOLD, 64 << 20)
    except (AttributeError, OSError, TypeError):
        return
