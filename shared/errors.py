"""One error tree. The docstring of a class is its title, ``code`` is stable, ``detail`` is shown to the caller.

OCRError
├── FileValidationError      the upload itself cannot be accepted (400)
│   ├── FileMissing  FileEmpty  FileTooLarge  UnsupportedMedia  CorruptFile  ImageTooLarge
│   ├── TooManyPages  EncryptedPdf
├── OptionError              a form field or parameter cannot be accepted (400)
│   ├── BadOption  BadPageRange  BadPrompt  PromptTooLong  BadWebhookUrl  BadDocumentUrl
│   ├── RangeNotSatisfiable (416)
├── AccessError
│   ├── Unauthorized (401)  Forbidden (403)  NotFound (404)
├── StateError               the job is not in the state the call needs
│   ├── AlreadyFinished (409)  JobFailed (409)  ResultExpired (410)  PayloadMissing (410)  IdempotencyMismatch (422)
│   ├── NoText (422)
├── BodyTooLarge (413)  HeadTooLarge (431)  UrlTooLong (414)  BodyTimeout  HeadTimeout (408)
├── UnsupportedEncoding (415)
├── LimitError               a limit was reached; retry later (429)
│   ├── QueueFull  RateLimited
├── UnavailableError         (503)
│   ├── EngineNotReady  StoreUnavailable  StoreFull
└── EngineError              inside a worker: one page, or the whole engine
    ├── PreprocessingError   the page could not be turned into a picture
    │   ├── RenderTimeout  RenderMemory
    ├── InferenceError       the engine refused or failed one page; others are read
    └── EngineDead           the engine is gone; its pages go back to the queue

``gateway.api.problems`` assigns the HTTP statuses.
"""

from __future__ import annotations

from typing import ClassVar


class OCRError(Exception):
    """Internal error"""

    code: ClassVar[str] = "internal"

    def __init__(self, detail: str | None = None, *, retry_after: float | None = None) -> None:
        self.detail = detail or self.title
        self.retry_after = retry_after
        super().__init__(self.detail)

    @property
    def title(self) -> str:
        return (type(self).__doc__ or "").strip().split("\n")[0]


class FileValidationError(OCRError):
    """The file cannot be accepted"""

    code = "unsupported-media"


class FileMissing(FileValidationError):
    """No file was sent"""

    code = "file-missing"


class FileEmpty(FileValidationError):
    """The file is empty"""

    code = "file-empty"


class FileTooLarge(FileValidationError):
    """The file is too large"""

    code = "file-too-large"


class UnsupportedMedia(FileValidationError):
    """Unsupported file type"""

    code = "unsupported-media"


class CorruptFile(FileValidationError):
    """The file is damaged and cannot be opened"""

    code = "corrupt-file"


class ImageTooLarge(FileValidationError):
    """The image has too many pixels"""

    code = "image-too-large"


class TooManyPages(FileValidationError):
    """The document has too many pages"""

    code = "too-many-pages"


class EncryptedPdf(FileValidationError):
    """The PDF is password-protected"""

    code = "encrypted-pdf"


class OptionError(OCRError):
    """Invalid parameter"""

    code = "bad-option"


class BadOption(OptionError):
    """Invalid parameter value"""

    code = "bad-option"


class BadPageRange(OptionError):
    """The page range cannot be read or names no page of the document"""

    code = "bad-page-range"


class BadPrompt(OptionError):
    """The prompt holds something that is not allowed"""

    code = "bad-prompt"


class PromptTooLong(OptionError):
    """The prompt is too long"""

    code = "prompt-too-long"


class RangeNotSatisfiable(OptionError):
    """The range lies beyond the end"""

    code = "range-not-satisfiable"


class BadWebhookUrl(OptionError):
    """The webhook URL cannot be accepted"""

    code = "bad-webhook-url"


class BadDocumentUrl(OptionError):
    """The document cannot be fetched from its URL"""

    code = "bad-document-url"


class AccessError(OCRError):
    """Access denied"""

    code = "forbidden"


class Unauthorized(AccessError):
    """A valid API key is needed"""

    code = "unauthorized"


class Forbidden(AccessError):
    """The key lacks the scope for this"""

    code = "forbidden"


class CrossSite(AccessError):
    """Another web site may not do that"""

    code = "cross-site"


class MisdirectedRequest(AccessError):
    """This service does not answer for that host"""

    code = "misdirected-request"


class NotFound(AccessError):
    """Not found"""

    code = "not-found"


class StateError(OCRError):
    """The job is not in the state that this call needs"""

    code = "not-finished"


class AlreadyFinished(StateError):
    """The job has already finished"""

    code = "already-finished"


class JobFailed(StateError):
    """The job has no result"""

    code = "job-failed"


class ResultExpired(StateError):
    """The result has expired and was deleted"""

    code = "result-expired"


class PayloadMissing(StateError):
    """What was stored has disappeared from the payload store"""

    code = "payload-missing"


class IdempotencyMismatch(StateError):
    """The Idempotency-Key was already used with a different request"""

    code = "idempotency-mismatch"


class NoText(StateError):
    """No extractable text"""

    code = "no-text"


class UnsupportedEncoding(OCRError):
    """Unsupported Content-Encoding"""

    code = "unsupported-encoding"


class BodyTooLarge(OCRError):
    """The request body is too large"""

    code = "body-too-large"


class HeadTooLarge(OCRError):
    """The request's headers are too large"""

    code = "head-too-large"


class UrlTooLong(OCRError):
    """The URL is too long"""

    code = "url-too-long"


class HeadTimeout(OCRError):
    """The request's headers came too slowly"""

    code = "head-timeout"


class BodyTimeout(OCRError):
    """The request body came too slowly"""

    code = "body-timeout"


class LimitError(OCRError):
    """A limit was reached"""

    code = "rate-limited"


class QueueFull(LimitError):
    """The queue is full"""

    code = "queue-full"


class RateLimited(LimitError):
    """Too many requests"""

    code = "rate-limited"


class UnavailableError(OCRError):
    """The service is not available"""

    code = "store-unavailable"


class EngineNotReady(UnavailableError):
    """No engine is ready"""

    code = "engine-not-ready"


class StoreUnavailable(UnavailableError):
    """The store cannot be reached"""

    code = "store-unavailable"


class StoreFull(StoreUnavailable):
    """The store is full"""

    code = "store-full"


class EngineError(OCRError):
    """The engine failed"""

    code = "inference-failed"


class PreprocessingError(EngineError):
    """The page could not be rendered"""

    code = "render-failed"


class RenderTimeout(PreprocessingError):
    """The page took too long to render"""

    code = "render-timeout"


class RenderMemory(PreprocessingError):
    """The page took too much memory to render"""

    code = "render-memory"


class InferenceError(EngineError):
    """The engine could not read the page"""

    code = "inference-failed"


class EngineDead(EngineError):
    """The engine has died"""

    code = "engine-dead"
