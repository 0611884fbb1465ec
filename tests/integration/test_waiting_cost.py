"""Waiting for a job costs the store a look at what is news, not one at every piece of text."""

from __future__ import annotations

import asyncio

import httpx

from tests.integration.conftest import Script
from tools.uploads import png
from tools.valkey import Valkey, wait_until

JOBS = "/api/v1/jobs"


def scripts_run(valkey: Valkey) -> int:
    return int(valkey.client.info("commandstats")["cmdstat_evalsha"]["calls"])


async def test_text_that_streams_by_is_no_reason_to_look_the_job_up(
    api: httpx.AsyncClient, script: Script, valkey: Valkey
) -> None:
    answer = await api.post(JOBS, files={"file": ("a.png", png(1), "image/png")})
    assert answer.status_code == 202, answer.text
    job_id = answer.json()["id"]
    claim = await script.take(job_id)
    waiting = asyncio.create_task(api.get(f"{JOBS}/{job_id}", params={"wait": "30"}))
    await asyncio.to_thread(wait_until, lambda: blocked_readers(valkey) >= 1)
    before = scripts_run(valkey)
    for n in range(40):
        await script.say(claim, 1, str(n))
        await asyncio.sleep(0.015)  # longer than the hub gathers: each is delivered by itself
    looks = scripts_run(valkey) - before - 40
    await script.end(claim, 1)
    await script.claims.finish(claim)
    assert (await waiting).json()["status"] == "succeeded"
    assert looks <= 3


def blocked_readers(valkey: Valkey) -> int:
    return sum(client["cmd"] == "xread" and "b" in client["flags"] for client in valkey.client.client_list())
