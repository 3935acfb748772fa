"""The one policy: a Grant and a wish become the Filter of rows it may touch, or a refusal.

SMART App Launch 2.2 scopes; which right each interaction needs: fhir-smart-rules 4.5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fhir_bridge.errors import BridgeError, Forbidden
from fhir_bridge.fhir.rest.search import parse
from fhir_bridge.fhir.rest.served import PATIENT_COMPARTMENT
from fhir_bridge.store.filter import ALL, NOTHING, And, Filter, Keys, Node, Not, OfType, Or, Present
from fhir_bridge.verbs.criteria import nodes_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fhir_bridge.smart.grant import Grant
    from fhir_bridge.smart.scope import Right, Scope
    from fhir_bridge.store.versions import NewVersion


def allowed(grant: Grant, types: Iterable[str], right: Right) -> Filter:
    """Return the rows of `types` on which the Grant has `right`.

    Raises:
        Forbidden: it has it on none of the types.
    """
    wanted = tuple(types)
    scopes = {type_: grant.scopes_for(type_, right) for type_ in wanted}
    if not any(scopes.values()):
        raise Forbidden(
            "The token does not allow this", scope=f"system/{wanted[0] if len(wanted) == 1 else '*'}.{right}"
        )
    nodes = [And((OfType((type_,)), _any(grant, type_, found))) for type_, found in scopes.items() if found]
    return Filter(grant.tenant, nodes[0] if len(nodes) == 1 else Or(tuple(nodes)))


def permit(grant: Grant, right: Right, version: NewVersion) -> None:
    """Refuse to write content that the Grant's scopes do not reach.

    Raises:
        Forbidden: no scope gives `right` on this type, or none whose level and query the content meets.
    """
    if not _holds(allowed(grant, (version.type,), right).where, version):
        raise Forbidden("The token does not allow this content", scope=f"system/{version.type}.{right}")


def _any(grant: Grant, type_: str, scopes: tuple[Scope, ...]) -> Node:
    nodes = [_of_scope(grant, type_, scope) for scope in scopes]
    return ALL if ALL in nodes else Or(tuple(nodes))


def _of_scope(grant: Grant, type_: str, scope: Scope) -> Node:
    """What one scope reaches: its query, within the patient's compartment at patient level."""
    try:
        asked = nodes_of(parse(type_, scope.query, strict=True)) if scope.query else ()
    except BridgeError:  # a query that is no search of ours gives nothing, never everything
        return NOTHING
    nodes = (*asked, *_of_level(grant, scope))
    return And(nodes) if nodes else ALL


def _of_level(grant: Grant, scope: Scope) -> tuple[Node, ...]:
    if scope.level != "patient":
        return ()
    return (Keys(PATIENT_COMPARTMENT, (f"Patient/{grant.patient}",)),) if grant.patient else (NOTHING,)


def _holds(node: Node, version: NewVersion) -> bool:  # noqa: PLR0911 - one row a node
    """Judge content that is not stored yet by the keys it will have; what cannot be judged is not met."""
    match node:
        case And(nodes):
            return all(_holds(each, version) for each in nodes)
        case Or(nodes):
            return any(_holds(each, version) for each in nodes)
        case Not(Keys() | Present() as inner):
            return not _holds(inner, version)
        case OfType(types):
            return version.type in types
        case Keys(param, values):
            return any(key[0] == param and key[1] in values for key in version.keys)
        case Present(param):
            return any(key[0] == param for key in version.keys)
        case _:
            return False
