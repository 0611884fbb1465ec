"""Every setting of the service, typed, read once and passed down.

Names are environment variables without a prefix (``PORT=9000``) or lines of ``.env``; an unknown name in ``.env`` is
refused. Sizes are bytes, times seconds. ``docs/settings.md`` is checked against this file.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

MIB = 1024 * 1024
ENGINES = ("auto", "cpu", "deepseek-ocr", "instant")


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_file=".env", extra="forbid", frozen=True, protected_namespaces=())

    # Gateway
    host: str = Field("127.0.0.1", description="address the gateway listens on")
    port: int = Field(8000, description="port the gateway listens on")
    workers: int = Field(1, ge=1, description="gateway processes; they share nothing but Redis")
    environment: Literal["development", "production"] = Field("development", description="CORS: all or listed origins")
    cors_origins: Annotated[tuple[str, ...], NoDecode] = Field((), description="origins allowed in production")
    public_url: str | None = Field(None, description="base of the URLs in answers, when a proxy hides the real one")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="lowest level that is logged")

    # Uploads
    max_file_size: int = Field(10 * MIB, gt=0, description="largest upload of one picture")
    max_pdf_size: int = Field(100 * MIB, gt=0, description="largest PDF (and multi-page TIFF) upload")
    max_batch_files: int = Field(100, gt=0, description="files in one batch")
    max_batch_size: int = Field(500 * MIB, gt=0, description="bytes of one batch request")
    allowed_extensions: Annotated[tuple[str, ...], NoDecode] = Field(
        ("jpg", "jpeg", "png", "webp", "tiff", "tif", "pdf", "gif", "bmp", "avif", "heic", "heif", "jp2", "j2k"),
        description="file types that are accepted; HEIC where the extra heic is installed",
    )
    max_image_pixels: int = Field(120_000_000, gt=0, description="largest area of an image, in pixels")
    max_pages: int = Field(2000, gt=0, description="pages of one job; of a longer document some can be asked for")
    max_prompt_length: int = Field(2000, gt=0, description="characters of a prompt")
    max_metadata_size: int = Field(4096, gt=0, description="bytes of the metadata object")

    # Rendering (child processes)
    render_dpi: int = Field(144, ge=36, le=600, description="least resolution of PDF pages; scans get their own")
    render_max_side: int = Field(4000, ge=64, description="longest side of a page's picture; more where it is cut up")
    render_max_pixels: int = Field(48_000_000, ge=4096, description="largest area of a page's picture, in pixels")
    render_timeout: float = Field(20.0, gt=0, description="seconds one page may take to render before it is killed")
    render_memory: int = Field(1024 * MIB, gt=0, description="address space of a render process")
    render_processes: int = Field(2, ge=1, description="render processes of a worker")
    render_ahead: int = Field(4, ge=1, description="pages rendered before the engine has a slot for them")
    inspect_processes: int = Field(4, ge=1, description="uploads a gateway checks at once; started when needed")
    inspect_timeout: float = Field(20.0, gt=0, description="seconds the check of an upload may take")
    body_timeout: float = Field(60.0, gt=0, description="seconds an upload may stand still before it is refused")
    keep_page_images: bool = Field(True, description="keep each page's picture beside its result")
    page_image_quality: int = Field(70, ge=1, le=95, description="WebP quality of the kept page pictures")

    # Store
    redis_url: SecretStr = Field(SecretStr("redis://127.0.0.1:6379/0"), description="Redis or Valkey; rediss:// = TLS")
    result_ttl: int = Field(24 * 3600, gt=0, description="seconds a finished job and its result are kept")
    max_job_age: int = Field(24 * 3600, gt=0, description="seconds a job may be unfinished before it is failed")
    idempotency_ttl: int = Field(24 * 3600, gt=0, description="seconds an Idempotency-Key is remembered")
    max_queue_jobs: int = Field(10_000, gt=0, description="unfinished jobs; beyond them 429 queue-full")
    max_queue_pages: int = Field(200_000, gt=0, description="unfinished pages; beyond them 429 queue-full")
    max_queue_bytes: int = Field(4096 * MIB, gt=0, description="bytes of uploads waiting; beyond them 429 queue-full")
    max_redis_memory: float = Field(0.7, gt=0, le=1, description="share of maxmemory beyond which 429 queue-full")

    # Worker
    engine: str = Field("auto", description="auto, cpu, deepseek-ocr, instant, or module:load of another engine")
    instant_seconds: float = Field(0.0, ge=0, description="seconds the instant engine takes for a page")
    jobs_in_flight: int | None = Field(
        None, ge=1, description="jobs one worker holds at once; default: 64, with DeepSeek-OCR max_num_seqs"
    )
    pages_in_flight: int | None = Field(None, ge=1, description="pages in the engine at once; default: the engine's")
    lease: float = Field(15.0, gt=0, description="seconds a worker's claim on a job lasts unless renewed")
    heartbeat: float = Field(0.5, gt=0, description="seconds between renewals; also how soon a cancel is seen")
    requeue_after: float = Field(15.0, gt=0, description="seconds until an unclaimed job's message is resent; doubles")
    page_attempts: int = Field(3, ge=1, description="worker deaths a page may be part of before it is failed as poison")
    page_timeout: float = Field(300.0, gt=0, description="seconds one page may be read before it is failed")
    drain_seconds: float = Field(90.0, ge=0, description="seconds running pages get after TERM")
    cpu_threads: int | None = Field(None, ge=1, description="threads of the CPU engine; default: all cores")
    heartbeat_file: Path | None = Field(None, description="file touched by the engine's loop, for liveness probes")

    # Callers
    api_keys: SecretStr = Field(
        SecretStr(""), description="keys by name, alice=KEY,bob=KEY; more are made by python -m gateway.keys create"
    )
    allow_anonymous: bool = Field(False, description="without keys, also serve on an address that is not loopback")
    rate_limit: int = Field(600, gt=0, description="requests a minute of one key")
    rate_burst: int = Field(100, gt=0, description="requests of one key at once")
    page_quota: int | None = Field(None, gt=0, description="pages a day (UTC) of one key; default: no limit")
    token_ttl: int = Field(600, gt=0, le=3600, description="seconds a token for a job's URLs is valid")

    # Webhooks
    webhook_schedule: Annotated[tuple[float, ...], NoDecode] = Field(
        (0, 5, 300, 1800, 7200, 18000, 36000), min_length=1, description="seconds before each try, after the one before"
    )
    webhook_timeout: float = Field(15.0, gt=0, description="seconds a receiver has to answer, name lookup included")
    webhook_in_flight: int = Field(64, ge=2, description="deliveries under way at once, of all senders together")
    webhook_endpoint_in_flight: int = Field(4, ge=1, description="deliveries under way to one receiver")
    webhook_breaker_failures: int = Field(5, ge=1, description="failures in a row after which a receiver is left alone")
    webhook_breaker_seconds: float = Field(30.0, gt=0, description="how long at first; doubled up to ten minutes")
    webhook_allow_http: bool = Field(False, description="also call receivers without TLS")
    webhook_ports: Annotated[tuple[int, ...], NoDecode] = Field((443,), description="ports of receivers; empty: any")
    webhook_allow: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="receivers that need not be public: networks (10.1.0.0/16), addresses, host names"
    )
    webhook_ca_file: Path | None = Field(None, description="certificates of further authorities receivers may have")
    webhook_secret: SecretStr | None = Field(
        None, description="signs the webhooks of callers without a key (whsec_...); default: made at first need"
    )

    # DeepSeek-OCR on vLLM
    model_path: str = Field("/models/deepseek-ai/DeepSeek-OCR", description="folder of the model's files")
    cuda_device: str = Field("0", description="CUDA_VISIBLE_DEVICES of the engine")
    gpu_memory_utilization: float = Field(0.5, gt=0, le=1, description="share of the GPU's memory the engine may take")
    max_model_len: int = Field(8192, ge=1024, description="tokens of prompt and answer together")
    max_num_seqs: int = Field(256, ge=1, description="pages the engine decodes at once")
    max_num_batched_tokens: int = Field(16384, ge=1024, description="tokens of one engine step")
    preprocess_processes: int = Field(4, ge=1, description="processes that turn pictures into the engine's input")
    encoder_pages: int = Field(8, ge=1, le=64, description="pages whose pictures the GPU encodes together")
    engine_stall: float = Field(60.0, gt=0, description="seconds without a token before the engine counts as hung")
    vllm_args: Annotated[dict[str, Any], NoDecode] = Field(
        {}, description="further arguments of vLLM's AsyncEngineArgs, as JSON"
    )

    @field_validator("webhook_secret")
    @classmethod
    def _standard_secret(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            prefix, _, encoded = value.get_secret_value().partition("_")
            if prefix != "whsec" or not 24 <= len(base64.b64decode(encoded, validate=True)) <= 64:
                raise ValueError("must be whsec_ and the base64 of 24 to 64 bytes")
        return value

    @field_validator("engine")
    @classmethod
    def _known_engine(cls, value: str) -> str:
        if value not in ENGINES and ":" not in value:
            raise ValueError(f"not an engine: {value}; choose {', '.join(ENGINES)} or module:load")
        return value

    @field_validator(
        "cors_origins", "allowed_extensions", "webhook_schedule", "webhook_ports", "webhook_allow", mode="before"
    )
    @classmethod
    def _comma_separated(cls, value: Any) -> Any:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("vllm_args", mode="before")
    @classmethod
    def _json(cls, value: object) -> object:
        """Decoded here, and not by pydantic-settings, so that a fault is one among the others."""
        return json.loads(value) if isinstance(value, str) else value


def explain(error: ValidationError) -> str:
    """One line for an operator: which settings cannot be taken, and why. Values are left out, for some are secret."""
    faults = [f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}" for fault in error.errors()]
    return "settings: " + "; ".join(faults)
