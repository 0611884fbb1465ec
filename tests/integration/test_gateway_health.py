"""Health, models, probes, metrics and the pages for people."""

from __future__ import annotations

from typing import Any

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.conftest import make_settings
from tests.integration.conftest import Script, client_of
from tests.integration.test_gateway_jobs import JOBS, job_of, problem
from tools.uploads import tiff
from tools.valkey import Valkey


async def test_health_says_whether_an_engine_is_ready(api: httpx.AsyncClient, script: Script, valkey: Valkey) -> None:
    unhealthy = {"status": "unhealthy", "engine_ready": False, "gpu_memory_used": None, "workers_draining": 0}
    assert ((first := await api.get("/health")).status_code, first.json()) == (503, unhealthy)
    await script.report()
    answer = await api.get("/health")
    assert (answer.status_code, answer.json()) == (
        200, {"status": "healthy", "engine_ready": True, "gpu_memory_used": None, "workers_draining": 0},
    )  # fmt: skip
    await script.report(state="dead")
    assert (await api.get("/health")).status_code == 503
    valkey.client.delete("worker:worker-1")  # as after ten seconds of silence
    assert (await api.get("/health")).status_code == 503


async def test_models_describes_the_engine_that_runs(api: httpx.AsyncClient, script: Script) -> None:
    problem(await api.get("/models"), 503, "engine-not-ready")
    engine = {"model": "deepseek-ai/DeepSeek-OCR", "name": "deepseek-ocr", "modes": ("tiny",), "prompts": True}
    await script.report(**engine, languages=("de", "en"))
    assert (await api.get("/models")).json() == {
        "model": "deepseek-ai/DeepSeek-OCR",
        "capabilities": ["document", "image"],
        "max_image_size": "6400x6400",
        "supported_formats": [
            "jpg",
            "jpeg",
            "png",
            "webp",
            "tiff",
            "tif",
            "pdf",
            "gif",
            "bmp",
            "avif",
            "heic",
            "heif",
            "jp2",
            "j2k",
        ],
        "engine": "deepseek-ocr",
        "version": "1",
        "modes": ["tiny"],
        "prompts": True,
        "languages": ["de", "en"],
    }


async def test_readyz_is_503_when_the_queue_is_full(valkey: Valkey) -> None:
    async with client_of(make_settings(valkey.url, max_queue_jobs=1)) as api:
        assert (await api.get("/readyz")).status_code == 200
        await job_of(api)
        answer = await api.get("/readyz")
        assert (answer.status_code, answer.json()["code"]) == (503, "queue-full")
        described = (await api.get("/openapi.json")).json()["paths"]["/readyz"]["get"]["responses"]
        assert described["503"]["description"] == "queue-full, store-full, store-unavailable"


async def test_readyz_says_which_store_has_no_room(valkey: Valkey) -> None:
    async with client_of(make_settings(valkey.url, payloads_min_free=2**62)) as api:
        for answer in (await api.get("/readyz"), await api.post(JOBS)):
            assert (answer.status_code, answer.json()["code"]) == (503, "store-full")
            assert answer.json()["detail"] == "The payload store has no room for more"
            assert int(answer.headers["retry-after"]) == 3600


def key_of(sample: Any) -> tuple[str, ...]:
    """Its name, with the status (or state, or priority), the route and the worker."""
    its = sample.labels
    return (
        sample.name,
        its.get("status") or its.get("state") or its.get("priority", ""),
        its.get("route", ""),
        its.get("worker", ""),
    )


async def test_metrics_count_jobs_pages_requests_and_engines(api: httpx.AsyncClient, script: Script) -> None:
    await script.report(gpu_memory_used=5)
    job_id = await job_of(api, data=tiff([1, 2]))
    await script.do(job_id, ["one", "two"])
    await job_of(api)
    await api.get(f"{JOBS}/{job_id}")
    text = (await api.get("/metrics")).text
    found = {
        key_of(sample): sample.value for family in text_string_to_metric_families(text) for sample in family.samples
    }
    for name, value in {
        ("ocr_store_up", "", "", ""): 1,
        ("ocr_jobs", "queued", "", ""): 1,
        ("ocr_jobs", "processing", "", ""): 0,
        ("ocr_queue_pages", "", "", ""): 1,
        ("ocr_jobs_submitted_total", "normal", "", ""): 2,
        ("ocr_job_duration_seconds_count", "succeeded", "", ""): 1,
        ("ocr_page_duration_seconds_count", "ok", "", ""): 2,
        ("ocr_job_queue_seconds_count", "", "", ""): 1,
        ("ocr_first_text_seconds_count", "", "", ""): 1,
        ("ocr_jobs_ended_total", "succeeded", "", ""): 1,
        ("ocr_pages_total", "ok", "", ""): 2,
        ("ocr_lease_losses_total", "", "", ""): 0,
        ("ocr_workers", "ready", "", ""): 1,
        ("ocr_engine_tokens_total", "", "", "worker"): 7,
        ("ocr_engine_gpu_memory_bytes", "", "", "worker"): 5,
        ("ocr_http_requests_total", "202", JOBS, ""): 2,
        ("ocr_http_requests_total", "200", f"{JOBS}/{{job_id}}", ""): 1,
    }.items():
        assert found[name] == value, name
    assert found[("ocr_queue_bytes", "", "", "")] > 0
    assert found[("ocr_queue_oldest_seconds", "", "", "")] > 0


async def test_the_docs_page_needs_nothing_from_elsewhere(api: httpx.AsyncClient) -> None:
    page = await api.get("/docs")
    assert page.status_code == 200
    assert "https://" not in page.text
    for path in ("/static/swagger-ui-bundle.js", "/static/swagger-ui.css", "/static/favicon.png", "/openapi.json"):
        assert path in page.text
        assert (await api.get(path)).status_code == 200


async def test_the_type_of_a_problem_leads_to_a_page_about_it(api: httpx.AsyncClient) -> None:
    page = await api.get((await api.get("/nowhere")).json()["type"])
    assert page.status_code == 200
    assert "Not found" in page.text
    problem(await api.get("/problems/<b>"), 404, "not-found")
