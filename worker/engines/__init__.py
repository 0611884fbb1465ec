"""The engines by name. Loaders are strings, so that nothing heavy is imported until it is chosen."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from shared.errors import EngineNotReady
from shared.settings import explain
from worker.engines import deepseek_ocr
from worker.engines.base import Engine
from worker.engines.vllm_host.settings import VllmSettings
from worker.settings import EngineSettings, WorkerSettings

Loader = Callable[[Any], Awaitable[Engine]]
S = TypeVar("S", bound=EngineSettings)

REGISTRY = {
    "cpu": "worker.engines.cpu:load",
    "deepseek-ocr": "worker.engines.deepseek_ocr:load",
    "instant": "worker.engines.instant:load",
}
JOBS_IN_FLIGHT = 64


def loader(name: str) -> Loader:
    """The ``load`` of an engine: a name of the registry, or ``module:function``."""
    module, _, function = REGISTRY.get(name, name).partition(":")
    found: Loader = getattr(import_module(module), function)
    return found


def settings_of(name: str) -> type[EngineSettings]:
    """The settings class that the engine's ``load`` takes: its module's ``SETTINGS``."""
    module = import_module(REGISTRY.get(name, name).partition(":")[0])
    kind: type[EngineSettings] = getattr(module, "SETTINGS", EngineSettings)
    return kind


def read_own(kind: type[S], settings: WorkerSettings) -> S:
    """Read the engine's settings; ``settings`` itself, where it holds them too. Raises ``ValidationError``."""
    return settings if isinstance(settings, kind) else kind()


def choose(settings: WorkerSettings) -> str:
    """``auto``: DeepSeek-OCR where a GPU, vLLM and the model's files are there, else the CPU engine."""
    if settings.engine != "auto":
        return settings.engine
    if not Path("/dev/nvidiactl").exists() or not find_spec("vllm"):
        return "cpu"
    model = Path(read_own(VllmSettings, settings).model_path)
    return "deepseek-ocr" if (model / "config.json").exists() else "cpu"


def jobs_in_flight(settings: WorkerSettings) -> int:
    """So many jobs of one page each as fill the engine, and never so few that large documents keep small ones out."""
    if settings.jobs_in_flight is not None:
        return settings.jobs_in_flight
    if choose(settings) != "deepseek-ocr":
        return JOBS_IN_FLIGHT
    return max(JOBS_IN_FLIGHT, deepseek_ocr.slots(read_own(VllmSettings, settings)))


async def load_engine(settings: WorkerSettings) -> Engine:
    """Load the engine that the settings choose. Raises ``EngineNotReady``, also where its own settings are wrong."""
    name = choose(settings)
    try:
        own = read_own(settings_of(name), settings)
    except ValidationError as error:
        raise EngineNotReady(explain(error)) from None
    return await loader(name)(own)
