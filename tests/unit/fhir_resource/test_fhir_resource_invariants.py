"""Each invariant, kept and broken."""

import pytest

from fhir_bridge.errors import Invalid
from fhir_bridge.fhir.resource.check import checked
from fhir_bridge.fhir.resource.invariants import rules_of
from fhir_bridge.fhir.resource.reader import Number

UCUM = "http://unitsofmeasure.org"
ENTRY = {"resource": {"resourceType": "Device"}}
REQUEST = {"request": {"method": "GET", "url": "Device/1"}}
RESPONSE = {"response": {"status": "200"}}
COMPOSITION = {
    "resource": {
        "resourceType": "Composition",
        "status": "final",
        "type": {"text": "a"},
        "date": "2026",
        "author": [{"display": "a"}],
        "title": "a",
    }
}
IDENTIFIED = {"identifier": {"system": "urn:a", "value": "b"}, "timestamp": "2026-04-17T09:00:00Z"}


def keys(kind, json):
    return [rule.key for rule in rules_of(kind) if not rule.holds(json)]


def bundle(kind, *entries, **members):
    return {"resourceType": "Bundle", "type": kind, "entry": list(entries)} | members


@pytest.mark.parametrize(
    ("kind", "key", "good", "bad"),
    [
        ("Age", "age-1", {"value": 3, "code": "a", "system": UCUM}, {"value": 0, "code": "a", "system": UCUM}),
        ("Age", "age-1", {"code": "a", "system": UCUM}, {"value": 3}),
        ("Attachment", "att-1", {"data": "QQ==", "contentType": "a/b"}, {"data": "QQ=="}),
        ("AuditEventEntity", "sev-1", {"name": "a"}, {"name": "a", "query": "QQ=="}),
        ("BundleEntry", "bdl-5", REQUEST, {"fullUrl": "urn:a"}),
        ("BundleEntry", "bdl-8", {**ENTRY, "fullUrl": "http://a/A/1"}, {**ENTRY, "fullUrl": "http://a/A/1/_history/2"}),
        ("CompositionSection", "cmp-1", {"text": {}}, {"title": "a"}),
        ("CompositionSection", "cmp-2", {"text": {}, "emptyReason": {}}, {"entry": [{}], "emptyReason": {}}),
        ("ContactPoint", "cpt-2", {"value": "a", "system": "sms"}, {"value": "a"}),
        ("Count", "cnt-3", {"value": 3, "code": "1", "system": UCUM}, {"value": Number("3.0"), "code": "1"}),
        ("Count", "cnt-3", {"id": "a"}, {"value": 3, "code": "2", "system": UCUM}),
        ("DataRequirementCodeFilter", "drq-1", {"path": "a"}, {"path": "a", "searchParam": "b"}),
        ("DataRequirementDateFilter", "drq-2", {"searchParam": "a"}, {}),
        ("Distance", "dis-1", {"value": 1, "code": "m", "system": UCUM}, {"value": 1, "code": "m", "system": "urn:a"}),
        ("Duration", "drt-1", {"value": 1}, {"code": "s", "system": UCUM}),
        ("Duration", "drt-1", {"value": 1, "code": "s", "system": UCUM}, {"value": 1, "code": "s", "system": "urn:a"}),
        ("Expression", "exp-1", {"expression": "a"}, {"name": "a"}),
        ("Extension", "ext-1", {"valueString": "a"}, {"valueString": "a", "extension": [{}]}),
        ("Extension", "ext-1", {"extension": [{}]}, {"url": "a"}),
        ("Extension", "ext-1", {"_valueString": {"id": "a"}}, {"values": "a"}),
        ("Observation", "obs-6", {"valueString": "a"}, {"valueString": "a", "dataAbsentReason": {}}),
        (
            "Observation",
            "obs-7",
            {"code": {"coding": [{"system": "a", "code": "b"}]}, "component": [{"code": {"coding": [{"code": "b"}]}}]},
            {
                "code": {"coding": [{"system": "a", "code": "b", "display": "x"}]},
                "valueString": "v",
                "component": [{"code": {"text": "t"}}, {"code": {"coding": [{"system": "a", "code": "b"}]}}],
            },
        ),
        ("ObservationReferenceRange", "obs-3", {"text": "a"}, {"age": {}}),
        ("Organization", "org-1", {"name": "a"}, {"active": True}),
        (
            "Organization",
            "org-2",
            {"name": "a", "address": [{"use": "work"}]},
            {"name": "a", "address": [{"use": "home"}]},
        ),
        (
            "Organization",
            "org-3",
            {"name": "a", "telecom": [{"use": "work"}]},
            {"name": "a", "telecom": [{"use": "home"}]},
        ),
        ("ParametersParameter", "inv-1", {"name": "a", "valueString": "b"}, {"name": "a"}),
        ("ParametersParameter", "inv-1", {"name": "a", "part": [{}]}, {"name": "a", "part": [{}], "resource": {}}),
        ("PatientContact", "pat-1", {"organization": {}}, {"gender": "male"}),
        ("Period", "per-1", {"start": "2026", "end": "2026"}, {"start": "2026", "end": "2025"}),
        ("Period", "per-1", {"start": "2026"}, {"start": "2026-04-17T09:00:01Z", "end": "2026-04-17T09:00:00Z"}),
        ("Quantity", "qty-3", {"code": "a", "system": UCUM}, {"code": "a"}),
        ("Range", "rng-2", {"low": {"value": 1}, "high": {"value": 2}}, {"low": {"value": 2}, "high": {"value": 1}}),
        (
            "Range",
            "rng-2",
            {"low": {"value": 2, "unit": "g"}, "high": {"value": 1, "unit": "kg"}},
            {"low": {"value": 2, "unit": "g"}, "high": {"value": Number("1.9"), "unit": "g"}},
        ),
        ("Range", "rng-2", {"low": {"value": 2}}, {"low": {"value": 2}, "high": {"value": 1}}),
        ("Ratio", "rat-1", {"numerator": {}, "denominator": {}}, {"numerator": {}}),
        ("Ratio", "rat-1", {"extension": [{}]}, {"id": "a"}),
        (
            "Task",
            "inv-1",
            {"authoredOn": "2026-04-17", "lastModified": "2026-04-17T09:00:00Z"},
            {"authoredOn": "2026-04-17", "lastModified": "2026-04-01"},
        ),
        ("Range", "sqty-1", {"low": {"value": 2}}, {"low": {"value": 2, "comparator": "<"}}),
        ("ObservationReferenceRange", "sqty-1", {"high": {"value": 2}}, {"high": {"value": 2, "comparator": "<"}}),
        ("SampledData", "sqty-1", {"origin": {"value": 2}}, {"origin": {"value": 2, "comparator": "<"}}),
        ("TriggerDefinition", "trd-1", {"type": "data-added", "data": [{}]}, {"data": [{}], "timingDate": "2026"}),
        ("TriggerDefinition", "trd-2", {"type": "named-event", "name": "a"}, {"type": "named-event", "condition": {}}),
        ("TriggerDefinition", "trd-3", {"type": "periodic", "timingDate": "2026"}, {"type": "periodic"}),
        ("TriggerDefinition", "trd-3", {"type": "named-event", "name": "a"}, {"type": "data-added"}),
        ("TimingRepeat", "tim-1", {"duration": 1, "durationUnit": "s"}, {"duration": 1}),
        ("TimingRepeat", "tim-2", {"period": 1, "periodUnit": "s"}, {"period": 1}),
        ("TimingRepeat", "tim-4", {"duration": 0, "durationUnit": "s"}, {"duration": -1, "durationUnit": "s"}),
        ("TimingRepeat", "tim-5", {"count": 1}, {"period": Number("-0.5"), "periodUnit": "s"}),
        ("TimingRepeat", "tim-6", {"period": 1, "periodUnit": "s", "periodMax": 2}, {"periodMax": 2}),
        ("TimingRepeat", "tim-7", {"duration": 1, "durationUnit": "s", "durationMax": 2}, {"durationMax": 2}),
        ("TimingRepeat", "tim-8", {"count": 1, "countMax": 2}, {"countMax": 2}),
        ("TimingRepeat", "tim-9", {"offset": 1, "when": ["AC"]}, {"offset": 1, "when": ["C"]}),
        ("TimingRepeat", "tim-9", {"when": ["C"]}, {"offset": 1}),
        ("TimingRepeat", "tim-10", {"timeOfDay": ["a"]}, {"timeOfDay": ["a"], "when": ["AC"]}),
    ],
)
def test_a_datatype_or_resource_keeps_its_rules(kind, key, good, bad):
    assert keys(kind, good) == []
    assert key in keys(kind, bad)


