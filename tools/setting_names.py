"""Every settings class of the service, and the list of their names that lets processes share one ``.env``.

``python -m tools.setting_names`` writes ``shared/setting_names.py``. A test checks that it was run.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from pydantic.fields import FieldInfo

from gateway.settings import GatewaySettings
from shared.commandline import no_arguments
from shared.settings import DeliverySettings, JobSettings, SharedSettings, StoreSettings
from worker.engines.cpu.settings import CpuSettings
from worker.engines.instant import InstantSettings
from worker.engines.vllm_host.settings import VllmSettings
from worker.settings import HeartbeatSettings, WorkerSettings
from worker.webhooks.settings import WebhookSettings

SECTIONS: dict[str, type[SharedSettings]] = {
    "Every process": SharedSettings,
    "Gateway and workers": JobSettings,
    "Gateway: the queue and what is kept": StoreSettings,
    "Gateway and webhook senders": DeliverySettings,
    "Gateway": GatewaySettings,
    "Workers and webhook senders": HeartbeatSettings,
    "Workers": WorkerSettings,
    "Webhook senders": WebhookSettings,
    "Engine: cpu": CpuSettings,
    "Engine: deepseek-ocr": VllmSettings,
    "Engine: instant": InstantSettings,
}
PATH = Path(__file__).parents[1] / "shared" / "setting_names.py"
HEAD = '"""The name of every setting of every process. Written by ``python -m tools.setting_names``."""\n\n'


def sections() -> Iterator[tuple[str, dict[str, FieldInfo]]]:
    """Each section's title and its own fields, in order; what it inherits stands in another section."""
    for title, kind in SECTIONS.items():
        inherited = {name for parent in kind.__mro__[1:] for name in getattr(parent, "model_fields", {})}
        yield title, {name: field for name, field in kind.model_fields.items() if name not in inherited}


def names() -> list[str]:
    return sorted(name for _, fields in sections() for name in fields)


def module() -> str:
    return HEAD + "NAMES = frozenset(\n    {\n" + "".join(f'        "{name}",\n' for name in names()) + "    }\n)\n"


if __name__ == "__main__":
    no_arguments("tools.setting_names", __doc__)
    PATH.write_text(module())
