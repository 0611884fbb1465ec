"""What the fields of a submission may say."""

from __future__ import annotations

import json
from typing import Any

import pytest
from fastapi import Request

from gateway.api.forms import (
    MAX_METADATA_DEPTH,
    idempotency_key,
    parse_options,
    read_flag,
    read_metadata,
    read_prompt,
    read_webhook,
)
from shared.errors import BadOption, BadPrompt, BadWebhookUrl, PromptTooLong
from tests.conftest import make_settings

SETTINGS = make_settings("redis://unused")


@pytest.mark.parametrize(
    "text",
    [
        "<image>",
        "a <IMAGE> b",
        "<|ref|>x<|/ref|>",
        "<|grounding|>OCR",
        "<| det |>",
        "<｜end▁of▁sentence｜>",
        "</s>",
        "a\0b",
    ],
)
def test_a_prompt_with_a_special_token_is_refused(text: str) -> None:
    with pytest.raises(BadPrompt):
        read_prompt(text, 100)


@pytest.mark.parametrize("text", ["Free OCR.", "a < b | c > d", "Lies\nes: äöü, 日本語", "1 <2> 3", "<images>"])
def test_a_prompt_of_words_is_taken(text: str) -> None:
    assert read_prompt(text, 100) == text


def test_a_prompt_is_measured_in_characters() -> None:
    assert read_prompt("ä" * 10, 10)
    with pytest.raises(PromptTooLong):
        read_prompt("ä" * 11, 10)


def test_an_empty_prompt_is_none() -> None:
    assert read_prompt(" \n", 10) is None


@pytest.mark.parametrize("value", [{}, {"a": [1, 2.5, None, True, "ä"]}, {"": {"b": {}}}, {"n": 10**30}])
def test_metadata_comes_back_as_it_was(value: dict[str, Any]) -> None:
    assert read_metadata(json.dumps(value), 4096) == value


@pytest.mark.parametrize(
    "text",
    [
        "", "1", "null", "[]", '"a"', "{", '{"a": Infinity}', '{"a": 1e999}', '{"a": "\\udc00"}', "[" * 4000,
        '{"a":' * (MAX_METADATA_DEPTH + 1) + "1" + "}" * (MAX_METADATA_DEPTH + 1), '{"a": "' + "x" * 4096 + '"}',
    ],
)  # fmt: skip
def test_metadata_that_is_no_small_object_is_refused(text: str) -> None:
    with pytest.raises(BadOption):
        read_metadata(text, 4096)


@pytest.mark.parametrize(
    "url",
    ["x", "//a/b", "file:///etc/passwd", "http:///a", "https://", "http://a:0/", "http://a:99999/", "http://[::1",
     "http://a b/", "http://a\n/", "http://ä.example/", "http://a/" + "x" * 2048, "javascript:alert(1)"],
)  # fmt: skip
def test_a_webhook_url_that_is_no_http_url_is_refused(url: str) -> None:
    with pytest.raises(BadWebhookUrl):
        read_webhook(url, None)


def test_webhook_events_are_kept_in_one_order_each_once() -> None:
    hook = read_webhook("https://a.example/x", "job.failed,job.started , job.failed")
    assert hook is not None
    assert hook.events == ("job.started", "job.failed")


@pytest.mark.parametrize("events", [",", "done", "job.started;job.failed"])
def test_unknown_webhook_events_are_refused(events: str) -> None:
    with pytest.raises(BadOption):
        read_webhook("https://a.example/x", events)


@pytest.mark.parametrize("ttl", ["0", "-1", "1.5", "soon", "86401", "1e3", "\u0663"])
def test_a_ttl_must_be_whole_seconds_within_what_the_service_keeps(ttl: str) -> None:
    with pytest.raises(BadOption, match="ttl must be a whole number of seconds, 1 to 86400"):
        parse_options({"ttl": ttl}, SETTINGS)
    assert parse_options({"ttl": "86400"}, SETTINGS).ttl == 86400


@pytest.mark.parametrize("languages", ["rus", "r", "ru;en", "ru,", ",", "ру", "ru," * 30 + "en"])
def test_languages_must_be_codes_of_two_letters(languages: str) -> None:
    with pytest.raises(BadOption, match="languages must be ISO 639-1 codes"):
        parse_options({"languages": languages}, SETTINGS)
    assert parse_options({"languages": "RU, en ,ru"}, SETTINGS).options.languages == ("ru", "en")


@pytest.mark.parametrize("deadline", ["0", "-1", "inf", "nan", "soon", "86401", "1e9", ""])
def test_a_deadline_must_be_seconds_within_a_jobs_greatest_age(deadline: str) -> None:
    with pytest.raises(BadOption):
        parse_options({"deadline": deadline}, SETTINGS)


def test_fingerprints_differ_by_every_option() -> None:
    different = [
        {}, {"type": "image"}, {"mode": "base"}, {"prompt": "x"}, {"priority": "high"}, {"text_layer": "prefer"},
        {"pages": "1"}, {"deadline": "5"}, {"ttl": "5"}, {"metadata": '{"a": 1}'}, {"webhook_url": "http://a.example"},
        {"webhook_url": "http://a.example", "webhook_events": "job.failed"}, {"table": "html"}, {"math": "brackets"},
        {"clean": "false"}, {"furniture": "false"}, {"page_marks": "true"}, {"join_pages": "1"},
        {"languages": "ru"}, {"languages": "uk"},
    ]  # fmt: skip
    prints = [parse_options(fields, SETTINGS).fingerprint() for fields in different]
    assert len(set(prints)) == len(different)
    assert parse_options({"metadata": '{"b":2,"a":1}'}, SETTINGS).fingerprint() == (
        parse_options({"metadata": '{"a": 1, "b": 2}'}, SETTINGS).fingerprint()
    )


@pytest.mark.parametrize(("text", "value"), [("true", True), ("False", False), ("1", True), ("0", False)])
def test_flags(text: str, value: bool) -> None:
    assert read_flag("stream", {"stream": text}, default=True) is value
    assert read_flag("stream", {}, default=value) is value


def request(*keys: bytes) -> Request:
    return Request({"type": "http", "headers": [(b"idempotency-key", key) for key in keys]})


@pytest.mark.parametrize(
    ("header", "key"),
    [(b'"a b"', "a b"), (b"plain-1", "plain-1"), (b'"q\\"s\\\\"', 'q"s\\'), (b'"k"', "k"), (b"k", "k")],
)
def test_an_idempotency_key_is_quoted_or_bare(header: bytes, key: str) -> None:
    assert idempotency_key(request(header)) == key


@pytest.mark.parametrize("headers", [(b"",), (b'""',), (b"a", b"b"), (b'"a',), (b"a b",), (b'"' + b"x" * 256 + b'"',)])
def test_an_idempotency_key_that_is_none_is_refused(headers: tuple[bytes, ...]) -> None:
    with pytest.raises(BadOption):
        idempotency_key(request(*headers))
