"""Every setting: its type, default and help. The only reader of the environment.

Precedence: the process environment, then `.env`, then the default. A name ending in
`_FILE` names a file that holds the value of a secret, or of the database's URL.
"""

from __future__ import annotations

import difflib
import json
import os
from pathlib import Path
from typing import Annotated, Literal

from dotenv import dotenv_values
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, ValidationInfo, field_validator

from fhir_bridge.errors import BadSetting
from fhir_bridge.trusted import Known, SignInProvider, TrustedIssuer, apart

PREFIX = "FHIR_BRIDGE_"
# Names of Corti's own example, honoured in the .env file only (public-interface.md).
CORTI_EXAMPLE_NAMES = {
    "CLIENT_ID": "corti_client_id",
    "CLIENT_SECRET": "corti_client_secret",
    "TENANT_NAME": "corti_tenant",
    "ENVIRONMENT": "corti_environment",
}

# What can be kept for a time of its own; audio has a setting, visits and people are erased.
Kept = Literal["Media", "Observation", "DocumentReference", "Composition", "Provenance", "AuditEvent"]


class Settings(BaseModel):
    """What an operator can decide. Field `x` is read from `FHIR_BRIDGE_X`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    public_url: str | None = Field(None, description="Base URL clients use; unset: derived from the bound address")
    data_dir: Path = Field(Path("data"), description="Folder of the embedded database, audio and keys")
    database_url: str | None = Field(None, description="SQLAlchemy URL; unset: SQLite in the data directory")
    audio_url: str | None = Field(None, description="Where audio is kept; unset: a folder in the data directory")
    audio_options: SecretStr | None = Field(None, description="Options of an object store for audio (JSON object)")
    secret_key: SecretStr | None = Field(
        None, description="Wraps all stored keys; unset: a key file in the data directory"
    )

    corti_environment: str = Field("eu", description="Corti region: eu, us or another name")
    corti_tenant: str = Field("base", description="Corti tenant (Keycloak realm)")
    corti_client_id: str | None = Field(None, description="Corti API client id")
    corti_client_secret: SecretStr | None = Field(None, description="Corti API client secret")
    corti_api_url: str | None = Field(None, description="Origin of Corti's API; unset: from the environment")
    corti_auth_url: str | None = Field(None, description="Origin of Corti's login; unset: from the environment")
    corti_timeout_seconds: float = Field(30.0, gt=0, description="Seconds to wait for a REST answer of Corti")
    corti_give_up_hours: float = Field(24.0, ge=0, description="Hours a job waits for Corti before it fails")

    corti_failures: int = Field(5, gt=0, description="Failures in a row after which Corti is left alone for a while")

    transport: Literal["stream", "recording", "auto"] = Field("stream", description="How audio reaches Corti")
    stream_pace: float = Field(1.0, gt=0, description="Speed of streamed audio, times real time")
    language: str = Field("en", description="Language when neither Media, Encounter nor Patient names one")

    unique_identifiers: bool = Field(default=True, description="Refuse a second Encounter with the same identifier")
    audio_hosts: tuple[str, ...] = Field(
        (), description="Hosts from which recordings that Media.content.url names are fetched (JSON list)"
    )
    allow_private_endpoints: bool = Field(
        default=False, description="Let URLs name loopback and private addresses, and plain http"
    )
    trusted_proxies: tuple[str, ...] = Field(
        (), description="Addresses whose X-Forwarded-* headers are believed (JSON list)"
    )
    trusted_issuers: tuple[TrustedIssuer, ...] = Field(
        (), description="Outside issuers whose tokens count (JSON list; docs/security/issuers.md)"
    )
    built_in_issuer: bool = Field(
        default=True, description="Give tokens here; false: only those of trusted issuers count, the first is announced"
    )
    sign_in_providers: tuple[SignInProvider, ...] = Field(
        (), description="OpenID providers at which people sign in (JSON list; docs/security/issuers.md)"
    )

    max_inline_audio_bytes: int = Field(150 * 2**20, gt=0, description="Decoded audio in one Media")
    max_binary_bytes: int = Field(2**30, gt=0, description="Bytes of one raw Binary")
    max_inline_document_bytes: int = Field(10 * 2**20, gt=0, description="Decoded inline documents in one body")
    max_json_bytes: int = Field(5 * 2**20, gt=0, description="JSON body without its audio and documents")
    max_transaction_bytes: int = Field(20 * 2**20, gt=0, description="Transaction without its audio and documents")
    max_transaction_entries: int = Field(500, gt=0, description="Entries of one transaction")
    page_size: int = Field(50, gt=0, description="Search page when _count is not given")
    max_page_size: int = Field(200, gt=0, description="Largest search page")
    min_free_bytes: int = Field(256 * 2**20, ge=0, description="Free disk below which nothing new is accepted")

    web_bodies: int = Field(14, gt=0, description="Request bodies one web process of 16 threads takes in at once")
    tenant_bodies: int = Field(12, gt=0, description="Request bodies of one tenant a web process takes in at once")
    max_waiting: int = Field(20_000, gt=0, description="Recordings waiting for a worker above which none is accepted")
    tenant_waiting: int = Field(
        5_000, gt=0, description="Recordings of one tenant waiting above which none is accepted"
    )
    tenant_audio_minutes_per_day: int | None = Field(
        None, ge=0, description="Minutes of audio accepted from one tenant in a day (UTC); unset: any number"
    )

    audio_retention_hours: float = Field(24.0, ge=0, description="Hours audio is kept once its results are complete")

    retention_days: dict[Kept, Annotated[int, Field(gt=0)]] = Field(
        {}, description="Days resources are kept after their last change, by type; others for ever (JSON object)"
    )

    lease_seconds: float = Field(30.0, gt=0, description="How long a worker owns a job without renewing")
    worker_streams: int = Field(20, gt=0, description="Jobs one worker runs at once")
    max_streams: int = Field(100, gt=0, description="Jobs all workers run at once")
    tenant_streams: int | None = Field(None, gt=0, description="Jobs of one tenant run at once; unset: a fair share")
    interactions_per_minute: int | None = Field(
        None, gt=0, description="Jobs on interactions begun in a minute by all workers; unset: any number"
    )
    token_seconds: int = Field(300, gt=0, le=3600, description="Life of an access token")
    refresh_days: int = Field(90, gt=0, description="Days a refresh token for offline access lasts when it is not used")
    sandbox_model_dir: Path | None = Field(
        None, description="Speech model folder of the sandbox; unset: the packaged one"
    )

    @field_validator("retention_days", mode="before")
    @classmethod
    def _is_an_object(cls, given: object) -> object:
        return json.loads(given) if isinstance(given, str) else given

    @field_validator("trusted_issuers", "sign_in_providers")
    @classmethod
    def _are_apart_and_encrypted(cls, issuers: tuple[Known, ...], others: ValidationInfo) -> tuple[Known, ...]:
        if not others.data.get("allow_private_endpoints") and not all(map(Known.encrypted, issuers)):
            raise ValueError("https URLs only, unless FHIR_BRIDGE_ALLOW_PRIVATE_ENDPOINTS")
        return apart(issuers)


SECRETS = tuple(name for name, field in Settings.model_fields.items() if "SecretStr" in str(field.annotation))
# May stand in a file: the secrets, and what may hold one: the URL with the database's password, clients' secrets.
FROM_FILE = (*SECRETS, "database_url", "trusted_issuers", "sign_in_providers")


def load(dotenv: Path | None = Path(".env")) -> Settings:
    """Read the settings from the environment and from the file `dotenv`, when it exists.

    Raises:
        BadSetting: an unknown name (with the nearest known one), a value of the wrong
            type, or a `_FILE` that cannot be read.
    """
    return _validated({name: value for name, (value, _) in _given(dotenv).items()})


def sources(dotenv: Path | None = Path(".env")) -> dict[str, str]:
    """Tell where each setting comes from: `environment`, `.env` or `default`."""
    given = _given(dotenv)
    return {name: given[name][1] if name in given else "default" for name in Settings.model_fields}


def environment(**texts: str) -> dict[str, str]:
    """Return the environment of a child in which these settings hold, and all else is as it is here."""
    given = {PREFIX + name.upper(): text for name, text in texts.items()}
    files = {f"{key}_FILE" for key in given}
    return {key: text for key, text in os.environ.items() if key not in files} | given


def _given(dotenv: Path | None) -> dict[str, tuple[str, str]]:
    in_file = {}
    if dotenv is not None and dotenv.is_file():
        in_file = _with_example_names({key: value or "" for key, value in dotenv_values(dotenv).items()})
    given = {name: (value, ".env") for name, value in _fields(in_file).items()}
    given |= {name: (value, "environment") for name, value in _fields(dict(os.environ)).items()}
    return given


def _with_example_names(raw: dict[str, str]) -> dict[str, str]:
    """Read Corti's names as ours; where both are given, ours counts."""
    ours = {key: value for key, value in raw.items() if key not in CORTI_EXAMPLE_NAMES}
    for name, field in CORTI_EXAMPLE_NAMES.items():
        key = PREFIX + field.upper()
        if raw.get(name) and not ours.get(key):
            ours[key] = raw[name]
    return ours


