"""A process and its parent (Linux): no life after the parent's, and orphans that are not left to init.

``python -I -S shared/process.py SIGNAL PARENT COMMAND...`` becomes the command and gets the signal as its parent dies;
run so, the file needs no package. PARENT is the parent's id, or 0 for whoever that is.
"""

from __future__ import annotations

import ctypes
import gc
import os
import signal
import sys
from collections.abc import Sequence

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36


def die_with_parent(number: signal.Signals, parent: int = 0) -> None:
    """Get the signal ``number`` when the parent dies, however it dies.

    The kernel watches the *thread* that started this process: it must live as long as this process is to. ``parent``:
    the id of that process; where it has gone already, this one exits.
    """
    _prctl(PR_SET_PDEATHSIG, number)
    if parent and os.getppid() != parent:
        raise SystemExit("the parent has gone")


def adopt_orphans() -> None:
    """Descendants whose parent dies become this process's own children, not init's."""
    _prctl(PR_SET_CHILD_SUBREAPER, 1)


def bound_to_parent(command: Sequence[str], number: signal.Signals, parent: int = 0) -> list[str]:
    """The command line that runs ``command``, a program's path first, and sends it ``number`` as its parent dies.

    ``parent``: the id of the process that is to run it, if known; a parent that dies at once is then noticed too.
    """
    return [sys.executable, "-I", "-S", os.path.abspath(__file__), number.name, str(parent), *command]  # noqa: PTH100


def freeze_objects() -> None:
    """Once all is imported and made: keep it out of the garbage collector's rounds.

    Python collects its oldest generation only when a quarter as many objects wait there as it holds. Of the 120,000
    that modules and classes are, that is many megabytes of ended jobs, and a long pause.
    """
    gc.collect()
    gc.freeze()
    gc.collect()  # sets what a quarter is of


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux" and ctypes.CDLL(None, use_errno=True).prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


if __name__ == "__main__":
    die_with_parent(signal.Signals[sys.argv[1]], int(sys.argv[2]))
    os.execv(sys.argv[3], sys.argv[3:])  # noqa: S606
