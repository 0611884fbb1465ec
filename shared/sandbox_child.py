"""A sandbox's process: takes calls from its parent, one after the other, until the parent closes the socket.

``python -I -S shared/sandbox_child.py SOCKET``, a file that needs no package. Each message is its length and a pickle.
The first is (``sys.path``, the parent's id, bytes of memory); every other one is (function, arguments), of which the
child first says ``BEGUN`` and then (True, what it returned) or (False, what it raised).
"""

from __future__ import annotations

import pickle
import resource
import signal
import socket
import struct
import sys
import traceback
from collections.abc import Callable
from typing import BinaryIO, Final

LENGTH: Final = struct.Struct("!Q")
BEGUN: Final = b"+"


def framed(message: object) -> bytes:
    data = pickle.dumps(message)
    return LENGTH.pack(len(data)) + data


def serve(link: socket.socket) -> None:
    with link, link.makefile("rb") as incoming:
        path, parent, memory = pickle.loads(_next(incoming))  # noqa: S301 - from our parent
        sys.path[:] = path
        _bound(parent, memory)
        while request := _next(incoming):
            function, arguments = pickle.loads(request)  # noqa: S301 - imports its module, which is none of its time
            link.sendall(BEGUN)
            link.sendall(_answer(function, arguments))


def _next(incoming: BinaryIO) -> bytes:
    """The next message; empty once the parent has closed the socket."""
    head = incoming.read(LENGTH.size)
    return incoming.read(*LENGTH.unpack(head)) if head else b""


def _answer(function: Callable[..., object], arguments: tuple[object, ...]) -> bytes:
    try:
        return framed((True, function(*arguments)))
    except Exception as error:  # noqa: BLE001 - of any kind: it is raised at the parent
        error.add_note(f"In the sandbox:\n{traceback.format_exc()}")
        return framed((False, error))


def _bound(parent: int, memory: int) -> None:
    """Before anything else: limits that cannot be raised again, and no life after the parent's."""
    from shared.process import die_with_parent

    die_with_parent(signal.SIGKILL, parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # of a terminal: the parent has it, too, and ends its children
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":  # macOS refuses to lower it below what its own libraries have mapped
        resource.setrlimit(resource.RLIMIT_AS, (memory, memory))


if __name__ == "__main__":
    serve(socket.socket(fileno=int(sys.argv[1])))
