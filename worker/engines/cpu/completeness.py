"""The check at the end of each page: what was seen against what was read.

A recogniser that does not know a script, or cannot make out a hand, drops letters and says nothing. What gives it away:
fewer characters than a piece of text has room for, a low confidence, letters of a language that it has only half of,
and writing-like ink that no piece covers. Thresholds were measured on printed pages in 20 languages: text that is read
has 1 (Chinese) to 3 characters for each line height of width, at a confidence above 0.9.
"""

from __future__ import annotations

import itertools
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from shared.contract.document import Reason, Shortfall
from worker.engines.cpu.detection import Detected, Pixels
from worker.engines.cpu.layout import Hint
from worker.engines.cpu.recognition import Text

LEAST_DENSITY = 0.6
"""Characters for each line height of width, below which some were dropped."""

SURE, HOPELESS = 0.88, 0.45
"""A line of this confidence is taken to be right, or to be wrong throughout; between them in proportion."""

SPARSE, HALF_KNOWN = 1.3, 0.5
"""Few letters and some doubt: a script of which the recogniser has half the letters, such as Greek."""

GAPS = 3
"""So often several spaces in one line: between them were words, all letters of which were dropped."""

TOLERATED = 0.03
LONG, LOST = 6.0, 0.4
"""A single line so many heights long, with so much of it lost, is told even if the page has many others."""

SHORT, SHORT_WEIGHT = 1.7, 0.3
"""Ticks, icons and lone signs are misread at no harm; a piece this short counts for less when it is lost."""

SMALL = 11.5
"""Pixels of a line's height (its box, letters are two thirds of it), below which letters are guessed."""

SMALL_SHARE = 0.3
TINY, SURE_OF_TINY = 6.0, 0.99
"""Pixels that the ink of a line spreads over (``spread``) below which letters are guessed too, whatever its box; such a
line counts as read from this confidence on."""

LOOKED_AT_CLOSELY = 22
"""Pixels of a line's box from which on its letters are large enough anyway."""
VIETNAMESE_LOSS = 0.16
"""Share of the letters of Vietnamese that the recogniser does not have: vowels with two marks, or a dot below."""

_VIETNAMESE = re.compile(r"\b\w*[ươƯƠ]\w*\b")
_GAP = re.compile(r"\S\s{2,}(?=\S)")
_GREEK = re.compile(r"[\u0370-\u03ff]{3,}")
_WORD = re.compile(r"[^\W\d_]{2,}")
_VOWEL = re.compile(r"[aeiouyæœøıáàâäãåāăąéèêëēėęěíìîïīįóòôöõōőúùûüūůűųýÿơư]", re.I)


@dataclass(frozen=True, slots=True)
class Seen:
    """A piece of text: its length in heights, its height in pixels, what was read, and how much of it is lost."""

    length: float
    height: float
    text: Text
    loss: float

    @property
    def is_guessed(self) -> bool:
        """Whether it is a line of letters so small that what was read of them is a guess."""
        return self.text.is_tiny and self.length >= LONG and self.text.score < SURE_OF_TINY

    @property
    def lost(self) -> float:
        """Heights of it that are missing or wrong."""
        return self.length * self.loss * (SHORT_WEIGHT if self.length < SHORT else 1.0)


def seen(found: Detected, texts: Sequence[Text], least: float) -> list[Seen]:
    """What became of every piece; text below a confidence of ``least`` was left out."""
    pieces = []
    for i, (quad, text) in enumerate(zip(found.quads, texts, strict=True)):
        across, down = float(np.linalg.norm(quad[1] - quad[0])), float(np.linalg.norm(quad[3] - quad[0]))
        if bend := found.bends.get(i):
            across, down = bend.x1 - bend.x0, bend.height
        height = max(1.0, min(across, down))
        length = max(across, down) / height
        pieces.append(Seen(length, height, text, loss(length, text, least)))
    return pieces


