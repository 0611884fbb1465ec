"""Every name in Redis, in one place: what is stored there, until when, and which process may touch it.

Python calls a key (``keyspace.JOB(job_id)``); Lua gets the same names in a table ``keys`` that the loader writes in
front of each script (``keys.job(id)``). The table in ``docs/architecture.md`` is made of this file, and
``deploy/redis/users.acl`` is tested against it.

Some stored spellings are older than the names here and stay: during a rolling deploy workers and gateways of two
versions work on one store at once, and a renamed key would be two keys (``docs/decisions/0007-stored-names.md``).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from shared.contract.options import Priority

PART = re.compile(r"\{[A-Z]+\}")

READ, WRITE, BOTH = "r", "w", "rw"
NEVER = ""


class Key:
    """A name in Redis: ``pattern`` with its variable parts in braces, ``job:{ID}``.

    ``holds`` and ``until`` are sentences for the docs. ``gateway``, ``worker`` and ``webhooks`` say what each kind of
    process does with it: r, w or rw.
    """

    def __init__(
        self, pattern: str, holds: str, until: str = "", *, gateway: str = NEVER, worker: str = NEVER,
        webhooks: str = NEVER,
    ) -> None:  # fmt: skip
        self.pattern, self.holds, self.until = pattern, holds, until
        self.access: Mapping[str, str] = MappingProxyType({"gateway": gateway, "worker": worker, "webhooks": webhooks})
        self.pieces = PART.split(pattern)

    def __call__(self, *parts: str | int) -> str:
        """The key's name with its variable parts filled in, in their order."""
        if len(parts) != len(self.pieces) - 1:
            raise TypeError(f"{self.pattern} takes {len(self.pieces) - 1} parts")
        return self.pieces[0] + "".join(f"{part}{piece}" for part, piece in zip(parts, self.pieces[1:], strict=True))

    @property
    def title(self) -> str:
        """As the docs name it: ``job:ID``."""
        return self.pattern.replace("{", "").replace("}", "")


_result_ttl = "`result_ttl` after the job's end"
_job_end = "the job's end"

# -- a job
JOB = Key("job:{ID}", "the record (hash; `shared/contract/record.py`)", "twice `result_ttl` after its end",
          gateway=BOTH, worker=BOTH, webhooks=READ)  # fmt: skip
UPLOAD = Key("in:{ID}", "the upload's bytes or its payload's name, and the password of a PDF that needs one", _job_end,
             gateway=BOTH, worker=BOTH)  # fmt: skip
PAGES = Key("pages:{ID}", "page number -> result (JSON), where it is no payload", _result_ttl, gateway=BOTH,
            worker=BOTH)  # fmt: skip
PAGE_PAYLOADS = Key("stored:{ID}", "page number -> token of the claim whose payloads count, and which there are",
                    _result_ttl, gateway=BOTH, worker=BOTH)  # fmt: skip
PAGE_SUMMARIES = Key("marks:{ID}", "page number -> summary (JSON)", _result_ttl, gateway=BOTH, worker=BOTH)
PAGE_IMAGES = Key("img:{ID}", "page number -> picture (WebP), where it is no payload", _result_ttl, gateway=BOTH,
                  worker=BOTH)  # fmt: skip
FIGURES = Key("fig:{ID}", "figure's name -> JPEG, where it is no payload", _result_ttl, gateway=BOTH, worker=BOTH)
EVENTS = Key("ev:{ID}", "stream of events, about 2,000 entries", _result_ttl, gateway=BOTH, worker=BOTH)
PAGE_STARTS = Key("starts:{ID}", "page number -> times begun", _job_end, gateway=BOTH, worker=BOTH)
PAGES_IN_FLIGHT = Key("flight:{ID}", "page number -> being read since", _job_end, gateway=BOTH, worker=BOTH)
PAGE_OPERATIONS = Key("starts:{ID}:operations", "page number -> latest step of the claim", "the job's end, or an hour",
                      gateway=BOTH, worker=BOTH)  # fmt: skip

# -- all jobs
NEXT_CHECK = Key("open", "id of every unfinished job -> when to look at it next", gateway=BOTH, worker=BOTH)
WAITING = Key("waiting:{RANK}", "ids of queued jobs, by their submission", gateway=BOTH, worker=BOTH)
COUNTERS = Key("counters", "sums over all jobs (hash; see `Counter`)", gateway=BOTH, worker=BOTH, webhooks=BOTH)
UNTOLD = Key("untold", "ended jobs of which no worker has told in log and events -> when to have one tell", "told",
             gateway=BOTH, worker=BOTH)  # fmt: skip
HISTOGRAMS = Key("histograms", "how often what took how long (hash; see `Histogram`)",
                 gateway=BOTH, worker=BOTH, webhooks=BOTH)  # fmt: skip
JOBS_OF_OWNER = Key("jobs:{OWNER}", "ids of the owner's jobs, by their submission", "with its last record",
                    gateway=BOTH, worker=WRITE)  # fmt: skip
ENDED_JOBS = Key("jobs:/ended", "`OWNER ID` of ended and deleted jobs -> when their records are gone", "swept",
                 gateway=BOTH, worker=BOTH)  # fmt: skip
