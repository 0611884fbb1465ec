"""How well the CPU engine reads documents whose text is known, beside Debian's tesseract where it is installed.

    python -m benchmarks.quality [--json FILE] [--only NAME] [--no-tesseract]

The documents lie in ``../shared/corpus`` of the checkout, and in ``../shared/field`` (see
``benchmarks.field``). Two scores for every page of the corpus: the character error rate (edits
per character of the truth, white space ignored) and the F1 of its words (order ignored). Both sides lose what is not
text: Markdown signs, list bullets, and hyphens between letters, for some truths undo line-end hyphenation and some do
not. Both engines get the same picture; where the truth is a PDF's text layer, it is drawn without the pictures on the
page, for the layer does not have what is written in them.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import shutil
import statistics
import subprocess
import sys
import time
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from io import BytesIO
from pathlib import Path

import pypdfium2
from PIL import Image
from pypdfium2.raw import FPDF_PAGEOBJ_IMAGE
from rapidfuzz.distance import Levenshtein

from benchmarks import field
from shared.contract.options import Options
from worker.engines import loader
from worker.engines.base import Engine, PageImage, PageRead
from worker.engines.cpu.settings import CpuSettings

CORPUS = Path(__file__).parents[1].parent / "shared" / "corpus"
DPI = 144
FHS_PAGES = (1, 5, 10, 16, 21, 27, 34, 40, 46)
GOAL_CER, GOAL_F1 = 0.24, 97.0


@dataclass(frozen=True)
class CorpusSheet:
    """One page with known text; a PDF's text may be given in more than one order, and the nearest counts."""

    name: str
    kind: str
    image: Image.Image
    truths: tuple[str, ...]


@dataclass(frozen=True)
class Score:
    """``cer`` and ``f1`` in percent."""

    page: str
    kind: str
    engine: str
    cer: float
    f1: float
    seconds: float


def rendered(path: Path, index: int) -> Image.Image:
    with pypdfium2.PdfDocument(path) as document:
        page: Image.Image = document[index].render(scale=DPI / 72).to_pil().convert("RGB")
    return page


def without_pictures(path: Path, index: int) -> Image.Image:
    """A page as it is drawn, but for its pictures: what is written in them is in no text layer."""
    with pypdfium2.PdfDocument(path) as document:
        page = document[index]
        for picture in list(page.get_objects(filter=[FPDF_PAGEOBJ_IMAGE])):
            page.remove_obj(picture)
        drawn: Image.Image = page.render(scale=DPI / 72).to_pil().convert("RGB")
    return drawn


def truth(name: str) -> str:
    return (CORPUS / f"{name}.truth.txt").read_text()


def layer(name: str) -> list[str]:
    """A PDF's own text, page by page."""
    return (CORPUS / f"{name}.textlayer.txt").read_text().split("\f")


def written_order(path: Path, index: int) -> str:
    """The same text in the order in which the PDF draws it: LaTeX writes one column after the other."""
    with pypdfium2.PdfDocument(path) as document:
        return str(document[index].get_textpage().get_text_range()).replace("\ufffe", "-").replace("\r", "")


def born_digital(name: str, kind: str, pages: tuple[int, ...]) -> Iterator[CorpusSheet]:
    for number in pages:
        path = CORPUS / f"{name}.pdf"
        truths = (layer(name)[number - 1], written_order(path, number - 1))
        yield CorpusSheet(f"{name}#{number}", kind, without_pictures(path, number - 1), truths)


def sheets() -> Iterator[CorpusSheet]:
    """Every page of the corpus with known text; of the 50 pages of fhs-3.0, a spread."""
    yield CorpusSheet("linn", "scan", Image.open(CORPUS / "linn.png").convert("RGB"), (truth("linn"),))
    for turn in range(4):
        kind = "turned scan" if turn else "scan"
        yield CorpusSheet(f"cardinal@{90 * turn}", kind, rendered(CORPUS / "cardinal.pdf", turn), (truth("linn"),))
    yield CorpusSheet(
        "typewriter", "scan", Image.open(CORPUS / "typewriter.png").convert("RGB"), (truth("typewriter"),)
    )
    yield CorpusSheet("epson", "scan", rendered(CORPUS / "epson.pdf", 0), (truth("epson"),))
    yield from born_digital("Rcpp-introduction", "two columns, code", tuple(range(1, 9)))
    yield from born_digital("fhs-3.0", "specification", FHS_PAGES)
    yield from born_digital("AmazonWebServices", "invoice", (1,))


