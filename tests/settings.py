"""The settings of every process in one, for tests in which several run inside one process."""

from __future__ import annotations

from gateway.settings import GatewaySettings
from shared.store.jobs import Store
from worker.engines.cpu.settings import CpuSettings
from worker.engines.instant import InstantSettings
from worker.engines.vllm_host.settings import VllmSettings
from worker.settings import WorkerSettings
from worker.webhooks.settings import WebhookSettings


class Settings(GatewaySettings, WorkerSettings, WebhookSettings, CpuSettings, InstantSettings, VllmSettings):
    """Every setting there is."""


def settings_of(store: Store) -> Settings:
    """What the store was made with: in tests, all the settings there are."""
    assert isinstance(store.settings, Settings)
    return store.settings
