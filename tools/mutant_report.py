"""Print what ``mutmut run`` has found: the share of mutants that a test noticed in each module, and the survivors.

    python -m tools.mutant_report

Mutants that ``equivalent_mutants.toml`` lists are left out of the share. Exit status 1: a module is below the goal, or
the list names what is no survivor.
"""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from shared.commandline import no_arguments
from tools.equivalent_mutants import GOAL, Change, differing, equivalent_mutants
from tools.valkey import ROOT

MUTANTS: Final = ROOT / "mutants"
SURVIVED: Final = (0, 5, 33)  # exit codes of the tests: all passed, or none ran this code
NAME: Final = re.compile(r"(.+)__mutmut_(\d+|orig)")


def main() -> int:
    listed = equivalent_mutants()
    met = [report(meta, listed) for meta in sorted(MUTANTS.rglob("*.meta")) if verdicts(meta)]
    return 0 if all(met) else 1


def verdicts(meta: Path) -> dict[str, int | None]:
    """Mutant -> exit code of its tests, None where they have not been run."""
    codes: dict[str, int | None] = json.loads(meta.read_text())["exit_code_by_key"]
    return {name.rpartition(".")[2]: code for name, code in codes.items()}


def report(meta: Path, listed: dict[Change, str]) -> bool:
    """Whether the module reaches the goal and what is listed for it has survived."""
    file, codes = str(meta.relative_to(MUTANTS).with_suffix("")), verdicts(meta)
    changes = dict(changes_of(file))
    run = {name: change for name, change in changes.items() if codes.get(name) is not None}
    survivors = {name: change for name, change in run.items() if codes[name] in SURVIVED}
    asked = [name for name, change in run.items() if change not in listed]
    missed = [name for name in survivors if name in asked]
    share = 1 - len(missed) / len(asked) if asked else 1.0
    print(
        f"{file}: {len(asked) - len(missed)} of {len(asked)} noticed, {share:.0%}; "
        f"{len(run) - len(asked)} equivalent, {len(changes) - len(run)} not run"
    )
    for name in missed:
        print(f"  {name.rpartition('_')[2]}: {survivors[name]}")
    stale = [change for change in listed if change.file == file and change not in survivors.values()]
    for change in stale:
        print(f"  listed as equivalent, but noticed or no mutant: {change}")
    return share >= GOAL and not stale


def changes_of(file: str) -> Iterator[tuple[str, Change]]:
    """Name and change of every mutant in the mutated file."""
    source = (MUTANTS / file).read_text("utf-8")
    functions: dict[str, dict[str, str]] = {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and (found := NAME.fullmatch(node.name)):
            text = ast.get_source_segment(source, node) or ""
            functions.setdefault(found[1], {})[node.name] = text.replace(node.name, "", 1)
    for name, variants in functions.items():
        original = variants.pop(f"{name}__mutmut_orig")
        for variant, text in variants.items():
            yield variant, Change(file, plain(name), *differing(original, text))


def plain(name: str) -> str:
    """``xǁClassǁmethod`` and ``x_function`` as they are called in the source."""
    return name.removeprefix("xǁ").replace("ǁ", ".") if name.startswith("xǁ") else name.removeprefix("x_")


if __name__ == "__main__":
    no_arguments("tools.mutant_report", __doc__)
    sys.exit(main())
