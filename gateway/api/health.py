"""The state of the service: for people, for probes, for Prometheus."""

from __future__ import annotations

from typing import Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field

from gateway.api.problems import answers, problem, request_id, unavailable
from gateway.api.workers import ready_workers
from gateway.dependencies import MetricsDep, SettingsDep, StoreDep
from gateway.metrics import Limits, ServiceSnapshot
from shared.contract.worker_status import DRAINING
from shared.errors import EngineNotReady, StoreUnavailable
from shared.sniff import readable
from shared.store.jobs import Store

router = APIRouter(tags=["health"])
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Health(BaseModel):
    """``gpu_memory_used``: of all ready workers' GPUs together; null without a GPU.

    ``workers_draining``: workers that could read, but take nothing more by an operator's order.
    """

    status: Literal["healthy", "unhealthy"]
    engine_ready: bool
    gpu_memory_used: str | None = Field(examples=["40GB"])
    workers_draining: int


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
    languages: list[str] = Field(
        description="ISO 639-1 codes of the languages whose every letter it reads; empty where nobody has counted them",
        examples=[["de", "en", "fr", "zh"]],
    )


class Alive(BaseModel):
    status: Literal["ok"]


@router.get("/health", responses={503: {"model": Health}}, summary="Health")
async def health(response: Response, store: StoreDep) -> Health:
    """503 and ``unhealthy`` when no worker with a ready engine has reported in the last ten seconds."""
    try:
        workers = await store.workers()
    except StoreUnavailable:
        workers = []
    ready = [worker for worker in workers if worker.reads_pages]
    used = [size for worker in ready if (size := worker.engine.gpu_memory_used) is not None]
    response.status_code = 200 if ready else 503
    return Health(
        status="healthy" if ready else "unhealthy",
        engine_ready=bool(ready),
        gpu_memory_used=f"{round(sum(used) / 1024**3)}GB" if used else None,
        workers_draining=sum(worker.state == DRAINING for worker in workers),
    )


@router.get("/models", responses=answers("engine-not-ready"), summary="The engine and its options")
async def models(store: StoreDep, settings: SettingsDep) -> EngineModel:
    ready = await ready_workers(store)
    if not ready:
        raise EngineNotReady("No worker is ready", retry_after=5)
    engine = ready[0].engine
    width, height = engine.max_image_size
    return EngineModel(
        model=engine.model,
        capabilities=list(engine.capabilities),
        max_image_size=f"{width}x{height}",
        supported_formats=readable(settings.allowed_extensions),
        engine=engine.name,
        version=engine.version,
        modes=list(engine.modes),
        prompts=engine.prompts,
        languages=list(engine.languages),
    )


@router.get("/livez", summary="Liveness")
async def livez() -> Alive:
    return Alive(status="ok")


@router.get("/readyz", response_model=Alive, responses=unavailable("queue-full", "store-full"), summary="Readiness")
async def readyz(request: Request, store: StoreDep) -> Alive | Response:
    """503 when a store cannot be reached or has no room, or the queue has reached a limit; the code says which."""
    await store.ping()
    if (refusal := await store.admission.refusal()) is not None:
        return problem(refusal, request_id(request), 503)
    return Alive(status="ok")


@router.get("/metrics", response_class=Response, summary="Prometheus metrics")
async def metrics(store: StoreDep, counts: MetricsDep) -> Response:
    """This process's requests, and what the store and the workers report. ``ocr_store_up`` is 0 without Redis."""
    try:
        snapshot = await _snapshot(store)
    except StoreUnavailable:
        snapshot = ServiceSnapshot(up=False, limits=_limits(store))
    return Response(counts.render(snapshot), media_type=METRICS_TYPE)


def _limits(store: Store) -> Limits:
    its = store.settings
    return Limits(its.max_queue_jobs, its.max_queue_pages, its.max_queue_bytes, its.max_redis_memory)


async def _snapshot(store: Store) -> ServiceSnapshot:
    return ServiceSnapshot(
        up=True,
        limits=_limits(store),
        counters=await store.stats.counters(),
        histograms=await store.stats.histograms(),
        workers=await store.workers(),
        oldest_queued=await store.stats.oldest_queued(),
        memory=await store.stats.memory(),
        webhooks=await store.stats.webhooks_due(),
        payload_free=await store.admission.payload_free(),
    )