def loss(length: float, text: Text, least: float) -> float:
    """The share of a piece that is probably missing or wrong."""
    letters = len("".join(text.text.split()))
    if not letters or text.score < least:
        return 1.0
    if text.loss is not None:
        return text.loss
    density = letters / length
    dropped = 1 - density / LEAST_DENSITY if density < LEAST_DENSITY else 0.0
    wrong = doubt(text.score)
    if density < SPARSE and wrong > 0:
        wrong = max(wrong, HALF_KNOWN)
    # Formulas have Greek letters one by one; of Greek words the accented vowels are dropped, with confidence.
    greek = HALF_KNOWN * sum(map(len, _GREEK.findall(text.text))) / letters
    gone = HALF_KNOWN if len(_GAP.findall(text.text)) >= GAPS else 0.0
    return max(dropped, greek, gone, wrong)


def doubt(score: float) -> float:
    """The share of a piece that is probably wrong, by the recogniser's confidence."""
    return min(1.0, max(0.0, (SURE - score) / (SURE - HOPELESS)))


def shortfall(pieces: Sequence[Seen], dropped: int, unseen: float) -> Shortfall | None:
    """What the page is without, or None. ``dropped``: pieces too many; ``unseen``: heights of ink in no piece."""
    total = sum(piece.length for piece in pieces) + unseen
    if dropped:
        return Shortfall(reason=Reason.DETECTOR_LIMIT, missing=round(dropped / (dropped + len(pieces)), 3))
    if not total:
        return None
    lost = sum(piece.lost for piece in pieces) + unseen
    vietnamese = is_vietnamese(" ".join(piece.text.text for piece in pieces if piece.text.loss is None))
    missing = min(1.0, max(lost / total, VIETNAMESE_LOSS if vietnamese else 0.0))
    small = sum(piece.length for piece in pieces if piece.height < SMALL and piece.length >= SHORT) / total
    if small > SMALL_SHARE:
        return Shortfall(reason=Reason.TOO_SMALL, missing=round(missing, 3))
    if any(piece.is_guessed for piece in pieces):
        return Shortfall(reason=Reason.TOO_SMALL, missing=round(max(missing, 0.001), 3))
    whole_line = any(piece.length >= LONG and piece.loss >= LOST for piece in pieces)
    if missing < TOLERATED and not whole_line:
        return None
    reason = Reason.UNSUPPORTED_SCRIPT if vietnamese else reason_of(pieces, unseen)
    return Shortfall(reason=reason, missing=round(max(missing, 0.001), 3))


def reason_of(pieces: Sequence[Seen], unseen: float) -> Reason:
    """The kind of loss that takes the largest share."""
    kinds = dict.fromkeys((Reason.UNREADABLE, Reason.UNSUPPORTED_SCRIPT, Reason.LOW_CONFIDENCE), 0.0)
    kinds[Reason.UNREADABLE] = unseen
    for piece in pieces:
        kinds[kind_of(piece)] += piece.lost
    return max(kinds, key=lambda kind: kinds[kind])


def kind_of(piece: Seen) -> Reason:
    """Letters dropped with a clear conscience: another script. None, or wild ones: nobody can say what it is."""
    letters = len("".join(piece.text.text.split()))
    if piece.text.loss is not None:
        return Reason.LOW_CONFIDENCE
    if _GREEK.search(piece.text.text):
        return Reason.UNSUPPORTED_SCRIPT
    if piece.text.score >= 0.7 and letters / piece.length < 2 * LEAST_DENSITY:
        return Reason.UNSUPPORTED_SCRIPT
    return Reason.LOW_CONFIDENCE if letters / piece.length >= LEAST_DENSITY else Reason.UNREADABLE


def is_vietnamese(text: str) -> bool:
    """Two words with letters of no other language, or one among many that lost all their vowels."""
    marked = len(_VIETNAMESE.findall(text))
    words = _WORD.findall(text)
    bare = sum(not _VOWEL.search(word) and not word.isupper() for word in words)
    return marked >= 2 and (marked + bare) > 0.08 * len(words)


def is_tiny(line: Pixels) -> bool:
    """Whether a level line, BGR, holds letters too small to be told apart: its box may be much larger than they are."""
    return line.shape[0] < LOOKED_AT_CLOSELY and 0 < spread(line) < TINY


def spread(line: Pixels) -> float:
    """Pixels over which the ink of a level line spreads, from its top to its foot; 0 without ink."""
    grey = cv2.cvtColor(line, cv2.COLOR_BGR2GRAY).astype(np.float32)
    ink = np.abs(grey - np.median(grey))
    ink[ink < CLEAR] = 0
    weight, rows = ink.sum(axis=1), np.arange(len(ink))
    if not weight.any():
        return 0.0
    middle = np.average(rows, weights=weight)
    return float(np.sqrt(12 * np.average((rows - middle) ** 2, weights=weight)))


