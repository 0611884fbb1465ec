"""What vLLM calls in each of its processes, by the entry point in ``entry_point/``: registers the model's class."""

from __future__ import annotations

import os
from importlib import import_module

PLUGIN = "OCR_ENGINE_PLUGIN"
"""``module:function`` of the model that is served; the launching process leaves it in the environment."""


def register() -> None:
    """May be called more than once. Does nothing in a vLLM that is not ours."""
    module, _, function = os.environ.get(PLUGIN, "").partition(":")
    if module:
        getattr(import_module(module), function)()
