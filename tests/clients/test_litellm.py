"""LiteLLM's SDK and proxy, and LangChain's loader, which asks either a proxy or the service itself."""

from __future__ import annotations

import base64
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import litellm
import pytest
from langchain_litellm.document_loaders import LiteLLMOCRLoader

from tests.clients.conftest import ClientService

START_SECONDS = 120
MASTER_KEY = f"sk-{secrets.token_hex(24)}"


def document(service: ClientService) -> dict[str, str]:
    uri = f"data:application/pdf;base64,{base64.b64encode(service.sample.read_bytes()).decode()}"
    return {"type": "document_url", "document_url": uri}


def test_sdk(service: ClientService) -> None:
    answer = litellm.ocr(
        model="mistral/any", document=document(service), api_base=f"{service.url}/v1", api_key=service.key
    )
    service.check(*(page.markdown for page in answer.pages))


def test_sdk_error(service: ClientService) -> None:
    bad = {"type": "document_url", "document_url": "data:application/pdf;base64,bm9uZQ=="}
    with pytest.raises(litellm.exceptions.BadRequestError) as failure:
        litellm.ocr(model="mistral/any", document=bad, api_base=f"{service.url}/v1", api_key=service.key)
    assert "accepted type" in str(failure.value)


def test_langchain_without_a_proxy(service: ClientService) -> None:
    loader = LiteLLMOCRLoader(
        api_base=f"{service.url}/v1", api_key=service.key, file_path=str(service.sample), model="any", mode="page"
    )
    service.check(*(document.page_content for document in loader.load()))


@pytest.fixture(scope="module")
def proxy(service: ClientService, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of LiteLLM's proxy in front of the service."""
    folder = tmp_path_factory.mktemp("proxy")
    config = folder / "config.yaml"
    config.write_text(
        "model_list:\n"
        "  - model_name: ocr\n"
        f"    litellm_params: {{model: mistral/any, api_base: '{service.url}/v1', api_key: '{service.key}'}}\n"
        "    model_info: {mode: ocr}\n"
        f"general_settings: {{master_key: {MASTER_KEY}}}\n"
    )
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).with_name("litellm")), "--config", str(config), "--port", str(port)]
    given = {"LITELLM_TELEMETRY": "False"}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([*command, "--host", "127.0.0.1"], stdout=log, stderr=log, env=os.environ | given)
    try:
        url = f"http://127.0.0.1:{port}"
        wait_for(url, process, folder / "log")
        yield url
    finally:
        process.terminate()
        process.wait(30)


def wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            httpx.get(f"{url}/health/liveliness", timeout=2).raise_for_status()
            return
        except httpx.HTTPError:
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()[-3000:]
            time.sleep(0.2)


def test_proxy(service: ClientService, proxy: str) -> None:
    body = {"model": "ocr", "document": document(service)}
    answer = httpx.post(f"{proxy}/v1/ocr", json=body, headers={"Authorization": f"Bearer {MASTER_KEY}"}, timeout=120)
    assert answer.status_code == 200, answer.text
    service.check(*(page["markdown"] for page in answer.json()["pages"]))


def test_langchain_through_the_proxy(service: ClientService, proxy: str) -> None:
    loader = LiteLLMOCRLoader(
        api_base=proxy, api_key=MASTER_KEY, file_path=str(service.sample), model="ocr", mode="page"
    )
    service.check(*(document.page_content for document in loader.load()))
