"""The three PP-OCR models: where text is, which way up it is, and what it says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from rapidocr import RapidOCR
from rapidocr.ch_ppocr_rec import TextRecInput
from rapidocr.utils.process_img import get_rotate_crop_image

from shared.errors import EngineError, InferenceError
from worker.engines.cpu.detection import Bend, Detected, Detector, Pixels, Quads

LINE_HEIGHT = 48
TALL = 2.0
"""A piece so much higher than wide is read in both directions: writing may run upwards or downwards."""


@dataclass(frozen=True, slots=True)
class Text:
    """What one line says. ``score``: confidence, 0 to 1; ``turned``: read from a line that stands on end.

    ``loss``: the share of it that is probably wrong, where the recogniser itself says so; else None. ``is_tiny``: its
    letters have too few pixels to be told apart.
    """

    text: str
    score: float
    turned: bool = False
    loss: float | None = None
    is_tiny: bool = False


def parameters(threads: int = 1) -> dict[str, Any]:
    """``use_cls`` stays off: the line classifier turns good lines over. Batch 1 is the quickest on a CPU.

    One thread: pages, and the lines of a lone page, run side by side, which threads inside a model cannot match. Only a
    lone page's detection has nothing to run beside. Then there is no arena either: a second one would keep 400 MiB.
    """
    return {
        "Global.use_cls": False,
        "Global.log_level": "critical",
        "EngineConfig.onnxruntime.intra_op_num_threads": threads,
        "EngineConfig.onnxruntime.inter_op_num_threads": 1,
        "EngineConfig.onnxruntime.enable_cpu_mem_arena": threads == 1,
        "Rec.rec_batch_num": 1,
    }


def crop(image: Pixels, quad: Quads, bend: Bend | None = None) -> Pixels:
    """The text line inside four corners, made level; lines far taller than the model's input are reduced first."""
    line = get_rotate_crop_image(image, quad.copy()) if bend is None else straightened(image, bend)
    if line.shape[0] > 2 * LINE_HEIGHT:
        width = max(1, round(line.shape[1] * LINE_HEIGHT / line.shape[0]))
        line = cv2.resize(line, (width, LINE_HEIGHT), interpolation=cv2.INTER_AREA)
    return np.asarray(line, dtype=np.uint8)


def straightened(image: Pixels, bend: Bend) -> Pixels:
    """A bent line, as it would stand on a flat page."""
    height, width = max(4, round(bend.height)), max(4, round(bend.x1 - bend.x0))
    x = np.repeat(np.linspace(bend.x0, bend.x1, width, dtype=np.float32)[None], height, axis=0)
    down = np.arange(height, dtype=np.float32)[:, None] - height / 2
    y = np.asarray(bend.middle(x) + down, np.float32)
    line = cv2.remap(image, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(line, dtype=np.uint8)


def stands_on_end(quad: Quads) -> bool:
    """Whether a piece is so tall that it holds writing from top to bottom or from bottom to top."""
    return float(np.linalg.norm(quad[3] - quad[0])) > TALL * float(np.linalg.norm(quad[1] - quad[0]))


class TextModels:
    """One copy of the weights; any number of threads may use it at once."""

    def __init__(self) -> None:
        cv2.setNumThreads(1)
        ocr = RapidOCR(params=parameters())
        self._detector, self._classifier = Detector(ocr._load_det_model()), ocr._load_cls_model()
        self._recogniser = ocr._load_rec_model()

    def detecting_in(self, threads: int) -> TextModels:
        """The same models, but for a detector of its own that uses so many threads: for a page that is read alone."""
        models = copy(self)
        models._detector = Detector(RapidOCR(params=parameters(threads))._load_det_model())
        return models

    def detect(self, image: Pixels, checkpoint: Callable[[], None]) -> Detected:
        """The text lines of a BGR image."""
        return self._detector.find(image, checkpoint)

    @property
    def letters(self) -> frozenset[str]:
        """Every character that the recogniser can answer with."""
        return frozenset(self._recogniser.postprocess_op.character)

    def upside_down(self, lines: Sequence[Pixels]) -> float:
        """From -1 (all lines are upright) to 1 (all stand on their heads)."""
        votes = self._classifier(list(lines)).cls_res
        return float(np.mean([score if "180" in label else -score for label, score in votes]))

    def recognise(self, line: Pixels, *, turned: bool = False) -> Text:
        """What a level line says; one that stood on end is read both ways, and the surer one counts."""
        ways = [line, np.ascontiguousarray(line[::-1, ::-1])] if turned else [line]
        reads = [self._recogniser(TextRecInput(img=[way])) for way in ways]
        found = [Text(read.txts[0], float(read.scores[0]), turned) for read in reads]
        return max(found, key=lambda text: text.score)


def failure(error: Exception) -> EngineError:
    """What a failure inside the libraries means for the page."""
    if isinstance(error, MemoryError):
        return InferenceError("the page needs more memory than there is")
    return InferenceError(f"the CPU engine could not read the page ({type(error).__name__})")
