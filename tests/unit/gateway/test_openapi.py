"""What the OpenAPI document has beyond the routes: events, webhooks, codes and examples."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from pydantic import BaseModel

from gateway.api import batches, health, jobs, search, shares, tokens
from gateway.api.forms import WEBHOOK_EVENTS
from gateway.api.openapi import PUBLIC_NAMES
from gateway.api.openapi_examples import EXAMPLES
from gateway.app import create_app
from shared.contract.document import DocumentResult, PageResult
from shared.contract.events import EventName
from shared.contract.view import JobBrief, JobView
from tests.conftest import make_settings

MODELS: dict[str, type[BaseModel]] = {
    PUBLIC_NAMES.get(model.__name__, model.__name__): model
    for model in (
        JobBrief, JobView, jobs.JobList, PageResult, DocumentResult, batches.BatchView, tokens.Token, shares.ShareLink,
        shares.SharedJob, search.SearchResult, health.Health, health.Alive,
    )
}  # fmt: skip


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return create_app(make_settings("redis://unused")).openapi()


@pytest.fixture(scope="module")
def components(document: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = document["components"]["schemas"]
    return found


def test_every_name_that_is_referred_to_is_there(document: dict[str, Any], components: dict[str, Any]) -> None:
    assert set(re.findall(r"#/components/schemas/([\w.-]+)", json.dumps(document))) <= set(components)


def test_the_union_has_every_event_of_a_stream(document: dict[str, Any], components: dict[str, Any]) -> None:
    stream = document["paths"]["/api/v1/jobs/{job_id}/events"]["get"]["responses"]["200"]["content"]
    assert stream["text/event-stream"]["schema"] == {"$ref": "#/components/schemas/JobEvent"}
    union = components["JobEvent"]
    members = [components[member["$ref"].rpartition("/")[2]] for member in union["oneOf"]]
    assert {member["properties"]["event"]["const"] for member in members} == set(EventName)
    assert set(union["discriminator"]["mapping"]) == set(EventName)
    assert set(components["PageCompleted"]["required"]) == {"page", "status", "progress"}


def test_what_is_sent_to_a_webhook_is_described(document: dict[str, Any], components: dict[str, Any]) -> None:
    assert set(document["webhooks"]) == set(WEBHOOK_EVENTS)
    body = document["webhooks"]["job.failed"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    assert body == {"$ref": "#/components/schemas/WebhookBody"}
    assert components["WebhookBody"]["properties"]["data"] == {"$ref": "#/components/schemas/JobBrief"}


def codes(document: dict[str, Any], method: str, path: str, status: int) -> set[str]:
    return set(document["paths"][f"/api/v1/jobs{path}"][method]["responses"][str(status)]["description"].split(", "))


def test_a_route_names_the_codes_that_it_can_answer_with(document: dict[str, Any]) -> None:
    assert {"corrupt-file", "bad-option", "bad-document-url"} <= codes(document, "post", "", 400)
    assert codes(document, "post", "", 429) == {"queue-full", "rate-limited"}
    assert codes(document, "get", "/{job_id}", 400) == {"bad-option"}
    assert codes(document, "get", "/{job_id}/document", 409) == {"not-finished", "job-failed"}
    assert codes(document, "post", "/{job_id}/cancel", 409) == {"already-finished"}
    assert codes(document, "get", "/{job_id}/result", 500) == {"internal"}


def test_the_parts_of_a_result_have_the_names_that_clients_know(
    document: dict[str, Any], components: dict[str, Any]
) -> None:
    assert {name: components[name]["title"] for name in ("Document", "Page", "Block")} == {
        "Document": "Document", "Page": "Page", "Block": "Block",
    }  # fmt: skip
    assert components["Document"]["properties"]["pages"]["items"] == {"$ref": "#/components/schemas/Page"}
    assert not any(name in json.dumps(document) for name in PUBLIC_NAMES)


@pytest.mark.parametrize("name", MODELS)
def test_an_example_is_one_of_its_model(name: str) -> None:
    MODELS[name].model_validate(EXAMPLES[name])


def test_every_example_has_its_model(components: dict[str, Any]) -> None:
    assert set(EXAMPLES) - {"WebhookBody"} == set(MODELS)
    assert components["WebhookBody"]["required"] == list(EXAMPLES["WebhookBody"])
