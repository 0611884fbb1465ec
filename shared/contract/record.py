"""The record of a job: the fields of the hash ``job:ID``, which is the truth about a job.

Only the scripts of ``shared/lua`` write it; ``shared.contract.job.read_job`` makes the view of it that callers get.
Redis keeps every value as text. A moment is seconds of Redis's clock since the epoch; "" stands for none.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Final

from pydantic import AliasChoices, BeforeValidator, Field, Json, JsonValue

from shared.contract.document import Frozen, Natural
from shared.contract.options import Options
from shared.contract.states import JobStatus, WebhookStatus


def _none_for_empty(value: object) -> object:
    return None if value == "" else value


Moment = Annotated[float | None, BeforeValidator(_none_for_empty)]
Text = Annotated[str | None, BeforeValidator(_none_for_empty)]


class JobRecord(Frozen):
    """One field of the hash after the other, in the order of a job's life.

    A field is stored under its own name, or under its alias. Fields that came with a later version have a default:
    during a rolling deploy the version before writes records as well, and reads those of this one.
    """

    # -- what the submission says; never changes
    id: str = Field(description="ULID, made by the gateway")
    owner: str = Field(description="the caller's key id; nobody sees another owner's jobs")
    filename: str = Field(description="of the upload, cleaned")
    media_type: str = Field(description="by content, not by name")
    bytes: Natural = Field(description="size of the upload")
    sha256: str = Field(description="of the upload, in hexadecimal")
    document_pages: Natural = Field(description="pages of the whole document")
    page_range: str = Field(description="those to be read: `1-3,7`")
    page_note: Text = Field(None, description="what of the file is not read")
    options: Json[Options] = Field(description="how to read them, as JSON")
    content: str = Field("", description="digest of upload, pages and options: what is to be read; empty: never reused")
    metadata: Json[dict[str, JsonValue]] = Field(description="the caller's own, as JSON")
    webhook_url: Text = Field(None, description="where its webhooks go")
    webhook_events: str = Field("", description="which are sent, with commas")
    batch: Text = Field(None, description="id of the batch it came with")
    request_id: Text = Field(None, description="of the request that submitted it; in every log line about the job")
    traceparent: Text = Field(None, description="W3C trace context of that request, where it is traced")
    rank: str = Field(description="of its queue, by priority: 0, 3 or 6; low is first")
    deadline: Moment = Field(None, description="when it fails, done or not")
    max_age: float = Field(description="seconds after its submission when it fails in any case")
    has_payloads: str = Field("", alias="payloads", description="1: something of it lies in the payload store")
    result_ttl: int = Field(description="seconds its result is kept after its end; the record twice as long")
    webhook_ttl: int = Field(24 * 3600, description="seconds its webhooks are kept after its record")
    picture_ttl: Text = Field(None, description="seconds its pages' pictures are kept, if not as long")
    created_at: float = Field(alias="created", description="when it was submitted")
    pages_total: Natural = Field(description="pages to be read")
    pages_submitted_before: int = Field(
        0,
        validation_alias=AliasChoices("pages_submitted_before", "before"),
        description="`submitted_pages` of its rank just before it; without `finished_pages`: the pages ahead of it",
    )

    # -- how it goes
    status: JobStatus = Field(description="see `docs/job-lifecycle.md`")
    attempt: Natural = Field(0, description="how often a worker has begun it")
    requeues: Natural = Field(0, description="how often its message was sent again because nobody claimed it")
    started_at: Moment = Field(None, alias="started", description="when it was first begun")
    first_text_at: Moment = Field(
        None, alias="first_text", description="when a text of it, or a page's end, was first seen"
    )
    engine: Text = Field(None, description="name of the engine that reads it, or read it last")
    reader: str = Field(
        "", description="digest of what decides what is read; empty where it was not the same throughout"
    )
    pages_done: Natural = Field(description="pages that are ok, degraded or skipped")
    pages_failed: Natural = Field(description="pages that failed")
    pages_degraded: Natural = Field(0, description="those of the done whose text has something wrong")
    prompt_tokens: Natural = Field(0, description="of all its pages")
    completion_tokens: Natural = Field(0, description="of all its pages")
    engine_seconds: float = Field(0.0, description="of all its pages")

    # -- who may write it
    claim_token: Text = Field(None, alias="token", description="of the claim that holds it; every step must show it")
    lease_until: float = Field(0.0, alias="lease", description="when the claim lapses unless renewed")
    worker: Text = Field(None, description="name of the worker that claimed it last")

    # -- what was done last, so that a step that comes a second time is known and changes nothing
    claim_tokens: str = Field("", description="tokens of its latest claims, each followed by a blank")
    started_token: Text = Field(None, description="claim under which it was begun last")
    closed_token: Text = Field(None, description="claim that its holder gave up last: by finish, fail or release")
    streamed: Natural = Field(0, description="number of the latest piece of the stream under the present claim")
    cancel_operation: Text = Field(None, description="the call that cancelled it")
    reap_operation: Text = Field(None, description="the latest look of a reaper that changed it, and its verdict")

    # -- how it ended
    cached: bool = Field(False, description="1: it was never read, but made of an earlier job's result")
    source: Text = Field(None, description="of a cached job: the job whose payloads its result is")
    completed_at: Moment = Field(None, alias="completed", description="when it ended")
    done_event: Text = Field(None, description="id of its last event, which stands for all once they are deleted")
    expires_at: Moment = Field(None, alias="expires", description="when its result goes")
    error: Text = Field(None, description="`{code, detail}` as JSON, of a job that failed")


STORED_FIELDS: Final[frozenset[str]] = frozenset(
    field.alias or name for name, field in JobRecord.model_fields.items()
) | {"before"}
"""The fields that a script may read or write. ``before`` is the former spelling of ``pages_submitted_before``: written
beside it and read in its absence for one release."""


class WebhookRecord(Frozen):
    """The fields of the hash ``hook:ID``: one event of one job, to be sent."""

    job: str = Field(description="id of the job")
    event: str = Field(description="`job.started` or `job.STATUS`")
    url: str = Field(description="the receiver's")
    owner: str = Field(description="of the job; whose secret signs it")
    endpoint: str = Field(description="the owner and the receiver's origin, with a blank between them")
    created_at: float = Field(alias="created", description="when the event happened")
    keep: int = Field(description="seconds it is kept after its latest try")
    request_id: Text = Field(None, description="of the job")
    traceparent: Text = Field(None, description="of the job")
    status: WebhookStatus = Field(description="see `docs/job-lifecycle.md`")
    tries: Natural = Field(0, description="that have begun, of the present schedule")
    takes: Natural = Field(0, description="times it was leased; the token of the present lease")
    begun_at: Moment = Field(None, alias="begun", description="when the latest try began")
    next_at: Moment = Field(None, alias="next", description="when it is tried next")
    again: Natural = Field(0, description="times its owner had it sent again")
    record: str = Field("[]", description="the job's record at the event, as JSON; until there is a body")
    body: str | None = Field(None, description="the bytes that every try sends")
    begin_operation: Text = Field(None, description="the call that began the latest try")
    again_operation: Text = Field(None, description="the call that had it sent again last")
    ended_token: Text = Field(None, description="lease under which a try ended last")
    ended_status: Text = Field(None, description="and what the webhook's state was then")

    @property
    def job_fields(self) -> dict[str, str]:
        """The fields of the job's record at the event."""
        flat: list[str] = json.loads(self.record)
        return dict(zip(flat[::2], flat[1::2], strict=True))


class StoredRejection(Frozen):
    """A file of a batch that was refused; ``problem`` is the answer it would have got alone (RFC 9457)."""

    filename: str = ""
    problem: dict[str, Any]


class BatchRecord(Frozen):
    """The fields of the hash ``batch:ID``. ``rejected``: files that were refused, as JSON."""

    owner: str
    created_at: float = Field(alias="created")
    rejected: Json[tuple[StoredRejection, ...]] = ()
    fingerprint: str = Field("", description="of what the Idempotency-Key stands for")
