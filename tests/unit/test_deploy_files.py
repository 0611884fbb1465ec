"""What the container files name exists: paths, modules, extras, locks, settings, variables. Nothing is built here."""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from shared.setting_names import NAMES
from shared.version import VERSION
from worker.settings import WorkerSettings

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
# The program itself: its wrapper in the venv ends with 0 whatever happened.
COMPOSE = Path(str(importlib.util.find_spec("compose").origin)).parent / "docker-compose"  # type: ignore[union-attr]
DOCKERFILES = ("Dockerfile.gateway", "Dockerfile.worker", "deploy/flower/Dockerfile")
TEXTS = tuple(
    sorted(
        str(path.relative_to(ROOT))
        for path in [
            *ROOT.glob("Dockerfile.*"), ROOT / "docker-compose.yml", ROOT / ".dockerignore",
            ROOT / "docs" / "deployment.md", *(ROOT / "deploy").rglob("*"),
        ]
        if path.is_file() and path.suffix not in {".py", ".pyc"} and path.name != ".env"
    )
)  # fmt: skip
PROFILES = ("cpu", "gpu")
# Accepted for one release after a renaming.
FORMER_NAMES = {"HOOKS_REDIS_PASSWORD"}
MADE_LATER = {"deploy/.env"}
# Libraries of one engine, imported where that engine is chosen.
VLLM_ONLY = {"safetensors", "triton", "vllm", "torch", "torchvision", "transformers"}
CPU_ONLY = {"rapidocr", "onnxruntime", "rapid_layout"}
# Used where an operator has installed the extra of this name; the images are made without.
OPTIONAL = {"pi_heif"}
# Variables of programs that are not ours.
NOT_SETTINGS = {
    "PATH", "PYTHONPATH", "PYTHONUNBUFFERED", "PYTHONDONTWRITEBYTECODE", "HOME", "HF_HUB_OFFLINE",
    "VLLM_NO_USAGE_STATS", "DO_NOT_TRACK", "ORT_DISABLE_TELEMETRY", "TRITON_CACHE_DIR", "TORCHINDUCTOR_CACHE_DIR",
}  # fmt: skip


def text(name: str) -> str:
    return (ROOT / name).read_text("utf-8")


def extras() -> set[str]:
    return set(tomllib.loads(text("pyproject.toml"))["project"]["optional-dependencies"])


def raw_compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(text("docker-compose.yml"))
    return loaded


