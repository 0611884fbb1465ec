"""``python -m gateway.admin``: keys, usage, queue, workers, room, payloads and webhooks.

It works in the store that the settings name. Without ``REDIS_URL`` it finds that of a ``make run`` in this checkout.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Final
from urllib.parse import urlsplit

from gateway import keys
from gateway.command_errors import one_line_errors
from gateway.local_store import with_store
from gateway.settings import GatewaySettings
from shared.contract.job import StoredJob
from shared.contract.options import Priority
from shared.contract.view import timestamp
from shared.contract.worker_status import WorkerStatus
from shared.errors import AlreadyFinished, NotFound, RateLimited
from shared.store.administration import Administration, QueueFilter
from shared.store.connect import connect
from shared.store.jobs import Store
from shared.store.kept import delete_kept, kept_by_owner
from shared.store.webhooks import WebhookStore

NOTHING_MEANT: Final = "say which: a filter, or --all"
TIME: Final = re.compile(r"(\d+(?:\.\d+)?)([smhd]?)")
UNITS: Final = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}
WAIT_STEP: Final = 0.5  # seconds between two looks at a worker that drains


class Operator:
    """What the commands work with."""

    def __init__(self, settings: GatewaySettings) -> None:
        self.settings = settings
        self.redis = connect(settings.redis_url.get_secret_value(), patient=False)
        self.store = Store(self.redis, settings)
        self.webhooks = WebhookStore(self.redis, settings)
        self.administration = Administration(self.store, self.webhooks)


# -- commands


async def usage(operator: Operator, wanted: argparse.Namespace) -> str:
    rows = [("DAY", "OWNER", "JOBS", "PAGES", "BYTES", "TOKENS")]
    for used in await operator.administration.usage(wanted.days, wanted.owner):
        counts = [str(used.counts.get(what, 0)) for what in ("jobs", "pages", "bytes", "tokens")]
        rows.append((used.day, used.owner, counts[0], counts[1], counts[2], counts[3]))
    return table(rows)


async def queue_list(operator: Operator, wanted: argparse.Namespace) -> str:
    rows = [("ID", "STATUS", "PRIORITY", "OWNER", "PAGES", "AGE", "BATCH")]
    for job in await operator.administration.unfinished(filter_of(wanted)):
        pages = f"{job.progress.pages_done + job.progress.pages_failed}/{job.progress.pages_total}"
        age = f"{job.seen_at - job.created_at:.0f} s"
        rows.append((job.id, job.status, job.options.priority, job.owner, pages, age, job.batch or "-"))
    return table(rows)


async def queue_cancel(operator: Operator, wanted: argparse.Namespace) -> str:
    async def cancel(job: StoredJob) -> bool:
        try:
            await operator.store.cancel(job.id)
        except (AlreadyFinished, NotFound):
            return False
        return True

    return await for_each(operator, wanted, cancel, "cancelled")


async def queue_requeue(operator: Operator, wanted: argparse.Namespace) -> str:
    return await for_each(operator, wanted, operator.administration.requeue, "looked at again")


async def queue_reprioritise(operator: Operator, wanted: argparse.Namespace) -> str:
    priority = next(one for one in Priority if one.value == wanted.to)
    return await for_each(
        operator, wanted, lambda job: operator.administration.reprioritise(job, priority), f"now {priority}"
    )


async def for_each(
    operator: Operator, wanted: argparse.Namespace, do: Callable[[StoredJob], Awaitable[bool]], done: str
) -> str:
    """Do it to every job that is meant; how many it was done to."""
    meant = filter_of(wanted)
    if not meant.any and not wanted.all:
        raise ValueError(NOTHING_MEANT)
    jobs = await operator.administration.unfinished(meant)
    results = [await do(job) for job in jobs]
    return f"{sum(results)} of {len(jobs)} jobs {done}"


async def workers_list(operator: Operator, _: argparse.Namespace) -> str:
    rows = [("NAME", "STATE", "ENGINE", "JOBS", "READING", "SLOTS", "UP")]
    for worker in await operator.store.workers():
        up = f"{time.time() - worker.started_at:.0f} s"
        numbers = (str(worker.jobs), str(worker.pages_reading), str(worker.slots))
        rows.append((worker.name, worker.state, worker.engine.name, *numbers, up))
    return table(rows)


async def workers_drain(operator: Operator, wanted: argparse.Namespace) -> str:
    await operator.administration.drain(wanted.name)
    if wanted.wait is None:
        return f"{wanted.name} drains"
    try:
        async with asyncio.timeout(wanted.wait):
            while not is_drained(await operator.administration.worker(wanted.name)):
                await asyncio.sleep(WAIT_STEP)
    except TimeoutError:
        raise ValueError(f"{wanted.name} still holds jobs; it goes on draining") from None
    return f"{wanted.name} has drained"


def is_drained(worker: WorkerStatus) -> bool:
    return worker.draining and not worker.jobs


async def workers_resume(operator: Operator, wanted: argparse.Namespace) -> str:
    await operator.administration.resume(wanted.name)
    return f"{wanted.name} takes jobs again"


async def room(operator: Operator, _: argparse.Namespace) -> str:
    counters, limits = await operator.store.stats.counters(), operator.settings
    used, most = await operator.store.stats.memory()
    rows = [("WHAT", "USED", "LIMIT")]
    for name, limit in (("jobs", limits.max_queue_jobs), ("pages", limits.max_queue_pages),
                        ("bytes", limits.max_queue_bytes)):  # fmt: skip
        rows.append((name, str(counters.get(name, 0)), str(limit)))
    rows.append(("memory", str(used), str(int(most * limits.max_redis_memory)) if most else "-"))
    return table(rows)


async def payloads_list(operator: Operator, _: argparse.Namespace) -> str:
    rows = [("OWNER", "JOBS", "PAGES", "MIB", "SINCE")]
    for its in await kept_by_owner(operator.store):
        size = f"{its.payload_bytes / 2**20:.1f}"
        rows.append((its.owner, str(its.jobs), str(its.pages), size, timestamp(its.since) or "-"))
    return table(rows)


async def payloads_delete(operator: Operator, wanted: argparse.Namespace) -> str:
    if wanted.owner is None and wanted.older is None and not wanted.all:
        raise ValueError(NOTHING_MEANT)
    deleted = await delete_kept(operator.store, owner=wanted.owner, older_than=wanted.older or 0.0)
    return f"{deleted} jobs deleted"


async def webhooks_list(operator: Operator, wanted: argparse.Namespace) -> str:
    rows = [("WEBHOOK", "STATUS", "TRIES", "RECEIVER")]
    for _, webhook in await operator.administration.given_up(wanted.owner, wanted.url):
        rows.append((webhook.id, webhook.status, str(webhook.tries), origin(webhook.url)))
    return table(rows)


async def webhooks_resend(operator: Operator, wanted: argparse.Namespace) -> str:
    if not (wanted.owner or wanted.url or wanted.all):
        raise ValueError(NOTHING_MEANT)
    given_up = await operator.administration.given_up(wanted.owner, wanted.url)
    sent = 0
    for _, webhook in given_up:
        try:
            await operator.webhooks.again(webhook.id)
        except (NotFound, RateLimited) as error:
            print(f"{webhook.id}: {error.detail}", file=sys.stderr)
        else:
            sent += 1
    return f"{sent} of {len(given_up)} webhooks are sent again"


def origin(url: str) -> str:
    """The rest of a receiver's URL may hold a secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.hostname}{f':{parts.port}' if parts.port else ''}"


