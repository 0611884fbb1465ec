"""Batches: one verdict per file, counts by status, and a key for all of it."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.conftest import make_settings
from tests.integration.conftest import Script, client_of
from tests.integration.test_gateway_jobs import JOBS, problem, stored
from tools.uploads import png, tiff
from tools.valkey import Valkey

BATCHES = "/api/v1/batches"


async def send(api: httpx.AsyncClient, *files: tuple[str, bytes], **more: Any) -> httpx.Response:
    headers = more.pop("headers", None)
    return await api.post(BATCHES, files=[("file", file) for file in files], data=more, headers=headers)


async def test_every_file_gets_its_verdict(api: httpx.AsyncClient, script: Script) -> None:
    answer = await send(
        api, ("a.png", png(1)), ("bad.png", b"no picture"), ("c.tiff", tiff([1, 2])), ("empty.pdf", b""), pages="1"
    )
    batch = answer.json()
    assert answer.status_code == 202
    assert answer.headers["location"] == f"http://localhost{BATCHES}/{batch['id']}"
    assert [job["input"]["filename"] for job in batch["jobs"]] == ["a.png", "c.tiff"]
    assert {job["batch"] for job in batch["jobs"]} == {batch["id"]}
    assert [(no["filename"], no["problem"]["code"]) for no in batch["rejected"]] == [
        ("bad.png", "unsupported-media"), ("empty.pdf", "file-empty"),
    ]  # fmt: skip
    await script.do(batch["jobs"][0]["id"])
    later = (await api.get(f"{BATCHES}/{batch['id']}")).json()
    assert later["counts"] == {"succeeded": 1, "queued": 1}
    assert later["rejected"] == batch["rejected"]


async def test_when_no_file_can_be_taken_the_first_problem_is_the_answer(
    api: httpx.AsyncClient, valkey: Valkey
) -> None:
    problem(await send(api, ("a.png", b""), ("b.png", b"no")), 400, "file-empty")
    assert stored(valkey) == set()


async def test_options_are_checked_before_any_file(api: httpx.AsyncClient, valkey: Valkey) -> None:
    problem(await send(api, ("a.png", png(1)), type="novel"), 400, "bad-option")
    problem(await api.post(BATCHES, data={"type": "image"}), 400, "file-missing")
    assert stored(valkey) == set()


async def test_a_page_range_is_each_files_own_matter(api: httpx.AsyncClient) -> None:
    batch = (await send(api, ("a.png", png(1)), ("b.tiff", tiff([1, 2])), pages="2")).json()
    assert [job["input"]["page_range"] for job in batch["jobs"]] == ["2"]
    assert batch["rejected"][0]["problem"]["code"] == "bad-page-range"


async def test_too_many_files_are_refused_as_a_whole(valkey: Valkey) -> None:
    async with client_of(make_settings(valkey.url, max_batch_files=2)) as api:
        for count in (3, 4, 9):
            problem(await send(api, *[(f"{n}.png", png(n)) for n in range(count)]), 400, "bad-option")
        assert stored(valkey) == set()


async def test_the_queue_may_fill_up_in_the_middle(valkey: Valkey) -> None:
    async with client_of(make_settings(valkey.url, max_queue_jobs=2)) as api:
        batch = (await send(api, *[(f"{n}.png", png(n)) for n in range(3)])).json()
        assert (len(batch["jobs"]), batch["rejected"][0]["problem"]["code"]) == (2, "queue-full")
        problem(await send(api, ("d.png", png(4))), 429, "queue-full")
        problem(await send(api, ("d.png", png(4)), headers={"Idempotency-Key": "k"}), 429, "queue-full")
        assert len(valkey.client.keys("batch:*")) == 2  # the record and the list of the first one


async def test_the_same_key_and_files_give_the_first_batch_again(api: httpx.AsyncClient) -> None:
    files = [("a.png", png(1)), ("bad.png", b"no"), ("b.png", png(2))]
    first = (await send(api, *files, headers={"Idempotency-Key": "k"})).json()
    again = (await send(api, *files, headers={"Idempotency-Key": "k"})).json()
    assert again["id"] == first["id"]
    assert [job["id"] for job in again["jobs"]] == [job["id"] for job in first["jobs"]]
    assert [no["filename"] for no in again["rejected"]] == ["bad.png"]
    assert len((await api.get(JOBS)).json()["items"]) == 2
    problem(await send(api, *files[::-1], headers={"Idempotency-Key": "k"}), 422, "idempotency-mismatch")


@pytest.mark.parametrize(
    "others",
    [
        [("a.png", png(1)), ("b.png", png(2)), ("c.png", png(3))],
        [("a.png", png(1))],
        [("bad.png", b"no")],
        [("bad.png", b"no"), ("a.png", png(1))],
    ],
    ids=["one more", "one less", "nothing good", "at another place"],
)
async def test_other_files_under_the_same_key_leave_the_batch_alone(
    api: httpx.AsyncClient, others: list[tuple[str, bytes]]
) -> None:
    first = (await send(api, ("a.png", png(1)), ("b.png", png(2)), headers={"Idempotency-Key": "k"})).json()
    problem(await send(api, *others, headers={"Idempotency-Key": "k"}), 422, "idempotency-mismatch")
    assert (await api.get(f"{BATCHES}/{first['id']}")).json() == first
    assert len((await api.get(JOBS)).json()["items"]) == 2


@pytest.mark.parametrize("batch_id", ["01JD0000000000000000000000", "x", "x:jobs"])
async def test_an_unknown_batch_is_404(api: httpx.AsyncClient, batch_id: str) -> None:
    await send(api, ("a.png", png(1)))
    problem(await api.get(f"{BATCHES}/{batch_id}"), 404, "not-found")


async def test_another_owners_batch_is_404(api: httpx.AsyncClient, valkey: Valkey) -> None:
    batch_id = (await send(api, ("a.png", png(1)))).json()["id"]
    valkey.client.hset(f"batch:{batch_id}", "owner", "somebody")
    problem(await api.get(f"{BATCHES}/{batch_id}"), 404, "not-found")
    # An id whose list is of another type than a batch's must not be a 500 either.
    problem(await api.get(f"{BATCHES}/{batch_id}:jobs"), 404, "not-found")
