"""A child that dies with its parent, also when that is killed."""

from __future__ import annotations

import ctypes
import os
import signal

_PR_SET_PDEATHSIG = 1


def die_with_parent(parent: int) -> None:
    """Called in a child: SIGKILL for it once the thread that started it has ended. ``parent``: that process's id.

    The kernel watches the *thread*, so whoever starts the child must do so on a thread that lives as long. The parent
    may be gone already: then this process ends here.
    """
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    if prctl(_PR_SET_PDEATHSIG, signal.SIGKILL) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) failed")
    if os.getppid() != parent:
        os._exit(1)
