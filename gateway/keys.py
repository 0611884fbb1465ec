"""``python -m gateway.keys create NAME | list | revoke ID``: API keys, in the store that the settings name."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Awaitable, Callable

from gateway.auth.api_keys import ApiKeys, Scope, given_keys
from gateway.command_errors import one_line_errors
from gateway.local_store import with_store
from gateway.settings import GatewaySettings
from shared.contract.view import timestamp
from shared.store.connect import connect


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m gateway.keys", description="API keys")
    commands = parser.add_subparsers(dest="command", required=True)
    create = commands.add_parser("create", help="make a key and show it, once")
    create.add_argument("name")
    create.add_argument("--owner", help="id of the key it replaces: it sees the same jobs")
    create.add_argument("--rate", type=int, help="requests a minute")
    create.add_argument("--burst", type=int, help="requests at once")
    create.add_argument("--pages", type=int, help="pages a day")
    create.add_argument("--scopes", default="submit,read", help="some of submit, read, admin; default: submit,read")
    create.add_argument("--expires", type=float, metavar="DAYS", help="days after which the key is refused")
    commands.add_parser("list", help="every key, without the keys themselves")
    commands.add_parser("revoke", help="refuse it from now on").add_argument("id")
    return parser.parse_args(arguments)


async def create(keys: ApiKeys, wanted: argparse.Namespace) -> str:
    """Make a key. Only the key goes to standard output, so that it can be piped; the rest goes to standard error."""
    key, text = await keys.create(
        wanted.name,
        owner=wanted.owner,
        rate=wanted.rate,
        burst=wanted.burst,
        pages=wanted.pages,
        scopes=_scopes(wanted.scopes),
        expires_at=_expiry(wanted.expires),
    )
    print(f"key {key.id} of {key.name}; it is not stored and cannot be shown again:", file=sys.stderr)
    return text


def _scopes(text: str) -> frozenset[Scope]:
    """Raises ``ValueError`` for a scope that does not exist."""
    named = [part.strip() for part in text.split(",") if part.strip()]
    if unknown := [name for name in named if name not in list(Scope)]:
        raise ValueError(f"no such scope: {', '.join(unknown)}; there are {', '.join(Scope)}")
    return frozenset(Scope(name) for name in named)


def _expiry(days: float | None) -> float | None:
    if days is not None and days <= 0:
        raise ValueError("--expires takes a number of days above 0")
    return None if days is None else time.time() + days * 86400


async def list_all(keys: ApiKeys, _: argparse.Namespace) -> str:
    rows = [("ID", "NAME", "OWNER", "MADE", "REVOKED", "RATE", "BURST", "PAGES", "SCOPES", "EXPIRES")]
    for key in await keys.list():
        numbers = [str(value or "-") for value in (key.rate, key.burst, key.pages)]
        made, revoked = timestamp(key.created_at) or "-", timestamp(key.revoked_at) or "-"
        rows.append(
            (
                key.id,
                key.name,
                key.owner,
                made,
                revoked,
                numbers[0],
                numbers[1],
                numbers[2],
                ",".join(sorted(key.scopes)),
                timestamp(key.expires_at) or "-",
            )
        )
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


async def revoke(keys: ApiKeys, wanted: argparse.Namespace) -> str:
    await keys.revoke(wanted.id)
    return f"{wanted.id} is revoked"


COMMANDS: dict[str, Callable[[ApiKeys, argparse.Namespace], Awaitable[str]]] = {
    "create": create,
    "list": list_all,
    "revoke": revoke,
}


async def run(settings: GatewaySettings, wanted: argparse.Namespace) -> str:
    redis = connect(settings.redis_url.get_secret_value(), patient=False)
    try:
        return await COMMANDS[wanted.command](ApiKeys(redis, settings), wanted)
    finally:
        await redis.aclose()


def main(arguments: list[str] | None = None) -> None:
    wanted = parse(arguments)
    with one_line_errors():
        settings = with_store(GatewaySettings())
        given_keys(settings)  # says what is wrong with them before the store is asked
        print(asyncio.run(run(settings, wanted)))


if __name__ == "__main__":
    main()
