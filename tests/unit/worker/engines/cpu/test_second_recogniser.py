"""The second recogniser: what tesseract's answers mean, which reading of a line is kept, and how its process is run."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from tests.unit.worker.engines.cpu.making import line
from worker.engines.cpu.lines import is_leftwards, mirrored
from worker.engines.cpu.reader import Stopped
from worker.engines.cpu.recognition import Text
from worker.engines.cpu.second_recogniser import DATA, SCRIPTS, SecondRecogniser, installed, surer, texts_of

HEAD = "level\tpage_num\tblock_num\tpar_num\tline_num\tword_num\tleft\ttop\twidth\theight\tconf\ttext"
LINE = np.full((40, 200, 3), 255, np.uint8)


def word(page: int, text: str, sure: float) -> str:
    return f"5\t{page}\t1\t1\t1\t1\t0\t0\t9\t9\t{sure}\t{text}"


def told(text: str, *words: tuple[str, float]) -> Text:
    table = "\n".join([HEAD, *(word(1, said, sure) for said, sure in words)])
    return texts_of(text + "\f", table, 1)[0]


def test_each_picture_gets_its_own_text_and_confidence() -> None:
    table = "\n".join([HEAD, word(1, "да", 96), word(3, "нет", 90), word(3, '"да"', 80)])
    first, second, third = texts_of('да\n\f\fнет "да"\n\f', table, 3)
    assert (first.text, second.text, third.text) == ("да", "", 'нет "да"')
    assert (first.score, second.score) == (0.96, 0.0)
    assert third.score == pytest.approx((3 * 0.9 + 4 * 0.8) / 7)


@pytest.mark.parametrize(
    ("text", "words", "lost"),
    [
        ("договор 2024", (("договор", 96.0), ("2024", 95.0)), False),
        ("договор 2024", (("договор", 96.0), ("2024", 30.0)), True),
        ("यह 2", (("यह", 96.0), ("2", 0.0)), True),  # a number of one digit
        ("Ο φύλακας", (("Ο", 33.0), ("φύλακας", 92.0)), False),  # a letter
        ("일지를 씀니다", (("일지를", 93.0), ("씀", 0.0), ("니다", 97.0)), True),  # a syllable
        ("τιμή: 48", (("τιμή:", 72.0), ("48", 93.0)), True),
    ],
)
def test_a_doubtful_word_or_number_makes_its_line_one_that_is_told(
    text: str, words: tuple[tuple[str, float], ...], lost: bool
) -> None:
    found = told(text, *words)
    assert found.loss is not None
    assert (found.loss >= 0.4) is lost


def test_signs_of_direction_go_and_thai_and_greek_are_written_as_they_are_typed() -> None:
    assert told("\u200fשלום\u200e", ("שלום", 90.0)).text == "שלום"
    assert told("η\u00b5έρα 5 \u00b5m", ("ηµέρα", 90.0)).text == "η\u03bcέρα 5 \u00b5m"
    assert told("จ\u0e4d\u0e32นวน", ("จํานวน", 90.0)).text == "จำนวน"


@pytest.mark.parametrize(
    ("first", "lost", "second", "language", "kept"),
    [
        (Text("  .", 0.98), 0.7, Text("Портовая", 0.96, loss=0.0), "ru", "Портовая"),
        (Text("The lamp", 0.98), 0.0, Text("Тве [атр", 0.70, loss=0.4), "ru", "The lamp"),
        (Text("  .", 0.98), 0.7, Text("Порт", 0.40, loss=1.0), "ru", "  ."),
        (
            Text("4711  12  2024 .", 0.93),
            0.0,
            Text("Счёт № 4711 от 12 марта 2024 года", 0.95, loss=0.0),
            "ru",
            "Счёт № 4711 от 12 марта 2024 года",
        ),
        (Text("The lamp 2024", 0.98), 0.0, Text("Тпе Іатр 2024", 0.90, loss=0.0), "uk", "The lamp 2024"),
        (  # of Greek the first knows half, with confidence
            Text("Tηλφωνo 210 3245678, ρε 9:00", 0.94),
            0.08,
            Text("Τηλέφωνο 210 3245678, ώρες 9:00", 0.91, loss=0.4),
            "el",
            "Τηλέφωνο 210 3245678, ώρες 9:00",
        ),
        (Text("ιμ: 48,90 €", 0.91), 0.24, Text("Τιμή: 48,90 Ε", 0.91, loss=0.0), "el", "Τιμή: 48,90 €"),
        (Text("02-120,9:00", 0.96), 0.0, Text("전화 02-120, 9:00부터", 0.89, loss=0.4), "ko", "전화 02-120, 9:00부터"),
        (Text("51 1,250 11n n5", 0.93), 0.0, Text("ราคา 1,250 บาท โทร", 0.93, loss=0.0), "th", "ราคา 1,250 บาท โทร"),
        (Text("Tel. 02-555", 0.98), 0.0, Text("'ไโด|. 02-555", 0.83, loss=0.4), "th", "Tel. 02-555"),
        (Text("1 250,00", 0.60), 0.6, Text("1 250,00", 0.90, loss=0.0), "ru", "1 250,00"),
        (Text("Thư vin cng", 0.97), 0.0, Text("Thư viện cảng", 0.96, loss=0.0), "vi", "Thư viện cảng"),
        (Text("The lamp", 0.97), 0.0, Text("The lamb", 0.96, loss=0.0), "vi", "The lamp"),
    ],
)
def test_the_surer_reading_of_a_line_is_kept(first: Text, lost: float, second: Text, language: str, kept: str) -> None:
    assert surer(first, lost, second, [language]).text == kept


def test_a_page_written_from_right_to_left_is_told_and_mirrored() -> None:
    right, left = line("ספריית הנמל", 400, 0), line("2024", 100, 0)
    assert is_leftwards([right, left])
    assert not is_leftwards([left, line("The lamp", 0, 0)])
    assert mirrored(right, 1000).x0 < mirrored(left, 1000).x0
    assert mirrored(right, 1000).box == right.box


def program(folder: Path, does: str) -> str:
    path = folder / "tesseract"
    path.write_text(f"#!/bin/sh\n{does}\n")
    path.chmod(0o755)
    return str(path)


def test_all_lines_of_a_page_are_read_by_one_process(tmp_path: Path) -> None:
    table = "\\n".join([HEAD, word(1, "один", 96), word(2, "два", 96)])
    does = f"""test "$4 $6" = "rus+ukr 7" || exit 3
