"""One call for each of several jobs; a refusal concerns its job alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from ocr_client.cli.exit_codes import DONE, code_of, worst
from ocr_client.cli.messages import say, told
from ocr_client.cli.options import ServiceAddress
from ocr_client.errors import Problem

if TYPE_CHECKING:
    from ocr_client.client import Client


def each_job(connection: ServiceAddress, jobs: Sequence[str], call: Callable[[Client, str], None], done: str) -> int:
    """The exit code. ``done``: what to say of a job afterwards."""
    codes: list[int] = []
    with connection.client() as client:
        for job in jobs:
            try:
                call(client, job)
            except Problem as problem:
                say(f"ocr: {told(problem)}" if len(jobs) == 1 else f"ocr: {job}: {told(problem)}")
                codes.append(code_of(problem))
            else:
                say(f"{job} {done}")
                codes.append(DONE)
    return worst(codes)
