"""What `check` tries: each thing the bridge depends on, with a remedy when it would fail."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import click

from fhir_bridge import clock
from fhir_bridge.blobs import open_blobs
from fhir_bridge.cli.listening import LOOPBACK
from fhir_bridge.cli.opened import is_embedded, store_of
from fhir_bridge.cli.wording import worded
from fhir_bridge.corti.endpoint import endpoint_of
from fhir_bridge.corti.token import TokenSource
from fhir_bridge.errors import BlobDamaged, BridgeError, IssuerUnavailable, StoreUnavailable
from fhir_bridge.keyring import KeyRing
from fhir_bridge.smart.outside import Outside
from fhir_bridge.smart.provider import Provider
from fhir_bridge.store import oauth, walls
from fhir_bridge.trusted import TrustedIssuer

if TYPE_CHECKING:
    from collections.abc import Callable

    from fhir_bridge.blobs import Blobs
    from fhir_bridge.settings import Settings
    from fhir_bridge.store.oauth import Tenant
    from fhir_bridge.trusted import Known

_MIB: Final = 2**20
_NO_ACCOUNT: Final = (
    "no Corti account: set FHIR_BRIDGE_CORTI_CLIENT_ID and FHIR_BRIDGE_CORTI_CLIENT_SECRET; "
    "without one, `serve --sandbox` listens itself"
)
_ESCAPED: Final = (
    "; WARNING: its role is a superuser or has BYPASSRLS, so that the wall between tenants does not hold for it: "
    "let an ordinary role own the database (docs/operations.md)"
)


@dataclass(frozen=True)
class Trial:
    """How one trial ended."""

    name: str
    passed: bool
    text: str


def all_of(wanted: Settings) -> tuple[Trial, ...]:
    """Try everything; a failure of one does not stop the others."""
    trials: tuple[tuple[str, Callable[[Settings], str]], ...] = (
        ("database", _database),
        ("keys", _keys),
        ("disk", _disk),
        ("corti", _corti),
        ("public url", _public_url),
        ("issuers", _issuers),
    )
    return tuple(_tried(name, trial, wanted) for name, trial in trials)


def _tried(name: str, trial: Callable[[Settings], str], wanted: Settings) -> Trial:
    try:
        return Trial(name, passed=True, text=trial(wanted))
    except BridgeError as failure:
        return Trial(name, passed=False, text=worded(failure))
    except click.ClickException as failure:
        return Trial(name, passed=False, text=failure.format_message())
    except OSError as failure:
        return Trial(name, passed=False, text=f"{failure.filename}: {failure.strerror}")


def _database(wanted: Settings) -> str:
    with store_of(wanted) as store:
        count, escaped = len(store.of_all().read(oauth.clients)), store.of_all().read(walls.is_escaped)
    kind = "SQLite" if is_embedded(wanted) else "PostgreSQL"
    return f"{kind}, at this version, {count} clients registered{_ESCAPED if escaped else ''}"


def _keys(wanted: Settings) -> str:
    ring = KeyRing.open(wanted)
    with store_of(wanted) as store:
        tenants, keys = store.of_all().read(oauth.tenants), store.of_all().read(oauth.signing_keys)
    for tenant in tenants:
        tenant.open_audio_key(ring)
        tenant.open_corti_secret(ring)
    for key in keys:
        key.open_private(ring)
    return f"those of {len(tenants)} tenants and {len(keys)} signing keys open"


def _kept_and_read(blobs: Blobs) -> None:
    """Write a few bytes where audio is kept, read them back and remove them: it may be a store of many rights."""
    key = clock.token_bytes(32)
    with blobs.create(key) as writer:
        writer.write(b"check")
        blob = writer.commit()
    try:
        with blobs.reader(blob.id, blob.wrapped_key, key, blob.size) as file:
            file.read()
    finally:
        blobs.delete(blob.id)


def _disk(wanted: Settings) -> str:
    try:
        blobs = open_blobs(wanted)
        free = blobs.free_bytes()
        _kept_and_read(blobs)
    except (StoreUnavailable, BlobDamaged) as exc:
        raise click.ClickException(f"FHIR_BRIDGE_AUDIO_URL: {exc.text}") from exc
    if free < wanted.min_free_bytes:
        raise click.ClickException(
            f"{free // _MIB} MiB are free where audio is kept, fewer than FHIR_BRIDGE_MIN_FREE_BYTES: "
            "nothing would be accepted"
        )
    return f"{free // _MIB} MiB free where audio is kept"


def _corti(wanted: Settings) -> str:
    ring = KeyRing.open(wanted)
    with store_of(wanted) as store:
        tenants = store.of_all().read(oauth.tenants)
    return "; ".join(_token_of(wanted, tenant, tenant.open_corti_secret(ring)) for tenant in tenants)


def _token_of(wanted: Settings, tenant: Tenant, own_secret: str | None) -> str:
    """Get a token as the worker would for this tenant."""
    end = endpoint_of(
        tenant.corti_environment or wanted.corti_environment,
        tenant.corti_tenant or wanted.corti_tenant,
        wanted.corti_api_url,
        wanted.corti_auth_url,
    )
    common = wanted.corti_client_secret.get_secret_value() if wanted.corti_client_secret else None
    client_id, secret = tenant.corti_client_id or wanted.corti_client_id, own_secret or common
    if client_id is None or secret is None:
        raise click.ClickException(f"tenant {tenant.id}: {_NO_ACCOUNT}")
    TokenSource(end, client_id, secret, timeout=wanted.corti_timeout_seconds).bearer()
    return f"tenant {tenant.id}: {end.auth_url} gives tokens"


def _public_url(wanted: Settings) -> str:
    if wanted.public_url is None:
        return "follows from the address that is bound"
    parts = urlsplit(wanted.public_url)
    if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path.strip("/") or parts.query:
        raise click.ClickException("FHIR_BRIDGE_PUBLIC_URL must be an origin such as https://bridge.example.org")
    if parts.scheme == "http" and parts.hostname not in LOOPBACK:
        raise click.ClickException("FHIR_BRIDGE_PUBLIC_URL is plain http: SMART wants TLS but on a loopback address")
    return wanted.public_url


def _issuers(wanted: Settings) -> str:
    """Ask each outside issuer as a token of it would make us ask."""
    url = wanted.public_url
    outside = Outside(wanted.trusted_issuers, base=f"{url}/fhir", allow_private=wanted.allow_private_endpoints, own=url)
    known: set[str] = set()
    if outside.issuers or wanted.sign_in_providers:
        with store_of(wanted) as store:
            known = {tenant.id for tenant in store.of_all().read(oauth.tenants)}
    told = [_told_by(issuer.trusted, issuer.tried, known) for issuer in outside.issuers]
    for each in wanted.sign_in_providers:
        provider = Provider(each, str(url), allow_private=wanted.allow_private_endpoints)
        told.append(_told_by(each, provider.tried, known))
    return "; ".join(("the bridge itself", *told))


def _told_by(known: Known, tried: Callable[[], str], tenants: set[str]) -> str:
    setting = "TRUSTED_ISSUERS" if isinstance(known, TrustedIssuer) else "SIGN_IN_PROVIDERS"
    if known.tenant not in tenants:
        raise click.ClickException(
            f"FHIR_BRIDGE_{setting}: {known.issuer} opens {known.tenant}, which is no tenant here"
        )
    try:
        return f"{known.issuer}: {tried()}"
    except IssuerUnavailable as exc:
        raise click.ClickException(f"FHIR_BRIDGE_{setting}: {known.issuer}: {exc.text}") from exc
