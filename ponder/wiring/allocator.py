"""How the process's memory is given out, for work in many parts."""

import ctypes

M_ARENA_MAX = -8
"""Of glibc's `mallopt`: how many arenas there may be."""


def share_one_arena() -> None:
    """Let all threads of the process take memory from one arena, from now on.

    glibc gives threads arenas of their own, and each keeps what its busiest moment took: an export
    in ten parts grew by 20 MiB with each, though nothing was held. Does nothing without glibc.
    """
    try:
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, 1)
    except (AttributeError, OSError, TypeError):
        return