def seconds(text: str) -> float:
    """Of an argument such as 90, 90s, 15m, 12h or 7d."""
    found = TIME.fullmatch(text)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not a time such as 90s, 15m, 12h or 7d")
    return float(found[1]) * UNITS[found[2]]


def filter_of(wanted: argparse.Namespace) -> QueueFilter:
    return QueueFilter(
        wanted.owner, wanted.status, wanted.priority, wanted.batch, wanted.older, tuple(wanted.ids or ())
    )  # fmt: skip


def table(rows: Sequence[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


# -- the command line


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m gateway.admin", description="Look after the service")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    commands.add_parser("keys", help="create, list and revoke API keys: python -m gateway.keys", add_help=False)
    use = commands.add_parser("usage", help="jobs, pages, bytes and tokens by key and day")
    use.add_argument("--days", type=int, default=7, help="the last days, today included; default: 7")
    use.add_argument("--owner", help="only of this key id")
    use.set_defaults(run=usage)
    _add_workers(commands.add_parser("workers", help="the workers that report"))
    commands.add_parser("room", help="what is used of each limit").set_defaults(run=room)
    _add_payloads(commands.add_parser("payloads", help="kept of finished jobs").add_subparsers(required=True))
    _add_queue(commands.add_parser("queue", help="unfinished jobs").add_subparsers(required=True))
    _add_webhooks(commands.add_parser("webhooks", help="those that were given up").add_subparsers(required=True))
    return parser.parse_args(arguments)


def _add_workers(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=workers_list)
    commands = parser.add_subparsers()
    commands.add_parser("list", help="show them").set_defaults(run=workers_list)
    drain = commands.add_parser("drain", help="begin no further page, give the jobs back, and stay so")
    drain.add_argument("--wait", type=seconds, metavar="TIME", help="until it holds no job, at most so long")
    drain.set_defaults(run=workers_drain)
    resume = commands.add_parser("resume", help="take jobs again")
    resume.set_defaults(run=workers_resume)
    for command in (drain, resume):
        command.add_argument("name", metavar="NAME", help="as `workers` shows it")


def _add_payloads(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    commands.add_parser("list", help="how much, by whom, since when").set_defaults(run=payloads_list)
    delete = commands.add_parser("delete", help="delete finished jobs, with all that is kept of them")
    delete.add_argument("--owner", help="only of this key id; anonymous: of those without a key")
    delete.add_argument("--older", type=seconds, metavar="TIME", help="only those that ended that long ago")
    delete.add_argument("--all", action="store_true", help="without a filter")
    delete.set_defaults(run=payloads_delete)


def _add_queue(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    of_all = {
        "list": (queue_list, "show them, the oldest first"),
        "cancel": (queue_cancel, "end them"),
        "requeue": (queue_requeue, "send lost messages again"),
        "reprioritise": (queue_reprioritise, "give those that wait another priority"),
    }
    for name, (run, help_) in of_all.items():
        command = commands.add_parser(name, help=help_)
        command.add_argument("ids", nargs="*", metavar="ID", help="only these jobs")
        command.add_argument("--owner", help="only of this key id")
        command.add_argument("--status", choices=["queued", "processing"])
        command.add_argument("--priority", choices=[priority.value for priority in Priority])
        command.add_argument("--batch", help="only of this batch")
        command.add_argument("--older", type=seconds, metavar="TIME", help="only those submitted that long ago")
        command.add_argument("--all", action="store_true", help="without a filter")
        command.set_defaults(run=run)
        if name == "reprioritise":
            command.add_argument("--to", required=True, choices=[priority.value for priority in Priority])


def _add_webhooks(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    for name, run, help_ in (
        ("list", webhooks_list, "show them"), ("resend", webhooks_resend, "send them again, with a new schedule"),
    ):  # fmt: skip
        command = commands.add_parser(name, help=help_)
        command.add_argument("--owner", help="only of this key id")
        command.add_argument("--url", default="", help="only to receivers whose URL begins so")
        command.add_argument("--all", action="store_true", help="without a filter")
        command.set_defaults(run=run)


async def run(settings: GatewaySettings, wanted: argparse.Namespace) -> str:
    operator = Operator(settings)
    try:
        text: str = await wanted.run(operator, wanted)
        return text
    finally:
        await operator.redis.aclose()


def main(arguments: Sequence[str] | None = None) -> None:
    given: Iterable[str] = sys.argv[1:] if arguments is None else arguments
    first, *rest = [*given] or [""]
    with one_line_errors():
        settings = with_store(GatewaySettings())
        if first == "keys":
            print(asyncio.run(keys.run(settings, keys.parse(rest))))
        else:
            print(asyncio.run(run(settings, parse([first, *rest] if first else []))))


if __name__ == "__main__":
    main()
