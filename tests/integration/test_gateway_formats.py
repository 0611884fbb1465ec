"""The registry of formats: what reads it, and that a new format is one module and one line."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from gateway import web
from gateway.app import create_app
from gateway.formats.registry import FORMATS, Disposition, ResultFormat
from gateway.formats.source import Source
from ocr_client.choices import FORMATS as CLIENT_FORMATS
from ocr_client.choices import MODES, PRIORITIES, STATUSES, SUFFIXES, TEXT_LAYERS, TYPES
from shared.contract.options import ModeName, Priority, ReadType, TextLayer
from shared.contract.states import JobStatus
from shared.sniff import EXTENSIONS
from tests.conftest import make_settings
from tests.integration.conftest import Script
from tests.integration.test_gateway_jobs import JOBS, job_of

WEB_PAGE = Path(web.__file__).parent / "static"


async def count(source: Source) -> AsyncIterator[str]:
    """A tiny format: how many characters and pictures there are."""
    async for pages in source.pages():
        characters = sum(len(page.markdown) for page in pages)
        figures = [name async for name, _ in source.figures(pages)]
        pictures = [page.number for page in pages if await source.picture(page.number)]
        yield f"{characters} characters, {len(figures)} figures, {len(pictures)} pages"


TINY = ResultFormat("count", "text/x-count", count, disposition=Disposition.ATTACHMENT)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FORMATS, TINY.name, TINY)


@pytest.mark.usefixtures("tiny")
async def test_a_format_that_is_added_is_chosen_rendered_and_documented(api: httpx.AsyncClient, script: Script) -> None:
    job_id = await job_of(api)
    claim = await script.take(job_id)
    await script.end(claim, 1, "hello", picture=b"webp")
    await script.claims.finish(claim)
    for answer in (
        await api.get(f"{JOBS}/{job_id}/result?format=count"),
        await api.get(f"{JOBS}/{job_id}/result", headers={"Accept": "text/x-count"}),
        await api.get(f"{JOBS}/{job_id}/pages/1?format=count"),
    ):
        assert answer.text == "5 characters, 0 figures, 1 pages"
        assert answer.headers["content-type"] == "text/x-count; charset=utf-8"
        assert answer.headers["content-disposition"].startswith("attachment; ")
        assert answer.headers["cache-control"] == "no-store"
    operations = (await api.get("/openapi.json")).json()["paths"]
    for path in ("/api/v1/jobs/{job_id}/result", "/api/v1/jobs/{job_id}/pages/{number}"):
        operation = operations[path]["get"]
        assert "text/x-count" in operation["responses"]["200"]["content"]
        choice = next(parameter for parameter in operation["parameters"] if parameter["name"] == "format")
        assert choice["schema"]["enum"] == list(FORMATS)


async def test_what_a_result_is_asked_for_goes_before_what_the_job_was(api: httpx.AsyncClient, script: Script) -> None:
    job_id = await job_of(api, page_marks="true")
    await script.do(job_id, ["hello"])
    marked, plain = "<!-- page 1 -->\n\nhello\n", "hello\n"
    for path in (f"{JOBS}/{job_id}/result?", f"{JOBS}/{job_id}/pages/1?format=md&"):
        assert (await api.get(path)).text == marked
        assert (await api.get(f"{path}page_marks=false")).text == plain
        answer = await api.get(f"{path}page_marks=perhaps")
        assert (answer.status_code, answer.json()["code"]) == (400, "bad-option")


@pytest.mark.usefixtures("tiny")
async def test_an_unknown_format_is_told_the_known_ones(api: httpx.AsyncClient) -> None:
    answer = await api.get(f"{JOBS}/{await job_of(api)}/result?format=docx")
    assert (answer.status_code, answer.json()["code"]) == (400, "bad-option")
    assert "md, json, html, txt, zip, count" in answer.json()["detail"]


def test_every_result_format_is_found_by_its_name_and_has_a_media_type_of_its_own() -> None:
    assert [result_format.name for result_format in FORMATS.values()] == list(FORMATS)
    assert len({result_format.media_type for result_format in FORMATS.values()}) == len(FORMATS)


def test_the_command_line_offers_what_the_service_takes() -> None:
    assert set(CLIENT_FORMATS) == set(FORMATS)
    assert set(TYPES) == set(ReadType)
    assert set(MODES) == set(ModeName)
    assert set(PRIORITIES) == set(Priority)
    assert set(TEXT_LAYERS) == set(TextLayer)
    assert set(STATUSES) == set(JobStatus)
    assert set(SUFFIXES) == set(EXTENSIONS)


def test_limits_in_the_document_are_those_of_the_settings() -> None:
    settings = make_settings("redis://unused", max_prompt_length=77, max_metadata_size=99, max_job_age=11)
    body = create_app(settings).openapi()["paths"]["/api/v1/jobs"]["post"]["requestBody"]
    fields = body["content"]["multipart/form-data"]["schema"]["properties"]
    assert fields["prompt"]["maxLength"] == 77
    assert fields["metadata"]["maxLength"] == 99
    assert fields["deadline"]["maximum"] == 11


def test_the_web_pages_downloads_are_the_formats() -> None:
    (offered,) = re.findall(r"^const FORMATS = (\[.*\]);$", (WEB_PAGE / "document.js").read_text(), re.MULTILINE)
    assert [name for name, _ in json.loads(offered)] == list(FORMATS)
