"""``ocr`` over folders, again and again: against a real gateway, store and worker."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from ocr_client import Client
from tools.processes import Gateway, Worker, environment
from tools.uploads import png
from tools.valkey import ROOT, Valkey, wait_until

OCR = [sys.executable, "-m", "ocr_client.cli"]


@dataclass(frozen=True)
class Service:
    gateway: Gateway

    @property
    def url(self) -> str:
        return self.gateway.url

    @property
    def env(self) -> dict[str, str]:
        return environment(ocr_url=self.url)

    def uploads(self) -> int:
        """Submissions that the gateway has answered."""
        lines = map(json.loads, self.gateway.text().splitlines())
        return sum(line.get("method") == "POST" and line.get("route") == "/api/v1/jobs" for line in lines)

    def ocr(self, *arguments: object, stdin: bytes = b"", code: int = 0) -> str:
        """What the command prints to stdout, after checking its exit code."""
        done = subprocess.run(
            [*OCR, *map(str, arguments)], cwd=ROOT, env=self.env, input=stdin, capture_output=True, timeout=60,
            check=False,
        )  # fmt: skip
        assert done.returncode == code, done.stderr.decode()
        return done.stdout.decode()


@pytest.fixture(scope="module")
def service(valkey_server: Valkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("command-line")
    valkey_server.client.flushall()
    gateway = Gateway(folder, valkey_server.url, log_format="json")
    worker = Worker(folder, valkey_server.url).wait_ready()
    yield Service(gateway.wait_ready())
    gateway.stop()
    worker.stop()


@pytest.fixture
def folder(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    """Three pictures, one of them in a folder of its own, and a file that is none; of this test alone."""
    own = sum(map(ord, request.node.name))
    folder = tmp_path / "in"
    (folder / "deeper").mkdir(parents=True)
    for number, name in enumerate(("a.png", "b.png", "deeper/c.png")):
        (folder / name).write_bytes(png(own * 10 + number))
    (folder / "bad.pdf").write_bytes(b"no picture, of " + request.node.name.encode())
    (folder / "notes.txt").write_text("of no type that is read from a folder")
    return folder


def test_a_folder_is_read_whole_and_a_second_run_uploads_nothing(service: Service, folder: Path) -> None:
    out = folder.parent / "out"
    line = ("-r", folder, "--json", "-o", out, "-f", "md", "--format=txt")
    results = {result["file"]: result for result in map(json.loads, service.ocr(*line, code=1).splitlines())}
    assert set(results) == {"a.png", "b.png", "deeper/c.png", "bad.pdf"}
    assert results["deeper/c.png"]["outputs"] == [str(out / "deeper" / "c.md"), str(out / "deeper" / "c.txt")]
    assert (results["a.png"]["status"], results["a.png"]["pages"], results["a.png"]["error"]) == ("succeeded", 1, None)
    assert results["bad.pdf"]["error"]["code"] in ("unsupported-media", "corrupt-file")
    assert (out / "a.md").read_text().startswith("# A page of")

    (folder / "bad.pdf").unlink()
    assert (before := service.uploads()) >= 3
    again = [json.loads(text) for text in service.ocr(*line).splitlines()]
    assert {result["job"] for result in again} == {result["job"] for result in results.values() if result["job"]}
    assert service.uploads() == before


def test_what_is_there_is_skipped_without_asking_anybody(service: Service, folder: Path) -> None:
    out = folder.parent / "out"
    service.ocr("-r", folder, "--exclude", "bad.*", "-o", out)
    gone = ("--url", "http://127.0.0.1:1", "--patience", "0")
    service.ocr("-r", folder, "--exclude", "bad.*", "-o", out, "--skip-existing", *gone)
    os.utime(folder / "a.png", (2**31, 2**31))  # newer than its result
    service.ocr("-r", folder, "--exclude", "bad.*", "-o", out, "--skip-existing", *gone, code=4)


def test_stdin_globs_and_options_anywhere(service: Service, folder: Path) -> None:
    piped = service.ocr("-", "--name", "p.png", "--url", service.url, stdin=(folder / "a.png").read_bytes())
    assert piped.startswith("# A page of")
    both = service.ocr("--patience=5", f"{folder}/[ab].png", "-q", "--url", service.url)
    assert both.count("# A page of") == 2


def test_the_languages_of_a_file_reach_its_job_and_those_of_a_retry(service: Service, folder: Path) -> None:
    service.ocr(folder / "a.png", "--languages", "ru, EN", "--url", service.url)
    with Client(service.url) as client:
        first = next(client.jobs())
    again = service.ocr("retry", first.id, "--page", "1", "--languages", "el", "--url", service.url).split()[0]
    stored = [httpx.get(f"{service.url}/api/v1/jobs/{job}").json() for job in (first.id, again)]
    assert [job["options"]["languages"] for job in stored] == [["ru", "en"], ["el"]]


def test_a_job_that_was_cancelled_or_deleted_is_read_once_more(service: Service, folder: Path) -> None:
    picture = folder / "a.png"
    with Client(service.url) as client:
        first, _ = service.ocr("--detach", picture).split("\t")
        client.wait(first)
        client.delete(first)
        second, _ = service.ocr("--detach", picture).split("\t")
        assert client.wait(second).status == "succeeded"
    assert service.ocr("--json", picture, "--detach").startswith(f'{{"file": "a.png", "job": "{second}"')
    assert len({first, second, json.loads(service.ocr("--json", "--force", picture))["job"]}) == 3


def test_a_watched_folder(service: Service, folder: Path) -> None:
    out = folder.parent / "out"
    command = [*OCR, "watch", str(folder), "-o", str(out), "--every", "0.1", "--json"]
    with subprocess.Popen(
        command, cwd=ROOT, env=service.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        wait_until(lambda: (out / "deeper" / "c.md").exists() and (out / "b.md").exists())
        (folder / "late.png").write_bytes((folder / "a.png").read_bytes())
        wait_until(lambda: (out / "late.md").exists())
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 130
        printed, said = process.communicate()
    assert said.count("ocr: bad.pdf: ") == 1
    files = [json.loads(line)["file"] for line in printed.splitlines()]
    assert sorted(files) == ["a.png", "b.png", "bad.pdf", "deeper/c.png", "late.png"]


def test_a_service_that_is_away_is_told_of_once(service: Service, folder: Path) -> None:
    gone = ["--url", "http://127.0.0.1:1", "--patience", "0", "-r", str(folder), "-o", str(folder.parent / "out")]
    done = subprocess.run([*OCR, *gone], cwd=ROOT, env=service.env, capture_output=True, text=True, check=False)
    assert done.returncode == 4
    away, left = done.stderr.splitlines()
    assert "http://127.0.0.1:1 cannot be reached" in away
    assert left == "ocr: 4 of 4 files were not read; the same command goes on"


def test_a_reader_that_goes_away_ends_the_command_without_a_traceback(service: Service, folder: Path) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    command = [*OCR, str(folder / "a.png"), str(folder / "b.png")]
    done = subprocess.run(
        command, cwd=ROOT, env=service.env, stdout=theirs, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(theirs)
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)


def test_the_commands_for_jobs(service: Service, folder: Path) -> None:
    job = service.ocr("--detach", folder / "a.png").split("\t")[0]
    assert service.ocr("status", "--watch", job).splitlines()[-1] == f"{job} succeeded a.png 1 of 1 pages"
    assert json.loads(service.ocr("status", job, "--json"))["pages_done"] == 1
    assert job in service.ocr("jobs", "--status", "succeeded", "-n", 3)
    assert json.loads(service.ocr("jobs", "--json", "-n", 1))["job"] == job
    retried = service.ocr("retry", job, "--page", 1).split()[0]
    assert service.ocr("status", "-w", retried).splitlines()[-1].startswith(f"{retried} succeeded ")
    service.ocr("result", job, "-f", "zip", "-o", folder.parent / "kept.zip")
    assert (folder.parent / "kept.zip").read_bytes().startswith(b"PK")
    service.ocr("delete", job, retried)
    service.ocr("delete", job, code=1)


def test_doctor(service: Service) -> None:
    found = json.loads(service.ocr("doctor", "--json"))
    assert {name: check["ok"] for name, check in found.items()} == dict.fromkeys(
        ("service", "clock", "key", "queue", "engine"), True
    )
    assert "FAIL" not in service.ocr("doctor")
    service.ocr("doctor", "--url", "http://127.0.0.1:1", code=4)


def test_bars_on_a_terminal(service: Service, folder: Path) -> None:
    ours, theirs = pty.openpty()
    command = [*OCR, "-r", str(folder), "--exclude", "bad*", "-o", str(folder.parent / "out")]
    env = {**service.env, "TERM": "xterm", "COLUMNS": "100"}
    with subprocess.Popen(command, cwd=ROOT, env=env, stdout=subprocess.DEVNULL, stderr=theirs) as process:
        os.close(theirs)
        shown = b""
        while part := read_terminal(ours):
            shown += part
        assert process.wait(30) == 0
    os.close(ours)
    assert "━".encode() in shown
    assert b"written to" not in shown


def read_terminal(descriptor: int) -> bytes:
    try:
        return os.read(descriptor, 65536)
    except OSError:  # how Linux says that the other side is closed
        return b""


def test_the_completion_of_a_shell_knows_commands_and_options(service: Service) -> None:
    def completed(*words: str) -> list[str]:
        line = {
            "COMP_WORDS": " ".join(["ocr", *words]),
            "COMP_CWORD": str(len(words)),
            "_OCR_COMPLETE": "complete_bash",
        }
        done = subprocess.run(OCR, cwd=ROOT, env=service.env | line, capture_output=True, text=True, check=False)
        return done.stdout.split()

    assert "status" in completed("sta")
    assert "--skip-existing" in completed("read", "--sk")
    assert "_ocr_completion" in service.ocr("completion", "bash")