@pytest.mark.parametrize(
    ("key", "good", "bad"),
    [
        ("bdl-1", bundle("searchset", ENTRY, total=1), bundle("collection", ENTRY, total=1)),
        (
            "bdl-2",
            bundle("searchset", {**ENTRY, "search": {"mode": "match"}}),
            bundle("collection", {**ENTRY, "search": {"mode": "match"}}),
        ),
        ("bdl-3", bundle("batch", REQUEST), bundle("transaction", ENTRY)),
        ("bdl-3", bundle("history", REQUEST | RESPONSE), bundle("searchset", REQUEST)),
        ("bdl-4", bundle("batch-response", RESPONSE), bundle("transaction-response", ENTRY)),
        ("bdl-4", bundle("collection", ENTRY), bundle("batch", REQUEST | RESPONSE)),
        (
            "bdl-7",
            bundle("collection", {**ENTRY, "fullUrl": "urn:a"}, {**ENTRY, "fullUrl": "urn:b"}, ENTRY, ENTRY),
            bundle("collection", {**ENTRY, "fullUrl": "urn:a"}, {**ENTRY, "fullUrl": "urn:a"}),
        ),
        (
            "bdl-7",
            bundle("history", *[{"fullUrl": "urn:a"} | REQUEST | RESPONSE] * 2),
            bundle("batch", *[{"fullUrl": "urn:a"} | REQUEST] * 2),
        ),
        ("bdl-9", bundle("document", COMPOSITION, **IDENTIFIED), bundle("document", COMPOSITION)),
        ("bdl-10", bundle("document", COMPOSITION, **IDENTIFIED), bundle("document", COMPOSITION)),
        ("bdl-11", bundle("document", COMPOSITION, **IDENTIFIED), bundle("document", ENTRY, COMPOSITION, **IDENTIFIED)),
        ("bdl-12", bundle("message", {"resource": {"resourceType": "MessageHeader"}}), bundle("message", ENTRY)),
    ],
)
def test_a_bundle_keeps_its_rules(key, good, bad):
    assert keys("Bundle", good) == []
    assert key in keys("Bundle", bad)


def test_an_empty_document_or_message_starts_with_nothing():
    assert "bdl-11" in keys("Bundle", {"type": "document"})
    assert "bdl-12" in keys("Bundle", {"type": "message"})


def test_a_broken_rule_is_told_with_its_key_and_element(example):
    with pytest.raises(Invalid) as caught:
        checked(example("observation-fact", dataAbsentReason={"text": "a"}))

    assert caught.value.issues[0].code == "invariant"
    assert caught.value.issues[0].at == "Observation.dataAbsentReason"
    assert "obs-6" in caught.value.text


def test_a_rule_on_the_whole_object_points_at_the_object(example):
    with pytest.raises(Invalid) as caught:
        checked(example("encounter-ambulatory", period={"start": "2026-04-17", "end": "2026-04-16"}))

    assert caught.value.at == "Encounter.period"
