"""The contract between processes: nobody reads another process's data by string, and every name is in one schema."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.contract.document import PageStatus
from shared.contract.events import STORED_EVENTS, EventName, OtherEvent, PageText, StatusChanged, parse_event
from shared.contract.options import Priority
from shared.contract.record import STORED_FIELDS, BatchRecord, JobRecord, WebhookRecord
from shared.contract.states import (
    CLOSED_WEBHOOKS,
    JOB_ARROWS,
    PAGE_ARROWS,
    TERMINAL_STATUSES,
    WEBHOOK_ARROWS,
    DocumentedEnum,
    JobStatus,
    PagePhase,
    WebhookStatus,
)
from shared.contract.worker_status import EngineStatus, WorkerStatus
from shared.store import keyspace
from tools.valkey import ROOT
from worker.fair_queue import WEIGHTS

# What is read by string is not another process's of ours: whose it is instead, and in what it comes.
LIBRARIES = {
    "ASGI": {"scope", "self.scope", "request.scope", "message", "await request.receive()"},
    "the OpenAPI document": {
        "document", "made", "operation", "operation['responses']", "parameter", "request.app.openapi()",
    },
    "pydantic's errors": {"e", "fault", "first"},
    "Redis's INFO": {"info"},
    "the body of a webhook, made two lines above": {"data"},
    "a page's JSON, made of its record two lines above": {"body", "block"},
    "a regular expression's match": {"match"},
    "what obstore says of an object": {"meta", "listing"},
    "an entry of a stream, in read_event alone": {"fields"},
    "the OpenAPI document's schemas": {
        "openapi_field", "openapi_schema", "openapi_schemas", "openapi_schemas['ProblemDetails']",
    },
}  # fmt: skip
KNOWN = set[str]().union(*LIBRARIES.values())
# The same for what is asked for with ``get``, by the end of what is asked.
LENIENT = {
    "HTTP": ("headers", ".query_params", "path_params", "scope", "message"),
    "the form that a caller sends": (
        "fields",
        "parameters(headers.get('content-type', '').encode('latin-1'))",
        "given",
    ),
    "HTML's attributes": ("attributes", ".attrs", "given"),
    "Redis's INFO": ("info",),
    "the OpenAPI document": (
        "made",
        "made.setdefault('components', {})",
        "operation['responses']",
        "operation['responses']['200']",
        "openapi_field",
        "openapi_schema",
    ),
    "a line of the log, made of its record just above": ("line",),
    "our own process": ("self.__dict__", "self.options", "os.environ"),
}
ASKED = tuple({end for ends in LENIENT.values() for end in ends})
CLIENT_RECORDS = {  # made from answers, once
    f"client/src/ocr_client/{name}.py" for name in ("models", "errors", "document", "calls", "async_client")
}
JSON_READERS = {
    "client/src/ocr_client/event_stream.py": "Event, whose members depend on its name",
    "client/src/ocr_client/webhooks.py": "the event, as it was signed",
    "gateway/api/bodies.py": "the caller's own body, whose members are fields of a form",
    "gateway/api/forms.py": "the caller's metadata",
    "shared/contract/record.py": "WebhookRecord.job_fields",
}


def modules() -> Iterator[tuple[str, ast.Module]]:
    """The code of gateway, worker, shared and client, but for engines, which share a process with their worker."""
    for room in ("gateway", "worker", "shared", "client/src"):
        for file in sorted((ROOT / room).rglob("*.py")):
            name = str(file.relative_to(ROOT))
            if not name.startswith("worker/engines/") and name not in CLIENT_RECORDS:
                yield name, ast.parse(file.read_text())


def test_nothing_reads_another_processs_data_by_string() -> None:
    found = [
        f"{name}:{node.lineno} {ast.unparse(node)}"
        for name, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.Subscript)
        and isinstance(node.slice, ast.Constant)
        and isinstance(node.slice.value, str | bytes)
        and isinstance(node.ctx, ast.Load)
        and ast.unparse(node.value) not in {*KNOWN, "Literal"}
    ]
    assert found == [], "parse it into a record of shared/contract"


def test_nothing_asks_another_processs_data_by_string() -> None:
    found = [
        f"{name}:{node.lineno} {ast.unparse(node)}"
        for name, tree in modules()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in ("get", "pop", "setdefault")
        and node.args
        and isinstance(node.args[0], ast.Constant)
        and isinstance(node.args[0].value, str | bytes)
        and ast.unparse(node.func.value) != "router"  # FastAPI: a route, no member
        and not ast.unparse(node.func.value).endswith(ASKED)
    ]
    assert found == [], "parse it into a record of shared/contract"


def test_json_of_another_process_is_parsed_by_records_alone() -> None:
    found = {name for name, tree in modules() if "json.loads" in ast.unparse(tree)}
    assert found <= set(JSON_READERS), "model_validate_json of a record of shared/contract"


def test_no_module_but_the_keyspace_spells_a_key() -> None:
    """The Idempotency-Key of a file of a batch only looks like one."""
    stored = {key.pieces[0] for key in keyspace.KEYS.values()} - {"keys", "webhooks", "workers", "counters", "open"}
    spelled = []
    for name, tree in modules():
        if name in ("shared/store/keyspace.py", "gateway/api/batches.py"):
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.JoinedStr) and node.values and isinstance(node.values[0], ast.Constant):
                start = str(node.values[0].value)
                if any(start == known for known in stored):
                    spelled.append(f"{name}:{node.lineno} {ast.unparse(node)}")
    assert spelled == [], "call a key of shared/store/keyspace.py"


@pytest.mark.parametrize("kind", [JobStatus, PageStatus, PagePhase, WebhookStatus, Priority, EventName])
def test_every_member_of_a_vocabulary_has_its_sentence(kind: type[DocumentedEnum]) -> None:
    for member in kind:
        assert re.fullmatch(r"[A-Z].*[.]", str(member.__doc__)), member


@pytest.mark.parametrize("record", [JobRecord, WebhookRecord])
def test_every_field_of_a_record_is_described(record: type[JobRecord | WebhookRecord]) -> None:
    assert [name for name, field in record.model_fields.items() if not field.description] == []


@pytest.mark.parametrize(
    ("arrows", "ends"), [(JOB_ARROWS, TERMINAL_STATUSES), (PAGE_ARROWS, set(PageStatus)), (WEBHOOK_ARROWS, set())]
)
def test_every_state_is_reached_and_only_ends_lead_nowhere(arrows: dict[tuple[str, str], str], ends: set[str]) -> None:
    reached = {after for _, after in arrows}
    assert reached - {before for before, _ in arrows} == ends
    assert {before for before, _ in arrows} - {""} <= reached


def test_the_closed_states_of_a_webhook_open_again_by_hand_alone() -> None:
    for (before, _), why in WEBHOOK_ARROWS.items():
        assert (before in CLOSED_WEBHOOKS) == (why == "webhook_again")


def test_every_script_on_an_arrow_exists() -> None:
    scripts = {path.stem for path in (ROOT / "shared" / "lua").rglob("*.lua")}
    for why in (*JOB_ARROWS.values(), *PAGE_ARROWS.values(), *WEBHOOK_ARROWS.values()):
        assert re.findall(r"\w+", why)[0] in {*scripts, "the"}, why


def test_each_priority_has_a_rank_and_a_weight() -> None:
    assert set(keyspace.RANKS) == set(WEIGHTS) == set(Priority)
    assert sorted(keyspace.RANKS, key=lambda priority: keyspace.RANKS[priority]) == list(Priority)


def test_an_event_of_a_newer_version_is_passed_on_as_it_is() -> None:
    newer = parse_event("page.coloured", '{"page": 3, "colour": "green"}')
    assert isinstance(newer, OtherEvent)
    assert newer.payload() == {"page": 3, "colour": "green"}
    more = parse_event("token", '{"page": 3, "text": "x", "language": "en"}')
    assert isinstance(more, PageText)
    assert more.payload() == {"page": 3, "text": "x", "language": "en"}


def test_an_event_goes_out_as_it_came_in() -> None:
    for name, data in {"status": {"status": "queued"}, "done": {"status": "failed", "error": None}}.items():
        event = STORED_EVENTS[name].model_validate(data)
        assert (event.name, event.payload()) == (name, data)
    assert StatusChanged(status=JobStatus.PROCESSING, attempt=2).payload() == {"status": "processing", "attempt": 2}


def test_a_report_of_another_version_is_readable() -> None:
    """Fields it does not have get a default, those that are not known here are passed over."""
    text = '{"name": "w", "colour": "green", "engine": {"name": "x", "model": "y", "slots": 4, "speed": 9}}'
    status = WorkerStatus.model_validate_json(text)
    assert status.engine == EngineStatus("x", "y", 4)
    assert (status.reads_pages, status.state) == (True, "ready")
    draining = status.model_copy(update={"draining": True})
    assert (draining.reads_pages, draining.state) == (False, "draining")
    assert WorkerStatus.model_validate_json(status.model_dump_json()) == status


def test_the_former_spelling_of_a_field_is_read_where_the_new_one_is_not() -> None:
    assert {"before", "pages_submitted_before"} <= STORED_FIELDS
    assert BatchRecord.model_validate({"owner": "me", "created": "1"}).rejected == ()


def test_a_key_takes_as_many_parts_as_it_has() -> None:
    assert keyspace.IDEMPOTENCY("me", "k") == "idem:me:k"
    with pytest.raises(TypeError):
        keyspace.IDEMPOTENCY("me")


USERS = ("gateway", "worker", "webhooks")
CELERYS = {"_kombu.*", "unacked*", "*celery.pidbox*", "celeryev*"}


def granted(user: str) -> dict[str, str]:
    """pattern -> r, w or rw, as ``deploy/redis/users.acl`` gives them to a user."""
    text = (ROOT / "deploy" / "redis" / "users.acl").read_text()
    (line,) = re.findall(rf"^user {user} on (.*)$", text, re.M)
    return {
        pattern: (rights or "rw").lower()
        for rights, pattern in re.findall(r"(?:^| )(?:%([RW]+))?~(\S+)", line)
        if pattern not in CELERYS
    }


def matches(pattern: str, key: keyspace.Key) -> bool:
    head = key.pieces[0]
    return head.startswith(pattern[:-1]) if pattern.endswith("*") else key.pattern == pattern


@pytest.mark.parametrize("user", USERS)
def test_users_may_touch_the_keys_that_the_keyspace_gives_them_and_no_others(user: str) -> None:
    patterns = granted(user)
    used: set[str] = set()
    for key in keyspace.KEYS.values():
        rights = {right for pattern, given in patterns.items() if matches(pattern, key) for right in given}
        assert set(key.access[user]) <= rights, f"{user} {key.pattern}"
        used |= {pattern for pattern in patterns if matches(pattern, key) and key.access[user]}
    former = {"d[o]or:*"} if user == "gateway" else set()
    assert used | former == set(patterns), "a pattern that no key needs"


def test_flower_and_the_health_check_see_no_key_of_ours() -> None:
    assert set(granted("flower")) <= {"ocr*", "webhooks*", "flower_unacked*"}


def test_the_path_of_the_scripts_is_the_documented_one() -> None:
    assert {file.parent.name for file in Path(ROOT / "shared" / "lua").rglob("*.lua")} == {
        "jobs", "webhooks", "limits", "include",
    }  # fmt: skip
