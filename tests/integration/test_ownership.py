"""Two keys, every route of the OpenAPI document: nothing of the one is seen or changed by the other."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from gateway.auth.api_keys import Keys
from shared.store.jobs import Store
from shared.store.webhooks import Ended, Hooks, Outcome
from tests.conftest import Valkey
from tests.integration.conftest import Kept, Script, client_of
from tools.jobs import png, tiff

HOOK = {"webhook_url": "https://93.184.215.14/hook"}
# Routes that name no job: what each of them tells a caller is looked at below.
OWN_THINGS = {
    ("GET", "/api/v1/jobs"),
    ("POST", "/api/v1/jobs"),
    ("POST", "/api/v1/batches"),
    ("POST", "/api/v1/ocr"),
    ("GET", "/api/v1/webhooks/secret"),
    ("POST", "/api/v1/webhooks/secret/rotate"),
}


@dataclass
class House:
    api: httpx.AsyncClient
    alice: dict[str, str]
    bob: dict[str, str]
    done: str  # alice's, with a result, figures and a delivery
    waiting: str  # alice's, queued
    batch: str
    routes: list[tuple[str, str]]

    async def call(self, method: str, path: str, who: dict[str, str], **more: Any) -> httpx.Response:
        headers = who | {"Accept": "*/*"} | more.pop("headers", {})
        return await self.api.request(method, path, headers=headers, **more)

    def paths(self, template: str) -> list[str]:
        """The route with alice's own ids in it."""
        if "{batch_id}" in template:
            return [template.format(batch_id=self.batch)]
        names = {"n": "1", "number": "1", "page": "1", "name": "1_0.jpg", "token": "x"}
        return [template.format(job_id=job_id, **names) for job_id in (self.done, self.waiting)]


@pytest.fixture
async def house(store: Store, script: Script, inspector: Kept) -> AsyncIterator[House]:
    keys = Keys(store.redis, store.settings)
    alice, bob = [{"Authorization": f"Bearer {(await keys.create(name))[1]}"} for name in ("alice", "bob")]
    life = client_of(store.settings)
    life.app.state.services.inspector = inspector
    routes = [
        (method.upper(), path)
        for path, methods in life.app.openapi()["paths"].items()
        if path.startswith("/api/")
        for method in methods
    ]
    async with life as api:

        async def made(path: str, files: Any) -> dict[str, Any]:
            answer = await api.post(
                path, files=files, data=HOOK, headers=alice | {"Idempotency-Key": f"k{path}{len(files)}"}
            )
            assert answer.status_code == 202, answer.text
            return answer.json()

        done = (await made("/api/v1/jobs", {"file": ("a.tiff", tiff([1, 2]), "image/tiff")}))["id"]
        claim = await script.take(done)
        for number, words in enumerate(("alices words", "more of them"), 1):
            await script.claims.page_start(claim, number)
            await script.end(claim, number, words, picture=png(number), figures=[(f"{number}_0.jpg", b"jpeg")])
        await script.claims.finish(claim)
        hooks = Hooks(store.redis, store.settings)
        (lease,) = await hooks.take()
        due = await hooks.begin(lease)
        assert due is not None
        await hooks.end(due, Ended(Outcome.FAILED, 0.1, 500))
        batch = await made("/api/v1/batches", [("file", (f"{n}.png", png(n), "image/png")) for n in (3, 4)])
        yield House(api, alice, bob, done, batch["jobs"][0]["id"], batch["id"], routes)


def state(valkey: Valkey) -> dict[bytes, bytes]:
    """Everything in the store but what a call itself counts."""
    passing = (b"rl:", b"worker", b"wake:", b"rate:")
    return {key: valkey.client.dump(key) for key in valkey.client.keys("*") if not key.startswith(passing)}  # type: ignore[misc]


def test_every_route_is_either_tried_with_ids_or_looked_at_here(house: House) -> None:
    assert {route for route in house.routes if "{" not in route[1]} == OWN_THINGS
    assert len([route for route in house.routes if "{" in route[1]]) >= 10


async def test_alice_comes_in_everywhere(house: House) -> None:
    """The routes below answer 404 because of whose they are, and for no other reason."""
    for method, template in house.routes:
        if method == "GET" and "{" in template:
            path = house.paths(template)[0]
            assert (await house.call(method, path, house.alice)).status_code in (200, 202, 204), path


