"""The languages whose every letter the recogniser has; ``tests/engines/test_cpu_languages.py`` holds it to that."""

from __future__ import annotations

LANGUAGES = {
    "af": "êëéèïîôû", "az": "əğıöşü", "bs": "čćđšž", "ca": "àçèéíïòóúü", "cs": "áčďéěíňóřšťúůýž", "cy": "âêîôûŵŷ",
    "da": "æøå", "de": "äöüß", "en": "abcdefghijklmnopqrstuvwxyz", "eo": "ĉĝĥĵŝŭ", "es": "áéíñóúü¿", "et": "äõöüšž",
    "fi": "äöå", "fr": "àâæçéèêëîïôœùûüÿ", "ga": "áéíóú", "hr": "čćđšž", "hu": "áéíóöőúüű", "id": "é",
    "is": "áðéíóúýþæö", "it": "àèéìòù", "ja": "あいうえおかがぱっゃアイウエオガパッャー、。", "la": "æœ",
    "lt": "ąčęėįšųūž", "lv": "āčēģīķļņšūž",
    "ms": "é", "mt": "ċġħż", "nl": "ëïéóĳ", "no": "æøå", "pl": "ąćęłńóśźż", "pt": "ãáàâçéêíóôõú", "ro": "ăâîșț",
    "sk": "áäčďéíĺľňóôŕšťúýž", "sl": "čšž", "sq": "çë", "sv": "åäö", "sw": "abc", "tl": "ñ", "tr": "çğıöşü",
    "zh": "的一是不了人在有我他这中大来上国，。",
}  # fmt: skip
"""ISO 639-1 codes, each with the letters that it has beyond a to z (of Chinese and Japanese: some)."""
