"""Start a service with the CPU engine and run the tests of this folder with the Python that is named.

python -m tests.clients .venv-clients/bin/python [PYTEST-ARGUMENT...]
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import httpx

from tools.processes import Gateway, Worker
from tools.valkey import ROOT, Valkey

KEY = "a-key-of-the-tests-of-clients"
HERE = Path(__file__).parent


@contextmanager
def service(folder: Path) -> Iterator[str]:
    """The URL of a service that reads with the CPU engine and asks for ``KEY``."""
    with ExitStack() as ends:
        store = Valkey(folder)
        ends.callback(store.stop)
        worker = Worker(folder, store.url, engine="cpu")
        ends.callback(worker.stop)
        gateway = Gateway(folder, store.url, api_keys=f"tests={KEY}")
        ends.callback(gateway.stop)
        gateway.wait_ready()
        worker.wait_ready()
        yield gateway.url


def run(python: str, arguments: list[str]) -> int:
    """Run pytest; its exit code. The clients see of this process's environment only what programs need."""
    with tempfile.TemporaryDirectory() as folder, service(Path(folder)) as url:
        openapi = Path(folder) / "openapi.json"
        openapi.write_bytes(httpx.get(f"{url}/openapi.json").content)
        given = {
            "LITELLM_LOCAL_MODEL_COST_MAP": "true",
            "OCR_TEST_URL": url,
            "OCR_TEST_KEY": KEY,
            "OCR_TEST_OPENAPI": str(openapi),
        }
        command = [python, "-m", "pytest", "-c", str(HERE / "pytest.ini"), *(arguments or [str(HERE)])]
        return subprocess.run(command, cwd=ROOT, env=os.environ | given, check=False).returncode


if __name__ == "__main__":
    sys.exit(run(sys.argv[1], sys.argv[2:]))
