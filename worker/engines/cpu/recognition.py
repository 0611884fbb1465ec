"""The three PP-OCR models: where text is, which way up it is, and what it says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from rapidocr import RapidOCR
from rapidocr.ch_ppocr_rec import TextRecInput
from rapidocr.utils.process_img import get_rotate_crop_image

from shared.errors import EngineError, InferenceError

Pixels = NDArray[np.uint8]
Quads = NDArray[np.float32]

DETECT_SIDE = 2000
MAX_ASPECT = 4.0
LINE_HEIGHT = 48
INK, ROOM = 24, 40


def parameters(threads: int) -> dict[str, Any]:
    """``use_cls`` stays off: the line classifier turns good lines over. Batch 1 is the quickest on a CPU."""
    return {
        "Global.use_cls": False,
        "Global.log_level": "critical",
        "EngineConfig.onnxruntime.intra_op_num_threads": threads,
        "EngineConfig.onnxruntime.inter_op_num_threads": 1,
        "EngineConfig.onnxruntime.enable_cpu_mem_arena": True,
        "Rec.rec_batch_num": 1,
    }


def pad_to_aspect(image: Pixels) -> Pixels:
    """White below or to the right until neither side is over four times the other.

    The detector enlarges the short side to 736 pixels, so a long strip would grow beyond all bounds.
    """
    height, width = image.shape[:2]
    down, right = max(0, int(width / MAX_ASPECT) - height), max(0, int(height / MAX_ASPECT) - width)
    if not down and not right:
        return image
    padded = cv2.copyMakeBorder(image, 0, down, 0, right, cv2.BORDER_CONSTANT, value=(255, 255, 255))
    return np.asarray(padded, dtype=np.uint8)


def elongation(image: Pixels) -> float:
    """How much longer than ``side`` the long side of a narrow picture may be: the area counts, not the length."""
    aspect = min(MAX_ASPECT, max(image.shape[:2]) / min(image.shape[:2]))
    return float(max(1.0, (aspect / 2) ** 0.5))


def ink(image: Pixels) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of what differs from the picture's usual shade, with some room around it."""
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    marks = np.abs(grey.astype(np.int16) - int(np.median(grey))) > INK
    columns, lines = np.flatnonzero(marks.any(axis=0)), np.flatnonzero(marks.any(axis=1))
    if not len(columns):
        return 0, 0, image.shape[1], image.shape[0]
    left, top = max(0, int(columns[0]) - ROOM), max(0, int(lines[0]) - ROOM)
    return left, top, int(columns[-1]) + ROOM, int(lines[-1]) + ROOM


def shrink(image: Pixels, side: int) -> tuple[Pixels, float]:
    """The image with its longest side at most ``side``, and the factor it was scaled by."""
    scale = side / max(image.shape[:2])
    if scale >= 1:
        return image, 1.0
    small = cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return np.asarray(small, dtype=np.uint8), scale


def crop(image: Pixels, quad: Quads) -> Pixels:
    """The text line inside four corners, made level; lines far taller than the model's input are reduced first."""
    line = get_rotate_crop_image(image, quad.copy())
    if line.shape[0] > 2 * LINE_HEIGHT:
        width = max(1, round(line.shape[1] * LINE_HEIGHT / line.shape[0]))
        line = cv2.resize(line, (width, LINE_HEIGHT), interpolation=cv2.INTER_AREA)
    return np.asarray(line, dtype=np.uint8)


class TextModels:
    """Not thread-safe: one thread uses it."""

    def __init__(self, threads: int) -> None:
        cv2.setNumThreads(threads)
        ocr = RapidOCR(params=parameters(threads))
        self._detector, self._classifier = ocr._load_det_model(), ocr._load_cls_model()
        self._recogniser = ocr._load_rec_model()

    def detect(self, image: Pixels) -> Quads:
        """Corners of the text lines of a BGR image, (n, 4, 2), clockwise from the top left, in its pixels."""
        quads = self._detect(image)
        if len(quads):
            return quads
        # A few words on a very large or narrow page are lost in the white: look once more at what is not white.
        left, top, right, bottom = ink(image)
        inked = np.ascontiguousarray(image[top:bottom, left:right])
        return self._detect(inked) + np.array([left, top], np.float32)

    def _detect(self, image: Pixels) -> Quads:
        small, scale = shrink(pad_to_aspect(image), round(DETECT_SIDE * elongation(image)))
        boxes = self._detector(small).boxes
        if boxes is None:
            return np.zeros((0, 4, 2), np.float32)
        height, width = image.shape[:2]
        quads = np.asarray(boxes, np.float32) / scale
        return np.asarray(np.clip(quads, 0, [width - 1, height - 1]), np.float32)

    def upside_down(self, lines: Sequence[Pixels]) -> float:
        """From -1 (all lines are upright) to 1 (all stand on their heads)."""
        votes = self._classifier(list(lines)).cls_res
        return float(np.mean([score if "180" in label else -score for label, score in votes]))

    def recognise(self, lines: Sequence[Pixels], checkpoint: Callable[[], None]) -> list[tuple[str, float]]:
        """Text and confidence (0 to 1) of every line; ``checkpoint`` is called before each."""
        return [self._recognise(line, checkpoint) for line in lines]

    def _recognise(self, line: Pixels, checkpoint: Callable[[], None]) -> tuple[str, float]:
        checkpoint()
        read = self._recogniser(TextRecInput(img=[line]))
        return read.txts[0], float(read.scores[0])


def failure(error: Exception) -> EngineError:
    """What a failure inside the libraries means for the page."""
    if isinstance(error, MemoryError):
        return InferenceError("the page needs more memory than there is")
    return InferenceError(f"the CPU engine could not read the page ({type(error).__name__})")
