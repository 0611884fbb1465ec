"""The scripts that the first recogniser does not know, read by tesseract where that is installed (``languages``).

It is a program with a package of data for each language. It runs once for a page, over the lines that were found, as a
process of its own: what it meets in a picture cannot harm the worker.
"""

from __future__ import annotations

import csv
import logging
import os
import re
import shutil
import signal
import subprocess
import tempfile
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import cv2

from shared.process import bound_to_parent
from worker.engines.cpu.detection import Pixels
from worker.engines.cpu.recognition import Text

logger = logging.getLogger(__name__)

DATA = {
    "ar": "ara", "el": "ell", "he": "heb", "hi": "hin", "ko": "kor", "ru": "rus", "th": "tha", "uk": "ukr", "vi": "vie",
}  # fmt: skip
"""ISO 639-1 codes of the languages that were measured, and what tesseract calls their data."""

SCRIPTS = {
    "ar": "ARABIC", "el": "GREEK", "he": "HEBREW", "hi": "DEVANAGARI", "ko": "HANGUL", "ru": "CYRILLIC", "th": "THAI",
    "uk": "CYRILLIC", "vi": "LATIN",
}  # fmt: skip
"""How Unicode's names of their letters begin."""

UNLIKE_LATIN = ("ARABIC", "DEVANAGARI", "HANGUL", "HEBREW", "THAI")
"""Scripts in which tesseract was sure of none of 15 English lines (at most .83, each with doubtful words)."""

DOUBTFUL = 0.65
"""Confidence of a line below which it is not taken."""

DOUBTFUL_WORD = 0.75
"""Confidence of a word below which it may be wrong; right ones have .85 and more, and some Greek ones less."""

DOUBTED_LINE = 0.4
"""Share of a line that counts as lost at least, once a number or two of its letters are doubtful."""

LITTLE = 0.1
"""Share of a line that the first recogniser may lose before the second's reading counts."""

LONGER = 1.2
"""Or: how many letters the second has for each of the first."""

SURE = 0.88

HALF_READ = 3
"""Letters of the script itself from which on the first knows half of it, as of Greek; formulas have fewer."""

MARGIN = 10
"""Pixels of paper that tesseract wants around a line."""

POLL_SECONDS, START_SECONDS = 0.2, 10.0

_VIETNAMESE = re.compile(r"[ăđơưĂĐƠƯ\u1ea0-\u1ef9]")
_DIRECTIONS = re.compile("[\u200e\u200f\u202a-\u202e]")
_GREEK = "[\u0370-\u03ff\u1f00-\u1fff]"
_MICRO = re.compile(f"(?<={_GREEK})\u00b5|\u00b5(?={_GREEK})")  # for which tesseract takes the letter mu
_HANGUL = re.compile("[\uac00-\ud7a3]")
_AMOUNT = re.compile(r"(\d[\d.,]*) ?([€£¥₩₽₴₫฿₹₪$])")
_SARA_AM = "\u0e4d\u0e32"  # in two parts, as nobody types it


def installed() -> SecondRecogniser | None:
    """Tesseract with the data of at least one language of ``DATA``; None where there is no such thing."""
    program = shutil.which("tesseract")
    if program is None:
        return None
    try:
        listed = subprocess.run(
            [program, "--list-langs"], capture_output=True, text=True, check=True, timeout=START_SECONDS
        )
    except (OSError, subprocess.SubprocessError) as error:
        logger.warning("tesseract cannot say which languages it has: %s", error)
        return None
    there = set(listed.stdout.split())
    languages = tuple(language for language, data in DATA.items() if data in there)
    return SecondRecogniser(program, languages) if languages else None


