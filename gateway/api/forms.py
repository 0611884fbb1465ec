"""The multipart form of a submission: its fields, and how they are checked before any file is opened."""

from __future__ import annotations

import json
import math
import re
from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

from fastapi import Request
from pydantic import JsonValue
from starlette.datastructures import UploadFile

from gateway.api.multipart import NAMELESS, read_parts
from gateway.settings import GatewaySettings
from shared.contract import page_range
from shared.contract.job import WebhookTarget
from shared.contract.options import MathFormat, ModeName, Options, Priority, ReadType, TableFormat, TextLayer
from shared.errors import BadOption, BadPrompt, BadWebhookUrl, FileMissing, PromptTooLong, UnsupportedEncoding

WEBHOOK_EVENTS: Final = ("job.started", "job.succeeded", "job.partial", "job.failed", "job.cancelled")
MAX_PASSWORD_BYTES: Final = 127  # the limit of the PDF standard (ISO 32000-2, 7.6.4)
MAX_URL_CHARS: Final = 2048
MAX_METADATA_DEPTH: Final = 32
MAX_LANGUAGES_CHARS: Final = 64
LANGUAGES: Final = re.compile(r"[A-Za-z]{2}(\s*,\s*[A-Za-z]{2})*")
MAX_KEY_CHARS: Final = 255
# <image>, <|ref|>, <|grounding|>, DeepSeek's <｜…｜>, </s>: anything a tokenizer may read as more than text.
SPECIAL_TOKEN: Final = re.compile(r"<image>|<\s*/?\s*[|｜][^<>]{0,64}[|｜]\s*>|<pad>|</?s>", re.IGNORECASE)
KEY: Final = re.compile(r'"((?:[\x20-\x21\x23-\x5b\x5d-\x7e]|\\["\\])*)"|([\x21\x23-\x7e][\x21-\x7e]*)')

E = TypeVar("E", bound=StrEnum)


@dataclass(frozen=True, slots=True)
class Field:
    """A text field of a form, by its JSON schema. ``limits``: a keyword of the schema -> the setting with its value."""

    schema: Mapping[str, Any]
    limits: Mapping[str, str] = field(default_factory=dict)

    def described(self, settings: GatewaySettings) -> dict[str, Any]:
        """The schema with the limits that these settings have."""
        return {**self.schema, **{word: getattr(settings, name) for word, name in self.limits.items()}}


def _text(description: str, **schema: Any) -> dict[str, Any]:
    return {"type": "string", **schema, "description": description}


def _flag(default: str, description: str) -> Field:
    return Field(_text(description, enum=["true", "false", "1", "0"], default=default))