test -s "$(sed -n 2p "$1")" || exit 4
printf 'один\\n\\fдва\\n\\f' > "$2.txt"; printf '{table}\\n' > "$2.tsv" """
    second = SecondRecogniser(program(tmp_path, does), ["el", "ru", "uk"]).asked_for(["ru", "uk", "vi"])
    assert second is not None
    assert [text.text for text in second.read([LINE, LINE], lambda: None)] == ["один", "два"]
    assert second.asked_for(["vi"]) is None


def test_a_process_that_fails_reads_nothing(tmp_path: Path) -> None:
    second = SecondRecogniser(program(tmp_path, "kill -SEGV $$"), ["ru"])
    assert second.read([LINE], lambda: None) == [Text("", 0.0)]


def test_a_page_that_nobody_waits_for_ends_the_process(tmp_path: Path) -> None:
    second = SecondRecogniser(program(tmp_path, f"echo $$ > {tmp_path}/pid; exec sleep 600"), ["ru"])

    def checkpoint() -> None:
        if (tmp_path / "pid").exists() and (tmp_path / "pid").read_text():
            raise Stopped

    with pytest.raises(Stopped):
        second.read([LINE], checkpoint)
    pid = int((tmp_path / "pid").read_text())
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_only_languages_with_data_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert installed() is None
    program(tmp_path, "printf 'List of available languages (3):\\neng\\nosd\\nrus\\n'")
    second = installed()
    assert second is not None
    assert second.languages == ("ru",)
    program(tmp_path, "exit 1")
    assert installed() is None
    assert DATA.keys() == SCRIPTS.keys()
