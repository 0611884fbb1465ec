"""From settings to what vLLM is started with. Imports nothing heavy: the environment comes first."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from shared.errors import EngineNotReady
from worker.engines.vllm_host import model_runner
from worker.engines.vllm_host.gpu import Gpu
from worker.engines.vllm_host.model import ModelCard
from worker.engines.vllm_host.settings import VllmSettings

EXTENSION = "worker.engines.vllm_host.core.WorkerExtension"

HEADROOM = 13 << 28
"""Bytes in use beyond vLLM's own account: 3.1 GiB on an H100 with all shapes of page and the encoder's graphs."""

STREAM_INTERVAL = 4
"""Tokens of a page between two looks at it (its first comes at once): about 100 ms when the engine is full."""


ADMISSION_SECONDS = 0.4
"""What a page waits at most for others to be encoded with, while the engine is busy: see ``scheduler``."""

MOST_SLOTS, FEWEST_SLOTS = 512, 64
"""On an H100 more than 512 pages gain nothing: attention of the decoder is at the memory's bandwidth by then."""

PLUGINS = Path(__file__).parent / "entry_point"
"""Holds the distribution's metadata that names ``plugin.register`` to vLLM, wherever the code itself lies."""

SOCKETS = "VLLM_RPC_BASE_PATH"
"""vLLM's name for the folder of the sockets its processes talk through."""


def make_sockets_folder() -> Path:
    """A folder for vLLM's sockets that only this user can enter: whoever writes to them runs code in the engine.

    What engines that were killed have left behind goes: vLLM itself would leave three sockets for each.
    """
    for old in Path(tempfile.gettempdir()).glob("ocr-engine-*"):
        _, _, pid, began, *_ = [*old.name.split("-"), "", ""]
        if pid.isdigit() and _began(pid) != began:
            shutil.rmtree(old, ignore_errors=True)  # another user's stays: that is theirs to remove
    own = str(os.getpid())
    return Path(tempfile.mkdtemp(prefix=f"ocr-engine-{own}-{_began(own)}-"))


def _began(pid: str) -> str | None:
    """When a process began, in ticks since the machine's start; None if there is none. In containers ids come again."""
    try:
        status = Path("/proc", pid, "stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    return status.rpartition(")")[2].split()[19]


def remove_sockets_folder() -> None:
    shutil.rmtree(os.environ[SOCKETS], ignore_errors=True)


def environment(settings: VllmSettings, card: ModelCard) -> None:
    """What vLLM and its processes read from the environment. The one place of the service that writes to it."""
    os.environ.update(
        CUDA_VISIBLE_DEVICES=settings.cuda_device,
        CUDA_DEVICE_ORDER="PCI_BUS_ID",  # NVML counts that way
        HF_HUB_OFFLINE="1",
        TRANSFORMERS_OFFLINE="1",
        VLLM_NO_USAGE_STATS="1",
        VLLM_RPC_BASE_PATH=str(make_sockets_folder()),
        # The encoder's batches come in many sizes: without it their freed blocks lie about beside the KV cache, beyond
        # the share of the GPU's memory that was asked for.
        PYTORCH_CUDA_ALLOC_CONF="expandable_segments:True",
        VLLM_MEMORY_PROFILER_ESTIMATE_CUDAGRAPHS="0",  # two seconds of every start, for a sixth of a GiB (HEADROOM)
        # FlashInfer's sampler is compiled at start, with CUDA's own compiler, for top-k and top-p: neither is used.
        VLLM_USE_FLASHINFER_SAMPLER="0",
        OCR_ENGINE_PARENT=str(os.getpid()),
        OCR_ENGINE_PLUGIN=card.plugin or "",
    )
    if card.kernel_settings:
        os.environ.setdefault("VLLM_TUNED_CONFIG_FOLDER", str(card.kernel_settings))
    model_runner.choose()
    # In vLLM's process sixteen OpenMP threads fight over its one busy core: with one a step of 512 pages takes 29
    # instead of 41 ms on an H100. Children inherit it; none of them has work for a second thread.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    if str(PLUGINS) not in sys.path:
        sys.path.append(str(PLUGINS))  # children of vLLM's get it from here


def memory_share(settings: VllmSettings) -> float:
    """What vLLM is told, so that the device's memory in use stays within ``gpu_memory_utilization``.

    vLLM fills its share with the KV cache after a trial with pictures of one size; contexts, graphs and batches of
    other sizes come on top. Raises EngineNotReady if others hold too much of it.
    """
    memory, share = Gpu(settings.cuda_device).memory(), settings.gpu_memory_utilization
    if not memory:
        return share
    free, wanted = memory["total"] - memory["used"], share * memory["total"]
    if free < wanted:
        raise EngineNotReady(
            f"GPU {settings.cuda_device} has {free / 2**30:.1f} of {memory['total'] / 2**30:.1f} GiB free, "
            f"GPU_MEMORY_UTILIZATION={share:g} asks for {wanted / 2**30:.1f}: lower it, or end what holds the rest"
        )
    return share - HEADROOM / memory["total"]


def slots(settings: VllmSettings, card: ModelCard) -> int:
    """Pages in the engine at once: ``max_num_seqs``, else as many as the share of the GPU's memory holds, up to 512.

    More than fit would be thrown out of the KV cache half read, and read again.
    """
    if settings.max_num_seqs is not None:
        return settings.max_num_seqs
    total = Gpu(settings.cuda_device).memory().get("total")
    if total is None:
        return FEWEST_SLOTS
    room = settings.gpu_memory_utilization * total - card.fixed_bytes
    return min(MOST_SLOTS, max(FEWEST_SLOTS, int(room / card.page_bytes) // 64 * 64))


def dummy_weights(settings: VllmSettings) -> bool:
    """Asked for in place of the model's own, to measure speed."""
    return str(settings.vllm_args.get("load_format", "")).startswith("dummy")


def graph_sizes(most: int) -> list[int]:
    """Batch sizes with a CUDA graph of their own; others are padded. vLLM's own list takes 15 s to record."""
    sizes = [1, 2, 4, 8, 16, 32, 64, 96, *range(128, most, 64)]
    return [*(size for size in sizes if size < most), most]


def engine_args(settings: VllmSettings, card: ModelCard) -> dict[str, Any]:
    """Of ``AsyncEngineArgs``; ``vllm_args`` of the settings has the last word."""
    seqs = slots(settings, card)
    return {
        **card.engine_args,
        "model": settings.model_path,
        "served_model_name": card.model,
        "dtype": "bfloat16",
        "gpu_memory_utilization": memory_share(settings),
        "max_model_len": settings.max_model_len,
        "max_num_seqs": seqs,
        "max_num_batched_tokens": settings.max_num_batched_tokens,
        "distributed_executor_backend": "uni",
        "worker_extension_cls": EXTENSION,
        "stream_interval": STREAM_INTERVAL,
        "compilation_config": {"cudagraph_capture_sizes": graph_sizes(seqs)},
        **({"hf_overrides": {"architectures": [card.architecture]}} if card.architecture else {}),
        "additional_config": {
            **card.additional_config,
            "encoder_pages": settings.encoder_pages,
            "admission_pages": settings.encoder_pages,
            "admission_seconds": ADMISSION_SECONDS,
        },
        **settings.vllm_args,
        "logits_processors": [
            *model_runner.logits_processors(),
            *settings.vllm_args.get("logits_processors", ()),
        ],
    }
