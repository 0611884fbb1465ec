"""``python -m gateway`` as a process: its settings, its limits on bodies, its end, and several of it."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil
import pytest

from gateway.__main__ import EXIT_LOOP_DIED
from gateway.middleware import BODY_SLACK_BYTES
from tests.integration.test_gateway_jobs import JOBS, problem, stored
from tools.processes import Gateway, Process, environment
from tools.uploads import png
from tools.valkey import ROOT, Valkey, free_port

MIB = 1024 * 1024


def refused(folder: Path, env_file: str = "", **settings: str) -> str:
    """The one line with which a gateway refuses to start."""
    (folder / ".env").write_text(env_file)
    command = [sys.executable, "-m", "gateway"]
    done = subprocess.run(
        command, cwd=folder, env=environment(pythonpath=ROOT, **settings), capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    return line


@pytest.mark.parametrize(
    ("env_file", "said"),
    [
        ("PROT=9000\n", "PROT"),
        ("PORT=http\n", "PORT"),
        ("ALLOWED_EXTENSIONS=png,docx\n", "docx"),
        ("REDIS_URL=\nMAX_PAGES=0\n", "MAX_PAGES"),
    ],
)
def test_wrong_settings_are_refused_in_one_line(tmp_path: Path, env_file: str, said: str) -> None:
    line = refused(tmp_path, env_file)
    assert said in line
    assert "Traceback" not in line


def test_a_secret_is_not_in_the_line(tmp_path: Path) -> None:
    assert "hunter2" not in refused(tmp_path, "REDIS_URL_=redis://:hunter2@h\nPORT=hunter2\n")


@pytest.fixture(scope="module")
def small(valkey_server: Valkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    """A gateway that takes files of one MiB, so bodies of nine."""
    one = Gateway(tmp_path_factory.mktemp("small"), valkey_server.url, max_file_size=MIB, max_pdf_size=MIB)
    yield one.wait_ready()
    one.stop()


def test_a_body_beyond_the_cap_is_413_before_it_is_read(small: Gateway, valkey: Valkey) -> None:
    answer = httpx.post(
        f"{small.url}{JOBS}", files={"file": ("a.png", b"\0" * (2 * MIB + BODY_SLACK_BYTES))}, timeout=30
    )
    problem(answer, 413, "body-too-large")
    assert stored(valkey) == set()


def test_a_chunked_body_beyond_the_cap_is_413(small: Gateway, valkey: Valkey) -> None:
    def body() -> Iterator[bytes]:
        yield b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
        for _ in range(12):
            yield b"\0" * MIB
        yield b"\r\n--b--\r\n"

    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    problem(httpx.post(f"{small.url}{JOBS}", content=body(), headers=headers, timeout=30), 413, "body-too-large")
    assert stored(valkey) == set()
    assert httpx.post(f"{small.url}{JOBS}", files={"file": ("a.png", png(1))}, timeout=30).status_code == 202


def test_a_file_just_too_large_is_told_so_as_a_file(small: Gateway, valkey: Valkey) -> None:
    answer = httpx.post(f"{small.url}{JOBS}", files={"file": ("a.png", png(1) + b"\0" * MIB)}, timeout=30)
    problem(answer, 400, "file-too-large")
    assert stored(valkey) == set()


@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGKILL])
def test_several_processes_share_a_port_and_end_together(valkey: Valkey, tmp_path: Path, end: signal.Signals) -> None:
    gateway = Gateway(tmp_path, valkey.url, workers=2)
    try:
        gateway.wait_ready()
        job = httpx.post(f"{gateway.url}{JOBS}", files={"file": ("a.png", png(1))}, timeout=30).json()
        for _ in range(6):
            assert httpx.get(f"{gateway.url}{JOBS}/{job['id']}", timeout=10).status_code == 200
        started = psutil.Process(gateway.pid).children(recursive=True)
        assert len(started) >= 3  # the two, and who checked the upload
        gateway.signal(end)
        gateway.popen.wait(20)
        assert psutil.wait_procs(started, timeout=20)[1] == []
    finally:
        gateway.kill()


def test_a_port_that_is_taken_is_an_error_and_not_a_traceback(small: Gateway, valkey: Valkey, tmp_path: Path) -> None:
    second = Process(["-m", "gateway"], tmp_path / "log", redis_url=valkey.url, port=small.port)
    assert second.popen.wait(60) not in (0, None)
    assert "address already in use" in second.text()
    assert "Traceback" not in second.text()


def test_an_interrupt_ends_it_as_a_term_does(valkey: Valkey, tmp_path: Path) -> None:
    one = Gateway(tmp_path, valkey.url).wait_ready()
    one.signal(signal.SIGINT)
    assert one.popen.wait(20) == 0
    assert "Traceback" not in one.text()


def test_a_body_that_stops_coming_is_given_up(valkey: Valkey, tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, valkey.url, body_timeout=0.5).wait_ready()
    host, port = urlsplit(gateway.url).hostname, urlsplit(gateway.url).port
    begun = (
        f"POST {JOBS} HTTP/1.1\r\nHost: {host}\r\nContent-Type: multipart/form-data; boundary=b\r\n"
        "Content-Length: 1000\r\n\r\n--b\r\n"
    )
    try:
        with socket.create_connection((str(host), int(port or 0)), timeout=30) as connection:
            connection.sendall(begun.encode())
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b'"code":"body-timeout"' in answer
        assert stored(valkey) == set()
        assert httpx.post(f"{gateway.url}{JOBS}", files={"file": ("a.png", png(1))}, timeout=30).status_code == 202
    finally:
        gateway.stop()


LOOP_DIES = """
import asyncio
from gateway.__main__ import read_settings, serve
from gateway.streaming.event_hub import Hub

async def dies(self):
    await asyncio.sleep(0.5)
    raise RuntimeError("a bug in a loop")

Hub.step = dies
serve(read_settings())
"""


def test_a_loop_that_dies_ends_the_process_with_a_code_of_its_own(valkey: Valkey, tmp_path: Path) -> None:
    process = Process(["-c", LOOP_DIES], tmp_path / "gateway.log", redis_url=valkey.url, port=free_port())
    try:
        assert process.popen.wait(60) == EXIT_LOOP_DIED
    finally:
        process.kill()
    assert "the loop event hub has ended" in process.text()
    assert "a bug in a loop" in process.text()
