"""What ``ocr doctor`` looks at."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from importlib import metadata

import httpx

from ocr_client.cli.options import ServiceAddress
from ocr_client.errors import Problem, Unreachable
from ocr_client.models import RunningEngine, ServiceVersion

MOST_SECONDS_APART = 30.0
"""Between the two clocks: signatures of webhooks and tokens of URLs are good for minutes."""


@dataclass(frozen=True, slots=True)
class Check:
    name: str
    ok: bool
    detail: str


def all_checks(connection: ServiceAddress) -> list[Check]:
    """Every check, one after the other. Raises ``Unreachable`` when nothing answers at the URL."""
    headers = {"Authorization": f"Bearer {connection.api_key}"} if connection.api_key else {}
    with httpx.Client(base_url=connection.url, headers=headers, timeout=10.0) as http:
        try:
            about = http.request("GET", "/", headers={"Accept": "application/json"})
            return [_service(connection.url, about), _clock(about), *(check(http) for check in CHECKS)]
        except httpx.TransportError as error:
            raise Unreachable(f"{connection.url} cannot be reached: {error or type(error).__name__}") from None


def _service(url: str, about: httpx.Response) -> Check:
    try:
        found = ServiceVersion.from_json(about.json())
    except (ValueError, KeyError, TypeError):
        return Check("service", False, f"{url} is no OCR service: it answers {about.status_code}")
    mine = metadata.version("ocr-client")
    return Check("service", True, f"{found.name} {found.version} at {url}; this client is {mine}")


def _clock(about: httpx.Response) -> Check:
    told = about.headers.get("date")
    if told is None:
        return Check("clock", True, "the service does not tell its time")
    apart = time.time() - parsedate_to_datetime(told).timestamp()
    return Check("clock", abs(apart) <= MOST_SECONDS_APART, f"this machine is {apart:+.0f} s from the service")


def _key(http: httpx.Client) -> Check:
    response = http.request("GET", "/api/v1/jobs", params={"limit": 1})
    given = "the key" if "authorization" in http.headers else "no key"
    return Check("key", response.is_success, f"{given} is accepted" if response.is_success else _problem(response))


def _queue(http: httpx.Client) -> Check:
    response = http.request("GET", "/readyz")
    return Check("queue", response.is_success, "takes jobs" if response.is_success else _problem(response))


def _engine(http: httpx.Client) -> Check:
    response = http.request("GET", "/models")
    if not response.is_success:
        return Check("engine", False, _problem(response))
    return Check("engine", True, f"{RunningEngine.from_json(response.json()).model} is ready")


def _problem(response: httpx.Response) -> str:
    return str(Problem.from_response(response))


CHECKS: tuple[Callable[[httpx.Client], Check], ...] = (_key, _queue, _engine)
