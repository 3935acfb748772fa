"""What a row of the list of what is served says: a type, its interactions, parameters and operations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from fhir_bridge.fhir.rest.operations import operations_of

if TYPE_CHECKING:
    from fhir_bridge.fhir.rest.operations import Operation

Interaction = Literal[
    "create",
    "read",
    "vread",
    "update",
    "patch",
    "delete",
    "search-type",
    "history-instance",
    "history-type",
]
SystemInteraction = Literal["transaction", "batch", "search-system", "history-system"]
ParamType = Literal["token", "reference", "date", "string", "uri", "quantity", "composite"]
THIS: Final = "$this"  # the resource itself, as FHIRPath says it

# A parameter writes further keys for some modifiers under its own number plus one of these,
# so numbers of parameters stay below 2,767 and everything fits a SMALLINT.
TEXT: Final = 10_000  # token:text, and string:exact
OF_TYPE: Final = 20_000  # identifier:of-type
IDENTIFIER: Final = 30_000  # reference:identifier
HIGHEST_NUMBER: Final = 2_766

# Compartments are keys too (http://hl7.org/fhir/R4/compartmentdefinition.html).
PATIENT_COMPARTMENT: Final = 1
ENCOUNTER_COMPARTMENT: Final = 2

ANY: Final = ()  # a reference parameter without targets may point at every served type


@dataclass(frozen=True)
class Param:
    """One search parameter: its key number and the elements it looks at.

    A path names elements from the resource root, without its type; `[system=phone]` behind one
    leaves those whose `system` is `phone`. `targets` are the
    types a reference may point at: others at the same path are not indexed. `system` is
    the code system of an element of type `code`. A composite has `parts`, whose paths begin
    at each element that its own paths lead to. `whether`: every resource has a key, which says
    whether one of the elements is there and not false. A parameter without paths is answered by
    the store itself.
    """

    number: int
    name: str
    type: ParamType
    paths: tuple[str, ...]
    targets: tuple[str, ...] = ANY
    system: str | None = None
    parts: tuple[Param, ...] = ()
    whether: bool = False


@dataclass(frozen=True)
class Served:
    """One resource type and all that can be done with it."""

    type: str
    interactions: tuple[Interaction, ...]
    params: tuple[Param, ...] = ()
    patient: tuple[str, ...] = ()  # elements that put it into a Patient compartment
    encounter: tuple[str, ...] = ()  # elements that put it into an Encounter compartment
    apart: bool = False  # searched by itself: no part of chains, includes and searches over all types (ruling 22)

    @property
    def operations(self) -> tuple[Operation, ...]:
        """The operations that are offered for it."""
        return operations_of(self.type)

    def param(self, name: str) -> Param | None:
        """Find the search parameter `name`, common ones included; None for a type without search."""
        if "search-type" not in self.interactions:
            return None
        return next((param for param in (*self.params, *COMMON) if param.name == name), None)


def token(number: int, name: str, *paths: str, system: str | None = None) -> Param:
    """Return a parameter that looks at codes and identifiers."""
    return Param(number, name, "token", paths, system=system)


def date(number: int, name: str, *paths: str) -> Param:
    """Return a parameter that looks at moments and periods."""
    return Param(number, name, "date", paths)


def string(number: int, name: str, *paths: str) -> Param:
    """Return a parameter that looks at text."""
    return Param(number, name, "string", paths)


def reference(number: int, name: str, path: str, *targets: str) -> Param:
    """Return a parameter that looks at a reference to one of `targets`, or to anything."""
    return Param(number, name, "reference", (path,), targets=targets)


def composite(
    number: int, name: str, within: str | tuple[str, ...], *parts: tuple[ParamType, tuple[str, ...]]
) -> Param:
    """Return a parameter that looks at several elements of one."""
    inner = tuple(Param(number, name, type_, paths) for type_, paths in parts)
    return Param(number, name, "composite", (within,) if isinstance(within, str) else within, parts=inner)


COMMON: Final = (
    Param(3, "_id", "token", ()),
    Param(4, "_lastUpdated", "date", ()),
    token(5, "_tag", "meta.tag"),
    token(6, "_security", "meta.security"),
    Param(7, "_profile", "uri", ("meta.profile",)),
    Param(8, "_source", "uri", ("meta.source",)),
)
