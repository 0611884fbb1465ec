"""The gateway's own settings."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, SecretStr, model_validator
from pydantic_settings import NoDecode

from shared.settings import MIB, CommaSeparated, DeliverySettings, StoreSettings, Words


class GatewaySettings(StoreSettings, DeliverySettings):
    """Read by the gateway."""

    workers: int = Field(1, ge=1, description="gateway processes; they share nothing but Redis")
    max_connections: int = Field(4096, gt=0, description="of one process; one more closes the one idle longest")
    body_timeout: float = Field(30.0, gt=0, description="seconds in which nothing of a request's body may come")
    environment: Literal["development", "production"] = Field(
        "development", description="production refuses CORS_ORIGINS=*"
    )
    cors_origins: Words = Field((), description="web sites that may call the API, https://app.example; *: all")
    allowed_hosts: Words = Field((), description="host names answered on loopback beside localhost; *: any")

    max_batch_files: int = Field(100, gt=0, description="files in one batch")
    max_batch_size: int = Field(500 * MIB, gt=0, description="bytes of one batch request")
    max_metadata_size: int = Field(4096, gt=0, description="bytes of the metadata object")
    inspect_processes: int = Field(4, ge=1, description="uploads a gateway checks at once; started when needed")
    inspect_timeout: float = Field(20.0, gt=0, description="seconds the check of an upload may take")

    result_cache: bool = Field(
        True, description="answer a file that was read before, by the same engine and with the same options, at once"
    )
    file_ttl: int = Field(3600, gt=0, description="seconds a file of /v1/files is kept")
    document_urls: bool = Field(False, description="fetch documents that a caller names by a URL, if they are public")
    document_url_allow_http: bool = Field(False, description="also fetch documents without TLS")
    document_url_ports: Annotated[tuple[int, ...], NoDecode, CommaSeparated] = Field(
        (443,), description="ports documents are fetched from; empty: any"
    )
    document_url_allow: Words = Field(
        (), description="servers of documents that need not be public: networks, addresses, host names"
    )
    document_url_timeout: float = Field(30.0, gt=0, description="seconds a document's server has to send it")

    api_keys: SecretStr = Field(
        SecretStr(""),
        description="API keys, name=key pairs (alice=KEY,bob=KEY), at least 24 characters each;"
        " python -m gateway.keys create makes more",
    )
    allow_anonymous: bool = Field(False, description="without keys, also serve on an address that is not loopback")
    rate_limit: int = Field(600, gt=0, description="requests a minute of one key")
    rate_burst: int = Field(100, gt=0, description="requests of one key at once")
    page_quota: int | None = Field(None, gt=0, description="pages a day (UTC) of one key; default: no limit")
    flower_url: str = Field(
        "", pattern=r"^(https?://.+)?$", description="where Flower is; the operators' view of the page links to it"
    )
    token_ttl: int = Field(600, gt=0, le=3600, description="seconds a token for a job's URLs is valid")

    @model_validator(mode="after")
    def _no_open_cors_in_production(self) -> GatewaySettings:
        if self.environment == "production" and "*" in self.cors_origins:
            raise ValueError("CORS_ORIGINS=* lets every web site read all documents: list the sites")
        return self
