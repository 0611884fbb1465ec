"""How the service is: for people, for probes, for Prometheus."""

from __future__ import annotations

from typing import Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from gateway.api.problems import answers, problem, request_id
from gateway.api.responses import json_answer
from gateway.api.submission import is_ready
from gateway.metrics import Reading
from gateway.services import House, Services
from shared.errors import EngineNotReady, QueueFull, StoreUnavailable
from shared.sniff import readable

router = APIRouter(tags=["health"])


class Health(BaseModel):
    """``gpu_memory_used``: of all ready workers' GPUs together; null without a GPU."""

    status: Literal["healthy", "unhealthy"]
    engine_ready: bool
    gpu_memory_used: str | None = Field(examples=["40GB"])


class Model(BaseModel):
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


async def ready_workers(house: Services) -> list[dict[str, Any]]:
    return [account for account in await house.store.workers() if is_ready(account)]


@router.get("/health", response_model=Health, responses={503: {"model": Health}}, summary="Can documents be read?")
async def health(house: House) -> Response:
    """503 and ``unhealthy`` when no worker with a ready engine has been heard of in the last ten seconds."""
    try:
        ready = await ready_workers(house)
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


@router.get("/models", response_model=Model, responses=answers(), summary="Which engine is running?")
async def models(house: House) -> Response:
    ready = await ready_workers(house)
    if not ready:
        raise EngineNotReady("No worker with a ready engine has been heard of", retry_after=5)
    engine = ready[0]["engine"]
    width, height = engine["max_image_size"]
    return json_answer(
        {
            "model": engine["model"],
            "capabilities": engine["capabilities"],
            "max_image_size": f"{width}x{height}",
            "supported_formats": readable(house.settings.allowed_extensions),
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
async def readyz(request: Request, house: House) -> Response:
    """503 when the store cannot be reached or the queue has reached a limit."""
    await house.store.ping()
    if (what := await house.store.full()) is not None:
        full = QueueFull(f"Too many {what} are waiting", retry_after=await house.store.retry_after())
        return problem(full, request_id(request), 503)
    return json_answer({"status": "ok"})


@router.get("/metrics", response_class=Response, summary="Numbers for Prometheus")
async def metrics(house: House) -> Response:
    """This process's requests, and what the store and the workers say. ``ocr_store_up`` is 0 when Redis is away."""
    try:
        reading = await _reading(house)
    except StoreUnavailable:
        reading = Reading(up=False)
    return Response(house.metrics.render(reading), media_type="text/plain; version=0.0.4; charset=utf-8")


async def _reading(house: Services) -> Reading:
    workers = await house.store.workers()
    return Reading(
        up=True,
        counters=await house.store.counters(),
        workers=workers,
        ready=sum(map(is_ready, workers)),
        oldest_queued=await house.store.oldest_queued(),
        memory_share=await house.store.memory_share(),
    )
