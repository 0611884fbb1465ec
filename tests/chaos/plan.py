"""What one run submits: documents whose every page has a known text, a few poisoned, and how each is followed."""

from __future__ import annotations

import io
import random
import time
from contextlib import closing
from dataclasses import dataclass, field

from tools.uploads import picture, tiff
from worker.engines.instant import answer
from worker.render import Renderer
from worker.settings import WorkerSettings

FOLLOWS = ("poll", "poll", "events", "call", "cancel")


@dataclass(slots=True)
class Planned:
    """One upload, what it must become, and what became of it.

    ``key``: sent as Idempotency-Key, unless None. ``follow``: ``poll``, ``events`` (its stream, over both gateways),
    ``call`` (POST /api/v1/ocr, streamed) or ``cancel`` (soon after it was accepted).
    """

    name: str
    seeds: tuple[int, ...]
    poison: tuple[int, ...] = ()
    priority: str = "normal"
    key: str | None = None
    follow: str = "poll"
    webhook: bool = False
    pdf: bool = False
    known: list[str] = field(default_factory=list)  # of a PDF: the text of each page
    tries: int = 0
    ids: list[str] = field(default_factory=list)  # every id a 2xx answer named
    given_up: list[str] = field(default_factory=list)  # jobs of calls that broke off
    streamed: str | None = None  # the text of a call that was told to its end
    pages_streamed: dict[int, str] | None = None  # the text of each page, as its events told it
    refused: str | None = None  # what the last streamed call was told instead of an end

    def data(self) -> bytes:
        return pdf(self.seeds) if self.pdf else tiff(self.seeds, self.poison)

    @property
    def status(self) -> str:
        if not self.poison:
            return "succeeded"
        return "failed" if set(self.poison) == set(self.seeds) else "partial"

    def texts(self) -> list[str | None]:
        """The Markdown of each page; None where it must fail as poison."""
        if self.pdf:
            return list(self.known)
        return [None if seed in self.poison else answer(picture(seed)) for seed in self.seeds]


def pdf(seeds: tuple[int, ...]) -> bytes:
    buffer = io.BytesIO()
    first, *rest = [picture(seed) for seed in seeds]
    long_ago = time.gmtime(0)  # the same bytes every time: they are sent again under one key
    first.save(buffer, "PDF", save_all=True, append_images=rest, creationDate=long_ago, modDate=long_ago)
    return buffer.getvalue()


async def learn(planned: list[Planned], settings: WorkerSettings) -> None:
    """Draw the pages of every PDF, as a worker does, to know what the instant engine reads in them."""
    renderer = Renderer(settings)
    try:
        for job in (job for job in planned if job.pdf):
            with closing(await renderer.open(job.data(), "application/pdf")) as upload:
                pages = [await renderer.page(upload, number) for number in range(1, len(job.seeds) + 1)]
            job.known = [answer(page.image) for page in pages]
    finally:
        await renderer.close()


def plan(rng: random.Random, jobs: int, poison: int) -> list[Planned]:
    planned = []
    for i in range(jobs):
        pages = rng.choice((1, 1, 1, 1, 2, 3, 5, 12))
        follow = rng.choice(FOLLOWS)
        keyed = follow != "call" and rng.random() < 0.5
        planned.append(
            Planned(
                name=f"chaos-{i}",
                seeds=tuple(i * 100 + n for n in range(pages)),
                priority=rng.choice(("high", "normal", "normal", "low")),
                key=f"chaos-{i}" if keyed else None,
                follow=follow,
                webhook=follow != "call" and rng.random() < 0.3,
                pdf=rng.random() < 0.25,
            )
        )
    for job in rng.sample([job for job in planned if not job.pdf and job.follow == "poll"], poison):
        job.poison = (rng.choice(job.seeds),)
    return planned
