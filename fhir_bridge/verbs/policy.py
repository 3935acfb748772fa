"""The one policy: a Grant and a wish become the Filter of rows it may touch, or a refusal.

SMART App Launch 2.2 scopes; which right each interaction needs: fhir-smart-rules 4.5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from fhir_bridge.errors import BridgeError, Forbidden
from fhir_bridge.fhir.rest.search import parse
from fhir_bridge.fhir.rest.served import BY_TYPE, PATIENT_COMPARTMENT
from fhir_bridge.store.filter import ALL, NOTHING, And, Chain, Filter, Keys, Node, Not, OfType, Or, Reverse
from fhir_bridge.verbs.criteria import nodes_of
from fhir_bridge.verbs.holds import holds

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from fhir_bridge.fhir.rest.criteria import SearchRequest
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
    if not holds(allowed(grant, (version.type,), right).where, version):
        raise Forbidden("The token does not allow this content", scope=f"system/{version.type}.{right}")


def require_all(grant: Grant, right: Right) -> None:
    """Refuse what touches resources of any type at once, unless the Grant has `right` on all of every type.

    Raises:
        Forbidden: a type is missing, or is narrowed by a query, a patient or a user.
    """
    for type_ in BY_TYPE:
        if not any(scope.level == "system" and not scope.query for scope in grant.scopes_for(type_, right)):
            raise Forbidden("The token does not allow this", scope=f"system/*.{right}")


def seen(grant: Grant, type_: str) -> Filter:
    """Return the rows of a type that an include may bring: with right r or s, else silently none (rules 4.5)."""
    scopes = dict.fromkeys((*grant.scopes_for(type_, "r"), *grant.scopes_for(type_, "s")))
    return Filter(grant.tenant, And((OfType((type_,)), _any(grant, type_, tuple(scopes)))))


def conditions(grant: Grant, request: SearchRequest) -> tuple[Node, ...]:
    """Return the criteria of a search; those on other resources look only at what the Grant may search.

    Without that a chain would tell what is in resources that the caller must not see.

    Raises:
        Forbidden: a criterion looks at types that the Grant may not search.
    """
    return tuple(_guarded(grant, node) for node in nodes_of(request))


def _guarded(grant: Grant, node: Node) -> Node:
    match node:
        case Chain(param, types, inner):
            return Chain(param, types, And((allowed(grant, types, "s").where, _guarded(grant, inner))))
        case Reverse(type_, param, inner):
            return Reverse(type_, param, And((allowed(grant, (type_,), "s").where, _guarded(grant, inner))))
        case And(nodes):
            return And(tuple(_guarded(grant, each) for each in nodes))
        case Or(nodes):
            return Or(tuple(_permitted(grant, nodes)))
        case Not(inner):
            return Not(_guarded(grant, inner))
        case _:
            return node


def _permitted(grant: Grant, nodes: tuple[Node, ...]) -> Iterator[Node]:
    """Leave out alternatives that are forbidden, such as types a reference may name, unless all are."""
    refusals = []
    for node in nodes:
        try:
            yield _guarded(grant, node)
        except Forbidden as exc:
            refusals.append(exc)
    if nodes and len(refusals) == len(nodes):
        raise refusals[0]


def _any(grant: Grant, type_: str, scopes: tuple[Scope, ...]) -> Node:
    nodes = [_of_scope(grant, type_, scope) for scope in scopes]
    return ALL if ALL in nodes else Or(tuple(nodes))


def _of_scope(grant: Grant, type_: str, scope: Scope) -> Node:
    """What one scope reaches: its query, within the patient's compartment at patient level.

    A query that is no search of ours gives nothing, never everything: one that cannot be
    read, one with a part that limits nothing (an empty value, _count), and one that looks
    into other resources: clients may narrow their scopes, and would learn what is in those.
    """
    try:
        asked = nodes_of(parse(type_, scope.query, strict=True)) if scope.query else ()
    except BridgeError:
        return NOTHING
    if len(asked) < len(scope.query) or any(map(_looks_elsewhere, asked)):
        return NOTHING
    nodes = (*asked, *_of_level(grant, scope))
    return And(nodes) if nodes else ALL


def _looks_elsewhere(node: Node) -> bool:
    match node:
        case And(nodes) | Or(nodes):
            return any(map(_looks_elsewhere, nodes))
        case Not(inner):
            return _looks_elsewhere(inner)
        case _:
            return isinstance(node, Chain | Reverse)


def _of_level(grant: Grant, scope: Scope) -> tuple[Node, ...]:
    """A scope of patient or user level gives nothing without the one it speaks of."""
    match scope.level:
        case "patient":
            return (Keys(PATIENT_COMPARTMENT, (f"Patient/{grant.patient}",)),) if grant.patient else (NOTHING,)
        case "user":
            return () if grant.user else (NOTHING,)
        case "system":
            return ()