async def test_no_route_with_an_id_tells_another_key_anything_or_changes_anything(house: House, valkey: Valkey) -> None:
    before = state(valkey)
    tried = 0
    for method, template in house.routes:
        for path in house.paths(template) if "{" in template else []:
            for who, status in ((house.bob, 404), ({}, 401), ({"X-API-Key": "ocr_none"}, 401)):
                answer = await house.call(method, path, who)
                assert answer.status_code == status, (method, path, answer.text)
                assert answer.json()["code"] == ("not-found" if status == 404 else "unauthorized")
                assert "alice" not in answer.text
                tried += 1
    assert tried >= 30
    assert state(valkey) == before


async def test_what_bob_is_told_does_not_depend_on_whether_the_job_exists(house: House) -> None:
    for method, template in house.routes:
        if "{job_id}" in template:
            theirs = await house.call(method, house.paths(template)[0], house.bob)
            nobodys = await house.call(
                method, house.paths(template)[0].replace(house.done, "01JD" + "0" * 22), house.bob
            )
            assert without_id(theirs) == without_id(nobodys), template


def without_id(answer: httpx.Response) -> Any:
    return answer.status_code, {**json.loads(answer.text), "request_id": ""}


async def test_lists_hold_the_callers_own_jobs(house: House) -> None:
    assert (await house.call("GET", "/api/v1/jobs", house.bob)).json() == {"items": [], "next_cursor": None}
    assert len((await house.call("GET", "/api/v1/jobs", house.alice)).json()["items"]) == 3
    cursor = await house.call("GET", "/api/v1/jobs", house.bob, params={"cursor": house.done})
    assert (cursor.status_code, cursor.json()["code"]) == (400, "bad-option")
    for who in ({}, {"X-API-Key": "x"}):
        assert (await house.call("GET", "/api/v1/jobs", who)).status_code == 401


async def test_the_same_idempotency_key_makes_a_job_of_bobs_own(house: House) -> None:
    files = {"file": ("a.tiff", tiff([1, 2]), "image/tiff")}
    key = {"Idempotency-Key": "k/api/v1/jobs1"}
    job = (await house.call("POST", "/api/v1/jobs", house.bob, files=files, data=HOOK, headers=key)).json()
    assert job["id"] != house.done
    files_again = [("file", (f"{n}.png", png(n), "image/png")) for n in (3, 4)]
    key = {"Idempotency-Key": "k/api/v1/batches2"}
    batch = (await house.call("POST", "/api/v1/batches", house.bob, files=files_again, data=HOOK, headers=key)).json()
    assert batch["id"] != house.batch
    assert not {item["id"] for item in batch["jobs"]} & {house.waiting}


async def test_secrets_are_each_keys_own_and_rotating_one_leaves_the_other(house: House) -> None:
    path = "/api/v1/webhooks/secret"
    alices = (await house.call("GET", path, house.alice)).json()
    bobs = (await house.call("GET", path, house.bob)).json()
    assert alices["secret"] != bobs["secret"]
    rotated = (await house.call("POST", f"{path}/rotate", house.bob)).json()
    assert rotated["previous"]["secret"] == bobs["secret"]
    assert (await house.call("GET", path, house.alice)).json() == alices
    assert (await house.call("GET", path, {})).status_code == 401


async def test_a_token_of_bobs_reads_nothing_of_alices(house: House) -> None:
    files = {"file": ("b.png", png(9), "image/png")}
    own = (await house.call("POST", "/api/v1/jobs", house.bob, files=files)).json()["id"]
    token = (await house.call("POST", f"/api/v1/jobs/{own}/token", house.bob)).json()["token"]
    for method, template in house.routes:
        if "{job_id}" in template:
            answer = await house.call(method, house.paths(template)[0], {}, params={"token": token})
            assert answer.status_code == 401, (method, template)


async def test_deliveries_are_listed_and_sent_again_by_their_owner(house: House, valkey: Valkey) -> None:
    path = f"/api/v1/jobs/{house.done}/deliveries"
    listed = (await house.call("GET", path, house.alice)).json()
    (delivery,), (hook,) = listed["items"], listed["webhooks"]
    assert (delivery["number"], delivery["status_code"], delivery["event"]) == (1, 500, "job.succeeded")
    assert (hook["status"], hook["tries"], hook["id"]) == ("pending", 1, delivery["webhook_id"])
    assert hook["next_at"] > hook["created_at"]
    again = await house.call("POST", f"{path}/1/redeliver", house.alice)
    assert again.status_code == 202
    assert again.json()["webhooks"][0]["next_at"] < hook["next_at"]
    assert (await house.call("POST", f"{path}/2/redeliver", house.alice)).status_code == 404
    assert (await house.call("POST", f"{path}/x/redeliver", house.alice)).status_code == 400
