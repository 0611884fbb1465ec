"""DeepSeek-OCR as ``vllm_host`` wants a model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from deepseek_ocr.counting import CountingGuard
from deepseek_ocr.engine import SAMPLING
from deepseek_ocr.modes import GUNDAM, MODES, grids
from deepseek_ocr.page import PageReader
from deepseek_ocr.prompts import DOCUMENT, PROMPTS, labels_are_text
from deepseek_ocr.repetition import RepetitionGuard
from deepseek_ocr.tokens import BOS, IMAGE, TABLE
from shared.contract.document import figure_name
from shared.contract.options import Options
from worker.engines.base import PageImage
from worker.engines.deepseek_ocr import retries
from worker.engines.deepseek_ocr.inputs import Inputs
from worker.engines.deepseek_ocr.request import PageRequest, request_of
from worker.engines.deepseek_ocr.retries import Attempt
from worker.engines.deepseek_ocr.views import ViewLayout
from worker.engines.vllm_host.model import PreparedPage, SamplePage

ROUND_TRIP = "Größe  1,\n発票 a b"


@dataclass(slots=True)
class Guard:
    """Against outputs that go round: token for token, or with numbers that count."""

    repetition: RepetitionGuard
    counting: CountingGuard = field(default_factory=CountingGuard)

    def feed(self, ids: Sequence[int], text: str) -> bool:
        """True once the output loops."""
        return self.repetition.feed(ids) or self.counting.feed(text)


class DeepSeekOCR:
    """Raises ValueError if the tokenizer is not the model's."""

    def __init__(self, tokenizer: Any, max_model_len: int) -> None:
        self.inputs = Inputs(tokenizer, max_model_len)
        self._patient = frozenset(self.inputs.tokens(TABLE))

    def request(self, options: Options) -> PageRequest:
        """Raises BadPrompt, BadOption or PromptTooLong: a request that cannot be sent is refused before any work."""
        request = request_of(options)
        self.inputs.ids(request.prompt, request.mode.max_tokens)
        return request

    def layout(self, request: PageRequest, width: int, height: int) -> ViewLayout:
        return ViewLayout(request.mode, request.mode.grid(width, height))

    def first(self, request: PageRequest) -> Attempt:
        return retries.first(request.prompt)

    def retries(self, request: PageRequest, reason: str) -> Iterator[Attempt]:
        return retries.after(request.prompt, reason)

    def engine_input(self, attempt: Attempt, page: PreparedPage) -> dict[str, Any]:
        return self.inputs.engine_input(attempt.prompt, page)

    def sampling(self, attempt: Attempt) -> dict[str, Any]:
        whitelist = self.inputs.tokens(attempt.rule.whitelist)
        return {**SAMPLING, "temperature": attempt.temperature, "extra_args": attempt.rule.extra_args(whitelist)}

    def reader(self, page: PageImage, request: PageRequest, attempt: Attempt) -> PageReader:
        return PageReader(
            *page.image.size,
            link=lambda index: f"images/{figure_name(page.number, index)}",
            style=request.style,
            kinds=not labels_are_text(attempt.prompt),
        )

    def covers_page(self, request: PageRequest) -> bool:
        return request.prompt == DOCUMENT

    def guard(self, **limits: Any) -> Guard:
        return Guard(RepetitionGuard(patient=self._patient, **limits))

    # -- self-test

    def check_tokenizer(self) -> None:
        """Raises ValueError unless it has the model's tokens and gives text back as it was."""
        self.inputs.tokens(TABLE)
        for prompt in PROMPTS.values():
            self.inputs.prompt_ids(prompt)
        if self.inputs.round_trip(ROUND_TRIP) != ROUND_TRIP:
            raise ValueError("the tokenizer changes text: it was loaded as the wrong class (transformers before 5.8?)")

    def sample_pages(self) -> list[SamplePage]:
        """A page of every mode, and of every grid of the mode with tiles."""
        plain = [SamplePage(PageRequest(DOCUMENT, mode), 300, 300) for mode in MODES.values()]
        tiled = PageRequest(DOCUMENT, GUNDAM)
        return [*plain, *(SamplePage(tiled, 641 * columns, 641 * rows) for columns, rows in grids())]

    def check_prompt(self, page: SamplePage, ids: Sequence[int]) -> None:
        """Raises ValueError unless the prompt has one BOS, first, and a placeholder for each token of the picture."""
        bos, image, mode = self.inputs.token(BOS), self.inputs.token(IMAGE), page.request.mode
        if ids[0] != bos or ids.count(bos) != 1:
            raise ValueError(f"the prompt must begin with the token {bos}, once; it begins {ids[:2]}")
        if ids.count(image) != mode.tokens(page.width, page.height):
            raise ValueError(f"a {mode.name} page of {page.width} x {page.height} has {ids.count(image)} tokens")

    def loop_token(self) -> int:
        return self.inputs.prompt_ids("a")[0]
