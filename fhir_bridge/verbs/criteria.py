"""FHIR's search criteria and sort keys in the store's words."""

from __future__ import annotations

from typing import TYPE_CHECKING, assert_never

from fhir_bridge.fhir.rest import criteria as asked
from fhir_bridge.store import filter as found
from fhir_bridge.store import resources

if TYPE_CHECKING:
    from fhir_bridge.fhir.rest.criteria import Criterion, SearchRequest, Sort
    from fhir_bridge.store.filter import Node
    from fhir_bridge.store.resources import By


def nodes_of(request: SearchRequest) -> tuple[Node, ...]:
    """Return what all must hold of a row for the request's criteria to hold."""
    return tuple(node_of(criterion) for criterion in request.criteria)


def order_of(request: SearchRequest) -> tuple[By, ...]:
    """Return the order the request asks for; none is the newest first."""
    return tuple(_by(sort) for sort in request.sort)


def _by(sort: Sort) -> By:
    match sort.by:
        case "_id":
            return resources.ById(sort.descending)
        case "_lastUpdated":
            return resources.ByTime(sort.descending)
        case param:
            return resources.ByKey(param, sort.descending, sort.begins, sort.bare)


def node_of(criterion: Criterion) -> Node:  # noqa: C901, PLR0911 - one row a node
    """Translate one criterion."""
    match criterion:
        case asked.Ids(values):
            return found.Ids(values)
        case asked.Updated(spans):
            return found.Or(tuple(found.Stamped(low, below) for low, below in spans))
        case asked.AnyOf(param, values):
            return found.Keys(param, values)
        case asked.StartsWith(param, text):
            return found.Prefix(param, text)
        case asked.Contains(param, text):
            return found.Contains(param, text)
        case asked.Within(param, prefix, low, high, begins):
            return found.Between(param, low, high, prefix, begins)
        case asked.Present(param):
            return found.Present(param)
        case asked.Either(alternatives):
            return found.Or(tuple(map(node_of, alternatives)))
        case asked.Without(inner):
            return found.Not(node_of(inner))
        case asked.Chained(param, types, inner):
            return found.Chain(param, types, node_of(inner))
        case asked.Reversed(type_, param, inner):
            return found.Reverse(type_, param, node_of(inner))
        case _:
            assert_never(criterion)