def without_markdown(text: str) -> str:
    """What a reader of the rendered Markdown sees."""
    text = re.sub(r"!\[(?:\\.|[^\]\\])*\]\([^)]*\)", "", text)
    text = re.sub(r"^```.*$", "", text, flags=re.M)
    text = re.sub(r"^\|(?: *:?-+:? *\|)+ *$", "", text, flags=re.M)
    text = re.sub(r"^#{1,6} |^ *- ", "", text, flags=re.M)
    text = re.sub(r"^\|.*\|$", lambda row: re.sub(r"(?<!\\)\|", " ", row.group()), text, flags=re.M)
    return re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", text)


def normalised(text: str) -> str:
    text = unicodedata.normalize("NFKC", text).replace("\u00ad", "")
    text = text.translate(str.maketrans("‘’‚“”„–—−", "'''\"\"\"---"))
    text = re.sub(r"^\s*[•·∙●○◦▪■□*-]\s*(?=\S)", "", text, flags=re.M)
    text = re.sub(r"(?:\. ?){4,}", " ", text)  # leaders of a table of contents
    return re.sub(r"(?<=[^\W\d_])-\s*(?=[^\W\d_])", "", text)


def cer(truth: str, text: str) -> float:
    """Percent of the truth's characters, white space ignored."""
    want, got = "".join(truth.split()), "".join(text.split())
    return 100 * Levenshtein.distance(want, got) / max(1, len(want))


def word_f1(truth: str, text: str) -> float:
    """Percent, order ignored."""
    want, got = Counter(re.findall(r"\w+", truth.lower())), Counter(re.findall(r"\w+", text.lower()))
    both = (want & got).total()
    return 100 * 2 * both / max(1, want.total() + got.total())


def scored(sheet: CorpusSheet, engine: str, text: str, seconds: float) -> Score:
    got = normalised(text)
    wanted = [normalised(truth) for truth in sheet.truths]
    errors, f1 = min(cer(want, got) for want in wanted), max(word_f1(want, got) for want in wanted)
    return Score(sheet.name, sheet.kind, engine, round(errors, 2), round(f1, 2), seconds)


async def read_page(engine: Engine, image: Image.Image) -> PageRead:
    async for piece in engine.read(PageImage(1, image), Options()):
        if isinstance(piece, PageRead):
            return piece
    raise RuntimeError("the engine gave no page")


def tesseract(image: Image.Image, language: str) -> str:
    """As a fair user runs it: page segmentation with orientation, one thread (its OpenMP only slows it down)."""
    buffer = BytesIO()
    image.save(buffer, "PNG")
    command = ["env", "OMP_THREAD_LIMIT=1", "tesseract", "stdin", "stdout", "--psm", "1", "-l", language]
    done = subprocess.run(command, input=buffer.getvalue(), capture_output=True, check=True)
    return done.stdout.decode()


def timed(call: Callable[[], str]) -> tuple[str, float]:
    started = time.monotonic()
    return call(), round(time.monotonic() - started, 2)


async def measure(only: str, with_tesseract: bool) -> tuple[list[Score], list[field.FieldCase]]:
    """The pages of the corpus and the files of the field, read by one engine."""
    engine = await loader("cpu")(CpuSettings(_env_file=None))
    scores = await measure_corpus(engine, only, with_tesseract)
    found = await field.measure(engine, only, without_markdown, tesseract if with_tesseract else None)
    await engine.close()
    return scores, found


async def measure_corpus(engine: Engine, only: str, with_tesseract: bool) -> list[Score]:
    scores: list[Score] = []
    for sheet in sheets():
        if only not in sheet.name:
            continue
        started = time.monotonic()
        read = await read_page(engine, sheet.image)
        seconds = round(time.monotonic() - started, 2)
        scores.append(scored(sheet, "cpu", without_markdown(read.markdown), seconds))
        if with_tesseract:
            text, seconds = timed(partial(tesseract, sheet.image, "eng"))
            scores.append(scored(sheet, "tesseract", text, seconds))
        show(scores[-2:] if with_tesseract else scores[-1:])
    return scores


