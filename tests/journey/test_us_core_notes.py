"""US Core 9, "Writing Clinical Notes": the server's checklist, one test for each box; docs/us-core.md is its table."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import pytest
from conftest import example

from fhir_bridge.settings import Settings

PAGE = Path(__file__).parents[2] / "docs" / "us-core.md"
CATEGORY = "http://hl7.org/fhir/us/core/CodeSystem/us-core-documentreference-category"
NOTES = {  # the ten common clinical notes
    "11488-4": "Consultation note",
    "18842-5": "Discharge summary",
    "34117-2": "History and physical note",
    "28570-0": "Procedure note",
    "11506-3": "Progress note",
    "18748-4": "Diagnostic imaging study",
    "11502-2": "Laboratory report",
    "11526-1": "Pathology study",
    "11504-8": "Surgical operation note",
    "34111-5": "Emergency department note",
}
TEXT = "text/plain; charset=utf-8"


def attached(data=b"Visit summary.", kind=TEXT, **more):
    return {"attachment": {"contentType": kind, "data": base64.b64encode(data).decode()}, **more}


def note(code="11506-3", *, content=None, **changes):
    """A note as a client of US Core sends it; None leaves an element out."""
    sent = {
        "resourceType": "DocumentReference",
        "status": "current",
        "type": {"coding": [{"system": "http://loinc.org", "code": code, "display": NOTES[code]}]},
        "category": [{"coding": [{"system": CATEGORY, "code": "clinical-note"}]}],
        "subject": {"reference": "Patient/123"},
        "author": [{"reference": "PractitionerRole/456", "display": "Dr. Rivera (Endocrinology)"}],
        "date": "2026-08-22T16:00:00Z",
        "content": [content or attached()],
        "context": {
            "encounter": [{"reference": "Encounter/789", "display": "Office visit"}],
            "period": {"start": "2026-08-21", "end": "2026-08-21"},
        },
    } | changes
    return {name: value for name, value in sent.items() if value is not None}


def kept(answer):
    """What was stored of what was sent."""
    assert answer.status in {200, 201}, answer.raw[:500]
    return {name: value for name, value in answer.json.items() if name not in {"id", "meta"}}


@pytest.mark.parametrize("code", NOTES)
def test_create_and_update_of_each_common_note(ehr, code):
    sent = note(code)

    made = ehr.post("DocumentReference", sent)
    id_ = made.json["id"]
    again = ehr.put(f"DocumentReference/{id_}", sent | {"id": id_, "description": "amended"})

    assert kept(made) == sent
    assert again.status == 200
    assert ehr.get(f"DocumentReference?patient=123&category={CATEGORY}|clinical-note&type={code}").ids == [id_]


def test_every_mandatory_and_must_support_element_is_kept(ehr):
    sent = note(
        identifier=[{"system": "https://ehr.example.org/doc-ids", "value": "CONS-1"}],
        meta={"security": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "code": "PATAST"}]},
        docStatus="final",
        custodian={"reference": "Organization/1"},
    )
    answer = ehr.post("DocumentReference", sent)

    assert kept(answer) == {name: value for name, value in sent.items() if name != "meta"}
    assert answer.json["meta"]["security"] == sent["meta"]["security"]


@pytest.mark.parametrize("size", [5 * 2**20, 10 * 2**20])
def test_inline_content_up_to_its_limit(ehr, size):
    sent = note(content=attached(b"x" * size, "application/pdf"))

    made = ehr.post("DocumentReference", sent, Prefer="return=minimal")

    # Not by ehr.get, which keeps it for validators: one of them takes no string over 1 MB, not even base64.
    path = made.headers["Location"].partition("/_history")[0].partition("8080")[2]
    answer = ehr.http.get(path, headers={"Authorization": f"Bearer {ehr.token}"})
    assert made.status == 201
    assert answer.json["content"] == sent["content"]


def test_inline_content_over_its_limit_is_refused_with_its_element_and_the_way_out(ehr):
    answer = ehr.post("DocumentReference", note(content=attached(b"x" * (10 * 2**20 + 3))))

    assert (answer.status, answer.issue["code"]) == (413, "too-long")
    assert answer.issue["expression"] == ["DocumentReference.content[0].attachment.data"]
    assert "Binary" in answer.issue["details"]["text"]


def test_larger_content_is_a_binary_that_the_note_names(ehr):
    binary = ehr.post("Binary", b"%PDF-1.7 " + b"x" * 100, Content_Type="application/pdf").json["id"]
    content = {"attachment": {"contentType": "application/pdf", "url": f"Binary/{binary}"}}

    id_ = ehr.create(note(content=content))

    url = ehr.get(f"DocumentReference/{id_}").json["content"][0]["attachment"]["url"]
    assert ehr.get(url, Accept="application/pdf").raw.startswith(b"%PDF")


@pytest.mark.parametrize(
    "named",
    [
        {"author": [{"reference": "Practitioner/nobody-here", "display": "Dr. Khan"}]},
        {"author": [{"display": "Dr. Khan"}]},
        {
            "contained": [{"resourceType": "Practitioner", "id": "p1", "name": [{"family": "Khan"}]}],
            "author": [{"reference": "#p1"}],
        },
        {"context": {"encounter": [{"reference": "Encounter/nobody-here"}]}},
        {
            "contained": [example("encounter-ambulatory", id="e1", meta=None)],
            "context": {"encounter": [{"reference": "#e1", "display": "Office visit"}]},
        },
    ],
)
def test_author_and_encounter_resolvable_or_contained_or_neither(ehr, named):
    sent = note(**named)

    assert kept(ehr.post("DocumentReference", sent)) == sent


def test_author_and_encounter_that_are_here_are_found_by_search(ehr):
    visit = ehr.encounter()
    ehr.put("Practitioner/dr-1", example("practitioner", id="dr-1"))
    id_ = ehr.create(
        note(author=[{"reference": "Practitioner/dr-1"}], context={"encounter": [{"reference": f"Encounter/{visit}"}]})
    )

    assert ehr.get(f"DocumentReference?author=dr-1&encounter={visit}").ids == [id_]


@pytest.mark.parametrize("kind", [TEXT, "text/plain", "application/pdf", "application/cda+xml", "text/xml"])
def test_plain_text_pdf_and_cda(ehr, kind):
    sent = note(content=attached(b"%PDF-1.7", kind))

    assert kept(ehr.post("DocumentReference", sent)) == sent


def test_conditional_create_makes_one_note(ehr):
    sent = note(identifier=[{"system": "https://ehr.example.org/doc-ids", "value": "CONS-1"}])
    unless = "identifier=https://ehr.example.org/doc-ids|CONS-1"

    first, second = (ehr.post("DocumentReference", sent, If_None_Exist=unless) for _ in range(2))

    assert (first.status, second.status) == (201, 200)
    assert first.json["id"] == second.json["id"]
    assert len(ehr.get("DocumentReference").found) == 1


def test_limits_and_policy_are_documented():
    page = PAGE.read_text()

    assert f"{Settings().max_inline_document_bytes // 2**20} MiB" in page
    assert "Mediated submission" in page
    assert all(kind in page for kind in ("text/plain", "application/pdf"))


def test_a_partial_put_withdraws_a_note(ehr):
    id_ = ehr.create(note())
    partial = {"resourceType": "DocumentReference", "id": id_, "status": "entered-in-error"}

    answer = ehr.put(f"DocumentReference/{id_}", partial | {"subject": {"reference": "Patient/123"}})

    assert kept(answer) == note(status="entered-in-error")
    assert ehr.get(f"DocumentReference/{id_}").json["status"] == "entered-in-error"
    assert ehr.get(f"DocumentReference/{id_}/_history/1").json["status"] == "current"


@pytest.mark.parametrize(
    ("sent", "status", "code", "at"),
    [
        ({"status": "entered-in-error", "subject": {"reference": "Patient/other"}}, 422, "business-rule", "subject"),
        ({"status": "current", "subject": {"reference": "Patient/123"}}, 400, "required", "content"),
    ],
)
def test_a_partial_put_is_taken_for_nothing_else(ehr, sent, status, code, at):
    id_ = ehr.create(note())

    answer = ehr.put(f"DocumentReference/{id_}", {"resourceType": "DocumentReference", "id": id_} | sent)

    assert (answer.status, answer.issue["code"]) == (status, code)
    assert answer.issue["expression"] == [f"DocumentReference.{at}"]
    assert ehr.get(f"DocumentReference/{id_}").json["status"] == "current"


def test_a_partial_put_withdraws_nothing_that_is_not_there(ehr):
    partial = {"resourceType": "DocumentReference", "id": "none", "status": "entered-in-error"}

    assert ehr.put("DocumentReference/none", partial).issue["code"] == "required"


def test_status_is_corrected_with_the_note_or_with_an_attachment_without_its_data(ehr):
    id_ = ehr.create(note())
    for content in (attached(), {"attachment": {"contentType": TEXT, "title": "withdrawn"}}):
        sent = note(status="entered-in-error", content=content, id=id_)
        answer = ehr.put(f"DocumentReference/{id_}", sent)
        assert (answer.status, answer.json["content"]) == (200, [content])


def test_a_replacement_is_kept_as_sent_and_found(ehr):
    old = ehr.create(note())
    sent = note(relatesTo=[{"code": "replaces", "target": {"reference": f"DocumentReference/{old}"}}])

    answer = ehr.post("DocumentReference", sent)

    assert kept(answer) == sent
    assert ehr.get(f"DocumentReference/{old}").json["status"] == "current"


def test_the_format_of_the_content_is_kept(ehr):
    format_ = {
        "system": "http://ihe.net/fhir/ihe.formatcode.fhir/CodeSystem/formatcode",
        "code": "urn:ihe:pcc:xphr:2007",
    }
    sent = note(content=attached(format=format_))

    assert kept(ehr.post("DocumentReference", sent))["content"] == sent["content"]


def test_a_failed_write_is_answered_with_an_outcome(ehr):
    answer = ehr.post("DocumentReference", note(type=None, status="draft"))

    assert (answer.status, answer.issue["code"], answer.issue["expression"]) == (
        400,
        "code-invalid",
        ["DocumentReference.status"],
    )


def test_direct_writes_are_found_at_once(ehr):
    id_ = ehr.create(note())

    assert ehr.get("DocumentReference?patient=Patient/123&category=clinical-note&date=2026-08-22").ids == [id_]
    assert ehr.get("DocumentReference?patient=Patient/123&type=11506-3&period=2026-08-21").ids == [id_]
    assert ehr.get("DocumentReference?patient=Patient/123&status=current").ids == [id_]


@pytest.mark.parametrize("category", ["clinical-note", f"{CATEGORY}|clinical-note"])
def test_scopes_of_a_category(new_ehr, ehr, category):
    other = note(category=[{"coding": [{"system": CATEGORY, "code": "other"}]}])
    hidden = ehr.create(other)
    limited = new_ehr(f"system/DocumentReference.cruds?category={category}")
    creator = new_ehr(f"system/DocumentReference.c?category={category}")

    id_ = limited.create(note())

    assert creator.post("DocumentReference", note()).status == 201
    assert creator.post("DocumentReference", other).status == 403
    assert creator.get(f"DocumentReference/{id_}").status == 403
    assert limited.get(f"DocumentReference/{id_}").status == 200
    assert limited.get(f"DocumentReference/{hidden}").status == 404
    assert hidden not in limited.get("DocumentReference").ids
    assert limited.put(f"DocumentReference/{id_}", other | {"id": id_}).status == 403
    partial = {"resourceType": "DocumentReference", "id": id_, "status": "entered-in-error"}
    assert limited.put(f"DocumentReference/{id_}", partial).status == 200


def test_the_table_names_each_of_these_tests_and_no_other():
    named = set(re.findall(r"`(test_\w+)`", PAGE.read_text()))
    here = {name for name in globals() if name.startswith("test_")} - {
        "test_the_table_names_each_of_these_tests_and_no_other"
    }

    assert named == here
    assert json.dumps(sorted(named))