CLEANUPS = Key("cleanups", "`WHAT ID`: what of an ended job has to go -> when", "it is done",
               gateway=WRITE, worker=BOTH)  # fmt: skip
HOLDERS = Key("holders:{ID}", "ids of the jobs that name this job's payloads, once there are several",
              "the last of their results", gateway=BOTH, worker=BOTH)  # fmt: skip
SAME_CONTENT = Key("same:{OWNER}:{CONTENT}:{READER}", "ids of succeeded jobs of the same content -> their expiry",
                   "the last of their results", gateway=BOTH, worker=BOTH)  # fmt: skip
BATCH = Key("batch:{ID}", "a batch (hash)", "as long as its jobs can be", gateway=BOTH)
BATCH_JOBS = Key("batch:{ID}:jobs", "ids of its jobs", "as the batch", gateway=BOTH)
IDEMPOTENCY = Key("idem:{OWNER}:{KEY}", "the job and fingerprint of an Idempotency-Key", "`idempotency_ttl`",
                  gateway=BOTH)  # fmt: skip
PAGES_ENDED = Key("rate:{N}", "pages that ended in ten seconds", "90 seconds", gateway=BOTH, worker=BOTH)
READING_SECONDS = Key("rate:busy:{N}", "seconds in which they were read", "90 seconds", gateway=BOTH, worker=BOTH)
LAST_PAGE_END = Key("rate:last", "when a page last ended", "90 seconds", gateway=BOTH, worker=BOTH)

# -- workers
WORKER = Key("worker:{NAME}", "the worker's report of itself (JSON; `WorkerStatus`)", "ten seconds",
             gateway=BOTH, worker=BOTH)  # fmt: skip
WORKERS = Key("workers", "names of the workers", gateway=BOTH, worker=BOTH)
DRAIN = Key("worker:/drain:{NAME}", "that this worker is to drain: when its process started", "its process has ended",
            gateway=BOTH, worker=BOTH)  # fmt: skip
SWEEPER = Key("worker:/sweeper", "the worker that deletes payloads", "`SWEEPER_SECONDS`", worker=BOTH)
PAYLOAD_FOLDER = Key("worker:/payload-folder", "that payloads are kept in a folder: where none is, its disk is away",
                     gateway=READ, worker=BOTH)  # fmt: skip
WORKER_STARTED = Key("worker:/started:{NAME}", "that this worker's start was counted", "an hour", worker=BOTH)
AUDIT = Key("worker:/audit", "the worker that audits the counters", "`AUDIT_SECONDS`", worker=BOTH)

# -- webhooks
WEBHOOK = Key("hook:{ID}", "a webhook (hash)", "`webhook_ttl` after the record, and the last try",
              gateway=BOTH, worker=BOTH, webhooks=BOTH)  # fmt: skip
WEBHOOKS_OF_JOB = Key("hooks:{ID}", "ids of the job's webhooks", "the same", gateway=BOTH, worker=BOTH, webhooks=BOTH)
DELIVERIES = Key("dlv:{ID}", "the job's deliveries, one JSON each", "the same", gateway=BOTH, webhooks=BOTH)
WEBHOOKS_DUE = Key("hooks:due", "webhook -> its next try, or the end of its lease",
                   gateway=BOTH, worker=BOTH, webhooks=BOTH)  # fmt: skip
WEBHOOKS_LEASED = Key("hooks:leased", "webhooks in flight", gateway=BOTH, webhooks=BOTH)
WEBHOOKS_AT_GATE = Key("hooks:at:{GATE}", "those behind one gate: an endpoint or an owner", "a day",
                       gateway=BOTH, webhooks=BOTH)  # fmt: skip
WEBHOOKS_WAITING = Key("hooks:wait:{GATE}", "webhook -> since when it is due, but the gate is full",
                       gateway=BOTH, webhooks=BOTH)  # fmt: skip
CIRCUIT_BREAKER = Key("hooks:break:{ENDPOINT}", "failures in a row, and until when nothing is sent", "a day",
                      gateway=BOTH, webhooks=BOTH)  # fmt: skip
WEBHOOKS_TAKEN = Key("hooks:taken:{OPERATION}", "what one call of `webhook_take` leased", "a minute", webhooks=BOTH)
WEBHOOK_SECRET = Key("secret:{OWNER}", "what signs the owner's webhooks (hash)", gateway=BOTH, webhooks=BOTH)

# -- callers
API_KEYS = Key("keys", "ids of the API keys", gateway=BOTH)
API_KEY = Key("key:{ID}", "an API key: its digest, owner and limits (hash)", gateway=BOTH)
URL_TOKEN_SECRET = Key("key:/url-tokens", "what signs the tokens of URLs", gateway=BOTH)
RATE_LIMIT = Key("rl:{OWNER}", "when the caller will have paid for its requests (GCRA)", "it says nothing any more",
                 gateway=BOTH)  # fmt: skip