class SecondRecogniser:
    """``languages``: ISO 639-1 codes of those it has data for, and reads."""

    def __init__(self, program: str, languages: Iterable[str]) -> None:
        self._program, self.languages = program, tuple(languages)

    def asked_for(self, languages: Iterable[str]) -> SecondRecogniser | None:
        """The same for some of its languages; None if it has none of them."""
        own = [language for language in languages if language in self.languages]
        return SecondRecogniser(self._program, own) if own else None

    def read(self, lines: Sequence[Pixels], checkpoint: Callable[[], None]) -> list[Text]:
        """What level lines say, in one of the languages; nothing (confidence 0) where it could not be run.

        ``checkpoint`` is called while it runs; what it raises goes through.
        """
        with tempfile.TemporaryDirectory(prefix="ocr-lines-") as folder:
            where = Path(folder)
            paths = [where / f"{i}.ppm" for i in range(len(lines))]
            for path, line in zip(paths, lines, strict=True):
                cv2.imwrite(str(path), cv2.copyMakeBorder(line, MARGIN, MARGIN, MARGIN, MARGIN, cv2.BORDER_REPLICATE))
            (where / "lines").write_text("".join(f"{path}\n" for path in paths))
            status = self._run(where, "+".join(DATA[language] for language in self.languages), checkpoint)
            if status:
                logger.warning("tesseract ended with status %d", status)
                return [Text("", 0.0)] * len(lines)
            texts, words = (where / "read.txt").read_text(), (where / "read.tsv").read_text()
        return texts_of(texts, words, len(lines))

    def _run(self, where: Path, data: str, checkpoint: Callable[[], None]) -> int:
        command = [self._program, str(where / "lines"), str(where / "read"), "-l", data, "--psm", "7", "txt", "tsv"]
        process = subprocess.Popen(
            bound_to_parent(command, signal.SIGKILL, os.getpid()), env={**os.environ, "OMP_THREAD_LIMIT": "1"},
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        try:
            while True:
                checkpoint()
                try:
                    return process.wait(POLL_SECONDS)
                except subprocess.TimeoutExpired:
                    continue
        finally:
            process.kill()
            process.wait()


def texts_of(texts: str, words: str, count: int) -> list[Text]:
    """Tesseract's answer about ``count`` pictures: their texts, each ended by a form feed, and a table of its words."""
    sure: dict[int, list[tuple[str, float]]] = defaultdict(list)
    for row in csv.DictReader(words.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE):
        if row["level"] == "5" and row["text"].strip():
            sure[int(row["page_num"])].append((row["text"], float(row["conf"]) / 100))
    pages = [*texts.split("\f"), *[""] * count][:count]
    return [text_of(page, sure[number]) for number, page in enumerate(pages, 1)]


def text_of(page: str, words: Sequence[tuple[str, float]]) -> Text:
    text = _MICRO.sub("\u03bc", " ".join(_DIRECTIONS.sub("", page).replace(_SARA_AM, "\u0e33").split()))
    letters = sum(len(word) for word, _ in words)
    if not text or not letters:
        return Text("", 0.0)
    score = sum(len(word) * sure for word, sure in words) / letters
    doubtful = "".join(word for word, sure in words if sure < DOUBTFUL_WORD)
    # One letter or sign is mostly an article or a comma. A syllable of Korean is one sign, and can be a word's verb.
    matters = len(doubtful) > 1 or doubtful.isdigit() or bool(_HANGUL.match(doubtful))
    return Text(text, score, loss=max(len(doubtful) / letters, DOUBTED_LINE) if matters else 0.0)


def surer(first: Text, lost: float, second: Text, languages: Iterable[str]) -> Text:
    """Of two readings of a line the one to keep. ``lost``: the share of the line that the first is without.

    The first is kept where it lost next to nothing, for the second makes letters of its own script of every other. Of
    Vietnamese the first drops letters and does not notice.
    """
    if second.score < DOUBTFUL:
        return first
    scripts = tuple(SCRIPTS[language] for language in languages)
    if "LATIN" in scripts and _VIETNAMESE.search(second.text) and not second.loss:
        return second
    own, known = own_letters(second, scripts), own_letters(first, scripts)
    # Of a line with many numbers the first may have lost every word and still have much to say.
    longer = letters_of(second) > LONGER * letters_of(first) or (known >= HALF_READ and own > LONGER * known)
    # Thai can look like Latin letters to the first, which is sure of them.
    unlike = not second.loss and second.score >= SURE and own_letters(second, UNLIKE_LATIN) >= HALF_READ
    return with_currencies(second, first) if own and (lost > LITTLE or longer or unlike) else first


def own_letters(text: Text, scripts: tuple[str, ...]) -> int:
    return sum(unicodedata.name(letter, "").startswith(scripts) for letter in text.text)


def with_currencies(second: Text, first: Text) -> Text:
    """The second's text with the signs of currencies that only the first knows: ``48,90 Ε`` -> ``48,90 €``."""
    text = second.text
    for number, sign in _AMOUNT.findall(first.text):
        text = re.sub(rf"(?<![\d.,]){re.escape(number)} ?[^\W\d_](?!\w)", f"{number} {sign}", text, count=1)
    return replace(second, text=text)


def letters_of(text: Text) -> int:
    return sum(sign.isalnum() for sign in text.text)
