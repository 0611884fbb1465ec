"""Read one document through the running service, as any client would."""

from __future__ import annotations

from pathlib import Path

from deploy.local.console import Console
from deploy.local.failure import Failure
from deploy.local.programs import Plan
from deploy.local.watch import ProcessWatch
from ocr_client import Client, ClientError, Job, Problem

PATIENCE_SECONDS = 60.0
NEEDS_KEY = "cannot be read or shown here: the service needs an API key, and the setting API_KEYS has none"


def read(plan: Plan, path: Path, watch: ProcessWatch, console: Console) -> tuple[Job, str]:
    """The finished job and its Markdown. Raises ``Failure`` with the service's reason."""
    with Client(plan.url, plan.api_key, patience=PATIENCE_SECONDS) as client:
        try:
            job = _wait(client, client.submit(path), watch, console)
            return job, client.result(job).decode()
        except ClientError as error:
            why = NEEDS_KEY if isinstance(error, Problem) and error.code == "unauthorized" else str(error)
    raise Failure(why if why.startswith(path.name) else f"{path.name}: {why}")


def _wait(client: Client, job: Job, watch: ProcessWatch, console: Console) -> Job:
    reported = -1
    while not job.finished:
        watch.poll()
        done = job.progress.pages_done + job.progress.pages_failed
        line = f"{job.filename}: {done} of {job.progress.pages_total} pages"
        (console.say if done != reported else console.waiting)(line)
        reported = done
        job = client.job(job, wait=1)
    watch.poll()
    console.say(f"{job.filename}: {job.status}, {job.progress.pages_done} of {job.progress.pages_total} pages")
    return job


def faults(job: Job) -> str:
    """The pages that were not read well, in one line; "" if there are none."""
    which = ", ".join(f"{page.number} ({page.status}: {page.reason})" for page in job.faults)
    return f"{job.filename}: not every page could be read: {which}" if which else ""
