"""The client and its command line against a real gateway, a real store and a real worker with the instant engine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ocr_client import Client, Event, Job, Problem
from tools.processes import Gateway, Worker, environment
from tools.valkey import ROOT, Valkey, free_port, wait_until

SAMPLE = ROOT / "docs" / "sample.pdf"
OURS = ("queue", "snapshot")  # events that a gateway makes up on the way


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("client")


@pytest.fixture(scope="module")
def gateway(valkey_server: Valkey, folder: Path) -> Iterator[Gateway]:
    valkey_server.client.flushall()
    process = Gateway(folder, valkey_server.url).wait_ready()
    yield process
    process.stop()


@pytest.fixture(scope="module")
def worker(valkey_server: Valkey, folder: Path) -> Iterator[Worker]:
    """Half a second a page: time for a job to be seen at work."""
    process = Worker(folder, valkey_server.url, instant_seconds=0.5).wait_ready()
    yield process
    process.stop()


@pytest.fixture
def halted_worker(worker: Worker) -> Iterator[Worker]:
    worker.signal(signal.SIGSTOP)
    yield worker
    worker.signal(signal.SIGCONT)


@pytest.fixture
def client(gateway: Gateway, worker: Worker) -> Iterator[Client]:
    with Client(gateway.url) as made:
        yield made


def test_a_file_is_read_in_one_line(client: Client) -> None:
    assert client.read(SAMPLE).markdown.count("# A page of 1190 x 1684 pixels") == 2


def test_a_result_comes_in_every_format(client: Client) -> None:
    job = client.wait(client.submit(SAMPLE.read_bytes(), filename="sample.pdf", pages="2"))
    assert (job.status, job.page_range, job.engine) == ("succeeded", "2", "instant")
    assert b"<h1>" in client.result(job, "html")
    assert client.result(job, "zip").startswith(b"PK")
    assert client.result(job, "json").startswith(b"{")
    assert client.page(job, 2) in client.result(job)


def test_what_is_refused_says_its_code(client: Client) -> None:
    with pytest.raises(Problem) as caught:
        client.submit(b"nothing of use", filename="a.pdf")
    assert caught.value.code in ("unsupported-media", "corrupt-file")


def test_a_batch_has_a_verdict_for_every_file(client: Client) -> None:
    batch = client.submit_batch([SAMPLE, b"nothing of use"])
    assert [job.filename for job in batch.jobs] == ["sample.pdf"]
    assert len(batch.rejected) == 1
    client.wait(batch.jobs[0])
    assert client.batch(batch).counts == {"succeeded": 1}


def test_a_cancelled_job_is_cancelled_and_a_deleted_one_is_gone(client: Client) -> None:
    job = client.submit(SAMPLE, cache=False)
    client.cancel(job)
    assert client.wait(job).status == "cancelled"
    client.delete(job)
    with pytest.raises(Problem, match="not-found"):
        client.job(job)


def test_the_same_file_is_read_once_unless_it_is_to_be_read_again(client: Client) -> None:
    first = client.wait(client.submit(SAMPLE))
    again = client.submit(SAMPLE)
    assert (again.status, again.cached, again.id != first.id) == ("succeeded", True, True)
    assert client.result(again) == client.result(first)
    assert not client.submit(SAMPLE, cache=False).cached


def test_the_same_key_gives_the_same_job(client: Client) -> None:
    assert client.submit(SAMPLE, key="k").id == client.submit(SAMPLE, key="k").id


def test_a_stream_outlives_its_gateway_without_a_gap_or_an_event_twice(client: Client, gateway: Gateway) -> None:
    job = client.submit(SAMPLE, cache=False)
    seen = list[Event]()
    for event in client.events(job):
        if not seen:
            gateway.kill()
            gateway.start()
        seen.append(event)
    stored = [event for event in seen if event.name not in OURS]
    assert stored == [event for event in client.events(job) if event.name not in OURS]
    assert stored[-1].name == "done"
    assert len({event.id for event in stored}) == len(stored)


def command(*arguments: str, url: str = "", **settings: object) -> subprocess.CompletedProcess[str]:
    env = environment(ocr_url=url, **settings) if url else environment(**settings)
    ocr = [sys.executable, "-m", "ocr_client.cli", *arguments]
    return subprocess.run(ocr, cwd=ROOT, env=env, capture_output=True, text=True, timeout=60, check=False)


def test_the_command_prints_the_markdown_and_nothing_else_to_stdout(client: Client, gateway: Gateway) -> None:
    done = command("read", str(SAMPLE), url=gateway.url)
    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip("\n") == client.read(SAMPLE).markdown.rstrip("\n")
    assert "sample.pdf: succeeded, 2 of 2 pages" in done.stderr


def test_the_command_follows_page_by_page(client: Client, gateway: Gateway) -> None:
    done = command("read", "--follow", "--force", str(SAMPLE), url=gateway.url)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == client.read(SAMPLE).markdown.split()
    assert "page 1 ok" in done.stderr


def test_the_command_writes_many_files_and_tells_of_the_bad_one(
    client: Client, gateway: Gateway, tmp_path: Path
) -> None:
    (bad := tmp_path / "bad.pdf").write_bytes(b"nothing of use")
    out = tmp_path / "out"
    done = command("read", str(SAMPLE), str(bad), "-o", str(out), "--format", "zip", url=gateway.url)
    assert done.returncode == 1
    assert "ocr: bad.pdf: " in done.stderr
    assert [path.name for path in out.iterdir()] == ["sample.zip"]
    assert "result.md" in zipfile.ZipFile(out / "sample.zip").namelist()


def test_the_command_looks_at_cancels_and_fetches_a_job(client: Client, gateway: Gateway) -> None:
    job = client.wait(client.submit(SAMPLE))
    assert command("status", job.id, url=gateway.url).stdout == f"{job.id} succeeded sample.pdf 2 of 2 pages\n"
    assert command("result", job.id, "--format", "txt", url=gateway.url).stdout.startswith("A page of")
    refused = command("cancel", job.id, url=gateway.url)
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert "already-finished" in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "why"),
    [
        (["read", "no/such.pdf"], 2, "ocr: no/such.pdf: No such file or directory\n"),
        (["read", str(SAMPLE), "--format", "zip"], 2, "ocr: --format zip needs -o DIR\n"),
        (["docs", "-o", "x"], 2, "ocr: docs: is a folder; add -r to read the files in it\n"),
        (["*.none", "-o", "x"], 2, "ocr: *.none: no file is named like this\n"),
    ],
)
def test_a_wrong_command_line_is_one_line(arguments: list[str], code: int, why: str) -> None:
    done = command(*arguments)
    assert (done.returncode, done.stdout, done.stderr) == (code, "", why)


def test_a_service_that_is_not_there_is_one_line() -> None:
    done = command("--url", f"http://127.0.0.1:{free_port()}", "--patience", "0", "read", str(SAMPLE))
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (4, "", 1)
    assert "cannot be reached" in done.stderr


@contextmanager
def interruptible(client: Client, gateway: Gateway) -> Iterator[tuple[subprocess.Popen[str], Job]]:
    """A command that waits for its job, and that job."""
    before = {job.id for job in client.jobs()}
    ocr = [sys.executable, "-m", "ocr_client.cli", "read", "--force", str(SAMPLE)]
    env = environment(ocr_url=gateway.url)
    with subprocess.Popen(ocr, cwd=ROOT, env=env, stderr=subprocess.PIPE, text=True) as process:
        job = wait_until(lambda: next((job for job in client.jobs() if job.id not in before), None))
        assert process.stderr is not None
        assert process.stderr.readline() == "sample.pdf: queued, 0 of 2 pages\n"
        yield process, job
        assert process.wait(30) == 130


def test_ctrl_c_leaves_the_job_and_says_how_to_go_on(client: Client, gateway: Gateway, halted_worker: Worker) -> None:
    with interruptible(client, gateway) as (process, job):
        os.kill(process.pid, signal.SIGINT)
        assert process.stderr is not None
        said = process.stderr.read()
    assert f"1 job goes on at the service; the same command fetches the results: ocr read --force {SAMPLE}\n" in said
    assert client.job(job).status == "queued"
    client.cancel(job)


def test_ctrl_c_twice_cancels_the_job(client: Client, gateway: Gateway, halted_worker: Worker) -> None:
    with interruptible(client, gateway) as (process, job):
        os.kill(process.pid, signal.SIGINT)
        assert process.stderr is not None
        while "once more" not in process.stderr.readline():
            pass
        os.kill(process.pid, signal.SIGINT)
    assert client.wait(job).status == "cancelled"


def test_term_cancels_the_job(client: Client, gateway: Gateway, halted_worker: Worker) -> None:
    with interruptible(client, gateway) as (process, job):
        os.kill(process.pid, signal.SIGTERM)
    assert client.wait(job).status == "cancelled"
