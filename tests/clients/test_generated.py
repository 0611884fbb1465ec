"""Clients generated from the service's OpenAPI document, each driving one job, and a linter's opinion of it."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.clients.conftest import Service

ENDED = {"succeeded", "partial", "failed", "cancelled"}
NPM = ["npm", "--no-audit", "--no-fund", "--no-update-notifier", "--loglevel=error"]
PACKAGES = ("openapi-typescript@7.13.0", "openapi-fetch@0.17.0", "typescript@5.9.3", "@redocly/cli@2.77.0")
needs_npm = pytest.mark.skipif(not (shutil.which("npm") or os.environ.get("CI")), reason="npm is not installed")
DRIVER = """
import createClient from "openapi-fetch";
import type { components, paths } from "./schema";
import { readFileSync } from "node:fs";

const [url, key, sample] = process.argv.slice(2) as [string, string, string];
const client = createClient<paths>({ baseUrl: url, headers: { Authorization: `Bearer ${key}` } });
const file = readFileSync(sample).toString("base64");
const sent = await client.POST("/api/v1/jobs", { body: { file, filename: "sample.pdf" } });
let job: components["schemas"]["JobView"] | undefined = sent.data;
if (!job) throw new Error(JSON.stringify(sent.error));
const path = { job_id: job.id };
const running: components["schemas"]["JobStatus"][] = ["queued", "processing"];
while (job && running.includes(job.status)) {
  job = (await client.GET("/api/v1/jobs/{job_id}", { params: { path, query: { wait: 10 } } })).data;
}
const found = await client.GET("/api/v1/jobs/{job_id}/document", { params: { path } });
console.log(JSON.stringify(found.data?.pages.map((page) => page.markdown)));
const missing = await client.GET("/api/v1/jobs/{job_id}", { params: { path: { job_id: "nothing" } } });
const code: components["schemas"]["ErrorCode"] | undefined = missing.error?.code;
if (code !== "not-found") throw new Error(`an unexpected code: ${code}`);
"""


def run(*command: str | Path, cwd: Path) -> str:
    """What it prints; with its errors if it fails."""
    done = subprocess.run(command, cwd=cwd, check=False, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def tool(name: str) -> Path:
    return Path(sys.executable).with_name(name)


def ended(look: Any) -> Any:
    deadline = time.monotonic() + 120
    while (job := look()).status not in ENDED and time.monotonic() < deadline:
        time.sleep(0.2)
    return job


def test_openapi_python_client(service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generated = tmp_path / "made_by_opc"
    run(
        tool("openapi-python-client"), "generate", "--meta", "none", "--path", service.openapi,
        "--output-path", generated, cwd=tmp_path,
    )  # fmt: skip
    monkeypatch.syspath_prepend(str(tmp_path))

    def part(name: str) -> Any:
        return importlib.import_module(f"made_by_opc.{name}")

    client = part("client").AuthenticatedClient(base_url=service.url, token=service.key)
    with service.sample.open("rb") as sample:
        file = part("types").File(payload=sample, file_name="sample.pdf", mime_type="application/pdf")
        body = part("models").SubmitJobFilesBody(file=file)
        job = part("api.jobs.submit_job").sync(client=client, body=body)
    assert type(job).__name__ == "JobView", job
    ended(lambda: part("api.jobs.get_job").sync(job.id, client=client))
    document = part("api.results.get_document").sync(job.id, client=client)
    service.check(*(page.markdown for page in document.pages))
    assert type(part("api.jobs.list_jobs").sync(client=client)).__name__ == "JobList"
    problem = part("api.jobs.get_job").sync("nothing", client=client)
    assert problem.code == part("models").ErrorCode.NOT_FOUND


def test_openapi_generator(service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(
        tool("openapi-generator-cli"), "generate", "-i", service.openapi, "-g", "python", "-o", tmp_path / "made",
        "--additional-properties", "packageName=made_by_og", cwd=tmp_path,
    )  # fmt: skip
    monkeypatch.syspath_prepend(str(tmp_path / "made"))
    made = importlib.import_module("made_by_og")
    with made.ApiClient(made.Configuration(host=service.url, access_token=service.key)) as client:
        jobs, results = made.JobsApi(client), made.ResultsApi(client)
        job = jobs.submit_job(file=("sample.pdf", service.sample.read_bytes()))
        ended(lambda: jobs.get_job(job.id))
        service.check(*(page.markdown for page in results.get_document(job.id).pages))


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the packages of npm."""
    folder = tmp_path_factory.mktemp("node")
    (folder / "package.json").write_text(json.dumps({"type": "module", "private": True}))
    run(*NPM, "install", "--no-save", "--no-package-lock", *PACKAGES, cwd=folder)
    return folder


@needs_npm
def test_openapi_typescript(service: Service, node: Path) -> None:
    programs = node / "node_modules" / ".bin"
    run(programs / "openapi-typescript", service.openapi, "-o", "schema.d.ts", cwd=node)
    (node / "driver.ts").write_text(DRIVER)
    options = [
        "--strict",
        "--target",
        "es2022",
        "--module",
        "esnext",
        "--moduleResolution",
        "bundler",
        "--skipLibCheck",
    ]
    (node / "node.d.ts").write_text(
        'declare module "node:fs" { export function readFileSync(path: string): { toString(kind: string): string }; }\n'
        "declare const process: { argv: string[] };\n"
    )
    run(programs / "tsc", *options, "--lib", "es2022,dom", "driver.ts", "node.d.ts", cwd=node)
    service.check(*json.loads(run("node", "driver.js", service.url, service.key, service.sample, cwd=node)))


@needs_npm
def test_redocly(service: Service, node: Path) -> None:
    run(node / "node_modules" / ".bin" / "redocly", "lint", service.openapi, cwd=node)
