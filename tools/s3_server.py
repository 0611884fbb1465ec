"""A server that speaks the S3 protocol (moto's), as a process of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import httpx

from tools.processes import Process
from tools.valkey import free_port

BUCKET: Final = "payloads"


class S3Server(Process):
    """``environment``: what a process needs in its environment to use it."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.endpoint = f"http://127.0.0.1:{self.port}"
        super().__init__(["-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)], folder / "s3.log")

    @property
    def environment(self) -> dict[str, str]:
        return {
            "AWS_ENDPOINT_URL": self.endpoint, "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret",
        }  # fmt: skip

    def wait_ready(self) -> S3Server:
        """Until it answers and has its bucket."""
        self.wait_for(self._makes_bucket, 60, "an S3 server")
        return self

    def _makes_bucket(self) -> bool:
        try:
            return httpx.put(f"{self.endpoint}/{BUCKET}", timeout=5).is_success
        except httpx.TransportError:
            return False
