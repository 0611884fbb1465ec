"""Settings that more than one process reads; what one process alone reads is beside its code.

``gateway.settings``, ``worker.settings``, ``worker.webhooks.settings`` and every engine add their own. Names are
environment variables without a prefix (``PORT=9000``) or lines of ``.env``. All processes share one ``.env``: each
passes over the names of the others (``shared.setting_names``) and refuses every other unknown name. Sizes are bytes,
times seconds.
"""

from __future__ import annotations

import base64
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BeforeValidator, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from shared.setting_names import NAMES

MIB = 1024 * 1024
ENGINE_PREFIX = "engine_"
"""Settings of engines that do not come with this service begin so: only the engine that is loaded knows them."""


def _split(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


CommaSeparated = BeforeValidator(_split)
Words = Annotated[tuple[str, ...], NoDecode, CommaSeparated]


class SharedSettings(BaseSettings):
    """Read by every process."""

    model_config = SettingsConfigDict(env_file=".env", extra="forbid", frozen=True, protected_namespaces=())
    passes_over_engines: ClassVar[bool] = True

    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="lowest level that is logged")
    log_format: Literal["json", "text"] = Field("text", description="json: one object a line; the images set it")
    log_filenames: bool = Field(False, description="name the uploaded files in logs and in Flower")
    redis_url: SecretStr = Field(SecretStr("redis://127.0.0.1:6379/0"), description="Redis or Valkey; rediss:// = TLS")

    @model_validator(mode="before")
    @classmethod
    def _pass_over_others(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Drop the names that another process reads. What is left and unknown is refused by ``extra``."""
        return {name: value for name, value in values.items() if name in cls.model_fields or not cls._is_others(name)}

    @classmethod
    def _is_others(cls, name: str) -> bool:
        return name in NAMES or (cls.passes_over_engines and name.startswith(ENGINE_PREFIX))


class JobSettings(SharedSettings):
    """Read by the gateway and the workers."""

    max_file_size: int = Field(10 * MIB, gt=0, description="largest upload of one picture")
    max_pdf_size: int = Field(100 * MIB, gt=0, description="largest PDF (and multi-page TIFF) upload")
    allowed_extensions: Words = Field(
        ("jpg", "jpeg", "png", "webp", "tiff", "tif", "pdf", "gif", "bmp", "avif", "heic", "heif", "jp2", "j2k"),
        description="file types that are accepted; HEIC where the extra heic is installed",
    )
    max_image_pixels: int = Field(120_000_000, gt=0, description="largest area of an image, in pixels")
    max_pages: int = Field(2000, gt=0, description="pages of one job; of a longer document some can be asked for")
    max_prompt_length: int = Field(2000, gt=0, description="characters of a prompt")
    render_memory: int = Field(1024 * MIB, gt=0, description="address space of a render process")
    requeue_after: float = Field(15.0, gt=0, description="seconds until an unclaimed job's message is resent; doubles")
    payloads_url: str = Field(
        "redis:", description="where large data lies: file:///folder, s3://bucket/prefix, gs://, az://; redis: in Redis"
    )


class StoreSettings(JobSettings):
    """Read by ``shared.store``: the limits of the queue, and how long records are kept."""

    result_ttl: int = Field(24 * 3600, gt=0, description="seconds a finished job and its result are kept")
    picture_ttl: int | None = Field(
        None, gt=0, description="seconds pictures of a finished job's pages are kept; default: as its result"
    )
    webhook_ttl: int = Field(
        24 * 3600, gt=0, description="seconds webhooks can be looked at and sent again after the record of their job"
    )
    max_job_age: int = Field(24 * 3600, gt=0, description="seconds a job may be unfinished before it is failed")
    idempotency_ttl: int = Field(24 * 3600, gt=0, description="seconds an Idempotency-Key is remembered")
    max_queue_jobs: int = Field(10_000, gt=0, description="unfinished jobs; beyond them 429 queue-full")
    max_queue_pages: int = Field(200_000, gt=0, description="unfinished pages; beyond them 429 queue-full")
    max_queue_bytes: int = Field(4096 * MIB, gt=0, description="bytes of uploads waiting; beyond them 429 queue-full")
    max_redis_memory: float = Field(0.7, gt=0, le=1, description="share of maxmemory beyond which 503 store-full")
    payloads_min_free: int = Field(
        256 * MIB, ge=0, description="bytes that stay free where a payload folder lies; below them 503 store-full"
    )


class DeliverySettings(SharedSettings):
    """Read by the gateway and the webhook senders."""

    host: str = Field("127.0.0.1", description="address the gateway listens on")
    port: int = Field(8000, description="port the gateway listens on")
    public_url: str | None = Field(None, description="base of the URLs in answers, when a proxy hides the real one")
    webhook_schedule: Annotated[tuple[float, ...], NoDecode, CommaSeparated] = Field(
        (0, 5, 300, 1800, 7200, 18000, 36000), min_length=1, description="seconds before each try, after the one before"
    )
    webhook_timeout: float = Field(15.0, gt=0, description="seconds a receiver has to answer, name lookup included")
    webhook_in_flight: int = Field(64, ge=2, description="deliveries under way at once, of all senders together")
    webhook_endpoint_in_flight: int = Field(4, ge=1, description="deliveries under way to one receiver")
    webhook_breaker_failures: int = Field(5, ge=1, description="failures in a row after which a receiver is left alone")
    webhook_breaker_seconds: float = Field(30.0, gt=0, description="how long at first; doubled up to ten minutes")
    webhook_allow_http: bool = Field(False, description="also call receivers without TLS")
    webhook_ports: Annotated[tuple[int, ...], NoDecode, CommaSeparated] = Field(
        (443,), description="ports of receivers; empty: any"
    )
    webhook_allow: Words = Field(
        (), description="receivers that need not be public: networks (10.1.0.0/16), addresses, host names"
    )
    webhook_secret: SecretStr | None = Field(
        None, description="signs the webhooks of callers without a key (whsec_...); default: made at first need"
    )

    @field_validator("webhook_secret")
    @classmethod
    def _standard_secret(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            prefix, _, encoded = value.get_secret_value().partition("_")
            if prefix != "whsec" or not 24 <= len(base64.b64decode(encoded, validate=True)) <= 64:
                raise ValueError("must be whsec_ and the base64 of 24 to 64 bytes")
        return value


def explain(error: ValidationError) -> str:
    """Say in one line which settings cannot be accepted, and why. Leaves values out: some are secret."""
    faults = [f"{'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}" for fault in error.errors()]
    return "settings: " + "; ".join(faults)
