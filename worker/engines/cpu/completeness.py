"""The check at the end of each page: what was seen against what was read.

A recogniser that does not know a script, or cannot make out a hand, drops letters and says nothing. What gives it away:
fewer characters than a piece of text has room for, a low confidence, letters of a language that it has only half of,
and writing-like ink that no piece covers. Thresholds were measured on printed pages in 20 languages: text that is read
has 1 (Chinese) to 3 characters for each line height of width, at a confidence above 0.9.
"""

from __future__ import annotations

import re
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
    doubt = (SURE - text.score) / (SURE - HOPELESS)
    if density < SPARSE and doubt > 0:
        doubt = max(doubt, HALF_KNOWN)
    # Formulas have Greek letters one by one; of Greek words the accented vowels are dropped, with confidence.
    greek = HALF_KNOWN * sum(map(len, _GREEK.findall(text.text))) / letters
    gone = HALF_KNOWN if len(_GAP.findall(text.text)) >= GAPS else 0.0
    return max(0.0, dropped, greek, gone, min(1.0, doubt))


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


# -- ink that no piece of text covers

CHECK_SIDE = 1600
FAINT, DARK = 8.0, 40.0
GRAIN = 80
"""Percentile of a page's levels that is still paper."""

RUN = 8
"""Letters in a row that make a line of writing."""


def unseen_writing(image: Pixels, found: Detected, hints: Sequence[Hint]) -> float:
    """Length, in heights, of the rows of letter-like marks in a BGR picture that lie in no piece and no figure."""
    scale = min(1.0, CHECK_SIDE / max(image.shape[:2]))
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    grey = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else grey
    paper = cv2.medianBlur(grey, 31)
    off = cv2.absdiff(grey, paper)
    marks = (off > faintest(off)).astype(np.uint8)
    cover(marks, found, hints, scale)
    _, _, stats, _ = cv2.connectedComponentsWithStats(marks, connectivity=8)
    boxes = stats[1:]
    width, height, area = boxes[:, 2], boxes[:, 3], boxes[:, 4]
    letters = (height >= 6) & (height <= 60) & (width <= 3 * height) & (height <= 6 * width)
    letters &= (area >= 0.12 * width * height) & (area <= 0.9 * width * height)
    return max(sum(run_length(run) for run in runs(way)) for way in ways(boxes[letters]))


def faintest(off: Pixels) -> float:
    """Levels that ink must be off its paper: few where the paper is even, as in a page that was never printed."""
    grain = float(np.percentile(off[::4, ::4], GRAIN))
    return float(min(DARK, FAINT + 6 * grain))


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


def runs(boxes: np.ndarray) -> list[np.ndarray]:
    """Marks of one size that stand close to each other on one line, ``RUN`` or more of them: (x, y, width, height)."""
    found: list[list[np.ndarray]] = []
    for box in boxes[np.argsort(boxes[:, 0], kind="stable")]:
        home = next((run for run in reversed(found[-200:]) if goes_on(run[-1], box)), None)
        if home is None:
            found.append([box])
        else:
            home.append(box)
    return [np.array(run) for run in found if len(run) >= RUN]


def goes_on(last: np.ndarray, box: np.ndarray) -> bool:
    high = max(int(last[3]), int(box[3]))
    gap = int(box[0]) - int(last[0] + last[2])
    level = abs(int(last[1] + last[3]) - int(box[1] + box[3])) <= 0.3 * high
    return level and -0.3 * high < gap < 1.2 * high and min(int(last[3]), int(box[3])) > 0.5 * high


def run_length(run: np.ndarray) -> float:
    """In line heights, as a detected piece would measure it. Bars and hatching are of one width: no writing."""
    if np.std(run[:, 2]) < 0.12 * np.mean(run[:, 2]):
        return 0.0
    return float((run[-1][0] + run[-1][2] - run[0][0]) / (1.6 * np.median(run[:, 3])))