TYPE: Final = Field(_text("what the picture is", enum=[*ReadType], default=ReadType.DOCUMENT))
PROMPT: Final = Field(_text("instead of the one that `type` stands for"), {"maxLength": "max_prompt_length"})
PASSWORD: Final = Field(_text("of a PDF that needs one", maxLength=MAX_PASSWORD_BYTES))
# The fields of a submission: what is not listed is refused, and the OpenAPI document describes these.
FIELDS: Final[Mapping[str, Field]] = {
    "type": TYPE,
    "prompt": PROMPT,
    "mode": Field(_text("resolution, where the engine has modes", enum=[*ModeName])),
    "pages": Field(_text("`1-3,7`, `3-`, `-1` (the last); default: all", example="1", maxLength=page_range.MAX_LENGTH)),
    "priority": Field({"type": "string", "enum": [*Priority], "default": Priority.NORMAL}),
    "text_layer": Field(
        _text(
            "`prefer`: a PDF page gives its own text where that accounts for all that is drawn",
            enum=[*TextLayer],
            default=TextLayer.IGNORE,
        )
    ),
    "password": PASSWORD,
    "table": Field(
        _text(
            "`markdown`: pipes for rectangular tables, HTML for those with spans; `html`: HTML for all",
            enum=[*TableFormat],
            default=TableFormat.MARKDOWN,
        )
    ),
    "math": Field(
        _text("formulas in `$` and `$$`, or in `\\(` and `\\[`", enum=[*MathFormat], default=MathFormat.DOLLARS)
    ),
    "clean": _flag("true", "`false`: leave the spaces that the model writes after hyphens"),
    "languages": Field(
        _text(
            "of the writing, where the engine reads it only if told (`GET /models`): ISO 639-1 codes",
            pattern=LANGUAGES.pattern,
            maxLength=MAX_LANGUAGES_CHARS,
            example="ru,en",
        )
    ),
    "furniture": _flag("true", "`false`: leave running heads, running feet and page numbers out of the text"),
    "page_marks": _flag("false", "`true`: a comment `<!-- page 3 -->` before each page of the Markdown"),
    "join_pages": _flag("false", "`true`: join paragraphs of the Markdown that go on over a page break"),
    "cache": _flag("true", "`false`: read the file again, although the result of the same is kept"),
    "webhook_url": Field(_text("https, of a public receiver", format="uri", maxLength=MAX_URL_CHARS)),
    "webhook_events": Field(
        _text(f"some of {', '.join(WEBHOOK_EVENTS)}; default: all but job.started", example="job.succeeded,job.failed")
    ),
    "deadline": Field(
        {"type": "number", "exclusiveMinimum": 0, "description": "seconds from now, time in the queue counted"},
        {"maximum": "max_job_age"},
    ),
    "ttl": Field(
        {"type": "integer", "minimum": 1, "description": "seconds after its end when the result is deleted"},
        {"maximum": "result_ttl"},
    ),
    "metadata": Field(_text("a JSON object, echoed back", example='{"order": 17}'), {"maxLength": "max_metadata_size"}),
}
# The fields of the original API.
READ_FIELDS: Final[Mapping[str, Field]] = {
    "type": TYPE,
    "prompt": PROMPT,
    "password": PASSWORD,
    "stream": _flag("true", "events as the text is made, or one answer"),
}


@dataclass(frozen=True, slots=True)
class Form:
    """Text fields by name (empty ones left out) and the parts named ``file``."""

    fields: Mapping[str, str]
    files: tuple[UploadFile, ...]

    @property
    def file(self) -> UploadFile:
        if len(self.files) > 1:
            raise BadOption("Send one file; many go to /api/v1/batches")
        return self.files[0]


@dataclass(frozen=True, slots=True)
class SubmitOptions:
    """The checked fields of a submission. ``deadline``: seconds from now. ``password``: a PDF's.

    ``ttl``: seconds the result is kept, None: as long as the service keeps any. ``cache``: an earlier result will do.
    """

    options: Options
    pages: str | None = None
    deadline: float | None = None
    metadata: Mapping[str, JsonValue] | None = None
    webhook: WebhookTarget | None = None
    password: str | None = field(default=None, repr=False)
    ttl: int | None = None
    cache: bool = True

    def fingerprint(self) -> str:
        """Equal for equal options, different for different ones. Leaves out the password: it only opens the file."""
        webhook = [self.webhook.url, *self.webhook.events] if self.webhook else None
        facts = [self.options.model_dump(mode="json"), self.pages, self.deadline, self.metadata, webhook]
        if self.ttl is not None:  # left out otherwise: a key of the version before stands for the same
            facts.append(self.ttl)
        if not self.cache:
            facts.append("read again")
        return json.dumps(facts, sort_keys=True)


@asynccontextmanager
async def read_form(request: Request, known: Collection[str], files: int) -> AsyncIterator[Form]:
    """The form of this request; its files (on disk beyond 1 MiB) live as long as the block."""
    _refuse_ignored(request)
    async with _parts(request, files) as parts:
        form = Form(text_fields(parts, known), _files(parts))
        if not form.files:
            raise FileMissing("The form has no part named file")
        if len(form.files) > files > 1:
            raise BadOption(f"A batch is limited to {files} files")
        yield form


def refuse_encoded(request: Request) -> None:
    """Raises ``UnsupportedEncoding`` for a body that is compressed."""
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding != "identity":
        raise UnsupportedEncoding(f"The body has the Content-Encoding {shown(encoding)}: send it as it is")


def _refuse_ignored(request: Request) -> None:
    """Refuse options in the query, which would be ignored, and bodies that cannot be read."""
    if stray := next(iter(request.query_params), None):
        raise BadOption(f"Options are fields of the form: send {shown(stray)} there, not in the URL's query")
    refuse_encoded(request)
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type != "multipart/form-data":
        raise FileMissing("Send multipart/form-data with a part named file")


