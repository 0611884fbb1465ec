"""Wait until every part answers, and report each one."""

from __future__ import annotations

import time
from collections.abc import Callable

import httpx

from deploy.local.console import Console
from deploy.local.programs import Plan
from deploy.local.watch import ProcessWatch

POLL_SECONDS = 0.1
Check = Callable[[], str | None]


class Parts:
    """One check per part: returns a line about the part once it is ready, else None."""

    def __init__(self, plan: Plan, http: httpx.Client) -> None:
        self._plan, self._http = plan, http

    def checks(self) -> dict[str, Check]:
        checks: dict[str, Check] = {"gateway": self.gateway, "engine": self.engine}
        return checks | ({"flower": self.flower} if self._plan.flower_port else {})

    def gateway(self) -> str | None:
        """The gateway and the store: it is ready once it reaches that."""
        return self._plan.url if self._answer(f"{self._plan.url}/readyz") else None

    def engine(self) -> str | None:
        """The engine of any worker that has reported to the gateway."""
        if not self._answer(f"{self._plan.url}/health"):
            return None
        models = self._answer(f"{self._plan.url}/models")
        return f"{models.json()['engine']}: {models.json()['model']}" if models else None

    def flower(self) -> str | None:
        return self._plan.flower_url if self._answer(f"{self._plan.flower_url}/healthcheck") else None

    def _answer(self, url: str) -> httpx.Response | None:
        try:
            response = self._http.get(url)
        except httpx.TransportError:
            return None
        return response if response.is_success else None


def wait_ready(plan: Plan, watch: ProcessWatch, console: Console, opened: Callable[[], None]) -> None:
    """Return when all parts are ready; ``opened`` is called once the gateway is. Raises ``Failure`` if one fails."""
    started_at = time.monotonic()
    with httpx.Client(timeout=3, trust_env=False) as http:
        checks = Parts(plan, http).checks()
        while checks:
            watch.poll()
            for name in ["gateway"] if "gateway" in checks else list(checks):
                if (what := checks[name]()) is not None:
                    del checks[name]
                    if name == "gateway":
                        opened()
                    console.say(f"{name:8} ready after {time.monotonic() - started_at:.1f} s  ({what})")
            if checks:
                console.waiting(_still(next(iter(checks)), started_at))
                time.sleep(POLL_SECONDS)
    watch.settled = True


def _still(name: str, started_at: float) -> str:
    return f"{name:8} {'loading' if name == 'engine' else 'starting'} … {time.monotonic() - started_at:.0f} s"
