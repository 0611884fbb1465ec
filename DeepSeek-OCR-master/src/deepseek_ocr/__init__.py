"""What is true of DeepSeek-OCR and of nothing else. Standard library only; ``tiling`` also needs pillow."""

from deepseek_ocr.counting import CountingGuard
from deepseek_ocr.modes import DEFAULT, GUNDAM, MODES, Mode
from deepseek_ocr.page import OutputBlock, OutputFigure, PageReader
from deepseek_ocr.parser import Marker, ParsedText, Parser, parse
from deepseek_ocr.prompts import PROMPTS, PromptError, custom, labels_are_text, locate
from deepseek_ocr.repetition import NGRAM, NGramRule, RepetitionGuard
from deepseek_ocr.style import MarkdownStyle

__all__ = [
    "DEFAULT",
    "GUNDAM",
    "MODES",
    "NGRAM",
    "PROMPTS",
    "CountingGuard",
    "MarkdownStyle",
    "Marker",
    "Mode",
    "NGramRule",
    "OutputBlock",
    "OutputFigure",
    "PageReader",
    "ParsedText",
    "Parser",
    "PromptError",
    "RepetitionGuard",
    "custom",
    "labels_are_text",
    "locate",
    "parse",
]
