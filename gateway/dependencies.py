"""Dependencies of the endpoints: one annotated type per service, the caller, and what follows from the request."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request, Response

from gateway.api.long_poll import LongPoll
from gateway.api.responses import NO_STORE, JobAnswer
from gateway.api.submission import Submissions
from gateway.auth.api_keys import Scope
from gateway.auth.authenticator import Authenticator
from gateway.auth.authenticator import Caller as Caller
from gateway.auth.scopes import authorize, needed_scope
from gateway.background import Background
from gateway.corrections import Corrections
from gateway.documents import DocumentFetcher
from gateway.files import Files
from gateway.inspector import Inspector
from gateway.metrics import Metrics
from gateway.services import Services
from gateway.settings import GatewaySettings
from gateway.shares import Shares
from gateway.streaming.event_hub import Hub
from shared.sandbox import SandboxPool
from shared.ssrf_guard import SsrfGuard
from shared.store.jobs import Store
from shared.store.webhook_secrets import WebhookSecrets
from shared.store.webhooks import WebhookStore


async def no_store(response: Response) -> None:
    """Keep every answer that is a model out of caches. Endpoints that build a response use ``NoStoreResponse``."""
    response.headers.update(NO_STORE)


async def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


_Services = Annotated[Services, Depends(_services)]


async def _settings(services: _Services) -> GatewaySettings:
    return services.settings


async def _store(services: _Services) -> Store:
    return services.store


async def _hub(services: _Services) -> Hub:
    return services.hub


async def _authenticator(services: _Services) -> Authenticator:
    return services.authenticator


async def _webhooks(services: _Services) -> WebhookStore:
    return services.webhooks


async def _webhook_secrets(services: _Services) -> WebhookSecrets:
    return services.webhook_secrets


async def _guard(services: _Services) -> SsrfGuard:
    return services.guard


async def _documents(services: _Services) -> DocumentFetcher:
    return services.documents


async def _files(services: _Services) -> Files:
    return services.files


async def _inspector(services: _Services) -> Inspector:
    return services.inspector


async def _drawing(services: _Services) -> SandboxPool:
    return services.drawing


async def _metrics(services: _Services) -> Metrics:
    return services.metrics


async def _shares(services: _Services) -> Shares:
    return services.authenticator.shares


async def _corrections(services: _Services) -> Corrections:
    return services.corrections


async def _background(services: _Services) -> Background:
    return services.background


SettingsDep = Annotated[GatewaySettings, Depends(_settings)]
StoreDep = Annotated[Store, Depends(_store)]
HubDep = Annotated[Hub, Depends(_hub)]
AuthenticatorDep = Annotated[Authenticator, Depends(_authenticator)]
WebhookStoreDep = Annotated[WebhookStore, Depends(_webhooks)]
WebhookSecretsDep = Annotated[WebhookSecrets, Depends(_webhook_secrets)]
GuardDep = Annotated[SsrfGuard, Depends(_guard)]
DocumentsDep = Annotated[DocumentFetcher, Depends(_documents)]
FilesDep = Annotated[Files, Depends(_files)]
InspectorDep = Annotated[Inspector, Depends(_inspector)]
DrawingDep = Annotated[SandboxPool, Depends(_drawing)]
MetricsDep = Annotated[Metrics, Depends(_metrics)]
SharesDep = Annotated[Shares, Depends(_shares)]
CorrectionsDep = Annotated[Corrections, Depends(_corrections)]
BackgroundDep = Annotated[Background, Depends(_background)]


async def _caller(request: Request, authenticator: AuthenticatorDep) -> Caller:
    """Identify the caller; without keys everyone is the same one. Raises ``Unauthorized`` and ``RateLimited``."""
    return authorize(await authenticator.authenticate(request), needed_scope(request))


async def _admin(request: Request, authenticator: AuthenticatorDep) -> Caller:
    """A caller who may see the whole service. Raises ``Forbidden``."""
    return authorize(await authenticator.authenticate(request), Scope.ADMIN)


async def _base_url(request: Request, settings: SettingsDep) -> str:
    """The URL of this gateway: ``public_url``, else the request's; without a slash at its end."""
    return (settings.public_url or str(request.base_url)).rstrip("/")


CallerDep = Annotated[Caller, Depends(_caller)]
AdminDep = Annotated[Caller, Depends(_admin)]
BaseUrlDep = Annotated[str, Depends(_base_url)]


async def _job_answer(request: Request, response: Response, base_url: BaseUrlDep) -> JobAnswer:
    return JobAnswer(request, response, base_url)


async def _long_poll(request: Request, store: StoreDep, hub: HubDep) -> LongPoll:
    return LongPoll(request, store, hub)


async def _submissions(settings: SettingsDep, store: StoreDep, inspector: InspectorDep, guard: GuardDep) -> Submissions:
    return Submissions(settings, store, inspector, guard)


JobAnswerDep = Annotated[JobAnswer, Depends(_job_answer)]
LongPollDep = Annotated[LongPoll, Depends(_long_poll)]
SubmissionsDep = Annotated[Submissions, Depends(_submissions)]
