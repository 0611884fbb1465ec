"""The target, which needs a key: gateway, worker and sender as processes, with secrets that the tests know."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from shared.store.webhook_secrets import new_secret
from tools.processes import Gateway, Process, WebhookSenderProcess, Worker
from tools.valkey import Valkey

KEY = "the-only-key-there-is-7f3a9c2e51d80b46"
REDIS_PASSWORD = "the-store-opens-with-this-19d2c7"


@dataclass(frozen=True)
class AttackTarget:
    gateway: Gateway
    processes: tuple[Process, ...]
    webhook_secret: str

    def client(self, *, key: bool = True) -> httpx.Client:
        headers = {"Authorization": f"Bearer {KEY}"} if key else {}
        return httpx.Client(base_url=self.gateway.url, headers=headers, timeout=60)

    def logs(self) -> str:
        return "\n".join(process.text() for process in self.processes)


@pytest.fixture(scope="package")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AttackTarget]:
    """A Redis of its own: nobody empties it meanwhile."""
    folder: Path = tmp_path_factory.mktemp("target")
    (folder / "store").mkdir()
    valkey, secret = Valkey(folder / "store"), new_secret()
    valkey.client.acl_setuser(
        "service", enabled=True, passwords=f"+{REDIS_PASSWORD}", keys="*", channels="*", categories=["+@all"]
    )
    url = valkey.url.replace("redis://", f"redis://service:{REDIS_PASSWORD}@")
    common: dict[str, Any] = {"webhook_secret": secret, "log_level": "debug", "render_timeout": 5}
    gateway = Gateway(
        folder, url, api_keys=f"one={KEY}", rate_limit=10**6, rate_burst=10**6, webhook_allow="127.0.0.1",
        webhook_allow_http="true", webhook_ports="", **common,
    )  # fmt: skip
    processes = (gateway, Worker(folder, url, **common), WebhookSenderProcess(folder, url, **common))
    try:
        for process in processes:
            process.wait_ready()
        yield AttackTarget(gateway, processes, secret)
    finally:
        for process in processes:
            process.kill()
        valkey.stop()
