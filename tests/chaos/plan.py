"""What one run submits: documents whose every page has a known text, a few of them poisoned."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from tools.uploads import picture, poisoned, tiff
from worker.engines.instant import answer


@dataclass(slots=True)
class Planned:
    """One upload, what it must become, and what became of it."""

    key: str
    seeds: tuple[int, ...]
    poison: tuple[int, ...] = ()
    priority: str = "normal"
    tries: int = 0
    ids: list[str] = field(default_factory=list)  # every id a 2xx answer named

    def data(self) -> bytes:
        return tiff(self.seeds, self.poison)

    @property
    def status(self) -> str:
        if not self.poison:
            return "succeeded"
        return "failed" if set(self.poison) == set(self.seeds) else "partial"

    def texts(self) -> list[str | None]:
        """The Markdown of each page; None where it must fail as poison."""
        return [None if seed in self.poison else answer(picture(seed)) for seed in self.seeds]


def plan(rng: random.Random, jobs: int, poison: int) -> list[Planned]:
    planned = []
    for i in range(jobs):
        pages = rng.choice((1, 1, 1, 1, 2, 3, 5, 12))
        seeds = tuple(i * 100 + n for n in range(pages))
        planned.append(Planned(f"chaos-{i}", seeds, priority=rng.choice(("high", "normal", "normal", "low"))))
    for job in rng.sample(planned, poison):
        job.poison = (rng.choice(job.seeds),)
    return planned


__all__ = ["Planned", "plan", "poisoned"]
