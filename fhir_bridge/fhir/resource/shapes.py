"""What elements a FHIR type has: one table a type, read once from the models' field metadata.

`model_fields` of fhir.resources names type, cardinality, choice[x], reference targets
and summary flags; bindings adds the code lists and where R4 is narrower than R4B.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, get_args, get_origin

from fhir_bridge.fhir.resource import bindings
from fhir_bridge.fhir.resource.models import model_class

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic.fields import FieldInfo

    from fhir_bridge.fhir.resource.models import Model


@dataclass(frozen=True)
class Element:
    """One member a JSON object of a type may have.

    `path` is its FHIRPath name: `value` for valueString. `codes` is its required
    binding, `targets` the resource types a Reference may name (empty: any).
    """

    name: str
    path: str
    type: str
    many: bool
    primitive: bool
    required: bool
    choice: str | None
    targets: frozenset[str]
    codes: frozenset[str]
    media_type: bool
    summary: bool


@dataclass(frozen=True)
class Choice:
    """value[x]: at most one of the names, at least one if required."""

    path: str
    names: tuple[str, ...]
    required: bool


@dataclass(frozen=True)
class Shape:
    """A resource or datatype: its elements in FHIR's order."""

    name: str
    resource: bool
    elements: Mapping[str, Element]
    required: tuple[Element, ...]
    choices: tuple[Choice, ...]


@cache
def shape(name: str) -> Shape | None:
    """Return the shape of a resource or datatype of R4, None for any other name."""
    model = None if name in bindings.NOT_IN_R4 else model_class(name)
    if model is None:
        return None
    fields = {element: model.model_fields[field] for element, field in model.get_alias_mapping().items()}
    found = [_element(name, element, fields[element]) for element in model.elements_sequence()]
    elements = [element for element in found if element.type not in bindings.NOT_IN_R4 or element.type == "Resource"]
    return Shape(
        name=name,
        resource=model.has_resource_base(),
        elements=MappingProxyType({element.name: element for element in elements}),
        required=tuple(element for element in elements if element.required),
        choices=_choices(elements, model),
    )


def resource_shape(name: object) -> Shape | None:
    """Return the shape if `name` is an R4 resource type."""
    found = shape(name) if isinstance(name, str) else None
    return found if found is not None and found.resource else None


def datatype(name: str) -> Shape:
    """Return the shape of a type that an element of another shape names."""
    found = shape(name)
    if found is None:
        raise LookupError(f"{name} is not in the models")
    return found


def _element(owner: str, name: str, field: FieldInfo) -> Element:
    more = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    kind = _kind(field.annotation) or ""
    key = f"{owner}.{name}"
    choice = more.get("one_of_many")
    listed = more.get("enum_reference_types")
    allowed = [str(target) for target in listed] if isinstance(listed, list) else []
    targets = bindings.TARGETS.get(key, allowed)
    return Element(
        name=name,
        path=str(choice or name),
        type=kind,
        many=_many(field.annotation),
        primitive=kind[:1].islower(),
        required=field.is_required() or more.get("element_required") is True,
        choice=str(choice) if choice else None,
        targets=frozenset() if "Resource" in targets else frozenset(targets),
        codes=bindings.REQUIRED.get(key, frozenset()),
        media_type=key in bindings.MEDIA_TYPES,
        summary=more.get("summary_element_property") is True,
    )


def _choices(elements: list[Element], model: type[Model]) -> tuple[Choice, ...]:
    groups: dict[str, list[str]] = defaultdict(list)
    for element in elements:
        if element.choice:
            groups[element.choice].append(element.name)
    names = model.get_alias_mapping()
    return tuple(
        Choice(path, tuple(group), _choice_required(model.model_fields[names[group[0]]]))
        for path, group in groups.items()
    )


def _choice_required(field: FieldInfo) -> bool:
    more = field.json_schema_extra
    return isinstance(more, dict) and more.get("one_of_many_required") is True


def _kind(annotation: object) -> str | None:
    """Return the FHIR type a field's annotation stands for, through Optional, List and Annotated."""
    if hasattr(annotation, "get_model_klass"):
        return str(getattr(annotation, "__name__", "")).removesuffix("Type")
    if annotation is bool:
        return "boolean"
    for mark in getattr(annotation, "__metadata__", ()):
        if hasattr(mark, "__visit_name__"):
            return str(mark.__visit_name__)
        if type(mark).__name__ == "UuidVersion":
            return "uuid"
    return next((kind for part in get_args(annotation) if (kind := _kind(part))), None)


def _many(annotation: object) -> bool:
    if get_origin(annotation) is Annotated:
        return False
    return get_origin(annotation) is list or any(_many(part) for part in get_args(annotation))
