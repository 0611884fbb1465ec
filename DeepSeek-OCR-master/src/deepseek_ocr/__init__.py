"""What is true of DeepSeek-OCR and of nothing else. Standard library only; ``tiling`` also needs pillow."""

from deepseek_ocr.modes import DEFAULT, GUNDAM, MODES, Mode
from deepseek_ocr.page import Block, Figure, PageReader
from deepseek_ocr.parser import Marker, Parser, Text, parse
from deepseek_ocr.prompts import PROMPTS, PromptError, custom, locate
from deepseek_ocr.repetition import NGRAM, NGramRule, RepetitionGuard

__all__ = [
    "DEFAULT",
    "GUNDAM",
    "MODES",
    "NGRAM",
    "PROMPTS",
    "Block",
    "Figure",
    "Marker",
    "Mode",
    "NGramRule",
    "PageReader",
    "Parser",
    "PromptError",
    "RepetitionGuard",
    "Text",
    "custom",
    "locate",
    "parse",
]
