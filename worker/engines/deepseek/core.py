"""What is loaded inside vLLM's own process (EngineCore), through its ``worker_extension_cls`` argument.

Importing it ties the process to its parent and puts our encoder and our largest page in the place of the model's
own. The parent leaves two numbers in the environment, the only way in before vLLM's own arguments are
there: see ``start.environment``.
"""

from __future__ import annotations

import os
from typing import Any

from vllm.model_executor.models.deepseek_ocr import DeepseekOCRForCausalLM

from worker.engines.deepseek import cause, largest, vision
from worker.engines.deepseek.parent import die_with_parent

PARENT = "OCR_ENGINE_PARENT"
PAGES_AT_ONCE = "OCR_ENCODER_PAGES"


class Extension:
    """vLLM mixes this into its worker: importing its module is all we want of it."""


def install(parent: int, pages_at_once: int) -> None:
    def embed_multimodal(self: Any, **kwargs: Any) -> Any:
        return vision.embed(self, pages_at_once, **kwargs)

    die_with_parent(parent)
    cause.keep()
    largest.register()
    DeepseekOCRForCausalLM.embed_multimodal = embed_multimodal


install(int(os.environ[PARENT]), int(os.environ[PAGES_AT_ONCE]))
