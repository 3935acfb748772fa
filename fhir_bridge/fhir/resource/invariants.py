"""FHIR's invariants for the served types and the datatypes: one small function each.

Keys and meaning are those of the R4 StructureDefinitions (for instance
http://hl7.org/fhir/R4/observation.html#invariants). A rule sees one object whose shape
is already right. Rules on contained resources and references need the whole resource
and are in `links`; best-practice warnings such as dom-6 are not errors.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from fhir_bridge.fhir.resource import bundles
from fhir_bridge.fhir.resource.moments import surely_after
from fhir_bridge.fhir.resource.reader import Number
from fhir_bridge.fhir.resource.tree import each, has, has_choice, only, text

if TYPE_CHECKING:
    from fhir_bridge.fhir.resource.reader import Json

Holds = Callable[["Json"], bool]

_UCUM: Final = "http://unitsofmeasure.org"


@dataclass(frozen=True)
class Rule:
    """An invariant: its key in FHIR, the element to point at, what to do, and the test."""

    key: str
    element: str
    remedy: str
    holds: Holds


def rules_of(kind: str) -> tuple[Rule, ...]:
    """Return the invariants of a type."""
    return _RULES.get(kind, ())


def _needs(name: str, other: str) -> Holds:
    """Build the rule: where `name` is, `other` has to be."""
    return lambda json: not has(json, name) or has(json, other)


def _not_both(name: str, other: str) -> Holds:
    return lambda json: not (has(json, name) and has(json, other))


def _one_of(*names: str) -> Holds:
    return lambda json: any(has(json, name) for name in names)


def _exactly_one(name: str, other: str) -> Holds:
    return lambda json: has(json, name) != has(json, other)


def _in_order(first: str, second: str) -> Holds:
    """Build the rule: `second` does not lie before `first` for certain."""

    def holds(json: Json) -> bool:
        start, end = text(json, first), text(json, second)
        return start is None or end is None or not surely_after(start, end)

    return holds


def _not_negative(name: str) -> Holds:
    def holds(json: Json) -> bool:
        value = json.get(name)
        return not isinstance(value, (int, Number)) or value >= 0

    return holds


def _no_home(name: str) -> Holds:
    return lambda json: all(text(item, "use") != "home" for item in each(json, name))


def _extension_or_value(json: Json) -> bool:
    return ("extension" in json) != has_choice(json, "value")


def _range_ascends(json: Json) -> bool:
    """rng-2, for two numbers in the same unit; other pairs have no order."""
    low, high = only(json, "low"), only(json, "high")
    least, most = low.get("value"), high.get("value")
    if not isinstance(least, (int, Number)) or not isinstance(most, (int, Number)):
        return True
    return least <= most or any(low.get(unit) != high.get(unit) for unit in ("system", "code", "unit"))


def _whole_ratio(json: Json) -> bool:
    return has(json, "numerator") == has(json, "denominator") and not {"numerator", "extension"}.isdisjoint(json)


def _in_ucum(json: Json) -> bool:
    return (has(json, "code") or not has(json, "value")) and text(json, "system") in {None, _UCUM}


def _age(json: Json) -> bool:
    value = json.get("value")
    return _in_ucum(json) and (not isinstance(value, (int, Number)) or value > 0)


def _count(json: Json) -> bool:
    return _in_ucum(json) and text(json, "code") in {None, "1"} and "." not in str(json.get("value"))


def _duration(json: Json) -> bool:
    return not has(json, "code") or (text(json, "system") == _UCUM and has(json, "value"))


def _offset_with_when(json: Json) -> bool:
    """tim-9: an offset needs an event, and meals as such are none to count from."""
    when = json.get("when")
    return not has(json, "offset") or (isinstance(when, list) and {"C", "CM", "CD", "CV"}.isdisjoint(map(str, when)))


def _no_reason_beside_value(json: Json) -> bool:
    return not (has(json, "dataAbsentReason") and has_choice(json, "value"))


def _value_not_in_component_too(json: Json) -> bool:
    own = _codings(json)
    return not has_choice(json, "value") or all(own.isdisjoint(_codings(part)) for part in each(json, "component"))


def _codings(json: Json) -> set[tuple[str | None, str]]:
    codings = each(only(json, "code"), "coding")
    return {(text(coding, "system"), code) for coding in codings if (code := text(coding, "code"))}


def _one_content(json: Json) -> bool:
    return [has_choice(json, "value"), "resource" in json, "part" in json].count(True) == 1


def _simple(*names: str) -> Holds:
    """Build the rule: these quantities are SimpleQuantity, which has no comparator."""
    return lambda json: not any(has(only(json, name), "comparator") for name in names)


def _trigger_has_its_part(json: Json) -> bool:
    kind = text(json, "type") or ""
    if kind == "named-event":
        return has(json, "name")
    return has_choice(json, "timing") if kind == "periodic" else has(json, "data")


def _timing_or_data(json: Json) -> bool:
    return not (has_choice(json, "timing") and has(json, "data"))


_BOUNDS = Rule("sqty-1", "", "low and high have no comparator", _simple("low", "high"))
_QUANTITY = Rule("qty-3", "system", "add the system that the unit's code belongs to", _needs("code", "system"))

_RULES: Final[dict[str, tuple[Rule, ...]]] = {
    # datatypes
    "Age": (_QUANTITY, Rule("age-1", "", "an age is positive and has a UCUM code", _age)),
    "Attachment": (Rule("att-1", "contentType", "add the contentType of data", _needs("data", "contentType")),),
    "ContactPoint": (Rule("cpt-2", "system", "add the system of the value", _needs("value", "system")),),
    "Count": (_QUANTITY, Rule("cnt-3", "", "a count is a whole number with UCUM code 1", _count)),
    "DataRequirementCodeFilter": (
        Rule("drq-1", "", "give either path or searchParam", _exactly_one("path", "searchParam")),
    ),
    "DataRequirementDateFilter": (
        Rule("drq-2", "", "give either path or searchParam", _exactly_one("path", "searchParam")),
    ),
    "Distance": (_QUANTITY, Rule("dis-1", "", "a distance has a UCUM code", _in_ucum)),
    "Duration": (_QUANTITY, Rule("drt-1", "", "a duration's code is from UCUM and goes with a value", _duration)),
    "Expression": (Rule("exp-1", "", "give expression or reference", _one_of("expression", "reference")),),
    "Extension": (Rule("ext-1", "", "give either value[x] or nested extensions", _extension_or_value),),
    "Period": (Rule("per-1", "", "end must not lie before start", _in_order("start", "end")),),
    "Quantity": (_QUANTITY,),
    "Range": (_BOUNDS, Rule("rng-2", "", "low must not be above high", _range_ascends)),
    "Ratio": (Rule("rat-1", "", "give both numerator and denominator, or an extension alone", _whole_ratio),),
    "SampledData": (Rule("sqty-1", "origin", "origin has no comparator", _simple("origin")),),
    "TimingRepeat": (
        Rule("tim-1", "durationUnit", "add durationUnit", _needs("duration", "durationUnit")),
        Rule("tim-2", "periodUnit", "add periodUnit", _needs("period", "periodUnit")),
        Rule("tim-4", "duration", "duration must not be negative", _not_negative("duration")),
        Rule("tim-5", "period", "period must not be negative", _not_negative("period")),
        Rule("tim-6", "period", "periodMax goes with period", _needs("periodMax", "period")),
        Rule("tim-7", "duration", "durationMax goes with duration", _needs("durationMax", "duration")),
        Rule("tim-8", "count", "countMax goes with count", _needs("countMax", "count")),
        Rule("tim-9", "offset", "offset goes with when, other than C, CM, CD and CV", _offset_with_when),
        Rule("tim-10", "timeOfDay", "give timeOfDay or when, not both", _not_both("timeOfDay", "when")),
    ),
    "TriggerDefinition": (
        Rule("trd-1", "", "give timing[x] or data, not both", _timing_or_data),
        Rule("trd-2", "condition", "condition goes with data", _needs("condition", "data")),
        Rule("trd-3", "", "a named event has a name, a periodic one a timing, the others data", _trigger_has_its_part),
    ),
    # resources
    "AuditEventEntity": (Rule("sev-1", "", "give name or query, not both", _not_both("name", "query")),),
    "Bundle": (
        Rule("bdl-1", "total", "total is for searchset and history only", bundles.total_only_in_search_and_history),
        Rule("bdl-2", "entry", "entry.search is for searchset only", bundles.search_only_in_searchset),
        Rule(
            "bdl-3",
            "entry",
            "each entry of a batch, transaction or history has a request, no other has",
            bundles.request_where_it_belongs,
        ),
        Rule(
            "bdl-4",
            "entry",
            "each entry of a batch-response, transaction-response or history has a response, no other has",
            bundles.response_where_it_belongs,
        ),
        Rule("bdl-7", "entry", "each fullUrl may be there once", bundles.full_urls_differ),
        Rule("bdl-9", "identifier", "a document has an identifier", bundles.document_is_identified),
        Rule("bdl-10", "timestamp", "a document has a timestamp", bundles.document_is_dated),
        Rule("bdl-11", "entry", "a document starts with its Composition", bundles.document_starts_with_composition),
        Rule("bdl-12", "entry", "a message starts with its MessageHeader", bundles.message_starts_with_header),
    ),
    "BundleEntry": (
        Rule("bdl-5", "", "an entry has a resource, a request or a response", bundles.entry_has_something),
        Rule("bdl-8", "fullUrl", "fullUrl names no version", bundles.full_url_names_no_version),
    ),
    "CompositionSection": (
        Rule("cmp-1", "", "a section has text, entry or section", _one_of("text", "entry", "section")),
        Rule("cmp-2", "emptyReason", "leave out emptyReason or entry", _not_both("emptyReason", "entry")),
    ),
    "Observation": (
        Rule("obs-6", "dataAbsentReason", "leave out dataAbsentReason or the value", _no_reason_beside_value),
        Rule("obs-7", "value", "a component with the same code has the value", _value_not_in_component_too),
    ),
    "ObservationReferenceRange": (
        _BOUNDS,
        Rule("obs-3", "", "give low, high or text", _one_of("low", "high", "text")),
    ),
    "Organization": (
        Rule("org-1", "", "give identifier or name", _one_of("identifier", "name")),
        Rule("org-2", "address", "an organization has no home address", _no_home("address")),
        Rule("org-3", "telecom", "an organization has no home contact", _no_home("telecom")),
    ),
    "ParametersParameter": (Rule("inv-1", "", "give one of value[x], resource and part", _one_content),),
    "PatientContact": (
        Rule(
            "pat-1",
            "",
            "give name, telecom, address or organization",
            _one_of("name", "telecom", "address", "organization"),
        ),
    ),
    "Task": (
        Rule("inv-1", "lastModified", "it must not lie before authoredOn", _in_order("authoredOn", "lastModified")),
    ),
}
