"""How the service is: for people, for probes, for Prometheus."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from gateway.api.problems import answers, problem, request_id
from gateway.api.responses import json_answer
from gateway.api.submission import is_ready
from gateway.metrics import ServiceSnapshot
from gateway.services import Services, ServicesDep
from shared.errors import EngineNotReady, QueueFull, StoreUnavailable
from shared.sniff import readable

router = APIRouter(tags=["health"])


class Health(BaseModel):
    """``gpu_memory_used``: of all ready workers' GPUs together; null without a GPU."""

    status: Literal["healthy", "unhealthy"]
    engine_ready: bool
    gpu_memory_used: str | None = Field(examples=["40GB"])


class EngineModel(BaseModel):
    """The engine that is really running."""

    model: str = Field(examples=["deepseek-ai/DeepSeek-OCR"])
    capabilities: list[str] = Field(examples=[["document", "image"]])
    max_image_size: str = Field(examples=["6400x6400"])
    supported_formats: list[str]
    engine: str = Field(examples=["deepseek-ocr"])
    version: str
    modes: list[str]
    prompts: bool = Field(description="whether a prompt of your own has an effect")


class Alive(BaseModel):
    status: Literal["ok"]


async def ready_workers(services: Services) -> list[dict[str, Any]]:
    return [account for account in await services.store.workers() if is_ready(account)]


@router.get("/health", response_model=Health, responses={503: {"model": Health}}, summary="Can documents be read?")
async def health(services: ServicesDep) -> Response:
    """503 and ``unhealthy`` when no worker with a ready engine has been heard of in the last ten seconds."""
    try:
        ready = await ready_workers(services)
    except StoreUnavailable:
        ready = []
    used = [account["engine"]["gpu_memory_used"] for account in ready]
    known = [size for size in used if size is not None]
    body = {
        "status": "healthy" if ready else "unhealthy",
        "engine_ready": bool(ready),
        "gpu_memory_used": f"{round(sum(known) / 1024**3)}GB" if known else None,
    }
    return json_answer(body, 200 if ready else 503)


@router.get("/models", response_model=EngineModel, responses=answers(), summary="Which engine is running?")
async def models(services: ServicesDep) -> Response:
    ready = await ready_workers(services)
    if not ready:
        raise EngineNotReady("No worker with a ready engine has been heard of", retry_after=5)
    engine = ready[0]["engine"]
    width, height = engine["max_image_size"]
    return json_answer(
        {
            "model": engine["model"],
            "capabilities": engine["capabilities"],
            "max_image_size": f"{width}x{height}",
            "supported_formats": readable(services.settings.allowed_extensions),
            "engine": engine["name"],
            "version": engine["version"],
            "modes": engine["modes"],
            "prompts": engine["prompts"],
        }
    )


@router.get("/livez", response_model=Alive, summary="Does this process answer?")
async def livez() -> Response:
    return json_answer({"status": "ok"})


@router.get("/readyz", response_model=Alive, responses=answers(), summary="Would a submission be taken?")
async def readyz(request: Request, services: ServicesDep) -> Response:
    """503 when the store cannot be reached or the queue has reached a limit."""
    await services.store.ping()
    if (what := await services.store.full()) is not None:
        full = QueueFull(f"Too many {what} are waiting", retry_after=await services.store.retry_after())
        return problem(full, request_id(request), 503)
    return json_answer({"status": "ok"})


@router.get("/metrics", response_class=Response, summary="Numbers for Prometheus")
async def metrics(services: ServicesDep) -> Response:
    """This process's requests, and what the store and the workers say. ``ocr_store_up`` is 0 when Redis is away."""
    try:
        snapshot = await _snapshot(services)
    except StoreUnavailable:
        snapshot = ServiceSnapshot(up=False)
    return Response(services.metrics.render(snapshot), media_type="text/plain; version=0.0.4; charset=utf-8")


async def _snapshot(services: Services) -> ServiceSnapshot:
    workers = await services.store.workers()
    return ServiceSnapshot(
        up=True,
        counters=await services.store.counters(),
        workers=workers,
        ready=sum(map(is_ready, workers)),
        oldest_queued=await services.store.oldest_queued(),
        memory_share=await services.store.memory_share(),
    )
