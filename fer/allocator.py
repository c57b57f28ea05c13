"""Thresholds of the GNU C library's allocator; other C libraries keep their own."""

import ctypes
import platform
from typing import Final

LARGEST: Final = 2**31 - 1
"""Keeps every freed block in the process."""

_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3
"""Parameters of ``mallopt`` (malloc.h)."""


def set_thresholds(*, mmap_bytes: int, trim_bytes: int | None = None) -> None:
    """Fix the sizes from which freed memory goes back to the system; the library would adapt them otherwise.

    Args:
        mmap_bytes: Blocks of this size or more are allocated apart and returned at once.
        trim_bytes: Free memory at the end of the heap from which it is returned; None keeps the default.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    mallopt = ctypes.CDLL(None).mallopt
    mallopt(_MMAP_THRESHOLD, mmap_bytes)
    if trim_bytes is not None:
        mallopt(_TRIM_THRESHOLD, trim_bytes)
