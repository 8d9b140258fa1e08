"""What is loaded into this process and is never written to: its constants and its code, changed where they must be."""

from __future__ import annotations

import ctypes
import mmap


def overwrite(address: int, content: bytes, *, code: bool) -> None:
    """Puts `content` at `address`, in constants or in `code`, where nothing else may run at the same time.

    Raises `OSError` when this system does not let a process change them.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    kind = mmap.PROT_READ | (mmap.PROT_EXEC if code else 0)
    page = address - address % mmap.PAGESIZE
    length = address + len(content) - page
    if libc.mprotect(page, length, kind | mmap.PROT_WRITE):
        raise OSError(ctypes.get_errno(), "this system does not let a process change what it has loaded")
    ctypes.memmove(address, content, len(content))
    libc.mprotect(page, length, kind)