@asynccontextmanager
async def _parts(request: Request, files: int) -> AsyncIterator[list[tuple[str, UploadFile | str]]]:
    form = await read_parts(request, files + 1)
    try:
        yield list(form.multi_items())
    finally:
        await form.close()


def _files(parts: list[tuple[str, UploadFile | str]]) -> tuple[UploadFile, ...]:
    """The files. One without a name is called ``upload``; a part named ``file`` with neither name nor bytes is none."""
    found = [(name, part) for name, part in parts if isinstance(part, UploadFile) and (part.filename or part.size)]
    for _, part in found:
        part.filename = part.filename or NAMELESS
    if stray := [name for name, _ in found if name != "file"]:
        raise BadOption(f"The file belongs in a part named file, not {shown(stray[0])}")
    return tuple(part for _, part in found)


def text_fields(parts: Iterable[tuple[str, UploadFile | str]], known: Collection[str]) -> dict[str, str]:
    """The fields that are text, by name. Raises ``BadOption`` for an unknown one and for one that was sent twice."""
    fields: dict[str, str] = {}
    for name, value in parts:
        if isinstance(value, UploadFile):
            continue
        if name not in known:
            raise _unknown(name, known)
        if name in fields and name != "webhook_events":
            raise BadOption(f"{name} was sent twice")
        value = _trimmed(name, value)
        if value:
            fields[name] = f"{fields[name]},{value}" if name in fields else value
    return fields


def _trimmed(name: str, value: str) -> str:
    """Strip what forms and ``curl -F name=<FILE`` add around a value; blanks may belong to a password."""
    return value.rstrip("\r\n") if name == "password" else value.strip()


def _unknown(name: str, known: Collection[str]) -> BadOption:
    return BadOption(f"There is no field {shown(name)}; the fields are file, {', '.join(sorted(known))}")


def shown(text: str) -> str:
    """Quote the caller's own words in an error: short and in one line."""
    return ascii(text[:40])


def parse_options(fields: Mapping[str, str], settings: GatewaySettings) -> SubmitOptions:
    """Check every field. Raises an ``OptionError`` that names the first one that cannot be accepted."""
    options = Options(
        type=_choice(ReadType, "type", fields) or ReadType.DOCUMENT,
        mode=_choice(ModeName, "mode", fields),
        prompt=read_prompt(fields.get("prompt"), settings.max_prompt_length),
        priority=_choice(Priority, "priority", fields) or Priority.NORMAL,
        text_layer=_choice(TextLayer, "text_layer", fields) or TextLayer.IGNORE,
        table=_choice(TableFormat, "table", fields) or TableFormat.MARKDOWN,
        math=_choice(MathFormat, "math", fields) or MathFormat.DOLLARS,
        clean=read_flag("clean", fields, default=True),
        languages=read_languages(fields.get("languages")),
        furniture=read_flag("furniture", fields, default=True),
        page_marks=read_flag("page_marks", fields, default=False),
        join_pages=read_flag("join_pages", fields, default=False),
    )
    return SubmitOptions(
        options,
        fields.get("pages"),
        read_deadline(fields.get("deadline"), settings.max_job_age),
        read_metadata(fields.get("metadata", "{}"), settings.max_metadata_size),
        read_webhook(fields.get("webhook_url"), fields.get("webhook_events")),
        read_password(fields.get("password")),
        read_ttl(fields.get("ttl"), settings.result_ttl),
        read_flag("cache", fields, default=True),
    )


def _choice(kind: type[E], name: str, fields: Mapping[str, str]) -> E | None:
    value = fields.get(name)
    if value is None:
        return None
    try:
        return kind(value)
    except ValueError:
        raise BadOption(f"{name} must be one of {', '.join(kind)}") from None


def read_flag(name: str, fields: Mapping[str, str], *, default: bool) -> bool:
    value = fields.get(name, "true" if default else "false").lower()
    if value not in ("true", "false", "1", "0"):
        raise BadOption(f"{name} must be true or false")
    return value in ("true", "1")


def read_languages(text: str | None) -> tuple[str, ...]:
    """``ru, en`` -> ``("ru", "en")``, each once, in lower case. Raises ``BadOption``."""
    if text is None:
        return ()
    if len(text) > MAX_LANGUAGES_CHARS or not LANGUAGES.fullmatch(text):
        raise BadOption(f"languages must be ISO 639-1 codes parted by commas, such as ru,en; not {shown(text)}")
    return tuple(dict.fromkeys(code.strip().lower() for code in text.split(",")))