@pytest.fixture(scope="module")
def passwords(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``deploy/.env`` as ``deploy/passwords.sh`` makes it, in a folder of its own."""
    folder = tmp_path_factory.mktemp("deploy")
    for name in ("passwords.sh", ".env.example"):
        shutil.copy(ROOT / "deploy" / name, folder)
    subprocess.run(["sh", folder / "passwords.sh"], check=True, capture_output=True)
    return folder / ".env"


def compose(profile: str, env_file: Path, *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMPOSE, "-f", "docker-compose.yml", "--env-file", env_file, "--profile", profile, *command],
        cwd=ROOT, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module", params=PROFILES)
def configured(request: pytest.FixtureRequest, passwords: Path) -> tuple[str, dict[str, Any]]:
    done = compose(request.param, passwords, "config")
    assert done.returncode == 0, done.stderr
    return request.param, yaml.safe_load(done.stdout)


# -- compose


def test_each_profile_is_taken_and_starts_its_own_worker(configured: tuple[str, dict[str, Any]]) -> None:
    profile, config = configured
    workers = {name for name in config["services"] if name.startswith("worker-")}
    assert workers == {f"worker-{profile}"}
    assert {"redis", "gateway", "webhooks", "flower"} <= set(config["services"])


def test_compose_says_what_to_do_without_passwords() -> None:
    done = compose("cpu", Path(os.devnull), "config", "-q")
    assert done.returncode != 0
    assert "deploy/passwords.sh" in done.stderr


def test_only_the_gateway_and_flower_are_published_and_on_loopback(configured: tuple[str, dict[str, Any]]) -> None:
    published = {
        name: port["host_ip"]
        for name, service in configured[1]["services"].items()
        for port in service.get("ports", [])
    }
    assert published == {"gateway": "127.0.0.1", "flower": "127.0.0.1"}


def test_the_store_and_the_workers_have_no_way_out(configured: tuple[str, dict[str, Any]]) -> None:
    config = configured[1]
    assert config["networks"]["inside"]["internal"] is True
    for name, service in config["services"].items():
        if name == "redis" or name.startswith("worker-"):  # webhooks call out, the others are published
            assert set(service["networks"]) == {"inside"}, name


def test_every_service_is_hardened(configured: tuple[str, dict[str, Any]]) -> None:
    for name, service in configured[1]["services"].items():
        assert service["user"] not in {"", "root", "0"}, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["restart"] == "unless-stopped", name
        assert service["healthcheck"]["test"], name
        assert service["mem_limit"], name
        assert not service.get("privileged"), name
        # vLLM writes kernels wherever its libraries please
        assert service.get("read_only") or name == "worker-gpu", name


def test_workers_may_drain_before_they_are_killed(configured: tuple[str, dict[str, Any]]) -> None:
    profile, config = configured
    worker = config["services"][f"worker-{profile}"]
    settings = WorkerSettings(_env_file=None, drain_seconds=worker["environment"]["DRAIN_SECONDS"])
    assert worker["stop_grace_period"] == "2m0s"
    assert settings.drain_seconds + 20 < 120


def test_the_gpu_worker_gets_a_gpu_its_weights_and_a_cache(passwords: Path) -> None:
    worker = yaml.safe_load(compose("gpu", passwords, "config").stdout)["services"]["worker-gpu"]
    assert worker["deploy"]["resources"]["reservations"]["devices"][0]["capabilities"] == ["gpu"]
    mounts = {mount["target"]: mount for mount in worker["volumes"]}
    assert mounts["/models"]["read_only"]
    assert worker["environment"]["MODEL_PATH"].startswith("/models/")
    assert mounts["/home/ocr/.cache"]["type"] == "volume"


def test_variables_of_the_compose_file_are_those_of_its_example() -> None:
    used = set(re.findall(r"\$\{(\w+)", text("docker-compose.yml")))
    assert used - FORMER_NAMES == set(names("deploy/.env.example"))


def test_the_former_name_of_a_password_is_accepted(passwords: Path, tmp_path: Path) -> None:
    former = tmp_path / ".env"
    former.write_text(passwords.read_text().replace("WEBHOOKS_REDIS_PASSWORD", "HOOKS_REDIS_PASSWORD"))
    assert compose("cpu", former, "config").stdout == compose("cpu", passwords, "config").stdout


def test_secrets_enter_only_the_containers_that_use_them(passwords: Path, tmp_path: Path) -> None:
    shutil.copy(ROOT / "docker-compose.yml", tmp_path)
    (tmp_path / ".env").write_text("API_KEYS=alice=a-key-of-more-than-24-letters\nWEBHOOK_SECRET=whsec_x\nLEASE=3\n")
    done = subprocess.run(
        [COMPOSE, "--env-file", passwords, "--profile", "cpu", "--profile", "gpu", "config"],
        cwd=tmp_path, env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    held = {
        name: {secret for secret in ("API_KEYS", "WEBHOOK_SECRET") if service.get("environment", {}).get(secret)}
        for name, service in yaml.safe_load(done.stdout)["services"].items()
        if service.get("environment", {}).get("LEASE")  # those that read .env
    }
    assert held == {
        "gateway": {"API_KEYS", "WEBHOOK_SECRET"},
        "webhooks": {"WEBHOOK_SECRET"},
        "worker-cpu": set(),
        "worker-gpu": set(),
    }


def test_environments_are_settings() -> None:
    services = raw_compose()["services"]
    for name in ("gateway", "webhooks", *(f"worker-{profile}" for profile in PROFILES)):
        unknown = {key for key in services[name]["environment"] if key.lower() not in NAMES}
        assert not unknown, name


@pytest.mark.parametrize(("age", "alive"), [(5, True), (90, False), (None, False)])
def test_a_worker_is_alive_while_its_loop_touches_its_file(tmp_path: Path, age: int | None, alive: bool) -> None:
    services = raw_compose()["services"]
    file = tmp_path / "alive"
    if age is not None:
        file.touch()
        os.utime(file, (time.time() - age,) * 2)
    for name in ("worker-cpu", "worker-gpu", "webhooks"):
        kind, command = services[name]["healthcheck"]["test"]
        path = services[name]["environment"]["HEARTBEAT_FILE"]
        assert kind == "CMD-SHELL"
        assert path in command
        command = command.replace(path, str(file)).replace("$$", "$")
        assert (subprocess.run(["sh", "-c", command], check=False).returncode == 0) is alive


def test_healthchecks_in_python_compile() -> None:
    for name in ("gateway", "flower"):
        command = raw_compose()["services"][name]["healthcheck"]["test"]
        assert command[:3] == ["CMD", "python", "-c"]
        ast.parse(command[3])


def test_passwords_are_made_once_and_for_the_owner_only(passwords: Path) -> None:
    assert passwords.stat().st_mode & 0o777 == 0o600
    before = passwords.read_text()
    made = [line.split("=", 1)[1] for line in before.splitlines() if re.match("[A-Z_]+(PASSWORD|AUTH)=", line)]
    assert len(made) == len(set(made)) == 6
    assert all(len(secret) >= 48 for secret in made)
    assert subprocess.run(["sh", passwords.parent / "passwords.sh"], check=False, capture_output=True).returncode == 1
    assert passwords.read_text() == before


def test_every_user_of_the_store_has_a_password_to_set() -> None:
    users = set(re.findall(r"#\{(\w+)\}", text("deploy/redis/users.acl")))
    environment = raw_compose()["services"]["redis"]["environment"]
    assert {f"{user.upper()}_REDIS_PASSWORD" for user in users} == {
        name for name in environment if name.endswith("_REDIS_PASSWORD")
    }


# -- images


@pytest.mark.parametrize("name", DOCKERFILES)
def test_hadolint_finds_nothing(name: str) -> None:
    done = subprocess.run([BIN / "hadolint", name], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", DOCKERFILES)
def test_images_end_as_another_user_than_root_and_start_a_module_of_ours(name: str) -> None:
    users = re.findall(r"^USER (.+)$", text(name), re.MULTILINE)
    assert users[-1] == "10001:10001"
    for module in re.findall(r'"-m", "([\w.]+)"', text(name)):
        assert importlib.util.find_spec(module) is not None, module


@pytest.mark.parametrize("name", DOCKERFILES)
def test_variables_of_images_are_settings_or_another_programs(name: str) -> None:
    lines = text(name).replace("\\\n", " ").splitlines()
    for line in lines:
        if line.startswith("ENV "):
            found = set(re.findall(r"(\w+)=", line))
            assert {n for n in found - NOT_SETTINGS if n.lower() not in NAMES} == set()


@pytest.mark.parametrize("name", DOCKERFILES)
def test_copied_files_exist_and_enter_the_context(name: str) -> None:
    allowed = [line[1:] for line in text(".dockerignore").splitlines() if line.startswith("!")]
    for line in text(name).splitlines():
        if line.startswith("COPY ") and "--from" not in line:
            for source in line.split()[1:-1]:
                assert (ROOT / source).exists(), source
                assert any(re.match(pattern.replace("*", ".*"), source) for pattern in allowed), source


def test_extras_of_images_are_extras_with_a_lock() -> None:
    for name in ("Dockerfile.worker", "docker-compose.yml"):
        for extra in re.findall(r"EXTRA(?:=|: )(\w+)", text(name)):
            assert extra in extras()
            assert (ROOT / f"requirements-worker-{extra}.lock").is_file()


def test_locks_are_resolved_from_extras_that_exist() -> None:
    script = text("deploy/lock.sh")
    words = re.findall(r"--extra (\w+)", script) + re.findall(r"\(extras ([\w ]+)\)", script)
    named = {word for group in words for word in group.split()}
    assert named <= extras()
    assert {"gateway", "worker", "cpu", "vllm", "flower", "embedded", "client", "dev"} <= named


LOCKS = sorted(path.name for path in ROOT.glob("requirements*.lock"))


@pytest.mark.parametrize("name", LOCKS)
def test_locks_are_exact_and_name_no_place_to_get_them_from(name: str) -> None:
    for line in text(name).splitlines():
        assert re.match(r"[\w.-]+==\S+|    --hash=sha256:[0-9a-f]{64}|\s*#", line), line
        assert not line.startswith("-")


@pytest.mark.parametrize("name", [lock for lock in LOCKS if not re.search("vllm|models|dev|mutants|clients", lock)])
def test_images_run_the_versions_that_are_tested(name: str) -> None:
    def pins(lock: str) -> set[str]:
        return set(re.findall(r"^[\w.-]+==[^\s;]+", text(lock), re.MULTILINE))

    assert pins(name) <= pins("requirements-dev.lock")


def plain(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()


def imports(*places: str) -> set[str]:
    """Top names of all that the modules at these places import, at any depth of them."""
    found = set()
    for file in [file for place in places for file in (ROOT / place).rglob("*.py")]:
        for node in ast.walk(ast.parse(file.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                found.add(node.module.split(".")[0])
    return found - set(sys.stdlib_module_names) - {"_typeshed"}  # which only type checkers have


OURS = {"gateway", "worker", "shared", "deepseek_ocr", "ocr_client"}
EXTRAS = {"typer", "rich", "langchain_core", "llama_index"}  # of the client's package, which no image has


@pytest.mark.parametrize(
    ("image", "places", "elsewhere"),
    [
        ("gateway", ("gateway", "shared", "client/src"), EXTRAS),
        ("worker-cpu", ("worker", "shared"), VLLM_ONLY),
        ("worker-vllm", ("worker", "shared", "DeepSeek-OCR-master/src"), CPU_ONLY),
    ],
)
def test_images_hold_every_library_that_is_imported(image: str, places: tuple[str, ...], elsewhere: set[str]) -> None:
    locked = {plain(name) for name in re.findall(r"^([\w.-]+)==", text(f"requirements-{image}.lock"), re.MULTILINE)}
    distributions = importlib.metadata.packages_distributions()
    missing = {
        name
        for name in imports(*places) - OURS - OPTIONAL - elsewhere
        if not {plain(found) for found in distributions.get(name, [name])} & locked
    }
    assert missing == set()


# -- every file


def names(env_file: str) -> list[str]:
    """The variables of a .env file, those that are commented out included."""
    return re.findall(r"^#?([A-Z][A-Z0-9_]*)=", text(env_file), re.MULTILINE)


def test_the_example_of_settings_has_settings_only() -> None:
    assert [name for name in names(".env.example") if name.lower() not in NAMES] == []


@pytest.mark.parametrize("name", TEXTS)
def test_paths_that_are_named_exist(name: str) -> None:
    found = re.findall(
        r"(?<![\w/.-])((?:deploy|docs|gateway|worker|shared|tests|DeepSeek-OCR-master|client)/[\w./-]*\w"
        r"|requirements[\w-]*\.(?:lock|txt)|Dockerfile\.\w+|docker-compose\.yml)",
        text(name),
    )
    assert [path for path in found if path not in MADE_LATER and not (ROOT / path).exists()] == []


@pytest.mark.parametrize("name", TEXTS)
def test_modules_that_are_started_exist(name: str) -> None:
    for module in re.findall(r"python3? -m ((?:gateway|worker|ocr_client|deploy|tests|benchmarks)[\w.]*)", text(name)):
        assert importlib.util.find_spec(module) is not None, module


def test_images_have_exact_tags_and_no_host() -> None:
    images = re.findall(
        r"(?:image: |BASE(?:=|: )|_IMAGE=)(?:\$\{\w+:-)?([\w./-]+(?::[\w.-]+)?)", "\n".join(map(text, TEXTS))
    )
    images = [image for image in images if "/" in image or ":" in image]
    assert len(images) >= 6
    for image in images:
        host = image.split("/")[0] if "/" in image else ""
        assert "." not in host, image
        assert re.search(r":[\w-]*\d", image), image
        assert "latest" not in image


@pytest.mark.parametrize("name", ["deploy/.env.example"])
def test_deployment_is_documented(name: str) -> None:
    document = text("docs/deployment.md")
    assert [variable for variable in names(name) if f"`{variable}`" not in document] == []


def test_the_version_is_known_where_the_distribution_is_not_installed() -> None:
    """As in the images, which copy the packages: nothing may ask for its metadata there."""
    assert tomllib.loads(text("pyproject.toml"))["project"]["version"] == VERSION
    asking = [
        str(file) for room in ("gateway", "worker", "shared") for file in (ROOT / room).rglob("*.py")
        if re.search(r"""\bversion\(["']ocr-service""", file.read_text())
    ]  # fmt: skip
    assert asking == []
