"""``python -m deploy.local`` with the instant engine: real processes, real signals, nothing left behind."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from deploy.local import run as local_run
from tools.processes import environment
from tools.valkey import ROOT, free_port, wait_until

SECONDS = 90
DAMAGED = b"%PDF-1.7\nnothing that follows makes sense\n"


class Launch:
    """One run. Its processes are known by a mark in the environment that all of them inherit."""

    def __init__(self, folder: Path, *arguments: str, command: list[str] | None = None, **settings: Any) -> None:
        self.mark = uuid.uuid4().hex
        self.temp = folder / "tmp"
        self.temp.mkdir()
        self._out, self._err = folder / "out", folder / "err"
        env = environment(**{"engine": "instant", "tmpdir": self.temp, "mark": self.mark, **settings})
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.popen = subprocess.Popen(
                [*(command or [sys.executable, "-m", "deploy.local"]), *arguments],
                cwd=ROOT, env=env, stdin=subprocess.DEVNULL, stdout=out, stderr=err, start_new_session=True,
            )  # fmt: skip

    @property
    def out(self) -> str:
        return self._out.read_text()

    @property
    def err(self) -> str:
        return self._err.read_text()

    @property
    def last_line(self) -> str:
        return self.err.strip().splitlines()[-1]

    def wait(self) -> int:
        return self.popen.wait(SECONDS)

    def wait_for(self, text: str) -> None:
        wait_until(lambda: text in self.err or self.popen.poll() is not None, SECONDS, text)
        assert text in self.err, self.err

    def wait_for_process(self, name: str) -> psutil.Process:
        found: psutil.Process = wait_until(lambda: self.process(name), SECONDS, name)
        return found

    def process(self, name: str) -> psutil.Process | None:
        return next((process for process in self.processes() if _is(process, name)), None)

    def processes(self) -> list[psutil.Process]:
        return [process for process in psutil.process_iter() if self._is_ours(process)]

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            return process.environ().get("MARK") == self.mark and process.status() != psutil.STATUS_ZOMBIE
        except (psutil.NoSuchProcess, psutil.AccessDenied):
            return False

    def nothing_left(self) -> bool:
        return not self.processes() and not list(self.temp.iterdir())


Start = Callable[..., Launch]


def _is(process: psutil.Process, name: str) -> bool:
    try:
        command = process.cmdline()
    except psutil.NoSuchProcess:
        return False
    return name in command or any(part.endswith(f"/{name}") for part in command[:1])


@pytest.fixture
def launches() -> Iterator[list[Launch]]:
    """What is in the list is ended after the test, however the test ended."""
    started: list[Launch] = []
    yield started
    for launch in started:
        for process in launch.processes():
            process.kill()


@pytest.fixture
def launch(tmp_path: Path, launches: list[Launch]) -> Start:
    def start(*arguments: str, **settings: Any) -> Launch:
        launches.append(Launch(tmp_path, *arguments, **settings))
        return launches[-1]

    return start


@pytest.fixture
def port() -> Iterator[int]:
    """A free port, whose data are removed afterwards."""
    number = free_port()
    yield number
    shutil.rmtree(ROOT / "data" / str(number), ignore_errors=True)


def test_once_prints_nothing_but_the_markdown_and_leaves_nothing(launch: Start) -> None:
    run = launch("--once")
    assert run.wait() == 0, run.err
    assert run.out.startswith("# A page of 1190 x 1684 pixels\n\nsha256 ")
    assert run.out.count("# A page") == 2
    assert "2 of 2 pages" in run.err
    assert run.nothing_left()


def test_a_file_that_is_refused_ends_it_with_one_line_that_names_the_code(launch: Start, tmp_path: Path) -> None:
    (tmp_path / "damaged.pdf").write_bytes(DAMAGED)
    run = launch("--once", "--file", str(tmp_path / "damaged.pdf"))
    assert run.wait() == 1
    assert run.last_line.startswith("damaged.pdf: ")
    assert run.last_line.endswith("(corrupt-file)")
    assert run.out == ""
    assert "Traceback" not in run.err
    assert run.nothing_left()


def test_a_file_that_is_not_there_is_told_before_anything_is_started(launch: Start) -> None:
    run = launch("--once", "--file", "no/such.pdf")
    assert run.wait() == 1
    assert run.err == "no/such.pdf: No such file or directory\n"


def test_a_file_of_another_type_is_refused_before_anything_is_started(launch: Start) -> None:
    run = launch("--once", "--file", "README.md")
    assert run.wait() == 1
    assert run.err.startswith("README.md: unknown file type is not accepted; accepted: jpg, ")
    assert run.err.count("\n") == 1


def test_a_port_in_use_is_one_line(launch: Start, port: int) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", port))
        other.listen()
        run = launch("--port", str(port))
        assert run.wait() == 1
    assert run.err == f"port {port} on 127.0.0.1 is in use; choose another one: make run PORT={port + 1}\n"


def test_settings_that_cannot_be_taken_are_one_line(launch: Start) -> None:
    run = launch("--once", workers=0)
    assert run.wait() == 1
    assert run.err.startswith("settings: workers: ")
    assert run.err.count("\n") == 1


def test_settings_that_only_their_code_can_check_are_one_line_too(launch: Start) -> None:
    run = launch("--once", api_keys="alice=short")
    assert run.wait() == 1
    assert run.err.startswith("settings: API_KEYS: every key must have at least 24 characters")
    assert run.err.count("\n") == 1


def test_an_engine_that_does_not_load_ends_it_and_says_why(launch: Start) -> None:
    run = launch("--once", engine="tests.engines.fixtures.raises_on_load:load")
    assert run.wait() == 1
    assert run.last_line.startswith("worker could not start (exit status 70): ")
    assert run.last_line.endswith("not ready: the model's files are missing")
    assert run.out == ""
    assert run.nothing_left()


def test_the_worker_may_have_an_interpreter_of_its_own(launch: Start, tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\ntouch {tmp_path}/ran\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    run = launch("--once", "--worker-python", str(python))
    assert run.wait() == 0
    assert run.out.count("# A page") == 2
    assert (tmp_path / "ran").exists()


def test_an_interpreter_that_is_not_there_is_one_line(launch: Start) -> None:
    run = launch("--once", "--worker-python", ".venv-gpu/bin/nothing")
    assert run.wait() == 1
    assert run.err == ".venv-gpu/bin/nothing is no program that could run the worker\n"


@pytest.mark.skipif(find_spec("vllm") is not None, reason="vLLM is installed here")
def test_what_an_operator_can_mend_is_said_in_one_line(launch: Start) -> None:
    run = launch("--once", engine="deepseek-ocr")
    assert run.wait() == 1
    assert "not ready: ENGINE=deepseek-ocr needs vLLM" in run.last_line
    assert "Traceback" not in run.err


def test_it_serves_restarts_what_dies_and_ends_on_ctrl_c(
    launch: Start, port: int, launches: list[Launch], tmp_path: Path
) -> None:
    run = launch("--port", str(port))
    run.wait_for("Ctrl-C stops it")
    assert run.out.count("# A page") == 2
    said = [line for line in run.err.splitlines() if " starting … " not in line]  # on a busy machine
    assert said[0] == f"Open http://127.0.0.1:{port}"
    assert f"http://127.0.0.1:{port}/docs" in run.err
    assert f"http://127.0.0.1:{port}/?job=" in run.err
    links = httpx.get(f"http://127.0.0.1:{port}/api/v1/service").json()["links"]
    assert re.fullmatch(r"http://127\.0\.0\.1:\d+", links["Flower"])

    (tmp_path / "second").mkdir()
    launches.append(second := Launch(tmp_path / "second", "--port", str(port)))
    assert second.wait() == 1
    assert second.err.startswith(f"already running here: http://127.0.0.1:{port} ")

    run.wait_for_process("worker").kill()
    run.wait_for("worker has ended: terminated by SIGKILL")
    run.wait_for("worker was restarted, pid ")

    os.killpg(run.popen.pid, signal.SIGINT)
    assert run.wait() == 0
    assert run.err.endswith("stopping …\nstopped\n")
    assert run.nothing_left()


def test_jobs_from_last_time_are_named_and_a_key_is_made_beside_the_run(
    launches: list[Launch], port: int, tmp_path: Path
) -> None:
    for name in ("first", "second", "third"):
        (tmp_path / name).mkdir()
    launches.append(run := Launch(tmp_path / "first", "--port", str(port), instant_seconds=600, drain_seconds=0.1))
    run.wait_for("sample.pdf: 0 of 2 pages")
    os.killpg(run.popen.pid, signal.SIGINT)
    assert run.wait() == 130
    assert run.err.endswith("stopping …\nstopped\nstopped by SIGINT\n")

    launches.append(again := Launch(tmp_path / "second", "--port", str(port), instant_seconds=600, drain_seconds=0.1))
    again.wait_for("1 job goes on from last time:\n  sample.pdf: 0 of 2 pages\n")
    progress = "sample.pdf: 0 of 2 pages"
    wait_until(lambda: again.err.count(progress) == 2, SECONDS, "a new job beside the one from last time")
    launches.append(key := Launch(tmp_path / "third", command=_make(tmp_path, "key", "NAME=alice", f"PORT={port}")))
    assert key.wait() == 0, key.err
    jobs = f"http://127.0.0.1:{port}/api/v1/jobs"
    assert httpx.get(jobs).status_code == 401
    assert httpx.get(jobs, headers={"Authorization": f"Bearer {key.out.strip()}"}).status_code == 200
    again.wait_for("the service needs an API key")  # so the run cannot follow its job any more
    again.wait_for("Ctrl-C stops it")  # and serves all the same
    os.killpg(again.popen.pid, signal.SIGINT)
    assert again.wait() == 0


def test_a_key_needs_a_running_service(launches: list[Launch], tmp_path: Path) -> None:
    launches.append(key := Launch(tmp_path, command=_make(tmp_path, "key", "NAME=alice", f"PORT={free_port()}")))
    assert key.wait() == 2  # make's own
    assert "nothing runs on port" in key.err


def _make(folder: Path, *arguments: str) -> list[str]:
    (stamp := folder / "ready").touch()  # nothing is to be installed first
    return ["make", "--silent", f"PY={sys.executable}", f"RUN_READY={stamp}", *arguments]


@pytest.mark.parametrize("moment", ["supervise", "valkey-server", "worker"])
def test_ctrl_c_while_it_starts_leaves_nothing(launch: Start, moment: str) -> None:
    run = launch("--once")
    run.wait_for_process("deploy.local.supervise" if moment == "supervise" else moment)
    os.killpg(run.popen.pid, signal.SIGINT)
    assert run.wait() == 130
    assert run.last_line == "stopped by SIGINT"
    assert run.out == ""
    assert run.nothing_left()


def test_a_killed_launcher_takes_everything_with_it(launch: Start) -> None:
    run = launch("--once")
    run.wait_for_process("worker")
    run.popen.kill()
    run.wait()
    wait_until(run.nothing_left, SECONDS, "the end of every process")


def test_a_killed_supervisord_takes_everything_with_it_and_is_told(launch: Start) -> None:
    run = launch("--once")
    run.wait_for_process("worker")
    run.wait_for_process("deploy.local.supervise").kill()
    assert run.wait() == 1
    assert run.last_line == "supervisord has ended: exit status -9"
    assert run.nothing_left()


def test_term_to_make_alone_ends_everything(tmp_path: Path, launches: list[Launch]) -> None:
    launches.append(run := Launch(tmp_path, command=_make(tmp_path, "run", "ONCE=1")))
    run.wait_for_process("valkey-server")
    run.popen.terminate()
    run.wait()
    wait_until(run.nothing_left, SECONDS, "the end of every process")


def test_the_sample_is_what_its_script_makes() -> None:
    made = subprocess.run(
        [sys.executable, "-c", "from tools import make_sample as m; import sys; sys.stdout.buffer.write(m.pdf())"],
        cwd=ROOT, env=environment(), check=True, capture_output=True,
    ).stdout  # fmt: skip
    assert made == local_run.SAMPLE.read_bytes()
