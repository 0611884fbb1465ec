"""Ports on this machine."""

from __future__ import annotations

import socket

import httpx

from deploy.local.failure import Failure
from gateway.web.page import SERVICE_NAME

LOOPBACK = "127.0.0.1"
PROBE_SECONDS = 2.0


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
    """Raises ``Failure``, which says whether it is this service that has the port."""
    if is_free(port, host):
        return
    other = f"make run PORT={port + 1}"
    if is_this_service(url := local_url(host, port)):
        raise Failure(f"already running here: {url}  (to run another one: {other})")
    raise Failure(f"port {port} on {host} is in use; choose another one: {other}")


def local_url(host: str, port: int) -> str:
    """A server on ``host`` as this machine reaches it."""
    reachable = {"0.0.0.0": LOOPBACK, "::": "[::1]"}.get(host, host)  # noqa: S104
    return f"http://{reachable}:{port}"


def is_this_service(url: str) -> bool:
    try:
        about = httpx.get(url, headers={"Accept": "application/json"}, timeout=PROBE_SECONDS, trust_env=False)
        return bool(about.json().get("name") == SERVICE_NAME)
    except (httpx.HTTPError, ValueError, AttributeError):
        return False
