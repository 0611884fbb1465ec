"""Power is back after an outage: everything starts at once, in any order, the store last and with much to load."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import httpx

from deploy.local.programs import _flower
from tests.chaos.proxy import Fate, StoreProxy, pass_all
from tools.processes import Gateway, Process, WebhookSenderProcess, Worker
from tools.receiver import Receiver
from tools.uploads import png
from tools.valkey import Valkey, free_port

LOCAL = {"webhook_allow": "127.0.0.1", "webhook_allow_http": "true", "webhook_ports": ""}
LOADING = Fate(refuse=b"-LOADING Valkey is loading the dataset in memory\r\n")


async def until(condition: Callable[[], Any], what: str) -> Any:
    async with asyncio.timeout(90):
        while not (answer := await asyncio.to_thread(condition)):
            await asyncio.sleep(0.05)
    return answer


def says(process: Process, text: str) -> bool:
    return text in process.text()


def status(url: str) -> int:
    try:
        return httpx.get(url, timeout=6).status_code
    except httpx.TransportError:
        return 0


def all_loading(proxies: list[StoreProxy]) -> list[int]:
    """From now on a store that loads its data is behind each of these; how often each said so, as it is counted on."""
    met = [0] * len(proxies)
    for number, proxy in enumerate(proxies):

        def loading(_request: list[bytes], number: int = number) -> Fate:
            met[number] += 1
            return LOADING

        proxy.rule = loading
    return met


async def a_page_is_read(gateway: str, webhook: str) -> None:
    async with httpx.AsyncClient(timeout=60) as client:
        answer = await client.post(
            f"{gateway}/api/v1/jobs",
            files={"file": ("a.png", png(1))},
            data={"webhook_url": webhook},
            headers={"Prefer": "wait=50"},
        )
    assert (answer.status_code, answer.json()["status"]) == (200, "succeeded")


async def test_everything_starts_before_the_store_and_is_ready_once_it_has_loaded(tmp_path: Path) -> None:
    folder = tmp_path / "valkey"
    folder.mkdir()
    store = Valkey(folder)
    store.stop()
    proxies = [await StoreProxy(store.port).start() for _ in range(4)]
    port = free_port()
    flower = Process(["-m", *_flower(port)[2:]], tmp_path / "flower.log", celery_broker_url=proxies[0].url)
    sender = WebhookSenderProcess(tmp_path, proxies[1].url)
    worker = Worker(tmp_path, proxies[2].url)
    gateway = Gateway(tmp_path, proxies[3].url, **LOCAL)
    started = {process: process.pid for process in (flower, sender, worker, gateway)}
    receiver = Receiver()
    try:
        await until(lambda: status(f"{gateway.url}/livez") == 200, "a gateway")
        for process in (sender, worker):
            await until(partial(says, process, "Cannot connect to redis"), "a look for the store")
        assert await asyncio.to_thread(status, f"{gateway.url}/readyz") == 503
        met = all_loading(proxies)
        await asyncio.to_thread(store.start)
        await until(lambda: min(met) > 2, "everyone to be told that it is loading")
        assert await asyncio.to_thread(status, f"{gateway.url}/readyz") == 503
        for proxy in proxies:
            proxy.rule = pass_all
        await until(lambda: status(f"{gateway.url}/health") == 200, "a ready service")
        await a_page_is_read(gateway.url, f"{receiver.url}/hook")
        await until(lambda: receiver.at("/hook"), "the webhook")
        assert json.loads(receiver.at("/hook")[0].body)["type"] == "job.succeeded"
        await until(lambda: status(f"http://127.0.0.1:{port}/healthcheck") == 200, "Flower")
        assert {process: process.pid for process in started if process.alive} == started
    finally:
        receiver.close()
        for one in started:
            await asyncio.to_thread(one.kill)
        for proxy in proxies:
            await proxy.close()
        store.stop()
