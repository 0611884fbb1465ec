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
from gateway.metrics import Metrics
from gateway.services import Services
from gateway.settings import GatewaySettings
from gateway.shares import Shares
from gateway.streaming.event_hub import Hub
from shared.sandbox import SandboxPool
from shared.store.jobs import Store
from shared.store.webhook_secrets import WebhookSecrets
from shared.store.webhooks import WebhookStore


async def no_store(response: Response) -> None:
    """Keep every answer that is a model out of caches. Endpoints that build a response use ``NoStoreResponse``."""
    response.headers.update(NO_STORE)


def _services(request: Request) -> Services:
    """Called, not depended on: FastAPI resolves a dependency of a dependency anew for each that names it."""
    services: Services = request.app.state.services
    return services


async def _settings(request: Request) -> GatewaySettings:
    return _services(request).settings


async def _store(request: Request) -> Store:
    return _services(request).store


async def _hub(request: Request) -> Hub:
    return _services(request).hub


async def _authenticator(request: Request) -> Authenticator:
    return _services(request).authenticator


async def _webhooks(request: Request) -> WebhookStore:
    return _services(request).webhooks


async def _webhook_secrets(request: Request) -> WebhookSecrets:
    return _services(request).webhook_secrets


async def _documents(request: Request) -> DocumentFetcher:
    return _services(request).documents


async def _files(request: Request) -> Files:
    return _services(request).files


async def _drawing(request: Request) -> SandboxPool:
    return _services(request).drawing


async def _metrics(request: Request) -> Metrics:
    return _services(request).metrics


async def _shares(request: Request) -> Shares:
    return _services(request).authenticator.shares


async def _corrections(request: Request) -> Corrections:
    return _services(request).corrections


async def _background(request: Request) -> Background:
    return _services(request).background


SettingsDep = Annotated[GatewaySettings, Depends(_settings)]
StoreDep = Annotated[Store, Depends(_store)]
HubDep = Annotated[Hub, Depends(_hub)]
AuthenticatorDep = Annotated[Authenticator, Depends(_authenticator)]
WebhookStoreDep = Annotated[WebhookStore, Depends(_webhooks)]
WebhookSecretsDep = Annotated[WebhookSecrets, Depends(_webhook_secrets)]
DocumentsDep = Annotated[DocumentFetcher, Depends(_documents)]
FilesDep = Annotated[Files, Depends(_files)]
DrawingDep = Annotated[SandboxPool, Depends(_drawing)]
MetricsDep = Annotated[Metrics, Depends(_metrics)]
SharesDep = Annotated[Shares, Depends(_shares)]
CorrectionsDep = Annotated[Corrections, Depends(_corrections)]
BackgroundDep = Annotated[Background, Depends(_background)]


async def _caller(request: Request) -> Caller:
    """Identify the caller; without keys everyone is the same one. Raises ``Unauthorized`` and ``RateLimited``."""
    return authorize(await _services(request).authenticator.authenticate(request), needed_scope(request))


async def _admin(request: Request) -> Caller:
    """A caller who may see the whole service. Raises ``Forbidden``."""
    return authorize(await _services(request).authenticator.authenticate(request), Scope.ADMIN)


async def _base_url(request: Request) -> str:
    """The URL of this gateway: ``public_url``, else the request's; without a slash at its end."""
    return (_services(request).settings.public_url or str(request.base_url)).rstrip("/")


CallerDep = Annotated[Caller, Depends(_caller)]
AdminDep = Annotated[Caller, Depends(_admin)]
BaseUrlDep = Annotated[str, Depends(_base_url)]


async def _job_answer(request: Request, response: Response) -> JobAnswer:
    return JobAnswer(request, response, await _base_url(request))


async def _long_poll(request: Request) -> LongPoll:
    services = _services(request)
    return LongPoll(request, services.store, services.hub)


async def _submissions(request: Request) -> Submissions:
    services = _services(request)
    return Submissions(services.settings, services.store, services.inspector, services.guard)


JobAnswerDep = Annotated[JobAnswer, Depends(_job_answer)]
LongPollDep = Annotated[LongPoll, Depends(_long_poll)]
SubmissionsDep = Annotated[Submissions, Depends(_submissions)]
