"""A page's text while its lines are still being recognised: each block goes out once it is likely to stay as it is.

The order of the blocks depends on where the lines lie, and only a little on what they say. So the page is laid out
with letters in place of the words first; its lines are recognised in that order, and the blocks whose lines are all
known, and whose successor has begun, are given out. What changes after all, the engine says again (``Restarted``).
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from worker.engines.cpu.lines import Line
from worker.engines.cpu.paragraphs import ParagraphPart
from worker.engines.cpu.places import Places
from worker.engines.cpu.recognition import Text
from worker.engines.cpu.structure import Composer, Scene, region_text

LEAST_LINES, MOST_LOOKS = 4, 8
"""Lines that are recognised between two looks at the page, and looks at a page: each costs some 20 ms."""


@dataclass(frozen=True, slots=True)
class DraftBlock:
    """A block as it stands: the indices of its lines and of those in its first row, and its Markdown."""

    lines: frozenset[int]
    first_row: frozenset[int]
    text: str


class Draft:
    """One page. ``scene``: without its lines; ``order``: how its ``count`` lines are best recognised.

    Threads may share it; ``emit`` is called by one at a time.
    """

    def __init__(self, scene: Scene, places: Places, count: int, emit: Callable[[str], None]) -> None:
        self._scene, self._places, self._emit = scene, places, emit
        self._lock, self._look_lock = threading.Lock(), threading.Lock()
        self._texts = [guess(places.letters(i)) for i in range(count)]
        self._known: set[int] = set()
        self._step, self._looked_at = max(LEAST_LINES, count // MOST_LOOKS), 0
        self._emitted: list[str] = []
        plan = [i for block in self._blocks(self._texts) for i in sorted(block.lines)]
        self.order = list(dict.fromkeys([*plan, *range(count)]))

    def recognised(self, index: int, text: Text) -> None:
        """Take what a line says, and emit the blocks that it completes."""
        with self._lock:
            self._texts[index] = text
            self._known.add(index)
        if len(self._known) - self._looked_at < self._step or not self._look_lock.acquire(blocking=False):
            return
        try:
            self._look()
        finally:
            self._look_lock.release()

    def _look(self) -> None:
        with self._lock:
            texts, known = list(self._texts), frozenset(self._known)
        self._looked_at = len(known)
        blocks, done = self._blocks(texts), len(self._emitted)
        if [block.text for block in blocks[:done]] != self._emitted:
            return  # something emitted has changed; the engine will say the page again
        for block, following in zip(blocks[done:], blocks[done + 1 :], strict=False):
            if not block.lines | following.first_row <= known:
                break
            self._emit(block.text)
            self._emitted.append(block.text)

    def _blocks(self, texts: Sequence[Text]) -> list[DraftBlock]:
        lines = self._places.lines(texts)
        page = Composer(replace(self._scene, lines=list(lines.values())))
        index = {id(line): i for i, line in lines.items()}
        found: list[DraftBlock] = []
        figures = 0
        for part in page.parts() if lines else []:
            found.append(self._block(part, page, index, figures))
            figures += part.kind == "region" and page.region(part).kind == "figure"
        return found

    def _block(self, part: ParagraphPart, page: Composer, index: dict[int, int], figures: int) -> DraftBlock:
        def indices(lines: Iterable[Line]) -> frozenset[int]:
            return frozenset(index[id(line)] for line in lines if id(line) in index)

        if part.kind == "region":
            region = page.region(part)
            lines = indices(region.lines)
            return DraftBlock(lines, lines, region_text(region, self._scene.number, figures))
        rows = [indices(row.pieces) for row in part.rows]
        return DraftBlock(frozenset[int]().union(*rows), rows[0], part.text)


def guess(letters: float) -> Text:
    """What stands for a line that nobody has read yet: a sentence of its length."""
    return Text("X" + "x" * round(letters), 1.0)
