"""The package as others install it: from its wheel, into an environment that has nothing else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from langchain_core.documents import Document
from llama_index.core import SimpleDirectoryReader

from ocr_client.langchain import OCRLoader
from ocr_client.llama_index import OCRReader
from tests.clients.conftest import ROOT, ClientService

BROUGHT = {"ocr-client", "httpx", "httpx-sse", "httpcore", "h11", "anyio", "certifi", "idna", "typing-extensions"}
READ = """
import sys
from ocr_client import Client
document = Client(*sys.argv[1:3]).read(sys.argv[3])
print([page.markdown for page in document.pages])
"""


def run(*command: str | Path, code: int = 0, **env: str) -> tuple[str, str]:
    """What it prints, to stdout and to stderr."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=200, env=kept | env, cwd="/")
    assert done.returncode == code, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout, done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = ("pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder))
    run(sys.executable, "-m", *build, ROOT / "client")
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def python(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of an environment in which the wheel and what it asks for are installed."""
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", folder)
    install(folder / "bin" / "python", str(wheel))
    return folder / "bin" / "python"


def install(python: Path, what: str) -> None:
    pip = ("pip", "--python", str(python), "install", "--quiet", "--disable-pip-version-check", what)
    run(sys.executable, "-m", *pip)


def test_the_wheel_has_one_top_level_module(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        tops = {name.split("/")[0] for name in archive.namelist()}
        assert "ocr_client/py.typed" in archive.namelist()
    assert tops == {"ocr_client", "ocr_client-0.1.0.dist-info"}


def test_it_brings_httpx_and_nothing_else_of_weight(service: ClientService, python: Path) -> None:
    listed, _ = run(sys.executable, "-m", "pip", "--python", python, "list", "--format", "json")
    assert {package["name"].replace("_", "-") for package in json.loads(listed)} <= BROUGHT
    pages, _ = run(python, "-c", READ, service.url, service.key, service.sample)
    assert "Harbour Library" in pages


def test_the_command_asks_for_its_extra_and_works_with_it(service: ClientService, python: Path, wheel: Path) -> None:
    ocr, given = python.with_name("ocr"), {"OCR_URL": service.url, "OCR_API_KEY": service.key}
    assert run(ocr, service.sample, code=2)[1] == (
        "ocr: the command line needs the extra cli: pip install 'ocr-client[cli]'\n"
    )
    install(python, f"{wheel}[cli]")
    assert "Library rules" in run(ocr, service.sample, **given)[0]


def test_langchain(service: ClientService) -> None:
    loader = OCRLoader(service.sample, base_url=service.url, api_key=service.key)
    documents = loader.load()
    service.check(*(document.page_content for document in documents))
    assert all(isinstance(document, Document) for document in documents)
    assert [document.metadata["page"] for document in documents] == [1, 2]
    assert documents[0].metadata["source"] == str(service.sample)
    assert documents[0].metadata["boxes"][0]["bbox"][2] > 0


async def test_langchain_in_an_event_loop(service: ClientService) -> None:
    loader = OCRLoader(service.sample, base_url=service.url, api_key=service.key, split="document", pages="2")
    (document,) = await loader.aload()
    assert "Library rules" in document.page_content
    assert document.metadata["pages"] == [2]


def test_llama_index(service: ClientService) -> None:
    reader = OCRReader(base_url=service.url, api_key=service.key)
    documents = list(reader.lazy_load_data(service.sample, {"shelf": "a"}))
    service.check(*(document.text for document in documents))
    assert (documents[1].metadata["page"], documents[1].metadata["shelf"]) == (2, "a")


def test_llama_index_reads_a_folder(service: ClientService, tmp_path: Path) -> None:
    (tmp_path / "sample.pdf").write_bytes(service.sample.read_bytes())
    reader = OCRReader(base_url=service.url, api_key=service.key)
    found = SimpleDirectoryReader(tmp_path, file_extractor={".pdf": reader}).load_data()
    service.check(*(document.text for document in found))
