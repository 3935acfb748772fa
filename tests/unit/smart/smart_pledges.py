"""What people approved, kept in memory: what the flows ask of the store, without one."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from fhir_bridge import clock
from fhir_bridge.smart import keys
from fhir_bridge.smart.approval import Approval, Approvals, Context, Person, Ticket, digest_of
from fhir_bridge.smart.flows import Desk
from fhir_bridge.smart.jwks import JwksCache
from fhir_bridge.smart.token import Place, Verifier

IDENTITY = keys.generate("RS256")
HOLM = Person("holm", "default", "Practitioner/holm")


@dataclass
class Pledges:
    """Tickets by digest, and what was taken back."""

    tickets: dict[str, Ticket] = field(default_factory=dict)
    revoked: set[str] = field(default_factory=set)
    kept: dict[str, Approval] = field(default_factory=dict)

    def add(self, code: str, approval: Approval) -> None:
        self.kept[approval.id] = approval
        self._keep(digest_of(code), "code", approval)

    def _keep(self, digest: str, kind: str, approval: Approval) -> None:
        exp = int(clock.now().timestamp()) + 60
        self.tickets[digest] = Ticket(digest, kind, approval, good=True, used=False, exp=exp)

    def _find(self, digest: str, kind: str) -> Ticket | None:
        found = self.tickets.get(digest)
        if found is None or found.kind != kind:
            return None
        return replace(found, good=not found.used and found.approval.id not in self.revoked)

    def _redeem(self, ticket: Ticket, refresh: str | None) -> bool:
        if self.tickets[ticket.digest].used:
            self.revoked.add(ticket.approval.id)
            return False
        self.tickets[ticket.digest] = replace(ticket, used=True, good=False)
        if refresh is not None:
            self._keep(refresh, "refresh", ticket.approval)
        return True

    def approvals(self) -> Approvals:
        return Approvals(
            by_id=self.kept.get,
            by_code=lambda digest: self._find(digest, "code"),
            by_refresh=lambda digest: self._find(digest, "refresh"),
            redeem=self._redeem,
            revoke=self.revoked.add,
            revoke_token=lambda jti, _: self.revoked.add(jti),
            is_revoked=lambda jti, approval: bool({jti, approval} & self.revoked),
        )


def desk_of(find_client, signing, *, place: Place, pledges: Pledges | None = None) -> Desk:
    """A desk at which nothing was used before."""
    return Desk(
        find_client=find_client,
        first_use=lambda *_: True,
        cache=JwksCache(allow_private=False),
        key=signing,
        place=place,
        token_url=f"{place.issuer}/oauth/token",
        seconds=300,
        approvals=(pledges or Pledges()).approvals(),
        identity_key=lambda: IDENTITY,
        verifier=Verifier({signing.kid: signing}.get, place),
    )


def approved(client: str = "app", scope: str = "openid fhirUser patient/*.rs", **changes) -> Approval:
    """What Holm said yes to; the challenge is of the verifier in RFC 7636, appendix B."""
    made = Approval(
        id=clock.new_id(),
        client=client,
        redirect_uri="https://app.example/callback",
        challenge="E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM",
        scope=scope,
        person=HOLM,
        context=Context(patient="anna"),
        auth_time=1000,
    )
    return replace(made, **changes)


VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
