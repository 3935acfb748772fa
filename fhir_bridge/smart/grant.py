"""A Grant: what a verified access token allows, and to whom."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fhir_bridge.smart import scope as scopes

if TYPE_CHECKING:
    from fhir_bridge.smart.scope import Right, Scope


@dataclass(frozen=True)
class Grant:
    """The bearer of a verified token. `patient` is the launch context's Patient id, if any.

    `issuer` is set for tokens of outside issuers alone.
    """

    tenant: str
    client: str
    scope: str
    user: str | None = None
    patient: str | None = None
    issuer: str | None = None

    def scopes_for(self, type_: str, right: Right) -> tuple[Scope, ...]:
        """Return the scopes that give `right` on `type_`, each still subject to its level and query."""
        return tuple(found for found in scopes.parse(self.scope) if found.covers(type_, right))
