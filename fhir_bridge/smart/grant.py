"""A Grant: what a verified access token allows, and to whom."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fhir_bridge.smart import scope as scopes
from fhir_bridge.smart.scope import Scope

if TYPE_CHECKING:
    from fhir_bridge.smart.scope import Right


@dataclass(frozen=True)
class Grant:
    """The bearer of a verified token.

    `patient` and `encounter` are ids of the launch context, `approval` is the person's yes that the token
    came of, `jti` and `exp` are the token's own, and `subject` is who signed in, as id_tokens name them.
    `issuer` is set for tokens of outside issuers alone.
    """

    tenant: str
    client: str
    scope: str
    user: str | None = None
    patient: str | None = None
    issuer: str | None = None
    encounter: str | None = None
    approval: str | None = None
    subject: str | None = field(default=None, compare=False)
    jti: str | None = field(default=None, compare=False)
    exp: int = field(default=0, compare=False)

    def scopes_for(self, type_: str, right: Right) -> tuple[Scope, ...]:
        """Return the scopes that give `right` on `type_`, each still subject to its level and query."""
        every = (*scopes.parse(self.scope), *self._own())
        return tuple(found for found in every if found.covers(type_, right))

    def _own(self) -> tuple[Scope, ...]:
        """With `openid fhirUser` an app may read who the person is (SMART 2.2, "Scopes for identity data")."""
        kind, _, id_ = (self.user or "").partition("/")
        named = bool(id_) and {"openid", "fhirUser"} <= set(scopes.others(self.scope))
        return (Scope("user", kind, "r", query=(("_id", id_),)),) if named else ()
