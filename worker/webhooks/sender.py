"""One delivery: the same bytes on every try, signed, to a receiver that may be called, and what came of it."""

from __future__ import annotations

import asyncio
import logging
import ssl
import time
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Final

import httpcore

from shared import log, tracing
from shared.contract.states import WebhookStatus
from shared.ssrf_guard import Blocked, GuardedBackend, SsrfGuard, Unresolved
from shared.store.connect import Client
from shared.store.webhook_secrets import WebhookSecrets, signature_headers
from shared.store.webhooks import Due, Ended, Lease, Outcome, WebhookStore
from worker.outcome import TaskOutcome, TaskState, unchanged
from worker.webhooks.payload import build_body
from worker.webhooks.settings import WebhookSettings

logger = logging.getLogger(__name__)

AGENT: Final = "ocr-service/1"
GONE: Final = 410


class WebhookSender:
    """``guard`` decides which receivers may be called, by the settings unless a test says otherwise."""

    def __init__(
        self, settings: WebhookSettings, redis: Client, hooks: WebhookStore, guard: SsrfGuard | None = None
    ) -> None:
        self._settings = settings
        self._webhooks = hooks
        self._webhook_secrets = WebhookSecrets(redis, settings)
        self._guard = guard or SsrfGuard(settings)
        # No connection is kept: each try looks the name up and checks it. No proxy, no cookie, no redirect: httpcore
        # knows none of them.
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=trust(settings), network_backend=GuardedBackend(self._guard), max_keepalive_connections=0,
            max_connections=None, retries=0,
        )  # fmt: skip

    async def send(self, lease: Lease) -> TaskOutcome:
        """What became of the delivery. A lease that is no longer held sends nothing."""
        due = await self._webhooks.begin(lease)
        if due is None:
            return unchanged("it is not to be sent")
        with (
            log.scope(webhook=lease.webhook_id, job=due.job_id, request_id=due.request_id, key=due.key),
            tracing.span("webhook.attempt", due.traceparent, job=due.job_id, attempt=due.tries),
        ):
            return await self._send(lease, due)

    async def _send(self, lease: Lease, due: Due) -> TaskOutcome:
        body = due.body
        if body is None:
            body = build_body(due.event, due.created_at, due.job(), self._settings)
            await self._webhooks.keep_body(lease, body)
        ended = await self._deliver(due, body)
        state = await self._webhooks.end(due, ended)
        log.event(
            logger, "webhook.attempt", webhook_event=due.event, attempt=due.tries, outcome=state or "fenced",
            status=ended.status_code, reason=ended.error, ms=log.milliseconds(ended.seconds),
        )  # fmt: skip
        return outcome_of(state, due, ended)

    async def _deliver(self, due: Due, body: bytes) -> Ended:
        secrets = await self._webhook_secrets.secrets(due.owner)
        headers = {"content-type": "application/json", "user-agent": AGENT, "accept": "*/*"}
        headers |= signature_headers(secrets, due.lease.webhook_id, body)
        if due.request_id is not None:
            headers["x-request-id"] = due.request_id
        if (traceparent := tracing.traceparent()) is not None:
            headers[tracing.HEADER] = traceparent
        started = time.monotonic()
        try:
            async with asyncio.timeout(self._settings.webhook_timeout):
                status, wait = await self._post(due.url, headers, body)
        except Exception as error:  # whatever it is, it is this delivery's: written down, and tried again
            reason = explain(error)
            if reason == UNKNOWN:
                logger.exception("the delivery failed")
            return Ended(Outcome.FAILED, time.monotonic() - started, error=reason)
        return judge(status, wait, time.monotonic() - started)

    async def _post(self, url: str, headers: dict[str, str], body: bytes) -> tuple[int, str]:
        """Status and Retry-After. The answer's body is never read: it has nothing to say to us."""
        self._guard.rules.read(url)
        async with self._pool.stream("POST", url, headers=list(headers.items()), content=body) as answer:
            given = {name.lower(): value for name, value in answer.headers}
            return answer.status, given.get(b"retry-after", b"").decode("latin-1")

    async def close(self) -> None:
        await self._pool.aclose()
        self._guard.close()


def outcome_of(state: str, due: Due, ended: Ended) -> TaskOutcome:
    """What operators see of one delivery: a later try shows as RETRY, the last failed one as FAILURE."""
    answer = ended.status_code or ended.error
    match state:
        case WebhookStatus.DELIVERED:
            return TaskOutcome(TaskState.SUCCEEDED, f"delivered: {answer}, try {due.tries} in {ended.seconds:.1f} s")
        case WebhookStatus.PENDING:
            return TaskOutcome(TaskState.GIVEN_BACK, f"try {due.tries} failed: {answer}")
        case "":
            return unchanged("another sender holds it")
        case _:
            return TaskOutcome(TaskState.FAILED, f"{state}: {answer}, after {due.tries} tries")


def trust(settings: WebhookSettings) -> ssl.SSLContext:
    """Who may vouch for a receiver's name: the public authorities and those of ``webhook_ca_file``."""
    context = httpcore.default_ssl_context()
    if settings.webhook_ca_file is not None:
        context.load_verify_locations(settings.webhook_ca_file)
    return context


def judge(status: int, retry_after: str, seconds: float) -> Ended:
    """2xx is delivered, 410 stops, all else has failed."""
    if 200 <= status < 300:
        return Ended(Outcome.DELIVERED, seconds, status)
    if status == GONE:
        return Ended(Outcome.GONE, seconds, status)
    error = "redirects are not followed" if 300 <= status < 400 else None
    return Ended(Outcome.FAILED, seconds, status, error, read_retry_after(retry_after))


def read_retry_after(text: str) -> float | None:
    """Seconds of a Retry-After header, a number or a date; None for none or nonsense."""
    if text.isascii() and text.strip().isdecimal():
        return float(text[:12])
    try:
        when = parsedate_to_datetime(text)
    except ValueError:
        return None
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return max(0.0, (when - datetime.now(UTC)).total_seconds())


UNKNOWN: Final = "the delivery failed"


def explain(error: Exception) -> str:
    """A few words for the delivery log: no address, no path, no text of ours or the receiver's."""
    match error:
        case Blocked():
            return f"refused: {error}"
        case Unresolved():
            return str(error)
        case TimeoutError() | httpcore.TimeoutException():
            return "the receiver took too long"
        case httpcore.ConnectError():
            return "the receiver's certificate cannot be trusted" if _is_about_tls(error) else "no connection"
        case httpcore.NetworkError() | httpcore.ProtocolError():
            return "the receiver broke off or did not speak HTTP"
        case _:
            return UNKNOWN


def _is_about_tls(error: BaseException | None) -> bool:
    """httpcore drops the cause, ``from None``, but not the context."""
    return error is not None and (isinstance(error, ssl.SSLError) or _is_about_tls(error.__context__))
