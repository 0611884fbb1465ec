"""multipart/form-data as clients write it: every name is understood, every refusal says what is wrong."""

from __future__ import annotations

import pytest
from fastapi import Request
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.datastructures import UploadFile

from gateway.api.forms import FIELDS, Form, read_form
from gateway.api.multipart import MAX_FIELD_BYTES, MAX_PREAMBLE_BYTES, name_of_file, parameters
from shared.errors import BadOption, FileMissing, OCRError, PromptTooLong, UnsupportedEncoding

HEAD = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\npixels\r\n'
END = b"--b--\r\n"


def request(body: bytes, *, chunk: int = 1 << 20, query: bytes = b"", **headers: str) -> Request:
    sent = {"content-type": "multipart/form-data; boundary=b", **{k.replace("_", "-"): v for k, v in headers.items()}}
    pieces = [body[at : at + chunk] for at in range(0, len(body), chunk)] or [b""]

    async def receive() -> dict[str, object]:
        piece = pieces.pop(0)
        return {"type": "http.request", "body": piece, "more_body": bool(pieces)}

    raw = [(name.encode(), value.encode()) for name, value in sent.items()]
    return Request({"type": "http", "method": "POST", "headers": raw, "query_string": query}, receive)


async def form_of(body: bytes, *, files: int = 1, **more: object) -> tuple[Form, list[bytes]]:
    async with read_form(request(body, **more), FIELDS, files) as form:  # type: ignore[arg-type]
        return form, [await file.read() for file in form.files]


def part(disposition: str, value: bytes = b"x", headers: str = "") -> bytes:
    return f"--b\r\nContent-Disposition: form-data; {disposition}\r\n{headers}\r\n".encode() + value + b"\r\n"


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        ('name="file"; filename="a.png"', "a.png"),
        ("name=file; filename=a.png", "a.png"),
        ("name=\"file\"; filename*=UTF-8''na%C3%AFve%20%E2%82%AC.png", "naïve €.png"),
        ('name="file"; filename="x.png"; filename*=UTF-8\'\'%E2%82%AC.png', "€.png"),
        ("name=\"file\"; filename*=iso-8859-1'en'%A3.png", "£.png"),
        ("name=\"file\"; filename*=nonsense''%ff.png", "ÿ.png"),
        ('name="file"; filename="=?utf-8?B?w6QucG5n?="', "ä.png"),
        ('name="file"; filename="=?iso-8859-1?Q?=E4=20b.png?="', "ä b.png"),
        ('name="file"; filename="=?utf-8?B?!?="', "=?utf-8?B?!?="),
        ('name="file"; filename="ä.png"', "ä.png"),
        ('name="file"; filename="a%22b%22.png"', 'a"b".png'),
        ('name="file"; filename="a \\"b\\"; c.png"', 'a "b"; c.png'),
        ('name="file"; filename="C:\\scans\\a.png"', "C:\\scans\\a.png"),
        ('filename="a.png"', "a.png"),
        ('name="file"', "upload"),
        ('name="file"; filename=""', "upload"),
    ],
)
async def test_a_file_keeps_the_name_it_was_given(disposition: str, name: str) -> None:
    form, contents = await form_of(part(disposition) + END)
    assert (form.file.filename, contents) == (name, [b"x"])


@pytest.mark.parametrize("chunk", [1, 7, 1 << 20])
@pytest.mark.parametrize("preamble", [b"", b"\r\n", b"This is a multi-part message in MIME format.\r\n", b"--a\n"])
async def test_what_stands_before_the_first_boundary_is_passed_over(preamble: bytes, chunk: int) -> None:
    form, contents = await form_of(preamble + HEAD + part('name="pages"', b"1-3") + END + b"epilogue", chunk=chunk)
    assert (contents, dict(form.fields)) == ([b"pixels"], {"pages": "1-3"})


