"""Real gateway, worker and webhook sender processes on free ports, started and ended by their pids."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from shared.process import bound_to_parent
from tools.payloads import payloads_url
from tools.valkey import ROOT, free_port, wait_until

KEPT = ("PATH", "HOME", "LANG", "TMPDIR", "PYTHONPATH", "LD_LIBRARY_PATH", "VLLM_", "CUDA_", "TRITON_", "OMP_")


def environment(**settings: Any) -> dict[str, str]:
    """Of this process's environment what programs need to run, and settings as variables; no setting by accident."""
    keep = {name: value for name, value in os.environ.items() if name.startswith(KEPT)}
    given = {name.upper(): str(value) for name, value in settings.items()}
    return keep | {"PYTHONUNBUFFERED": "1"} | given


class Process:
    """One of our processes; what it prints goes to ``log``. ``checkout``: the code it runs, if not this one."""

    def __init__(self, command: list[str], log: Path, *, checkout: Path = ROOT, **settings: Any) -> None:
        self.command, self.log, self.checkout, self.settings = command, log, checkout, settings
        self.start()

    def start(self) -> None:
        with self.log.open("ab") as log:
            self.popen = subprocess.Popen(
                bound_to_parent([sys.executable, *self.command], signal.SIGKILL, os.getpid()),
                cwd=self.checkout,
                env=environment(**self.settings),
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self.popen.pid

    @property
    def alive(self) -> bool:
        return self.popen.poll() is None

    def text(self) -> str:
        return self.log.read_text(errors="replace")

    def signal(self, number: signal.Signals) -> None:
        if self.alive:
            self.popen.send_signal(number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self.popen.wait()

    def stop(self, seconds: float = 30) -> int:
        """TERM, and its exit code."""
        self.signal(signal.SIGTERM)
        try:
            return self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"did not stop on TERM:\n{self.text()[-3000:]}") from None

    def wait_for(self, condition: Callable[[], Any], seconds: float = 30, what: str = "") -> Any:
        def met() -> Any:
            assert self.alive, f"exited {self.popen.returncode}:\n{self.text()[-3000:]}"
            return condition()

        return wait_until(met, seconds, what)


class Worker(Process):
    """``python -m worker``."""

    def __init__(self, folder: Path, redis_url: str, name: str = "worker", **settings: Any) -> None:
        super().__init__(
            ["-m", "worker"], folder / f"{name}.log", redis_url=redis_url,
            **{"engine": "instant", "payloads_url": payloads_url()} | settings,
        )  # fmt: skip

    def wait_ready(self) -> Worker:
        self.wait_for(lambda: " ready." in self.text(), 60, "a ready worker")
        return self


class WebhookSenderProcess(Process):
    """``python -m worker.webhooks``, allowed to call this machine without TLS."""

    def __init__(self, folder: Path, redis_url: str, name: str = "webhooks", **settings: Any) -> None:
        local = {"webhook_allow": "127.0.0.1", "webhook_allow_http": "true", "webhook_ports": ""}
        super().__init__(["-m", "worker.webhooks"], folder / f"{name}.log", redis_url=redis_url, **local | settings)

    def wait_ready(self) -> WebhookSenderProcess:
        self.wait_for(lambda: " ready." in self.text(), 60, "a ready sender")
        return self


class FlowerProcess(Process):
    """Celery's Flower, read-only as in the compose file."""

    LOGIN = ("operator", "a-password")

    def __init__(self, folder: Path, broker: str) -> None:
        self.url = f"http://127.0.0.1:{(port := free_port())}"
        super().__init__(
            ["-m", "celery", "flower"], folder / "flower.log", broker_url=broker,
            flower_basic_auth=":".join(self.LOGIN), flower_read_only="true", flower_port=port,
            flower_address="127.0.0.1", pythonpath=ROOT / "deploy" / "flower",
        )  # fmt: skip

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"{self.url}{path}", auth=self.LOGIN, timeout=10).raise_for_status()

    def wait_ready(self) -> FlowerProcess:
        self.wait_for(self._answers, 60, "Flower")
        return self

    def _answers(self) -> bool:
        try:
            return self.get("/healthcheck").is_success
        except httpx.TransportError:
            return False


class Gateway(Process):
    """``python -m gateway`` on a free port."""

    def __init__(self, folder: Path, redis_url: str, name: str = "gateway", **settings: Any) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        super().__init__(
            ["-m", "gateway"], folder / f"{name}.log", redis_url=redis_url, port=self.port,
            **{"payloads_url": payloads_url()} | settings,
        )  # fmt: skip

    def wait_ready(self) -> Gateway:
        self.wait_for(self._answers, 30, "a gateway that answers")
        return self

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/livez", timeout=2).is_success
        except httpx.TransportError:
            return False
