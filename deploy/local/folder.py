"""A run's folder: configuration, logs, Valkey's append-only file and payloads. One run at a time holds it."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from pathlib import Path

from deploy.local.failure import Failure

ROOT = Path(__file__).parents[2]
STORE_URL = "store-url"


class Folder:
    """``data/<port>/``, kept from run to run; or a temporary one, removed at the end.

    The lock is an open file that supervisord inherits: it is held until everything is down, even if the launcher died.
    """

    def __init__(self, path: Path, *, temporary: bool) -> None:
        self.path, self.temporary = path, temporary
        for part in (path, self.logs, self.valkey):
            part.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT, 0o600)

    @classmethod
    def of_port(cls, port: int) -> Folder:
        folder = cls(ROOT / "data" / str(port), temporary=False)
        try:
            fcntl.flock(folder.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(folder.lock)
            raise Failure(f"another run has data/{port}; choose another port: make run PORT={port + 1}") from None
        return folder

    @staticmethod
    def store_url_of(port: int) -> str | None:
        """URL of the store of the run on this port; None where there is none."""
        folder = ROOT / "data" / str(port)
        try:
            with (folder / "lock").open() as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file = folder / STORE_URL
            return file.read_text().strip() if file.exists() else None
        except FileNotFoundError:
            pass
        return None

    def write_store_url(self, url: str) -> None:
        (self.path / STORE_URL).write_text(url + "\n")

    @classmethod
    def for_once(cls) -> Folder:
        return cls(Path(tempfile.mkdtemp(prefix="ocr-once-")), temporary=True)

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def valkey(self) -> Path:
        return self.path / "valkey"

    @property
    def payloads(self) -> Path:
        """Uploads, results and pictures, unless ``PAYLOADS_URL`` names another place."""
        return self.path / "payloads"

    @property
    def config(self) -> Path:
        return self.path / "supervisord.conf"

    @property
    def store_url(self) -> Path:
        """Holds the address of the run's store, for ``python -m gateway.admin``."""
        return self.path / "store-url"

    @property
    def journal(self) -> Path:
        """supervisord's own log."""
        return self.logs / "supervisord.log"

    def log(self, process: str) -> Path:
        return self.logs / f"{process}.log"

    def close(self) -> None:
        os.close(self.lock)
        if self.temporary:
            shutil.rmtree(self.path, ignore_errors=True)
