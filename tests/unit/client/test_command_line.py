"""The parts of the command line that need no service."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path, PurePath

import pytest

from ocr_client.cli.arguments import Grammar, arranged
from ocr_client.cli.folder_watch import FolderWatch
from ocr_client.cli.interrupts import without_key
from ocr_client.cli.main import run
from ocr_client.cli.sources import BadSource, FolderRules, SourceFile, collect
from ocr_client.cli.targets import Targets, targets_of

ROOT = Path(__file__).parents[3]
GRAMMAR = Grammar({"read", "status"}, {"--url", "--version"}, {"--url", "-o", "--output", "-f", "--pages"})


@pytest.mark.parametrize(
    ("line", "means"),
    [
        ("scan.pdf", "read scan.pdf"),
        ("-r folder -o out", "read -r folder -o out"),
        ("-o read scan.pdf", "read -o read scan.pdf"),  # the value of an option is no command
        ("-ro out status", "status -ro out"),
        ("-oout status", "status -oout"),
        ("status JOB --url X", "--url X status JOB"),
        ("--url=X scan.pdf --pages -1", "--url=X read scan.pdf --pages -1"),
        ("scan.pdf status", "read scan.pdf status"),  # only the first can be the command
        ("read status", "read status"),
        ("-", "read -"),
        ("-- status", "read -- status"),
        ("--help", "--help"),
        ("--help status", "status --help"),
        ("--version", "--version"),
    ],
)
def test_options_may_stand_anywhere_and_read_may_be_left_out(line: str, means: str) -> None:
    assert arranged(line.split(), GRAMMAR) == means.split()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("b.pdf", "a.PNG", "deeper/c.jpg", "notes.txt", ".hidden.pdf", ".git/x.pdf"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    return tmp_path


def test_the_files_of_a_folder(folder: Path) -> None:
    def labels(*patterns: str, **rules: tuple[str, ...]) -> list[str]:
        sources = collect([str(folder)], FolderRules(True, **rules))
        return [source.label for source in sources if isinstance(source, SourceFile)]

    assert labels() == ["a.PNG", "b.pdf", "deeper/c.jpg"]
    assert labels(include=("*.txt", "deeper/*")) == ["notes.txt", "deeper/c.jpg"]
    assert labels(exclude=("deeper/*",)) == ["a.PNG", "b.pdf"]


def test_a_file_that_is_named_twice_is_read_once(folder: Path) -> None:
    named = [str(folder / "b.pdf"), f"{folder}/*.pdf", str(folder / "deeper" / ".." / "b.pdf")]
    assert len(collect(named, FolderRules())) == 1


def test_what_cannot_be_read_says_why(folder: Path) -> None:
    named = [str(folder), f"{folder}/none.pdf", f"{folder}/*.none"]
    found = [str(source).removeprefix(str(folder)) for source in collect(named, FolderRules())]
    assert all(isinstance(source, BadSource) for source in collect(named, FolderRules()))
    assert found == [
        ": is a folder; add -r to read the files in it",
        "/none.pdf: No such file or directory",
        "/*.none: no file is named like this",
    ]


def source(place: str, path: Path | None = None) -> SourceFile:
    return SourceFile(place, PurePath(place), path)


def test_where_results_are_written(tmp_path: Path) -> None:
    many = [source("x/a.pdf"), source("a.png")]
    assert targets_of(tmp_path, ["md", "md", "zip"], many, full_names=False).paths(many[0]) == {
        "md": tmp_path / "x" / "a.md",
        "zip": tmp_path / "x" / "a.zip",
    }
    assert targets_of(tmp_path / "t.md", [], many[:1], full_names=False).paths(many[0]) == {"md": tmp_path / "t.md"}
    assert targets_of(tmp_path / "t.md", [], many, full_names=False).folder == tmp_path / "t.md"
    assert targets_of(Path("-"), ["json"], many[:1], full_names=False).on_stdout


def test_results_that_cannot_be_written_like_this(tmp_path: Path) -> None:
    alike = [source("a.pdf"), source("a.png")]
    assert "both be written to" in (Targets(("md",), tmp_path).conflict(alike) or "")
    assert Targets(("md",), tmp_path, full_names=True).conflict(alike) is None
    assert Targets(("zip",)).conflict(alike[:1]) == "--format zip needs -o DIR"
    assert Targets(("md", "txt")).conflict(alike[:1]) == "several formats need -o DIR"
    assert Targets(("json",)).conflict(alike) == "many files as json need -o DIR"
    assert Targets(("txt",)).conflict(alike) is None


def test_a_watched_file_is_read_when_it_is_complete_and_once_for_each_content(folder: Path, tmp_path: Path) -> None:
    out = tmp_path.parent / f"{tmp_path.name}-out"
    watched = FolderWatch(folder, FolderRules(True), Targets(("md",), out))

    def ready() -> list[str]:
        return [file.label for file in watched.ready()[0]]

    assert ready() == []  # it may still be being written
    assert ready() == ["a.PNG", "b.pdf", "deeper/c.jpg"]
    (folder / "b.pdf").write_bytes(b"more")
    assert (ready(), ready(), ready()) == ([], ["b.pdf"], [])
    (folder / "b.jpg").write_bytes(b"x")
    ready()
    assert watched.ready() == ([], [f"b.jpg: {out / 'b.md'} holds the result of b.pdf; see --full-names"])


def test_a_file_whose_results_are_newer_is_done(tmp_path: Path) -> None:
    path, out = tmp_path / "a.pdf", tmp_path / "out"
    path.write_bytes(b"x")
    targets, file = Targets(("md", "txt"), out), source("a.pdf", path)
    out.mkdir()
    (out / "a.md").write_bytes(b"")
    assert not targets.has_all(file)
    (out / "a.txt").write_bytes(b"")
    assert targets.has_all(file)
    os.utime(path, (2**31, 2**31))
    assert not targets.has_all(file)


def test_without_its_extra_the_command_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "typer", None)
    for name in [name for name in sys.modules if name.startswith("ocr_client.cli.")]:
        monkeypatch.delitem(sys.modules, name)
    assert run(["--help"]) == 2
    assert capsys.readouterr().err == "ocr: the command line needs the extra cli: pip install 'ocr-client[cli]'\n"


def test_the_command_line_that_is_shown_has_no_key() -> None:
    assert without_key(["--api-key", "secret", "a.pdf"]) == ["--api-key", "…", "a.pdf"]
    assert without_key(["--api-key=secret", "a.pdf"]) == ["--api-key=…", "a.pdf"]


def test_help_imports_nothing_that_is_slow() -> None:
    program = (
        "import sys; from ocr_client.cli.main import run; code = run(['--help']);"
        "print(code, {'httpx', 'asyncio', 'rich', 'pydantic', 'mcp'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "0 set()"


@pytest.mark.parametrize(
    "line", ["scan.pdf --deadline soon", "scan.pdf --metadata order", "scan.pdf --mode huge", "jobs --status lost"]
)
def test_a_wrong_option_is_wrong_usage(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(line.split()) == 2
    assert "Error: " in capsys.readouterr().err
