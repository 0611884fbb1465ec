"""Every hostile file, sent to the running service: a verdict or an ended job, no 5xx, nobody dead, nobody bloated."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import psutil
import pytest

from shared.contract.states import TERMINAL_STATUSES
from tests.attack.conftest import AttackTarget
from tests.hostile.make import ANY, TAKEN, Case, cases
from tools.valkey import wait_until

JOBS = "/api/v1/jobs"
MOST_BYTES = 5 * 1024**3 // 4  # three pages of MAX_IMAGE_PIXELS at once are 1,030 MiB, and the worker itself 140


def family(target: AttackTarget) -> list[psutil.Process]:
    """Every process of the target with its helpers."""
    ours = [psutil.Process(process.pid) for process in target.processes]
    return [*ours, *(child for process in ours for child in process.children(recursive=True))]


def largest(target: AttackTarget) -> int:
    """Bytes of the process that holds most."""
    sizes = []
    for process in family(target):
        try:
            sizes.append(process.memory_info().rss)
        except psutil.NoSuchProcess:
            continue  # a helper that was killed for what it had to read
    return max(sizes)


@pytest.mark.timeout(600)
def test_no_hostile_file_causes_a_5xx_a_dead_process_or_more_memory_than_three_large_pages_take(
    target: AttackTarget,
) -> None:
    peak = 0
    with target.client() as client, ThreadPoolExecutor(3) as pool:

        def send(case: Case) -> tuple[Case, httpx.Response]:
            return case, client.post(JOBS, files={"file": (case.name, case.data)}, timeout=120)

        answers: list[tuple[Case, httpx.Response]] = []
        for answered in pool.map(send, cases()):
            answers.append(answered)
            peak = max(peak, largest(target))
        assert len(answers) >= 150
        for case, answer in answers:
            assert answer.status_code in (202, 400), (case.name, answer.text)
            if case.verdict not in (ANY, TAKEN):
                assert answer.json()["code"] == case.verdict, case.name
            if case.verdict == TAKEN:
                assert answer.status_code == 202, case.name
        waiting = {answer.json()["id"]: case for case, answer in answers if answer.status_code == 202}

        def all_ended() -> bool:
            nonlocal peak
            peak = max(peak, largest(target))
            for job_id in list(waiting):
                job: dict[str, Any] = client.get(f"{JOBS}/{job_id}").json()
                if job["status"] in TERMINAL_STATUSES:
                    del waiting[job_id]
            return not waiting

        wait_until(all_ended, 400, "every job's end")
        assert client.post("/api/v1/ocr", files={"file": ("a.png", b"")}).status_code == 400
    assert all(process.alive for process in target.processes)
    assert peak < MOST_BYTES, peak