# -- ink that no piece of text covers

CHECK_SIDE = 2400
FAINT, DARK, NOISE = 2.0, 40.0, 4.0
"""Levels that ink must be off its paper: ``FAINT`` and so often the paper's own grain, ``DARK`` at most."""

CLEAR = 20.0
GRAIN = 80
"""Percentile of a page's levels that is still paper."""

BESIDE, EDGE = 15, 0.35
"""Pixels around, and the share of the most that they are off the paper, below which a pixel is no ink."""

RUN = 8
"""Letters in a row that make a line of writing."""

TALLEST, OPEN = 60, 40
"""Pixels of a mark that can be a letter; and rows at one height of the page that a mark may belong to."""

Mark = tuple[int, int, int, int]
"""Left, top, width and height, in pixels."""

LOWEST, LOW = 4, 6
MOST_LOW = 4000
"""Pixels of a mark that can be a letter; and more marks below ``LOW`` than this are a screen of dots, or noise."""

TOUCHING = 8
"""Pixels of a mark below which several letters may have run into one."""


@dataclass(frozen=True, slots=True)
class UnseenRow:
    """Marks in a row that look like writing. ``box``: left, top, right and bottom in pixels of the picture; ``length``
    in line heights; ``height``: of a mark, in pixels; ``contrast``: levels (of 255) off the paper."""

    box: tuple[float, float, float, float]
    length: float
    height: float
    contrast: float


def unseen_writing(image: Pixels, found: Detected, hints: Sequence[Hint]) -> float:
    """Length, in heights, of the rows of letter-like marks in a BGR picture that lie in no piece and no figure."""
    return sum(run.length for run in overlooked(image, found, hints))


def overlooked(image: Pixels, found: Detected, hints: Sequence[Hint]) -> list[UnseenRow]:
    """The rows of letter-like marks in a BGR picture that lie in no piece and no figure."""
    scale = min(1.0, CHECK_SIDE / max(image.shape[:2]))
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    grey = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else grey
    off = cv2.absdiff(grey, paper_of(grey))
    marks = marks_in(off)
    cover(marks, found, hints, scale)
    _, _, stats, _ = cv2.connectedComponentsWithStats(marks, connectivity=8)
    boxes = stats[1:]
    width, height, area = boxes[:, 2], boxes[:, 3], boxes[:, 4]
    longest = np.where(height < TOUCHING, 6, 3) * height
    letters = (height >= LOWEST) & (height <= TALLEST) & (width <= longest) & (height <= 6 * width)
    letters &= (area >= 0.12 * width * height) & (area <= 0.9 * width * height)
    if np.count_nonzero(letters & (height < LOW)) > MOST_LOW:
        letters &= height >= LOW
    boxes = boxes[letters, :4]
    lines = max((lengths(way) for way in ways(boxes)), key=lambda found: sum(length for _, length in found))
    return [seen_run(boxes[places], length, off, marks, scale) for places, length in lines]


def lengths(boxes: np.ndarray) -> list[tuple[list[int], float]]:
    """Rows of marks, by their places in ``boxes``, and how long they are; without those that are no writing."""
    measured = ((places, run_length(boxes[places])) for places in runs(boxes))
    return [(places, length) for places, length in measured if length]


def seen_run(boxes: np.ndarray, length: float, off: Pixels, marks: Pixels, scale: float) -> UnseenRow:
    x0, y0 = boxes[:, :2].min(axis=0)
    x1, y1 = (boxes[:, :2] + boxes[:, 2:]).max(axis=0)
    ink = off[y0:y1, x0:x1][marks[y0:y1, x0:x1] > 0]
    height = float(np.median(np.minimum(boxes[:, 2], boxes[:, 3]) if y1 - y0 > x1 - x0 else boxes[:, 3]))
    box = (float(x0 / scale), float(y0 / scale), float(x1 / scale), float(y1 / scale))
    return UnseenRow(box, length, height / scale, float(np.percentile(ink, GRAIN)))


