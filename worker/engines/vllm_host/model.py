"""The seam between hosting vLLM and a model: what a folder under ``engines/`` brings to be served by vLLM."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from mmap import mmap
from pathlib import Path
from typing import Any, Protocol

from PIL.Image import Image

from shared.contract.document import Box
from shared.contract.options import Options
from worker.engines.base import PageImage

STOP, LENGTH, REPETITION, BLANK = "stop", "length", "repetition", "blank"
"""How an attempt at a page ends: by itself, out of tokens, in a loop, or before it began."""

Request = Any
"""What a caller asked for, as the model understands it: made by ``VisionModel.request``, opaque to the host."""

Attempt = Any
"""How a page is to be read (prompt, rule, temperature): made by ``first`` and ``retries``, opaque to the host."""


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What is known of a model before vLLM is imported.

    ``engine``: the name users know the engine by; ``model``: the weights' public name. ``plugin``: ``module:function``
    that every process of vLLM calls, with vLLM imported, to register the model's class; may be called twice.
    ``architecture``: the class's name in vLLM's registry, None for the one the checkpoint names. ``engine_args``: of
    ``AsyncEngineArgs``, below the settings'. ``additional_config``: for the model's own class, vLLM passes it on.
    ``kernel_settings``: folder of what vLLM's kernels run fastest with, by kind of GPU (``VLLM_TUNED_CONFIG_FOLDER``).
    ``fixed_bytes``: GPU memory beside the KV cache; ``page_bytes``: a page's share of the cache, halfway through.
    """

    engine: str
    model: str
    modes: tuple[str, ...] = ()
    prompts: bool = False
    plugin: str | None = None
    architecture: str | None = None
    engine_args: Mapping[str, Any] = field(default_factory=dict)
    additional_config: Mapping[str, Any] = field(default_factory=dict)
    kernel_settings: Path | None = None
    fixed_bytes: int = 16 << 30
    page_bytes: int = 256 << 20


class PageLayout(Protocol):
    """What the model wants of one page's picture. Pickled on its way to a preprocessing process."""

    @property
    def size(self) -> int:
        """Bytes that ``write`` writes."""
        ...

    def write(self, image: Image, memory: mmap) -> None:
        """Write the model's input at the position of ``memory``. Runs in a preprocessing process."""
        ...


@dataclass(frozen=True, slots=True)
class PreparedPage:
    """What a ``PageLayout`` wrote, from byte ``offset`` of ``memory``."""

    memory: mmap
    offset: int
    layout: Any


class TextBlock(Protocol):
    """``bbox`` in pixels of the page, ``text`` is Markdown."""

    @property
    def label(self) -> str: ...
    @property
    def bbox(self) -> Box: ...
    @property
    def text(self) -> str: ...


class FigureBox(Protocol):
    """The ``index``-th figure of a page, and where it is, in pixels."""

    @property
    def index(self) -> int: ...
    @property
    def bbox(self) -> Box: ...


class TextReader(Protocol):
    """Turns the model's output into Markdown while it is generated."""

    def feed(self, delta: str) -> str:
        """Markdown that is final."""
        ...

    def finish(self) -> str:
        """What is left; afterwards the rest of this protocol is complete."""
        ...

    @property
    def markdown(self) -> str: ...
    @property
    def blocks(self) -> Sequence[TextBlock]: ...
    @property
    def figures(self) -> Sequence[FigureBox]: ...


class LoopGuard(Protocol):
    def feed(self, ids: Sequence[int], text: str) -> bool:
        """Takes the tokens that came and the text they make; True once the output loops."""
        ...


@dataclass(frozen=True, slots=True)
class SamplePage:
    """A page of the self-test: lines on white, ``width`` x ``height`` pixels."""

    request: Request
    width: int
    height: int


class VisionModel(Protocol):
    """A model bound to its tokenizer. Cheap calls, all from the engine's loop."""

    def request(self, options: Options) -> Request:
        """What the caller asked for. Raises BadPrompt, BadOption or PromptTooLong before any work is done."""
        ...

    def layout(self, request: Request, width: int, height: int) -> PageLayout: ...

    def first(self, request: Request) -> Attempt:
        """How a page is read first."""
        ...

    def retries(self, request: Request, reason: str) -> Iterator[Attempt]:
        """What to try next after the first attempt ended for ``reason`` (``LENGTH`` or ``REPETITION``)."""
        ...

    def engine_input(self, attempt: Attempt, page: PreparedPage) -> dict[str, Any]:
        """A rendered input of ``AsyncLLM.generate``, with ``prompt_token_ids``."""
        ...

    def sampling(self, attempt: Attempt) -> dict[str, Any]:
        """Of ``SamplingParams``, without ``max_tokens``. ``extra_args`` may hold the n-gram rule (see ``ngram``)."""
        ...

    def reader(self, page: PageImage, request: Request, attempt: Attempt) -> TextReader: ...

    def covers_page(self, request: Request) -> bool:
        """Does the answer have a box for everything on the page? Then ink outside all of them was not read."""
        ...

    def guard(self, **limits: Any) -> LoopGuard: ...

    # -- self-test

    def check_tokenizer(self) -> None:
        """Raises ValueError if the tokenizer is not the model's."""
        ...

    def sample_pages(self) -> Sequence[SamplePage]:
        """One page of every shape the model is ever given: each is read before the engine is ready."""
        ...

    def check_prompt(self, page: SamplePage, ids: Sequence[int]) -> None:
        """Raises ValueError if ``ids`` is not the prompt of ``page``."""
        ...

    def loop_token(self) -> int:
        """A token that the self-test has the model repeat."""
        ...