@pytest.mark.parametrize(
    ("sent", "read"), [(b"high\n", "high"), (b" high ", "high"), (b"high\r\n", "high"), (b" \n", None)]
)
async def test_blanks_around_a_value_do_not_count(sent: bytes, read: str | None) -> None:
    form, _ = await form_of(HEAD + part('name="priority"', sent) + END)
    assert form.fields.get("priority") == read


async def test_blanks_in_a_password_count_and_line_ends_do_not() -> None:
    form, _ = await form_of(HEAD + part('name="password"', b" open sesame \r\n") + END)
    assert form.fields["password"] == " open sesame "


@pytest.mark.parametrize(
    ("body", "error", "said"),
    [
        (HEAD, FileMissing, "ends in the middle"),
        (HEAD[:-9], FileMissing, "ends in the middle"),
        (part('name="pages"') + END, FileMissing, "no part named file"),
        (part('name="file"; filename=""', b"") + END, FileMissing, "no part named file"),
        (b"\x1f\x8b" + bytes(100), FileMissing, "multipart"),
        (bytes(MAX_PREAMBLE_BYTES + 1), FileMissing, "boundary"),
        (HEAD + part('name="prompt"', b"x" * (MAX_FIELD_BYTES + 1)) + END, PromptTooLong, "prompt"),
        (HEAD + part('name="metadata"', b"x" * (MAX_FIELD_BYTES + 1)) + END, BadOption, "metadata"),
        (HEAD + part("nothing") + END, BadOption, "no name"),
        (HEAD + part('name="scan"; filename="b.png"') + END, BadOption, "scan"),
        (HEAD + part('name="colour"') + END, BadOption, "colour"),
        (part('name="file"', b"eA==", "Content-Transfer-Encoding: base64\r\n") + END, BadOption, "Transfer"),
        (HEAD + b"--b\r\nX: " + b"y" * 70_000 + b"\r\n\r\n\r\n" + END, FileMissing, "multipart"),
        (HEAD * 3 + END, BadOption, "file"),
        (HEAD * 2 + END, BadOption, "one file"),
    ],
)  # fmt: skip
async def test_a_refusal_says_what_is_wrong(body: bytes, error: type[OCRError], said: str) -> None:
    with pytest.raises(error) as refused:
        form, _ = await form_of(body)
        assert form.file
    assert said in refused.value.detail


async def test_a_body_in_an_encoding_is_told_so() -> None:
    with pytest.raises(UnsupportedEncoding, match="gzip"):
        await form_of(HEAD + END, content_encoding="gzip")
    assert (await form_of(HEAD + END, content_encoding="identity"))[1] == [b"pixels"]


async def test_options_in_the_query_are_refused_and_not_lost() -> None:
    with pytest.raises(BadOption, match="pages"):
        await form_of(HEAD + END, query=b"pages=1")


async def test_files_are_closed_when_the_form_is_done_with() -> None:
    form, _ = await form_of(HEAD + END)
    assert all(isinstance(file, UploadFile) and file.file.closed for file in form.files)


def test_the_first_of_two_parameters_counts() -> None:
    assert parameters(b'form-data; NAME="a"; name="b"; x = y') == {"name": "a", "x": "y"}
    assert name_of_file({}) is None


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(
    body=st.lists(
        st.one_of(
            st.sampled_from([b"--b", b"--b--", b"\r\n", b"\n", b"Content-Disposition: form-data", HEAD]),
            st.sampled_from([b'; name="file"', b"=?utf-8?q?", b"; filename*=", b'"', b"%", b"'"]),
            st.binary(max_size=30),
        ),
        max_size=20,
    ).map(b"".join),
    chunk=st.integers(1, 50),
)  # fmt: skip
async def test_any_body_is_a_form_or_a_refusal_of_ours(body: bytes, chunk: int) -> None:
    try:
        form, contents = await form_of(body, files=5, chunk=chunk)
    except OCRError:
        return
    assert len(contents) == len(form.files) >= 1


async def test_a_large_file_comes_whole() -> None:
    data = bytes(range(256)) * 20_000
    _, contents = await form_of(part('name="file"; filename="a"', data) + END, chunk=65_536)
    assert contents == [data]