def marks_in(off: Pixels) -> Pixels:
    """1 where there is ink, by how far each pixel is off its paper. Beside what is dark, what is far lighter is its
    edge, or what packing the picture left there."""
    beside = cv2.dilate(off, np.ones((BESIDE, BESIDE), np.uint8))
    least = cv2.max(cv2.convertScaleAbs(beside, alpha=EDGE), np.full_like(off, int(faintest(off))))
    return np.asarray(off > least, np.uint8)


def paper_of(grey: Pixels) -> Pixels:
    """The level of the paper around each pixel, from a picture of half the size, which takes a tenth of the time."""
    half = cv2.resize(grey, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) if min(grey.shape) > 1 else grey
    return np.asarray(cv2.resize(cv2.medianBlur(half, 15), grey.shape[::-1], interpolation=cv2.INTER_LINEAR), np.uint8)


def faintest(off: Pixels) -> float:
    """Levels that ink must be off its paper: few where that is even, as in a page that was never printed."""
    grain = float(np.percentile(off[::4, ::4], GRAIN))
    return float(min(DARK, FAINT + NOISE * grain))


def ways(boxes: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Marks as they are, and turned so that writing which runs downwards or upwards is level."""
    x, y, width, height = boxes[:, 0], boxes[:, 1], boxes[:, 2], boxes[:, 3]
    downwards, upwards = np.stack([y, -x - width, height, width], 1), np.stack([y, x, height, width], 1)
    return boxes[:, :4], downwards, upwards


def cover(marks: Pixels, found: Detected, hints: Sequence[Hint], scale: float) -> None:
    """Blank out what was detected as text, with some room around it, and figures."""
    for i, quad in enumerate(found.quads):
        corners = np.asarray(quad * scale, np.int32)
        room = max(2, int(0.35 * min(np.linalg.norm(quad[3] - quad[0]), np.linalg.norm(quad[1] - quad[0])) * scale))
        if i in found.bends:
            (x0, y0), (x1, y1) = corners.min(axis=0), corners.max(axis=0)
            marks[max(0, y0 - room) : y1 + room, max(0, x0 - room) : x1 + room] = 0
            continue
        cv2.fillConvexPoly(marks, corners, 0)
        cv2.polylines(marks, [corners], True, 0, 2 * room)
    for hint in hints:
        if hint.label == "figure":
            x0, y0, x1, y1 = (max(0, int(value * scale)) for value in (hint.x0, hint.y0, hint.x1, hint.y1))
            marks[y0:y1, x0:x1] = 0


def runs(boxes: np.ndarray) -> list[list[int]]:
    """Marks, (x, y, width, height), of one size that stand close to each other on one line: the places of each
    ``RUN`` or more of them."""
    marks: list[Mark] = [(int(x), int(y), int(w), int(h)) for x, y, w, h in boxes.tolist()]
    found: list[list[int]] = []
    shelves: dict[int, list[list[int]]] = defaultdict(list)  # runs by where their last mark stands
    for place in map(int, np.argsort(boxes[:, 0], kind="stable")):
        mark = marks[place]
        shelf = (mark[1] + mark[3]) // TALLEST
        near = itertools.chain.from_iterable(reversed(shelves[i][-OPEN:]) for i in (shelf, shelf - 1, shelf + 1))
        home = next((run for run in near if goes_on(marks[run[-1]], mark)), None)
        if home is None:
            home = []
            found.append(home)
        home.append(place)
        shelves[shelf].append(home)
    return [run for run in found if len(run) >= RUN]


def goes_on(last: Mark, mark: Mark) -> bool:
    high = max(last[3], mark[3])
    gap = mark[0] - last[0] - last[2]
    level = abs(last[1] + last[3] - mark[1] - mark[3]) <= 0.3 * high
    return level and -0.3 * high < gap < 1.2 * high and min(last[3], mark[3]) > 0.5 * high


def run_length(run: np.ndarray) -> float:
    """In line heights, as a detected piece would measure it. Bars and hatching are of one width: no writing."""
    if np.std(run[:, 2]) < 0.12 * np.mean(run[:, 2]):
        return 0.0
    return float((run[-1][0] + run[-1][2] - run[0][0]) / (1.6 * np.median(run[:, 3])))
