"""The tools for agents, asked by the SDK's own client over both transports."""

from __future__ import annotations

import base64
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import httpx2
import pytest
from mcp import MCPError
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

from tools.processes import Gateway, Worker, environment
from tools.uploads import png
from tools.valkey import ROOT, Valkey

SAMPLE = ROOT / "docs" / "sample.pdf"
TOOLS = {"read_document", "read_pages", "find_in_document", "page_image", "extract_tables", "list_documents"}


@pytest.fixture(scope="module")
def service(valkey_server: Valkey, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("mcp")
    valkey_server.client.flushall()
    gateway, worker = Gateway(folder, valkey_server.url), Worker(folder, valkey_server.url)
    worker.wait_ready()
    yield gateway.wait_ready()
    gateway.stop()
    worker.stop()


def on_stdio(service: Gateway, root: Path = ROOT / "docs") -> Client:
    command = ["-m", "ocr_client.cli", "--url", service.url, "mcp", "--root", str(root)]
    path = environment() | {"PYTHONPATH": str(ROOT / "client" / "src")}
    return Client(StdioServerParameters(command=sys.executable, args=command, env=path))


async def call(agent: Client, name: str, **arguments: Any) -> Any:
    """The structured output."""
    answer = await agent.call_tool(name, arguments)
    assert not answer.is_error, answer.content
    return answer.structured_content


def uri(data: bytes) -> str:
    return f"data:application/pdf;base64,{base64.b64encode(data).decode()}"


def over_http(service: Gateway) -> Client:
    return Client(f"{service.url}/mcp")


@pytest.mark.parametrize("connect", [on_stdio, over_http])
async def test_the_whole_round(service: Gateway, connect: Callable[[Gateway], Client]) -> None:
    async with connect(service) as agent:
        await whole_round(agent)


async def whole_round(agent: Client) -> None:
    tools = (await agent.list_tools()).tools
    assert {tool.name for tool in tools} == TOOLS
    assert all(tool.output_schema for tool in tools if tool.name != "page_image")
    reported: list[tuple[float, float | None]] = []

    async def seen(progress: float, total: float | None, message: str | None) -> None:
        reported.append((progress, total))

    source = uri(SAMPLE.read_bytes())
    answer = await agent.call_tool("read_document", {"source": source, "max_characters": 1000}, progress_callback=seen)
    first = answer.structured_content
    assert first is not None and not answer.is_error, answer.content
    assert (first["status"], first["pages"], first["faults"]) == ("succeeded", 2, [])
    assert reported[-1] == (2.0, 2.0)
    job_id = first["job_id"]
    second = await call(agent, "read_pages", job_id=job_id, pages="2-")
    assert second["markdown"].startswith("<!-- page 2 -->") and second["next_page"] is None
    (found, *_) = (await call(agent, "find_in_document", job_id=job_id, query="A PAGE OF"))["result"]
    assert (found["page"], len(found["bbox"])) == (1, 4)
    image = (await agent.call_tool("page_image", {"job_id": job_id, "page": 1, "boxes": True})).content[0]
    assert image.type == "image" and base64.b64decode(image.data)[8:12] == b"WEBP"
    assert (await call(agent, "extract_tables", job_id=job_id))["result"] is not None
    listed = (await call(agent, "list_documents"))["result"]
    assert job_id in {document["job_id"] for document in listed}
    await resources(agent, job_id)
    again = await call(agent, "read_document", source=job_id)
    assert again["job_id"] == job_id and not again["truncated"]


async def resources(agent: Client, job_id: str) -> None:
    templates = (await agent.list_resource_templates()).resource_templates
    assert {template.uri_template for template in templates} == {
        "ocr://jobs/{job_id}.md",
        "ocr://jobs/{job_id}/pages/{page}.webp",
    }
    (text,) = (await agent.read_resource(f"ocr://jobs/{job_id}.md")).contents
    assert (text.mime_type, text.text.count("# A page of")) == ("text/markdown", 2)  # type: ignore[union-attr]
    (image,) = (await agent.read_resource(f"ocr://jobs/{job_id}/pages/2.webp")).contents
    assert base64.b64decode(image.blob)[8:12] == b"WEBP"  # type: ignore[union-attr]
    with pytest.raises(MCPError):
        await agent.read_resource("ocr://jobs/nothing.md")


ERRORS: list[tuple[str, dict[str, Any], str]] = [
    ("read_pages", {"job_id": "nothing", "pages": "1"}, "not-found"),
    ("read_document", {"source": "/etc/passwd"}, "no file"),
    ("read_document", {"source": "https://example.org/a.pdf"}, "bad-document-url"),
    ("read_document", {"source": uri(b"no document")}, "unsupported-media"),
]


async def test_errors_are_the_tools(service: Gateway) -> None:
    async with on_stdio(service) as agent:
        for name, arguments, text in ERRORS:
            answer = await agent.call_tool(name, arguments)
            assert answer.is_error
            assert text in str(answer.content).lower(), name


async def test_files_only_under_the_roots(service: Gateway, tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "inside.pdf").write_bytes(SAMPLE.read_bytes())
    (root / "link.pdf").symlink_to(SAMPLE)
    async with on_stdio(service, root) as client:
        assert (await call(client, "read_document", source="inside.pdf"))["pages"] == 2
        for outside in ("link.pdf", "../root/../outside.pdf", str(SAMPLE), f"file://{SAMPLE}", "."):
            answer = await client.call_tool("read_document", {"source": outside})
            assert answer.is_error and "is no file under" in str(answer.content), outside


async def test_over_http_no_file_of_the_servers_machine(service: Gateway) -> None:
    async with over_http(service) as agent:
        answer = await agent.call_tool("read_document", {"source": str(SAMPLE)})
        assert answer.is_error and "No file of this machine" in str(answer.content)


KEYS = {"alice": "the-key-of-alice-in-the-tests", "bob": "the-key-of-bob-in-the-tests"}


async def documents_of(gateway: Gateway, headers: dict[str, str]) -> int:
    """How many the tools list for whoever has this key."""
    async with (
        httpx2.AsyncClient(headers=headers) as http,
        Client(streamable_http_client(f"{gateway.url}/mcp", http_client=http)) as agent,
    ):
        return len((await call(agent, "list_documents"))["result"])


async def test_over_http_the_key_is_needed_and_counts(tmp_path: Path, valkey: Valkey) -> None:
    gateway = Gateway(tmp_path, valkey.url, api_keys=",".join(f"{name}={key}" for name, key in KEYS.items()))
    alice, bob = ({"Authorization": f"Bearer {key}"} for key in KEYS.values())
    try:
        gateway.wait_ready()
        async with httpx.AsyncClient(base_url=gateway.url) as api:
            refused = await api.post("/mcp", json={})
            assert (refused.status_code, refused.json()["code"]) == (401, "unauthorized")
            sent = await api.post("/api/v1/jobs", files={"file": ("a.png", png(1))}, headers=alice)
            assert sent.status_code == 202
        assert [await documents_of(gateway, headers) for headers in (alice, bob)] == [1, 0]
    finally:
        gateway.stop()
