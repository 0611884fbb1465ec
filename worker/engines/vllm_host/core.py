"""What is loaded inside vLLM's own process (EngineCore), through its ``worker_extension_cls`` argument.

Importing it ties the process to its parent and keeps what it fails of. The parent leaves its id in the environment,
the only way in before vLLM's own arguments are there: see ``config.environment``.
"""

from __future__ import annotations

import os

from worker.engines.vllm_host import core_failure
from worker.engines.vllm_host.parent_death import die_with_parent

PARENT = "OCR_ENGINE_PARENT"


class Extension:
    """vLLM mixes this into its worker: importing its module is all we want of it."""


die_with_parent(int(os.environ[PARENT]))
core_failure.keep()