def _fields(raw: dict[str, str]) -> dict[str, str]:
    found = {}
    for key, value in raw.items():
        if not key.startswith(PREFIX):
            continue
        name, is_file = _named(key)
        if value and is_file and raw.get(PREFIX + name.upper()):
            raise BadSetting(f"{key} and {PREFIX}{name.upper()} are both given; keep one", at=key)
        if value:
            found[name] = _secret_in(Path(value), key) if is_file else value
    return found


def _named(key: str) -> tuple[str, bool]:
    """Return the field that a variable means, and whether it names a file that holds the value."""
    fields = {PREFIX + name.upper(): (name, False) for name in Settings.model_fields}
    fields |= {f"{PREFIX}{name.upper()}_FILE": (name, True) for name in FROM_FILE}
    if key not in fields:
        nearest = difflib.get_close_matches(key, fields, n=1, cutoff=0.0)[0]
        raise BadSetting(f"{key} is not a setting; did you mean {nearest}?", at=key)
    return fields[key]


def _secret_in(path: Path, key: str) -> str:
    try:
        secret = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as exc:
        raise BadSetting(f"{key} names a file that cannot be read", at=key) from exc
    if not secret:
        raise BadSetting(f"{key} names a file that is empty", at=key)
    return secret


def _validated(values: dict[str, str]) -> Settings:
    try:
        return Settings.model_validate({name: _parsed(text) for name, text in values.items()})
    except ValidationError as exc:
        raise _refused(exc) from exc


def _refused(exc: ValidationError) -> BadSetting:
    """Name the setting, and within a list of objects the place; never the value, which may be a secret."""
    first = exc.errors(include_input=False, include_url=False)[0]
    name, *within = map(str, first["loc"])
    key = PREFIX + name.upper()
    place = f"{'.'.join(within)}: " if within else ""
    return BadSetting(f"{key}: {place}{first['msg']}", at=key)


def _parsed(text: str) -> object:
    """Read a JSON list; leave everything else to the model."""
    if not text.startswith("["):
        return text
    try:
        return json.loads(text)
    except ValueError:
        return text
