"""The gateway for tests: in this process without a socket (``api``), or as processes of its own (``gateway``)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.app import create_app
from gateway.inspector import Inspector
from shared.contract.document import Figure, PageBlock, PageResult, PageStatus, Usage
from shared.contract.events import PageText
from shared.contract.worker_status import EngineStatus, WorkerStatus
from tests.conftest import make_settings
from tests.integration.still_clock import StillClock
from tests.settings import Settings
from tools.processes import Gateway
from tools.s3_server import BUCKET, S3Server
from tools.valkey import Valkey
from worker.claims import Claim, Claims

INSTANT = {"name": "instant", "model": "instant", "slots": 8, "version": "1", "metrics": {"tokens_total": 7.0}}


class Script:
    """A worker that does what a test says, through the worker's own half of the store."""

    def __init__(self, claims: Claims) -> None:
        self.claims = claims

    async def report(self, **engine: Any) -> None:
        """Be heard of, with a ready engine."""
        its = EngineStatus(**{**INSTANT, **engine})
        await self.claims.report(WorkerStatus(name=self.claims.worker, started_at=time.time(), engine=its))

    async def take(self, job_id: str, attempt: int = 1) -> Claim:
        claim = await self.claims.claim(job_id, f"attempt-{attempt}")
        assert claim is not None, "the job could not be claimed"
        assert await self.claims.start(claim, "instant")
        return claim

    async def say(self, claim: Claim, number: int, *texts: str) -> None:
        """Tokens of a page, each an event."""
        assert await self.claims.stream(claim, [PageText(page=number, text=text) for text in texts])

    async def end(self, claim: Claim, number: int, markdown: str = "", **more: Any) -> None:
        """A page's result."""
        picture, figures = more.pop("picture", None), more.pop("figures", ())
        if (listed := more.pop("page_figures", None)) is not None:
            more["figures"] = listed
        named = tuple(Figure(name=name, bbox=(1, 1, 9, 9)) for name, _ in figures)
        blocks = (PageBlock(type="text", bbox=(1, 1, 9, 9), text=markdown),)
        size = {"width": 200, "height": 120}
        fields: dict[str, Any] = {"status": PageStatus.OK, "blocks": blocks, "figures": named, **size}
        page = PageResult(number=number, markdown=markdown, usage=Usage(completion_tokens=3), **{**fields, **more})
        assert await self.claims.page_end(claim, page, picture, figures)

    async def do(self, job_id: str, texts: Sequence[str] = ("hello",)) -> None:
        """Read a whole job: one page per text."""
        claim = await self.take(job_id)
        for number, text in enumerate(texts, 1):
            await self.claims.page_start(claim, number)
            await self.say(claim, number, text)
            await self.end(claim, number, text)
        assert await self.claims.finish(claim) in ("succeeded", "partial")


@pytest.fixture
def clock(valkey: Valkey, monkeypatch: pytest.MonkeyPatch) -> StillClock:
    return StillClock(valkey, monkeypatch)


@pytest.fixture
def script(claims: Claims) -> Script:
    return Script(claims)


class Kept(Inspector):
    """A helper process that outlives the gateways of single tests: starting one takes a second."""

    async def close(self) -> None:
        """``end`` does."""

    def end(self) -> None:
        asyncio.run(super().close())


@pytest.fixture(scope="session")
def inspector() -> Iterator[Kept]:
    kept = Kept(make_settings("redis://unused"))
    yield kept
    kept.end()


@pytest.fixture(params=["folder", "bucket", "redis"])
def anywhere(
    request: pytest.FixtureRequest, valkey: Valkey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Settings:
    """Settings for each kind of payload store."""
    urls = {"folder": f"file://{tmp_path}/payloads", "bucket": f"s3://{BUCKET}/{tmp_path.name}", "redis": "redis:"}
    if request.param == "bucket":
        for name, value in request.getfixturevalue("s3").environment.items():
            monkeypatch.setenv(name, value)
    return make_settings(valkey.url, payloads_url=urls[request.param])


@pytest.fixture
def in_folder(valkey: Valkey, tmp_path: Path) -> Settings:
    return make_settings(valkey.url, payloads_url=f"file://{tmp_path}/payloads")


@pytest.fixture
async def api(settings: Settings, inspector: Kept) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a gateway inside this process."""
    life = client_of(settings)
    life.app.state.services.inspector = inspector
    async with life as client:
        yield client


class client_of:  # noqa: N801 - used like a function
    """``async with client_of(settings) as client``: a gateway with these settings, inside this process."""

    def __init__(self, settings: Settings) -> None:
        self.app = create_app(settings)

    async def __aenter__(self) -> httpx.AsyncClient:
        self._life = self.app.router.lifespan_context(self.app)
        await self._life.__aenter__()
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        self._client = httpx.AsyncClient(transport=transport, base_url="http://localhost", timeout=30)
        return self._client

    async def __aexit__(self, *error: object) -> None:
        await self._client.aclose()
        await self._life.__aexit__(None, None, None)


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A server that speaks S3, with a bucket."""
    server = S3Server(tmp_path_factory.mktemp("s3"))
    try:
        yield server.wait_ready()
    finally:
        server.kill()


@pytest.fixture(scope="session")
def gateways(valkey_server: Valkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Gateway, Gateway]]:
    """Two gateway processes over the session's store."""
    folder = tmp_path_factory.mktemp("gateways")
    pair = tuple(Gateway(folder, valkey_server.url, name=name) for name in ("one", "two"))
    try:
        yield tuple(gateway.wait_ready() for gateway in pair)  # type: ignore[misc]
    finally:
        for gateway in pair:
            gateway.stop()


@pytest.fixture
def gateway(gateways: tuple[Gateway, Gateway], valkey: Valkey) -> Gateway:
    """A gateway process over an empty store."""
    return gateways[0]
