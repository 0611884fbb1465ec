"""The settings of every process in one, for tests in which several run inside one process."""

from __future__ import annotations

from gateway.settings import GatewaySettings
from worker.engines.cpu.settings import CpuSettings
from worker.engines.instant import InstantSettings
from worker.engines.vllm_host.settings import VllmSettings
from worker.settings import WorkerSettings
from worker.webhooks.settings import WebhookSettings


class Settings(GatewaySettings, WorkerSettings, WebhookSettings, CpuSettings, InstantSettings, VllmSettings):
    """Every setting there is."""
