"""``ocr doctor``"""

from __future__ import annotations

import json
from typing import Annotated

import typer

from ocr_client.cli.exit_codes import DONE, FAILED

Json = Annotated[bool, typer.Option("--json", help="one JSON object on stdout")]


def doctor(ctx: typer.Context, json_object: Json = False) -> int:
    """Check the connection: service, clock, key, queue and engine."""
    from ocr_client.cli.checks import all_checks

    checks = all_checks(ctx.obj)
    if json_object:
        print(json.dumps({check.name: {"ok": check.ok, "detail": check.detail} for check in checks}))
    else:
        for check in checks:
            print(f"{'ok  ' if check.ok else 'FAIL'} {check.name:8} {check.detail}")
    return DONE if all(check.ok for check in checks) else FAILED
