"""What people approved, from the store, for smart to work with."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fhir_bridge.smart.approval import Approval, Approvals, Ticket
from fhir_bridge.store import approvals as stored
from fhir_bridge.store.versions import now_ms

if TYPE_CHECKING:
    from fhir_bridge.verbs.bridge import Bridge

DAY_MS: Final = 86_400_000


class Approved:
    """Reads and changes what was approved."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge

    def approvals(self) -> Approvals:
        """Return all of it, as the flows ask about it."""
        write, read = self._bridge.store.write, self._bridge.store.read
        return Approvals(
            by_id=self._by_id,
            by_code=lambda digest: _ticket(read(lambda conn: stored.by_code(conn, digest))),
            by_refresh=lambda digest: _ticket(read(lambda conn: stored.by_refresh(conn, digest))),
            redeem=self._redeem,
            revoke=lambda id_: write(lambda conn: stored.revoke(conn, id_)),
            revoke_token=lambda jti, exp: write(lambda conn: stored.revoke_token(conn, jti, exp * 1000)),
            is_revoked=lambda jti, approval: read(lambda conn: stored.is_revoked(conn, jti=jti, approval=approval)),
        )

    def _by_id(self, id_: str) -> Approval | None:
        found = self._bridge.store.read(lambda conn: stored.by_id(conn, id_))
        return Approval.read(found.body) if found else None

    def _redeem(self, ticket: Ticket, refresh: str | None) -> bool:
        settings, now = self._bridge.settings, now_ms()
        ends = now + settings.token_seconds * 1000
        following = stored.Refresh(refresh, now + settings.refresh_days * DAY_MS) if refresh else None
        return self._bridge.store.write(
            lambda conn: stored.redeem(
                conn, ticket.kind, ticket.digest, approval=ticket.approval.id, until_ms=ends, refresh=following
            )
        )


def _ticket(found: stored.Ticket | None) -> Ticket | None:
    if found is None:
        return None
    approval = Approval.read(found.approval.body)
    return Ticket(found.digest, found.kind, approval, good=found.good, used=found.used, exp=found.until_ms // 1000)
