"""Removing what was kept for long enough (ruling 32): audio, resources by type, audit rows; and what crashes left."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from fhir_bridge import points
from fhir_bridge.store import approvals, audit_chain, binaries, budgets, oauth, retention, sign_in, uploads
from fhir_bridge.store.retention import Old
from fhir_bridge.store.versions import now_ms
from fhir_bridge.verbs import asynchronous, upload
from fhir_bridge.verbs.audit_events import TYPE as AUDIT_EVENT
from fhir_bridge.verbs.erase import NUMBERS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from sqlalchemy import Connection

    from fhir_bridge.blobs import Blobs
    from fhir_bridge.keyring import KeyRing
    from fhir_bridge.settings import Settings
    from fhir_bridge.store import Store
    from fhir_bridge.store.audit_chain import Chain
    from fhir_bridge.store.oauth import Tenant

_HOUR_MS: Final = 3_600_000
_DAY_MS: Final = 24 * _HOUR_MS
_AT_ONCE: Final = 100  # resources in one transaction: others wait to write
_ROWS_AT_ONCE: Final = 1_000
_SKEW_MS: Final = 60_000  # clocks of hosts differ: what ended on one may be good on another


@dataclass(frozen=True)
class Removed:
    """What one round removed.

    Resources were destroyed by their type's time, and audit rows by theirs. Strays are files that no row names, uploads
    that nobody ended, and old answers; assertions are all that clients and people proved themselves by, once that is
    past its end.
    """

    audio: int
    resources: int
    audit: int
    strays: int
    assertions: int


@dataclass(frozen=True)
class Keeper:
    """Whoever applies the rules. It begins no further step when `stopping` says so."""

    settings: Settings
    store: Store
    blobs: Blobs
    keys: KeyRing
    stopping: Callable[[], bool] = lambda: False

    def apply(self) -> Removed:
        """Do one round. The row goes first: a crash in between leaves a stray, which a later round collects."""
        store, blobs, everyone = self.store, self.blobs, self.store.of_all()
        rows = everyone.read(oauth.tenants)
        audio = sum(_forgotten(store.of(each.id), blobs, each.id, _before(self.settings, each)) for each in rows)
        olds = [old for each in rows for old in self._olds(each)]
        resources = sum(self._destroyed(old) for old in olds if old.type != AUDIT_EVENT)
        audit = sum(self._shed(old) for old in olds if old.type == AUDIT_EVENT)
        assertions = everyone.write(_spent)
        everyone.write(budgets.forget)
        strays = upload.expire(store, blobs) + asynchronous.expire(store, blobs)
        strays += _collected(everyone, blobs, [tenant.id for tenant in rows])
        return Removed(audio, resources, audit, strays, assertions)

    def _olds(self, tenant: Tenant) -> list[Old]:
        """Return what is over for a tenant: by its own times, and by the settings' for what it does not name."""
        days = {**self.settings.retention_days, **json.loads(tenant.retention_days or "{}")}
        now = now_ms()
        return [Old(tenant.id, type_, now - most * _DAY_MS) for type_, most in days.items() if most is not None]

    def _destroyed(self, old: Old) -> int:
        theirs, count, more = self.store.of(old.tenant), 0, True
        while more and not self.stopping():
            gone = theirs.write(partial(retention.destroy, old=old, numbers=NUMBERS, count=_AT_ONCE))
            for blob in gone.blobs:
                self.blobs.shred(blob)
            count, more = count + gone.count, gone.count == _AT_ONCE
        return count

    def _shed(self, old: Old) -> int:
        theirs = self.store.of(old.tenant)
        chains = theirs.read(lambda conn: oauth.chains(conn, self.keys))
        shed = partial(audit_chain.shed, chain=_of(old.tenant, chains), before_ms=old.before_ms, count=_ROWS_AT_ONCE)
        count, more = 0, True
        while more and not self.stopping():
            now = theirs.write(shed)
            count, more = count + now, now == _ROWS_AT_ONCE
        return count


def _of(tenant: str, chains: Iterable[Chain]) -> Chain:
    return next(chain for chain in chains if chain.tenant == tenant)


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
