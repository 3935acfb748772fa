"""Removing audio whose results have been complete for long enough, and what was left by crashes (ruling 32)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from fhir_bridge import points
from fhir_bridge.store import approvals, binaries, budgets, oauth, retention, sign_in, uploads
from fhir_bridge.store.versions import now_ms
from fhir_bridge.verbs import asynchronous, upload

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection

    from fhir_bridge.blobs import Blobs
    from fhir_bridge.settings import Settings
    from fhir_bridge.store import Store
    from fhir_bridge.store.oauth import Tenant

_HOUR_MS: Final = 3_600_000
_SKEW_MS: Final = 60_000  # clocks of hosts differ: what ended on one may be good on another


@dataclass(frozen=True)
class Removed:
    """What one round removed.

    Strays are files that no row names, uploads that nobody ended, and old answers; assertions are all that
    clients and people proved themselves by, once that is past its end.
    """

    audio: int
    strays: int
    assertions: int


def apply(settings: Settings, store: Store, blobs: Blobs) -> Removed:
    """Do one round. The row goes first: a crash in between leaves a stray, which a later round collects."""
    rows = store.read(oauth.tenants)
    tenants = [tenant.id for tenant in rows]
    audio = sum(_forgotten(store, blobs, each.id, _before(settings, each)) for each in rows)
    assertions = store.write(_spent)
    store.write(budgets.forget)
    strays = upload.expire(store, blobs) + asynchronous.expire(store, blobs) + _collected(store, blobs, tenants)
    return Removed(audio, strays, assertions)


def _before(settings: Settings, tenant: Tenant) -> int:
    """Return when results must have been complete for a tenant to keep its audio no longer."""
    own = tenant.audio_retention_hours
    return now_ms() - round((settings.audio_retention_hours if own is None else own) * _HOUR_MS)


def _spent(conn: Connection) -> int:
    """Forget used assertions, and codes, tokens, sessions and launches past their end."""
    ended = now_ms() - _SKEW_MS
    return oauth.forget_expired(conn, now_ms() // 1000) + sign_in.forget(conn) + approvals.forget(conn, ended)


def _forgotten(store: Store, blobs: Blobs, tenant: str, before_ms: int) -> int:
    count = 0
    while found := store.read(partial(retention.outlived, tenant=tenant, completed_before_ms=before_ms)):
        for binary, blob in found:
            if store.write(partial(binaries.forget, tenant=tenant, binary=binary)):
                points.reached("purge.forgotten")
                blobs.delete(blob)
                points.reached("purge.removed")
                count += 1
    return count


def _collected(store: Store, blobs: Blobs, tenants: Iterable[str]) -> int:
    """Remove files that no row names: a crash left them between the disk and the database."""
    later = now_ms() + _HOUR_MS
    known = [
        content.blob
        for tenant in tenants
        for content in store.read(partial(binaries.older_than, tenant=tenant, ms=later))
    ]
    strays = list(blobs.strays([*known, *store.read(uploads.blobs)]))
    for name in strays:
        points.reached("purge.stray")
        blobs.delete_stray(name)
    return len(strays)