RATE_LIMIT_OPERATIONS = Key("rl:/operations:{OWNER}", "the caller's latest requests", "a minute", gateway=BOTH)
PAGE_QUOTA = Key("quota:{OWNER}:{DAY}", "pages the owner submitted that day", "two days", gateway=BOTH)
USAGE = Key("usage:{DAY}", "`OWNER|jobs`, `|pages`, `|bytes`, `|tokens` of a day (hash)", "400 days later",
            gateway=BOTH, worker=BOTH)  # fmt: skip
SHARE = Key("share:{DIGEST}", "what a share link opens: job and owner (hash)", "the link expires", gateway=BOTH)
SHARES_OF_JOB = Key("shares:{ID}", "digests of the job's share links", "the last link expires", gateway=BOTH)
CORRECTIONS = Key("edits:{ID}", "page/block -> text that a person gave it (hash)", "as the result", gateway=BOTH)
FILE = Key("file:{ID}", "a file that was uploaded before it is read: its owner, name and bytes (hash)", "`file_ttl`",
           gateway=BOTH)  # fmt: skip
WAKE = Key("wake:{GATEWAY}", "stream that ends a gateway's blocked read", "an hour", gateway=BOTH)

# -- Celery's queues, named by its transport
QUEUE_HIGH = Key("ocr", "messages of jobs of high priority", gateway=WRITE, worker=BOTH, webhooks=WRITE)
QUEUE = Key("ocr\x06\x16{RANK}", "messages of the others", gateway=WRITE, worker=BOTH, webhooks=WRITE)
QUEUE_OF_WEBHOOKS = Key("webhooks", "messages of webhooks to be sent", worker=WRITE, webhooks=BOTH)

KEYS: Final[Mapping[str, Key]] = MappingProxyType(
    {name.lower(): value for name, value in list(globals().items()) if isinstance(value, Key)}
)
"""Every key, by its name in Lua."""

RANKS: Final[Mapping[Priority, str]] = MappingProxyType({Priority.HIGH: "0", Priority.NORMAL: "3", Priority.LOW: "6"})
"""The rank of each priority's queue; low is first. Celery's transport names the queues by it."""


DRAIN_SECONDS: Final = 86400
"""An order to drain is kept that long after its worker's last report."""

HISTOGRAM_BOUNDS: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900, 3600)
"""The upper bounds of all buckets in ``histograms``, in seconds; one bucket more is without a bound."""


class Histogram:
    """What is measured in ``histograms``, each with the names of its labels.

    A field is ``NAME|VALUE OF A LABEL|...|N`` for the values in bucket N (from 1), or ``...|sum``, the sum of all
    values in microseconds.
    """

    LABELS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
        {"queue": (), "first_text": (), "render": (), "webhook": (), "job": ("status",), "page": ("engine", "status")}
    )


class Counter:
    """The fields of ``counters``. The first four are gauges, the others only grow."""

    JOBS: Final = "jobs"  #: unfinished jobs
    PAGES: Final = "pages"  #: their pages that have not ended
    BYTES: Final = "bytes"  #: bytes of their uploads
    LIMITED: Final = (JOBS, PAGES, BYTES)
    RUNNING: Final = "running"  #: jobs being read
    SUBMITTED: Final = "submitted"  #: jobs accepted
    CACHED: Final = "cached"  #: those of them that were made of an earlier job's result
    LEASES_LOST: Final = "leases_lost"  #: jobs taken from silent workers
    PAYLOADS_MISSING: Final = "payloads_missing"  #: times a payload was not there although a record names it
    ENGINE_STARTS: Final = "engine_starts"  #: engines that became ready
    AUDITS: Final = "audits"  #: audits that came to an end
    WAITING: Final = "waiting"  #: for drift alone: jobs that were listed where they did not belong
    AUDITED: Final = (JOBS, PAGES, BYTES, RUNNING, WAITING, "fin:0", "fin:3", "fin:6")

    @staticmethod
    def submitted_pages(rank: str) -> str:
        """Pages that were submitted with this rank."""
        return f"sub:{rank}"

    @staticmethod
    def finished_pages(rank: str) -> str:
        """Those of them that have ended, or whose job has."""
        return f"fin:{rank}"

    @staticmethod
    def ended(status: str) -> str:
        """Jobs that ended with this status."""
        return f"ended:{status}"

    @staticmethod
    def pages_ended(status: str) -> str:
        """Pages that ended with this status."""
        return f"pages:{status}"

    @staticmethod
    def pages_with_reason(status: str, reason: str) -> str:
        """Those of them that have this reason, a code."""
        return f"reason:{status}:{reason}"

    @staticmethod
    def page_retries(reason: str) -> str:
        """Pages that were begun and have to be begun again."""
        return f"retries:{reason}"

    @staticmethod
    def submitted_jobs(rank: str) -> str:
        """Jobs accepted with this rank."""
        return f"submitted:{rank}"

    @staticmethod
    def webhooks(outcome: str) -> str:
        """Webhooks that ended like this, and deliveries that failed."""
        return f"hooks:{outcome}"

    @staticmethod
    def drift(counter: str) -> str:
        """By how much an audit found this counter wrong, all audits together."""
        return f"drift:{counter}"
