"""Ports on this machine."""

from __future__ import annotations

import socket

from deploy.local.failure import Failure

LOOPBACK = "127.0.0.1"


def is_free(port: int, host: str = LOOPBACK) -> bool:
    """Whether a server could listen there now."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: old connections do not matter
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def free_port(preferred: int = 0) -> int:
    """The preferred port if it is free, else any free one."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, preferred if preferred and is_free(preferred) else 0))
        return int(probe.getsockname()[1])


def require_free(port: int, host: str) -> None:
    if not is_free(port, host):
        raise Failure(f"port {port} on {host} is in use; choose another one: make run PORT={port + 1}")