def show(scores: list[Score]) -> None:
    cells = "   ".join(f"{s.engine:9} CER {s.cer:6.2f}  F1 {s.f1:6.2f}  {s.seconds:5.1f} s" for s in scores)
    print(f"{scores[0].page:22} {scores[0].kind:18} {cells}", flush=True)


def summary(scores: list[Score]) -> dict[str, dict[str, float]]:
    return {
        engine: {
            "pages": len(own),
            "cer_median": statistics.median(s.cer for s in own),
            "cer_mean": round(statistics.mean(s.cer for s in own), 2),
            "f1_median": statistics.median(s.f1 for s in own),
            "f1_mean": round(statistics.mean(s.f1 for s in own), 2),
            "seconds_mean": round(statistics.mean(s.seconds for s in own), 2),
        }
        for engine in sorted({s.engine for s in scores})
        if (own := [s for s in scores if s.engine == engine])
    }


def by_kind(scores: list[Score]) -> dict[str, dict[str, dict[str, float]]]:
    groups: dict[str, list[Score]] = defaultdict(list)
    for score in scores:
        groups[score.kind].append(score)
    return {kind: summary(own) for kind, own in groups.items()}


def verdicts(scores: list[Score]) -> dict[str, bool]:
    """The goals, and whether each is met."""
    overall, kinds = summary(scores), by_kind(scores)
    ours = overall["cpu"]
    turns = [s for s in scores if s.engine == "cpu" and s.page.startswith("cardinal@")]
    found = {
        f"median CER <= {GOAL_CER:g} %": ours["cer_median"] <= GOAL_CER,
        f"mean word F1 >= {GOAL_F1:g}": ours["f1_mean"] >= GOAL_F1,
        "all four turns of cardinal.pdf": len(turns) == 4 and all(s.cer < 3 and s.f1 > 97 for s in turns),
    }
    if theirs := overall.get("tesseract"):
        found["better than tesseract over all"] = better(ours, theirs)
        for kind, both in kinds.items():
            found[f"as good as tesseract: {kind}"] = as_good(both["cpu"], both["tesseract"])
    return found


def better(ours: dict[str, float], theirs: dict[str, float]) -> bool:
    return ours["cer_mean"] < theirs["cer_mean"] and ours["f1_mean"] > theirs["f1_mean"]


def as_good(ours: dict[str, float], theirs: dict[str, float]) -> bool:
    """On both means."""
    return ours["cer_mean"] <= theirs["cer_mean"] and ours["f1_mean"] >= theirs["f1_mean"]


def report(scores: list[Score]) -> bool:
    """Print the tables and the verdicts; true if every goal is met."""
    for title, table in [*by_kind(scores).items(), ("ALL", summary(scores))]:
        for engine, row in table.items():
            print(f"{title:22} {engine:10} " + "  ".join(f"{key} {value:g}" for key, value in row.items()))
    found = verdicts(scores)
    for goal, met in found.items():
        print(f"{'met   ' if met else 'MISSED'}  {goal}")
    return all(found.values())


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write scores, summaries and verdicts to this file")
    parser.add_argument("--only", default="", help="pages whose name contains this")
    parser.add_argument("--no-tesseract", action="store_true")
    options = parser.parse_args()
    if not CORPUS.is_dir():
        sys.exit("the corpus (../shared/corpus beside the checkout) is not there")
    with_tesseract = bool(shutil.which("tesseract")) and not options.no_tesseract
    scores, found = asyncio.run(measure(options.only, with_tesseract))
    met = all([report(scores) if scores else True, field.report(found) if found else True])
    if options.json:
        options.json.write_text(json.dumps(as_json(scores, found), indent=1) + "\n")
    return 0 if met else 1


def as_json(scores: list[Score], found: list[field.FieldCase]) -> dict[str, object]:
    corpus = {"kinds": by_kind(scores), "all": summary(scores), "verdicts": verdicts(scores)} if scores else {}
    return {
        "pages": [asdict(s) for s in scores],
        **corpus,
        "field": [asdict(c) for c in found],
        "field_kinds": field.by_kind(found),
    }


if __name__ == "__main__":
    sys.exit(main())