def read_prompt(text: str | None, longest: int) -> str | None:
    """A caller's own prompt, or None. Refuses a model's special tokens, which would be more than words."""
    if text is None or not text.strip():
        return None
    if len(text) > longest:
        raise PromptTooLong(f"The prompt has {len(text)} characters; the limit is {longest}")
    if found := SPECIAL_TOKEN.search(text):
        raise BadPrompt(f"The prompt must not contain the special token {shown(found[0])}")
    if any(ord(sign) < 32 and sign not in "\t\n\r" for sign in text):
        raise BadPrompt("The prompt contains control characters")
    return text


def read_password(text: str | None) -> str | None:
    """A PDF's password. It appears in no response, error or log."""
    if text is not None and ("\0" in text or len(text.encode(errors="surrogatepass")) > MAX_PASSWORD_BYTES):
        raise BadOption(f"password is limited to {MAX_PASSWORD_BYTES} bytes")
    return text


def read_deadline(text: str | None, longest: int) -> float | None:
    if text is None:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= longest:
        raise BadOption(f"deadline must be a number of seconds, at most {longest}")
    return seconds


def read_ttl(text: str | None, longest: int) -> int | None:
    """Seconds that the result is kept; earlier than the service deletes results, never later."""
    if text is None:
        return None
    if not re.fullmatch(r"[0-9]{1,9}", text) or not 1 <= int(text) <= longest:
        raise BadOption(f"ttl must be a whole number of seconds, 1 to {longest}")
    return int(text)


def read_metadata(text: str, largest: int) -> dict[str, JsonValue]:
    """A JSON object that can be echoed as it was sent: nothing in it that JSON or UTF-8 cannot express."""
    if len(text.encode("utf-8", "surrogatepass")) > largest:
        raise BadOption(f"metadata is limited to {largest} bytes")
    try:
        value: Any = json.loads(text)
        json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        raise BadOption("metadata must be a JSON object") from None
    if not isinstance(value, dict) or _depth(value) > MAX_METADATA_DEPTH:
        raise BadOption(f"metadata must be a JSON object, at most {MAX_METADATA_DEPTH} deep")
    return value


def _depth(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max(map(_depth, inner), default=0)


def read_webhook(url: str | None, events: str | None) -> WebhookTarget | None:
    """Check the syntax only: whether the receiver may be called is decided by ``Submissions.check_receiver``."""
    if url is None:
        if events is not None:
            raise BadOption("webhook_events needs a webhook_url")
        return None
    if len(url) > MAX_URL_CHARS or not url.isascii() or any(ord(sign) <= 32 or ord(sign) == 127 for sign in url):
        raise BadWebhookUrl(f"webhook_url must be a URL of at most {MAX_URL_CHARS} ASCII characters without spaces")
    _check_url(url)
    return WebhookTarget(url=url, events=_events(events))


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise BadWebhookUrl("webhook_url must be an http or https URL with a host")


def _events(text: str | None) -> tuple[str, ...]:
    if text is None:
        return WEBHOOK_EVENTS[1:]  # the terminal ones
    asked = [part.strip() for part in text.split(",") if part.strip()]
    if not asked or not set(asked) <= set(WEBHOOK_EVENTS):
        raise BadOption(f"webhook_events must be some of {', '.join(WEBHOOK_EVENTS)}")
    return tuple(event for event in WEBHOOK_EVENTS if event in asked)


def idempotency_key(request: Request) -> str | None:
    """The Idempotency-Key, quoted (a structured field string) or bare. Raises ``BadOption``."""
    given = request.headers.getlist("idempotency-key")
    if not given:
        return None
    found = KEY.fullmatch(given[0].strip(" \t")) if len(given) == 1 else None
    key = (re.sub(r"\\(.)", r"\1", found[1]) if found[1] is not None else found[2]) if found else ""
    if not 0 < len(key) <= MAX_KEY_CHARS:
        raise BadOption(f"Idempotency-Key must be one string of 1 to {MAX_KEY_CHARS} printable ASCII characters")
    return key
