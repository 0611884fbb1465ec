"""One run, from the checks before anything is started to the last process's end."""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from pathlib import Path

from pydantic import ValidationError

from deploy.local.console import Console
from deploy.local.failure import Failure
from deploy.local.folder import ROOT, Folder
from deploy.local.ports import LOOPBACK, free_port, require_free
from deploy.local.programs import LocalSettings, make_plan
from deploy.local.readiness import wait_ready
from deploy.local.sample import faults, read
from deploy.local.signals import Signals, StopRequested
from deploy.local.stack import LocalStack
from deploy.local.unfinished import unfinished
from deploy.local.watch import ProcessWatch
from gateway.settings import GatewaySettings
from gateway.settings_check import faults as faults_of_settings
from shared.settings import explain
from shared.sniff import PDF_HEADER_WITHIN, allowed_types, media_type
from worker.settings import WorkerSettings
from worker.webhooks.settings import WebhookSettings

SAMPLE = ROOT / "docs" / "sample.pdf"
POLL_SECONDS = 0.3
NOT_EVERY_PAGE = 3
HEAD_BYTES = PDF_HEADER_WITHIN + 64
MOST_NAMED = 5  # of the jobs that go on from last time


def run(given: argparse.Namespace, signals: Signals) -> int:
    """The exit code. Raises ``Failure``, or ``StopRequested`` where a signal came before the work was done."""
    console, settings = Console(), _settings()
    path = _document(given.file, settings.gateway)
    if shutil.which(given.worker_python) is None:
        raise Failure(f"{given.worker_python} is no program that could run the worker")
    host = LOOPBACK if given.once else settings.gateway.host
    port = given.port or (free_port() if given.once else settings.gateway.port)
    require_free(port, host)
    folder = Folder.for_once() if given.once else Folder.of_port(port)
    try:
        plan = make_plan(settings, folder, host, port, once=given.once, worker_python=given.worker_python)
        folder.store_url.write_text(f"redis://{LOOPBACK}:{plan.valkey_port}/0\n")
        stack = LocalStack(plan, folder)
        try:
            signals.arm()
            return _live(stack, path, console, once=given.once)
        finally:
            signals.disarm()
            _stop(stack, console, signals, once=given.once)
    finally:
        folder.close()


def _stop(stack: LocalStack, console: Console, signals: Signals, *, once: bool) -> None:
    """A run for one document keeps nothing, so nothing of it is waited for (where orphans are adopted: on Linux)."""
    if once and sys.platform == "linux":
        stack.kill()
        return
    console.say("stopping …")
    stack.stop(signals)
    console.say("stopped")


def _document(name: str | None, settings: GatewaySettings) -> Path:
    path = Path(name) if name is not None else SAMPLE
    try:
        with path.open("rb") as file:
            kind = media_type(file.read(HEAD_BYTES))
    except OSError as error:
        raise Failure(f"{name}: {error.strerror}") from None
    if kind not in allowed_types(settings.allowed_extensions):
        types = ", ".join(settings.allowed_extensions)
        raise Failure(f"{name}: {kind or 'unknown file type'} is not accepted; accepted: {types}")
    return path.absolute()


def _settings() -> LocalSettings:
    try:
        file = ROOT / ".env"
        WebhookSettings(_env_file=file)
        settings = LocalSettings(GatewaySettings(_env_file=file), WorkerSettings(_env_file=file))
    except ValidationError as error:
        raise Failure(explain(error)) from None
    if wrong := "; ".join(faults_of_settings(settings.gateway)):
        raise Failure(f"settings: {wrong}")
    return settings


def _live(stack: LocalStack, path: Path, console: Console, *, once: bool) -> int:
    watch = ProcessWatch(stack, console)
    wait_ready(stack.plan, watch, console, lambda: None if once else _say_open(stack, console))
    if once:
        return _read_once(stack, path, watch, console)
    welcome = _welcome(stack, _read_first(stack, path, watch, console))
    try:
        console.say(welcome)
        while True:
            watch.poll()
            time.sleep(POLL_SECONDS)
    except StopRequested:
        return 0


def _say_open(stack: LocalStack, console: Console) -> None:
    console.say(f"Open {stack.plan.url}")
    if jobs := unfinished(stack.plan.store_url):
        console.say(f"{len(jobs)} {'job goes' if len(jobs) == 1 else 'jobs go'} on from last time:")
        for line in jobs[:MOST_NAMED]:
            console.say(f"  {line}")
        if len(jobs) > MOST_NAMED:
            console.say(f"  and {len(jobs) - MOST_NAMED} more")


def _read_once(stack: LocalStack, path: Path, watch: ProcessWatch, console: Console) -> int:
    job, markdown = read(stack.plan, path, watch, console)
    _print(markdown)
    if why := faults(job):
        console.say(why)
        return NOT_EVERY_PAGE
    return 0


def _read_first(stack: LocalStack, path: Path, watch: ProcessWatch, console: Console) -> str:
    """URL of the job's page, "" if the document could not be read: the service runs all the same."""
    try:
        job, markdown = read(stack.plan, path, watch, console)
    except Failure as failure:
        watch.poll()  # raises if that is why
        console.say(str(failure))
        return ""
    _print(markdown)
    if why := faults(job):
        console.say(why)
    return job.urls["web"]


def _print(markdown: str) -> None:
    try:
        sys.stdout.write(markdown if markdown.endswith("\n") else markdown + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        raise Failure("the Markdown could not be written: the reader of standard output is gone") from None


def _welcome(stack: LocalStack, job_url: str) -> str:
    plan = stack.plan
    rows = [
        ("Open", plan.url),
        ("API", f"{plan.url}/docs"),
        ("this job", job_url),
        ("Flower", plan.flower_url),
        ("logs", stack.folder.logs),
    ]
    lines = [f"  {name:9} {where}" for name, where in rows if where]
    return "\n".join(["", "The service is running; Ctrl-C stops it.", *lines])
