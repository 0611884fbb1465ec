"""Corrections: the text a person gave a block, kept beside the engine's own and never in its place."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from shared.contract.document import PageBlock, PageResult
from shared.store import keyspace
from shared.store.connect import Client, store_errors

MAX_TEXT: Final = 100_000  # characters of one block
Corrected = Mapping[int, str]
"""Index of the block (from 0) -> its text, of one page."""


class Corrections:
    def __init__(self, redis: Client) -> None:
        self._redis = redis

    async def put(self, job_id: str, page: int, block: int, text: str) -> None:
        """Keep ``text`` as the block's own, as long as the job's result is kept."""
        key = keyspace.CORRECTIONS(job_id)
        with store_errors():
            left = await self._redis.pttl(keyspace.PAGE_SUMMARIES(job_id))
            async with self._redis.pipeline(transaction=True) as pipe:
                pipe.hset(key, f"{page}/{block}", text)
                if left > 0:
                    pipe.pexpire(key, left)
                await pipe.execute()

    async def remove(self, job_id: str, page: int, block: int) -> bool:
        """Go back to the engine's text; whether there was a correction."""
        with store_errors():
            return bool(await self._redis.hdel(keyspace.CORRECTIONS(job_id), f"{page}/{block}"))

    async def of(self, job_id: str) -> dict[int, dict[int, str]]:
        """Page -> block -> text."""
        with store_errors():
            found = await self._redis.hgetall(keyspace.CORRECTIONS(job_id))
        pages: dict[int, dict[int, str]] = {}
        for name, text in found.items():
            page, _, block = name.decode().partition("/")
            pages.setdefault(int(page), {})[int(block)] = text.decode()
        return pages

    async def applied(self, job_id: str, pages: list[PageResult]) -> list[PageResult]:
        """The pages with the job's corrections in them."""
        found = await self.of(job_id)
        return [corrected(page, found[page.number]) if page.number in found else page for page in pages]


def corrected(page: PageResult, texts: Corrected) -> PageResult:
    """The page with the corrected blocks in its blocks and its Markdown; each says so, and keeps what was read."""
    wanted = {i: text for i, text in texts.items() if i < len(page.blocks)}
    if not wanted:
        return page
    blocks = tuple(
        block.model_copy(update={"text": wanted[i], "edited": True, "original": block.text}) if i in wanted else block
        for i, block in enumerate(page.blocks)
    )
    return page.model_copy(update={"blocks": blocks, "markdown": _markdown(page.markdown, page.blocks, wanted)})


def _markdown(markdown: str, blocks: tuple[PageBlock, ...], texts: Corrected) -> str:
    """The Markdown with the blocks' texts replaced where they stand, in reading order."""
    parts, at = [], 0
    for i, block in enumerate(blocks):
        found = markdown.find(block.text, at) if block.text else -1
        if found < 0:
            continue
        parts += [markdown[at:found], texts.get(i, block.text)]
        at = found + len(block.text)
    return "".join([*parts, markdown[at:]])
