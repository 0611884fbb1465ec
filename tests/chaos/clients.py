"""Callers as there are: they repeat what was not answered, follow, stream in one call, or change their mind."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import httpx

from tests.chaos.plan import Planned
from tests.chaos.stack import ChaosStack

PAUSE = 0.2
CALLS = 8  # times a streamed call is begun anew until one is told to its end


class Clients:
    """``statuses``: of every answer there was. ``wrong``: answers no caller may get."""

    def __init__(self, stack: ChaosStack, rng: random.Random) -> None:
        self._stack, self._rng = stack, rng
        self.statuses: Counter[int] = Counter()
        self.wrong: list[str] = []
        self.http = httpx.AsyncClient(timeout=httpx.Timeout(15, read=30), limits=httpx.Limits(max_connections=200))

    def url(self, path: str) -> str:
        """Of any gateway: they share nothing but the store."""
        return f"{self._rng.choice(self._stack.gateways).url}/api/v1{path}"

    def seen(self, what: str, answer: httpx.Response, text: str = "") -> None:
        self.statuses[answer.status_code] += 1
        unavailable = answer.status_code == 503
        if answer.status_code >= 500 and not unavailable:
            self.wrong.append(f"{what}: {answer.status_code} {text or answer.text[:300]}")
        elif unavailable and "retry-after" not in answer.headers:
            self.wrong.append(f"{what}: 503 without Retry-After")

    async def ask(self, method: str, path: str, **more: Any) -> httpx.Response | None:
        """One answer; None where there was none."""
        try:
            answer = await self.http.request(method, self.url(path), **more)
        except httpx.TransportError:
            return None
        self.seen(f"{method} {path}", answer)
        return answer

    async def serve(self, job: Planned) -> None:
        if job.follow == "call":
            await self._call(job)
            return
        await self._submit(job)
        if self._rng.random() < 0.1 and job.key is not None:
            await self._submit(job)  # a client that repeats although it was answered
        if job.follow == "cancel":
            await self._cancel(job)

    async def _submit(self, job: Planned) -> None:
        """Until a 2xx names the job's id: with a key the same one every time, as it does not know what happened."""
        form = {"priority": job.priority}
        form |= {"webhook_url": f"{self._stack.receiver_url}/{job.name}"} if job.webhook else {}
        while True:
            job.tries += 1
            answer = await self.ask(
                "POST",
                "/jobs",
                files={"file": ("chaos.pdf" if job.pdf else "chaos.tiff", job.data())},
                data=form,
                headers={"Idempotency-Key": job.key} if job.key else {},
            )
            if answer is not None and answer.is_success:
                job.ids.append(answer.json()["id"])
                return
            if answer is not None and answer.status_code not in (429, 503):
                self.wrong.append(f"POST /jobs: {answer.status_code} {answer.text[:300]}")
                return
            await asyncio.sleep(PAUSE)

    async def _cancel(self, job: Planned) -> None:
        await asyncio.sleep(self._rng.uniform(0, 1))
        while (answer := await self.ask("POST", f"/jobs/{job.ids[0]}/cancel")) is None or answer.status_code == 503:
            await asyncio.sleep(PAUSE)

    # -- in one call

    async def _call(self, job: Planned) -> None:
        for _ in range(CALLS):
            job.tries += 1
            if await self._called_once(job):
                return
            await asyncio.sleep(PAUSE)

    async def _called_once(self, job: Planned) -> bool:
        told, job_id = "", None
        files = {"file": ("chaos.pdf" if job.pdf else "chaos.tiff", job.data())}
        try:
            async with self.http.stream("POST", self.url("/ocr"), files=files, data={"stream": "true"}) as answer:
                self.seen("POST /ocr", answer, "streamed")
                if not answer.is_success:
                    return False
                job_id = answer.headers["x-job-id"]
                async for piece in pieces(answer):
                    if "error" in piece:
                        job.refused = str(piece["error"])
                    if piece.get("done"):
                        job.ids, job.streamed, job_id = [job_id], told, None
                        return True
                    told = "" if piece.get("reset") else told + piece.get("text", "")
        except httpx.TransportError:
            return False
        finally:
            if job_id is not None:
                job.given_up.append(job_id)
        return False

    # -- events

    async def follow(self, job: Planned) -> None:
        """Every event of the job, over whatever gateway answers, with the last id that was seen."""
        pages: dict[int, str] = {}
        last, ended = "0", False
        while not ended:
            headers = {"Last-Event-ID": last}
            try:
                async with self.http.stream("GET", self.url(f"/jobs/{job.ids[0]}/events"), headers=headers) as answer:
                    self.seen("GET /events", answer, "streamed")
                    if answer.status_code == 204:
                        break
                    if answer.is_success:
                        async for event in events(answer):
                            last = event.get("id", last)
                            ended = heard(event, pages) or ended
            except httpx.TransportError:
                pass
            await asyncio.sleep(PAUSE)
        job.pages_streamed = pages


def heard(event: dict[str, str], pages: dict[int, str]) -> bool:
    """What one event says of the pages' texts; true for the last of all."""
    name = event.get("event", "")
    data = json.loads(event["data"]) if event.get("data") else {}
    if name == "page.restarted":
        pages.pop(data["page"], None)
    elif name == "token":
        pages[data["page"]] = pages.get(data["page"], "") + data["text"]
    return name == "done"


async def pieces(answer: httpx.Response) -> AsyncIterator[dict[str, Any]]:
    async for line in answer.aiter_lines():
        if line.startswith("data: "):
            yield json.loads(line[6:])


async def events(answer: httpx.Response) -> AsyncIterator[dict[str, str]]:
    event: dict[str, str] = {}
    async for line in answer.aiter_lines():
        if line:
            name, _, value = line.partition(": ")
            event[name] = value
        elif event:
            yield event
            event = {}
