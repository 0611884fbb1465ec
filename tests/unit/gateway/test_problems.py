"""Every code has one status, one title and one page."""

from __future__ import annotations

from gateway.api.problems import STATUS, describe, kinds, problem
from shared import errors
from shared.errors import OCRError, QueueFull, Unauthorized


def test_every_code_has_a_status_and_every_row_a_code() -> None:
    codes = {kind.code for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, OCRError)}
    assert codes | {"method-not-allowed"} == set(STATUS)
    assert set(kinds()) == set(STATUS)


def test_each_code_gets_its_own_title() -> None:
    titles = {code: kind("").title for code, kind in kinds().items()}
    assert titles["bad-page-range"] == "The page range cannot be read or names no page of the document"
    assert len(set(titles.values())) == len(titles)


def test_a_problem_has_the_members_of_rfc_9457_and_no_more_than_was_said() -> None:
    assert describe(QueueFull("full of it"), "r-1").model_dump() == {
        "type": "/problems/queue-full",
        "title": "The queue is full",
        "status": 429,
        "detail": "full of it",
        "code": "queue-full",
        "request_id": "r-1",
    }


def test_headers_follow_from_the_error() -> None:
    assert problem(QueueFull(retry_after=1.2), "r").headers["retry-after"] == "2"
    assert problem(Unauthorized(), "r").headers["www-authenticate"] == "Bearer"
    assert problem(Unauthorized(), "r").headers["content-type"] == "application/problem+json"
