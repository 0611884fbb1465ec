"""``python -m gateway.kept list | delete``: what is kept of finished jobs, in the stores that the settings name."""

from __future__ import annotations

import argparse
import asyncio
import sys

from pydantic import ValidationError

from gateway.settings import GatewaySettings
from shared.contract.view import timestamp
from shared.errors import OCRError
from shared.payloads.base import BadPayloadStore
from shared.settings import explain
from shared.store.connect import connect
from shared.store.jobs import Store
from shared.store.kept import delete_kept, kept_by_owner


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m gateway.kept", description="what is kept of finished jobs")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="how much, by whom, since when")
    delete = commands.add_parser("delete", help="delete finished jobs by owner, by age, or both")
    delete.add_argument("--owner", help="id of the key whose jobs they are; anonymous for those without a key")
    delete.add_argument("--older-than", type=float, metavar="HOURS", help="only what ended longer ago")
    wanted = parser.parse_args(arguments)
    if wanted.command == "delete" and wanted.owner is None and wanted.older_than is None:
        parser.error("say which: --owner, --older-than or both; --older-than 0 is everything")
    return wanted


async def run(wanted: argparse.Namespace, settings: GatewaySettings) -> str:
    """What is printed."""
    redis = connect(settings.redis_url.get_secret_value(), patient=False)
    try:
        store = Store(redis, settings)
        if wanted.command == "delete":
            hours = wanted.older_than or 0.0
            return f"{await delete_kept(store, owner=wanted.owner, older_than=hours * 3600)} jobs deleted"
        lines = [f"{'OWNER':30} {'JOBS':>8} {'PAGES':>8} {'MIB':>10} SINCE"]
        lines += [
            f"{its.owner:30} {its.jobs:8} {its.pages:8} {its.payload_bytes / 2**20:10.1f} {timestamp(its.since)}"
            for its in await kept_by_owner(store)
        ]
        return "\n".join(lines)
    finally:
        await redis.aclose()


def main() -> None:
    wanted = parse()
    try:
        print(asyncio.run(run(wanted, GatewaySettings())))
    except ValidationError as error:
        sys.exit(explain(error))
    except (OCRError, BadPayloadStore) as error:
        sys.exit(f"gateway.kept: {error}")


if __name__ == "__main__":
    main()
