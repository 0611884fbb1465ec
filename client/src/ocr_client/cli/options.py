"""What several commands share: the connection, and options of the same meaning."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from ocr_client.choices import Mode, OutputFormat, Priority, ReadType, TextLayer

if TYPE_CHECKING:
    from ocr_client.async_client import AsyncClient
    from ocr_client.client import Client

Formats = Annotated[
    list[OutputFormat] | None, typer.Option("-f", "--format", help="default md; may be repeated", show_default=False)
]
PageRange = Annotated[str | None, typer.Option("--pages", metavar="RANGE", help="only these: 1-3,7 or 5- or -1")]
TypeOption = Annotated[ReadType | None, typer.Option("--type", help="what the picture is")]
ModeOption = Annotated[Mode | None, typer.Option("--mode", help="resolution, where the engine has modes")]
Prompt = Annotated[str | None, typer.Option("--prompt", help="in place of --type")]
Json = Annotated[bool, typer.Option("--json", help="JSON on stdout, one object a line")]
JobId = Annotated[str, typer.Argument(metavar="JOB", show_default=False)]
JobIds = Annotated[list[str], typer.Argument(metavar="JOB", show_default=False)]
PriorityOption = Annotated[Priority | None, typer.Option("--priority", help="of its place in the queue")]
TextLayerOption = Annotated[
    TextLayer | None, typer.Option("--text-layer", help="prefer: take a PDF's own text where it has all")
]
Languages = Annotated[
    str | None, typer.Option("--languages", metavar="ru,en", help="of the writing, where the engine must be told")
]
Deadline = Annotated[str | None, typer.Option("--deadline", metavar="10m", help="give up after so many s, m or h")]
Metadata = Annotated[
    list[str] | None, typer.Option("--metadata", metavar="NAME=VALUE", help="comes back with the job; repeatable")
]
WebhookUrl = Annotated[str | None, typer.Option("--webhook", metavar="URL", help="is called when a job has ended")]
Include = Annotated[
    list[str] | None, typer.Option("--include", metavar="GLOB", help="of folders: only names like this; repeatable")
]
Exclude = Annotated[list[str] | None, typer.Option("--exclude", metavar="GLOB", help="not names like this; repeatable")]
FullNames = Annotated[bool, typer.Option("--full-names", help="write scan.pdf.md instead of scan.md")]
Uploads = Annotated[int, typer.Option("--jobs", "-j", min=1, max=32, help="files uploaded at once")]
Force = Annotated[bool, typer.Option("--force", help="read again what was read before with these options")]
Quiet = Annotated[bool, typer.Option("-q", "--quiet", help="say nothing but errors")]
NoProgress = Annotated[bool, typer.Option("--no-progress", help="lines instead of bars, also on a terminal")]


@dataclass(frozen=True, slots=True)
class ServiceAddress:
    """``patience``: seconds to retry over outages."""

    url: str
    api_key: str | None
    patience: float

    def client(self) -> Client:
        from ocr_client.client import Client

        return Client(self.url, self.api_key, patience=self.patience)

    def async_client(self) -> AsyncClient:
        from ocr_client.async_client import AsyncClient

        return AsyncClient(self.url, self.api_key, patience=self.patience)
