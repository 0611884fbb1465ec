"""Puts a command line into the order that the parser wants: global options, the command, the rest.

Options may stand anywhere, and ``read`` may be left out: ``ocr -o texts scan.pdf --url URL``.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

DEFAULT_COMMAND = "read"


@dataclass(frozen=True, slots=True)
class Grammar:
    """``top``: options that come before the command. ``with_value``: those of all commands that take a value."""

    commands: Collection[str]
    top: Collection[str]
    with_value: Collection[str]

    def takes_next(self, option: str) -> bool:
        """Whether the argument after this one is its value."""
        if option.startswith("--"):
            return option in self.with_value
        letters = [f"-{letter}" for letter in option[1:]]
        first = next((at for at, letter in enumerate(letters) if letter in self.with_value), None)
        return first == len(letters) - 1


@dataclass(slots=True)
class Arranged:
    top: list[str] = field(default_factory=list)
    command: str | None = None
    rest: list[str] = field(default_factory=list)
    sources: int = 0


def arranged(arguments: list[str], grammar: Grammar) -> list[str]:
    """The same arguments; the first that is no option is the command if there is one of that name."""
    found = Arranged()
    waiting = iter(arguments)
    for argument in waiting:
        if argument == "--":
            found.rest += [argument, *waiting]
            found.sources += 1
        elif not argument.startswith("-") or argument == "-":
            _positional(argument, found, grammar)
        else:
            place = found.top if argument.partition("=")[0] in grammar.top else found.rest
            place.append(argument)
            if grammar.takes_next(argument) and (value := next(waiting, None)) is not None:
                place.append(value)
    if found.command is None and not found.sources and set(found.rest) <= {"-h", "--help"}:
        return found.top + found.rest
    return [*found.top, found.command or DEFAULT_COMMAND, *found.rest]


def _positional(argument: str, found: Arranged, grammar: Grammar) -> None:
    if found.command is None and not found.sources and argument in grammar.commands:
        found.command = argument
        return
    found.sources += 1
    found.rest.append(argument)
