"""Caches: nothing that the API answers is kept by one, and a job has the headers that follow from its state."""

from __future__ import annotations

import httpx
import pytest

from tests.integration.conftest import Script
from tests.integration.test_gateway_jobs import JOBS, job_of
from tools.uploads import png

BATCHES = "/api/v1/batches"


async def read_job(api: httpx.AsyncClient, script: Script) -> str:
    job_id = await job_of(api)
    await script.do(job_id)
    return job_id


@pytest.mark.parametrize(
    "path",
    [
        "/health", "/livez", "/readyz", "/models", JOBS, f"{JOBS}/{{job}}", f"{JOBS}/{{job}}/result",
        f"{JOBS}/{{job}}/result?format=zip", f"{JOBS}/{{job}}/pages/1", f"{JOBS}/{{job}}/pages/1?format=html",
        f"{JOBS}/{{job}}/pages/9", f"{JOBS}/{{job}}/events", f"{JOBS}/{{job}}/deliveries", f"{BATCHES}/{{batch}}",
        "/api/v1/webhooks/secret", "/api/v1/nowhere",
    ],
)  # fmt: skip
async def test_no_answer_is_kept_by_a_cache(api: httpx.AsyncClient, script: Script, path: str) -> None:
    await script.report()
    job_id = await read_job(api, script)
    batch = (await api.post(BATCHES, files=[("file", ("a.png", png(1)))])).json()["id"]
    answer = await api.get(path.format(job=job_id, batch=batch))
    assert answer.headers["cache-control"] == "no-store"


async def test_answers_to_posts_and_deletes_are_not_kept_either(api: httpx.AsyncClient) -> None:
    made = await api.post(JOBS, files={"file": ("a.png", png(1))})
    job = f"{JOBS}/{made.json()['id']}"
    answers = [made, await api.post(f"{job}/token"), await api.post(f"{job}/cancel"), await api.delete(job)]
    assert [answer.status_code for answer in answers] == [202, 201, 202, 204]
    assert {answer.headers["cache-control"] for answer in answers} == {"no-store"}
    assert answers[-1].content == b""


async def test_a_job_has_the_headers_of_its_state_wherever_it_is_the_answer(
    api: httpx.AsyncClient, script: Script
) -> None:
    made = await api.post(JOBS, files={"file": ("a.png", png(1))})
    url, tag = made.headers["location"], made.headers["etag"]
    assert url.endswith(f"{JOBS}/{made.json()['id']}")
    waiting = [await api.get(url), await api.get(f"{url}/result"), await api.get(f"{url}/pages/1")]
    assert [answer.status_code for answer in waiting] == [200, 202, 202]
    assert {answer.headers["etag"] for answer in waiting} == {tag}
    assert all("retry-after" in answer.headers for answer in (made, *waiting))
    assert waiting[1].headers["location"] == url
    assert waiting[1].json() == waiting[2].json() | {"queue": waiting[1].json()["queue"]}
    unchanged = await api.get(url, headers={"If-None-Match": tag})
    assert (unchanged.status_code, unchanged.content, unchanged.headers["etag"]) == (304, b"", tag)
    await script.do(made.json()["id"])
    ended = await api.get(url, headers={"If-None-Match": tag})
    assert ended.status_code == 200
    assert "retry-after" not in ended.headers
