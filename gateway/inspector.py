"""Checks every upload before it becomes a job, in sandboxed processes."""

from __future__ import annotations

from typing import BinaryIO, Final

from gateway.settings import GatewaySettings
from shared.blob import Blob
from shared.errors import CorruptFile, ImageTooLarge
from shared.sandbox import Failures, SandboxPool
from shared.upload_check import Asked, UploadInfo, UploadLimits, inspect_blob

FAILURES: Final = Failures(
    timed_out=lambda: CorruptFile("the file takes too long to check"),
    crashed=lambda: CorruptFile("the file cannot be checked"),
    out_of_memory=lambda: ImageTooLarge("the file takes too much memory to check"),
)


class Inspector:
    """Runs ``shared.upload_check.inspect`` with the limits of the settings."""

    def __init__(self, settings: GatewaySettings) -> None:
        self._limits, self._seconds = UploadLimits.of(settings), settings.inspect_timeout
        self._sandbox = SandboxPool(processes=settings.inspect_processes, memory=settings.render_memory)

    async def inspect(self, upload: bytes | BinaryIO, asked: Asked) -> UploadInfo:
        """Check one upload. A file that kills the process, or takes it too long, is refused as corrupt."""
        with Blob(upload) if isinstance(upload, bytes) else Blob.of(upload) as blob:
            return await self._sandbox.run(
                inspect_blob, blob.path, asked, self._limits, timeout=self._seconds, failures=FAILURES
            )

    async def close(self) -> None:
        await self._sandbox.close()
