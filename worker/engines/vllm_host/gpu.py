"""The GPU's memory, by NVML. Imports neither vLLM nor CUDA."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import pynvml

logger = logging.getLogger(__name__)


class Gpu:
    """The device's memory, by NVML; None where there is none."""

    def __init__(self, cuda_device: str) -> None:
        self._handle = _handle(cuda_device.split(",")[0].strip())

    def memory(self) -> Mapping[str, int]:
        """Bytes ``used`` and ``total`` of the device, of all processes on it; empty without one."""
        if self._handle is None:
            return {}
        try:
            found = pynvml.nvmlDeviceGetMemoryInfo(self._handle)
        except pynvml.NVMLError:
            logger.warning("NVML does not answer any more", exc_info=True)
            self._handle = None
            return {}
        return {"used": int(found.used), "total": int(found.total)}


def _handle(device: str) -> Any | None:
    """NVML's handle of a CUDA device: an index in PCI order, or a UUID."""
    try:
        pynvml.nvmlInit()
        return pynvml.nvmlDeviceGetHandleByIndex(int(device)) if device.isdigit() else _by_uuid(device)
    except pynvml.NVMLError:
        return None


def _by_uuid(device: str) -> Any:
    return pynvml.nvmlDeviceGetHandleByUUID(device)
