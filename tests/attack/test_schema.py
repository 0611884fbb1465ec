"""Schemathesis over the OpenAPI document, against the running service: every call it can think of."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from tests.attack.conftest import KEY, AttackTarget
from tools.valkey import ROOT

# What no schema can say: whether bytes are a picture, which modes the running engine has, which cursors were given out.
NOT_SAYABLE = "positive_data_acceptance"

# Seeds decide which mutations are drawn. Not 1: there schemathesis 4.32.5 ends by a fault of its own (its wrapper of
# bytes, in a list of files, reaches the validator).
SEEDS = (("4", "examples,coverage,fuzzing,stateful"), ("3", "fuzzing"))
"""With the phases of each: what the others than fuzzing do depends little on a seed."""

EXAMPLES = "15"
"""Of each operation."""

ENDLESS = "/api/v1/events"  # a stream without an end: each call would take the whole request time-out


@pytest.mark.timeout(400)
@pytest.mark.parametrize(("seed", "phases"), SEEDS)
def test_schemathesis_finds_nothing(target: AttackTarget, tmp_path: Path, seed: str, phases: str) -> None:
    command = [
        shutil.which("schemathesis", path=str(ROOT / ".venv" / "bin")) or "schemathesis",
        "--config-file", str(ROOT / "tests" / "attack" / "schemathesis.toml"), "run",
        f"{target.gateway.url}/openapi.json", "--header", f"Authorization: Bearer {KEY}", "--seed", seed,
        "--max-examples", EXAMPLES, "--generation-database", "none", "--exclude-checks", NOT_SAYABLE,
        "--request-timeout", "60", "--no-color", "--exclude-path", ENDLESS,
    ]  # fmt: skip
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=380)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-1000:]
    assert " generated, " in done.stdout
    assert all(process.alive for process in target.processes)
    assert "Traceback" not in target.logs()


def test_the_document_says_how_a_key_is_sent(target: AttackTarget) -> None:
    with target.client(key=False) as client:
        document = client.get("/openapi.json").json()
    schemes = document["components"]["securitySchemes"]
    assert {scheme["type"] for scheme in schemes.values()} == {"http", "apiKey"}
    guarded = {path for path, its in document["paths"].items() if all(each.get("security") for each in its.values())}
    keyless = {"/livez", "/readyz", "/health", "/models", "/metrics"}
    assert set(document["paths"]) - guarded == keyless
