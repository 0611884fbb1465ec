"""An example for each of the main answers, as the sample document gives them; a test holds them against the models."""

from __future__ import annotations

from typing import Any, Final

ID: Final = "01KB2Y6W3N8T5V9XQ4RZJ7M1CD"
SERVICE: Final = "https://ocr.example.org"
JOBS: Final = f"{SERVICE}/api/v1/jobs"
LATER: Final = "2026-02-01T12:00:09.300Z"
JOB: Final[dict[str, Any]] = {
    "id": ID,
    "object": "ocr.job",
    "status": "succeeded",
    "created_at": "2026-01-31T12:00:00.000Z",
    "started_at": "2026-01-31T12:00:00.200Z",
    "completed_at": "2026-01-31T12:00:09.300Z",
    "expires_at": LATER,
    "deadline": None,
    "input": {
        "filename": "scan.pdf",
        "media_type": "application/pdf",
        "bytes": 17145,
        "sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "pages": 2,
        "page_range": "1-2",
        "note": None,
    },
    "options": {"type": "document", "mode": None, "prompt": None, "priority": "normal", "text_layer": "ignore"},
    "metadata": {"order": 17},
    "progress": {"pages_total": 2, "pages_done": 2, "pages_failed": 0},
    "queue": None,
    "attempt": 1,
    "cached": False,
    "error": None,
    "usage": {"prompt_tokens": 1806, "completion_tokens": 912, "engine_seconds": 8.7},
    "engine": "cpu",
    "batch": None,
    "webhook": None,
    "urls": {
        "self": f"{JOBS}/{ID}",
        "result": f"{JOBS}/{ID}/result",
        "events": f"{JOBS}/{ID}/events",
        "cancel": f"{JOBS}/{ID}/cancel",
        "web": f"{SERVICE}/?job={ID}",
    },
}
PAGE: Final[dict[str, Any]] = {
    "number": 1,
    "status": "ok",
    "width": 1190,
    "height": 1684,
    "markdown": "# Harbour Library\n\nOpen from 9 to 17.",
    "blocks": [
        {"type": "title", "bbox": [121, 129, 527, 171], "text": "# Harbour Library", "confidence": 0.98},
        {"type": "text", "bbox": [121, 201, 380, 232], "text": "Open from 9 to 17.", "confidence": 0.96},
    ],
    "figures": [],
}
PAGE_ENDS: Final = [{"number": number, "status": "ok"} for number in (1, 2)]
EXAMPLES: Final[dict[str, dict[str, Any]]] = {
    "JobBrief": JOB,
    "JobView": {**JOB, "pages": PAGE_ENDS},
    "JobList": {"items": [JOB], "next_cursor": None},
    "Page": PAGE,
    "Document": {"job_id": ID, "engine": "cpu", "pages": [PAGE]},
    "BatchView": {
        "id": "01KB2Y7A0D3F6H8K2M4P6R8T0V",
        "object": "ocr.batch",
        "created_at": "2026-01-31T12:00:00.000Z",
        "counts": {"succeeded": 1},
        "jobs": [JOB],
        "rejected": [],
    },
    "Token": {"token": "t1.eyJ…", "expires_at": LATER, "events": f"{JOBS}/{ID}/events?token=t1.eyJ…"},
    "ShareLink": {"url": f"{SERVICE}/s/t1.eyJ…", "expires_at": LATER},
    "SharedJob": {"job": ID},
    "SearchResult": {
        "items": [
            {
                "job": ID,
                "filename": "scan.pdf",
                "page": 1,
                "block": 0,
                "snippet": "# Harbour Library",
                "bbox": [121, 129, 527, 171],
            }
        ],
        "complete": True,
    },
    "Health": {"status": "healthy", "engine_ready": True, "gpu_memory_used": None, "workers_draining": 0},
    "Alive": {"status": "ok"},
    "WebhookBody": {"type": "job.succeeded", "timestamp": "2026-01-31T12:00:09.300Z", "data": JOB},
}
"""Name of a schema -> an example of it."""
