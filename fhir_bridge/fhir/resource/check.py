"""The whole check of a resource: every finding with its code and FHIRPath, in one walk.

Shape, cardinality, primitive formats, required bindings, reference targets and
invariants by our own tables, then the model. http://hl7.org/fhir/R4/validation.html
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fhir_bridge.errors import Invalid, Issue, Malformed
from fhir_bridge.fhir.resource import formats
from fhir_bridge.fhir.resource.invariants import rules_of
from fhir_bridge.fhir.resource.links import contained_faults, entry_types, neighbours, reference_fault
from fhir_bridge.fhir.resource.models import model_of
from fhir_bridge.fhir.resource.reader import step
from fhir_bridge.fhir.resource.shapes import datatype, resource_shape
from fhir_bridge.fhir.resource.tree import has

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fhir_bridge.fhir.resource.links import Neighbours
    from fhir_bridge.fhir.resource.reader import Json, JsonValue
    from fhir_bridge.fhir.resource.shapes import Element, Shape

MAX_ISSUES: Final = 50


def checked(json: Json, *, of: str | None = None, entries: bool = True) -> Json:
    """Return `json` unchanged if it is a valid R4 resource, of type `of` when one is asked.

    With `entries=False` the resources inside a Bundle are left for later: a batch answers
    for each on its own.

    Raises:
        Malformed: it has not the form of such a resource. Invalid: it has, with wrong content.
            Both carry all findings up to `MAX_ISSUES`.
    """
    kind = resource_shape(json.get("resourceType"))
    if kind is None:
        raise Malformed("resourceType is missing or is no FHIR R4 resource type", at="resourceType")
    if of not in {None, kind.name}:
        raise Malformed(f"A {of} is expected here, not a {kind.name}", at="resourceType")
    check = _Check(entries=entries)
    check.resource(json, kind, kind.name, {})
    _raise_if(check.issues)
    if entries or kind.name != "Bundle":
        model_of(json)
    return json


def _raise_if(issues: list[Issue]) -> None:
    if not issues:
        return
    wrong = Malformed if all(issue.code == "structure" for issue in issues) else Invalid
    more = f" (and {len(issues) - 1} more)" if len(issues) > 1 else ""
    raise wrong(f"{issues[0].text}{more}", at=issues[0].at, issues=tuple(issues[:MAX_ISSUES]))


class _Check:
    """One walk over one body; it collects and never raises."""

    def __init__(self, *, entries: bool) -> None:
        self.entries = entries
        self.issues: list[Issue] = []
        self.beside: Neighbours = neighbours({}, {})

    def say(self, code: str, at: str, wrong: str) -> None:
        self.issues.append(Issue(code, f"{at} {wrong}", at))

    def resource(self, json: Json, kind: Shape, at: str, entries: Mapping[str, str]) -> None:
        outer = self.beside
        self.beside = neighbours(json, entry_types(json) if kind.name == "Bundle" else entries)
        for code, wrong in contained_faults(json):
            self.say(code, f"{at}.contained", wrong)
        self.members(json, kind, at)
        self.beside = outer

    def members(self, json: Json, kind: Shape, at: str) -> None:
        before = len(self.issues)
        for name, value in json.items():
            self.member(name, value, kind, at)
        self.presence(json, kind, at)
        if len(self.issues) == before:
            self.invariants(json, kind.name, at)

    def member(self, name: str, value: JsonValue, kind: Shape, at: str) -> None:
        element = kind.elements.get(name)
        if element is not None:
            self.element(element, value, f"{at}.{element.path}")
            return
        element = kind.elements.get(name[1:]) if name.startswith("_") else None
        if element is not None and element.primitive:
            self.beside_primitive(element, value, f"{at}.{element.path}")
        elif name != "resourceType" or not kind.resource:
            self.say("structure", step(at, name), f"is or has an element that {kind.name} does not have in R4")

    def element(self, element: Element, value: JsonValue, at: str) -> None:
        if element.many != isinstance(value, list):
            wanted = "an array" if element.many else "one value"
            self.say("structure", at, f"must be {wanted}, not {formats.json_name(value)}")
            return
        if not isinstance(value, list):
            self.item(element, value, at)
            return
        for index, item in enumerate(value):
            if item is not None or not element.primitive:
                self.item(element, item, f"{at}[{index}]")

    def item(self, element: Element, value: JsonValue, at: str) -> None:
        if element.primitive:
            self.primitive(element, value, at)
        elif not isinstance(value, dict):
            self.say("structure", at, f"must be a JSON object, not {formats.json_name(value)}")
        elif element.type == "Resource":
            self.nested(element, value, at)
        else:
            self.members(value, datatype(element.type), at)
            if element.type == "Reference":
                self.reference(value, element.targets, at)

    def nested(self, element: Element, json: Json, at: str) -> None:
        kind = resource_shape(json.get("resourceType"))
        if kind is None:
            self.say("structure", at, "has no resourceType, or one that is no FHIR R4 resource type")
        elif element.name == "contained":
            self.members(json, kind, at)
        elif self.entries:
            self.resource(json, kind, at, self.beside.entries)

    def reference(self, json: Json, targets: frozenset[str], at: str) -> None:
        fault = reference_fault(json, targets, self.beside)
        if fault is not None:
            self.say(fault[0], at, fault[1])

    def primitive(self, element: Element, value: JsonValue, at: str) -> None:
        fault = formats.fault(element.type, value)
        if fault is not None:
            self.say(fault[0], at, fault[1])
        elif element.codes and value not in element.codes:
            self.say("code-invalid", at, f"must be one of {', '.join(sorted(element.codes))}")
        elif element.media_type and not formats.MEDIA_TYPE.fullmatch(str(value)):
            self.say("code-invalid", at, "must be a media type such as audio/wav")

    def beside_primitive(self, element: Element, value: JsonValue, at: str) -> None:
        """`_name` beside a primitive: id and extension, in an array where the primitive is one."""
        items = value if isinstance(value, list) else [value]
        if element.many != isinstance(value, list):
            self.say("structure", at, "must have its extensions in an array exactly if it is an array itself")
            return
        for item in items:
            if isinstance(item, dict):
                self.members(item, datatype("Element"), at)
            elif item is not None:
                self.say("structure", at, "must have an object with id or extension beside it")

    def presence(self, json: Json, kind: Shape, at: str) -> None:
        for element in kind.required:
            if not has(json, element.name):
                self.say("required", f"{at}.{element.path}", "is required")
        for choice in kind.choices:
            given = [name for name in choice.names if has(json, name)]
            if len(given) > 1:
                self.say("structure", f"{at}.{choice.path}", f"is given as {' and '.join(given)}; only one is allowed")
            if choice.required and not given:
                self.say("required", f"{at}.{choice.path}", f"is required, such as {choice.names[0]}")

    def invariants(self, json: Json, kind: str, at: str) -> None:
        for rule in rules_of(kind):
            if not rule.holds(json):
                self.say("invariant", f"{at}.{rule.element}" if rule.element else at, f"{rule.key}: {rule.remedy}")
