"""Print what ``mutmut run`` has found: the share of mutants that a test noticed in each module, and the survivors."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Final

from shared.commandline import no_arguments
from tools.valkey import ROOT

SURVIVED: Final = (0, 5, 33, None)  # exit codes of the tests: all passed, or none ran this code


def main() -> int:
    for file in sorted((ROOT / "mutants").rglob("*.meta")):
        if codes := json.loads(file.read_text())["exit_code_by_key"]:
            report(file, codes)
    return 0


def report(file: Path, codes: dict[str, int | None]) -> None:
    survivors = [name for name, code in codes.items() if code in SURVIVED]
    killed = len(codes) - len(survivors)
    module = file.relative_to(ROOT / "mutants").with_suffix("")
    print(f"{module}: {killed} of {len(codes)} killed, {killed / len(codes):.0%}")
    for name in survivors:
        print(f"    mutmut show {name}")


if __name__ == "__main__":
    no_arguments("tools.mutant_report", __doc__)
    sys.exit(main())
