"""Links found and rewritten wherever FHIR can hold one."""

from fhir_bridge.fhir.resource.references import references, rewrite

NEW = "urn:uuid:1d0a5a0c-7f3e-4f65-8a53-5f5f0c3b9a22"
TABLE = {NEW: "Encounter/1", "Patient?identifier=a|b": "Patient/2", "https://ehr.example/Patient/x": "Patient/3"}


def test_every_reference_is_found_with_its_path(example):
    found = {path: reference["reference"] for path, reference in references(example("encounter-ambulatory"))}

    assert found == {
        "Encounter.subject": "Patient/pat-anna-berg",
        "Encounter.participant[0].individual": "Practitioner/prac-jonas-holm",
        "Encounter.serviceProvider": "Organization/org-north-clinic",
    }


def test_references_inside_entries_contained_resources_and_extensions_are_found():
    extension = [{"url": "urn:a", "valueReference": {"reference": "Device/1"}}]
    patient = {"resourceType": "Patient", "id": "p", "managingOrganization": {"reference": "Organization/1"}}
    encounter = {"resourceType": "Encounter", "contained": [patient], "_language": {"extension": extension}}

    found = [path for path, _ in references({"resourceType": "Bundle", "entry": [{"resource": encounter}]})]

    assert found == [
        "Bundle.entry[0].resource.contained[0].managingOrganization",
        "Bundle.entry[0].resource.language.extension[0].value",
    ]


def test_the_reference_of_an_expression_is_none():
    expression = {"language": "text/fhirpath", "reference": NEW}

    assert list(references({"resourceType": "Media", "extension": [{"url": "a", "valueExpression": expression}]})) == []


def test_unknown_types_and_elements_hold_no_references():
    assert list(references({"resourceType": "Foo", "subject": {"reference": "a"}})) == []
    assert list(references({"resourceType": "Media", "foo": {"reference": "a"}, "_subject": {"reference": "b"}})) == []
    assert list(references({"resourceType": "Media", "contained": [{"resourceType": "Foo"}, 7], "subject": 7})) == []


def test_links_are_rewritten_in_every_place_the_rules_name():
    media = {
        "resourceType": "Media",
        "text": {"status": "generated", "div": f"<div><a  href='{NEW}'>a</a><img src=\"{NEW}\"/>{NEW}</div>"},
        "contained": [{"resourceType": "Patient", "link": [{"other": {"reference": NEW}, "type": "refer"}]}],
        "extension": [
            {"url": "urn:a", "valueUri": NEW},
            {"url": "urn:b", "valueUuid": NEW},
            {"url": "urn:c", "valueCanonical": NEW},
            {"url": "urn:d", "valueString": NEW},
            {"url": "urn:e", "valueReference": {"reference": "Patient?identifier=a|b"}},
        ],
        "_issued": {"extension": [{"url": "urn:f", "valueOid": NEW}]},
        "subject": {"reference": "https://ehr.example/Patient/x/_history/4"},
        "encounter": {"reference": f"{NEW}#part", "display": NEW},
        "partOf": [{"reference": "Media/untouched"}],
        "content": {"url": NEW},
    }

    new = rewrite(media, TABLE)

    assert new["text"]["div"] == f'<div><a  href="Encounter/1">a</a><img src="Encounter/1"/>{NEW}</div>'
    assert new["contained"][0]["link"][0]["other"]["reference"] == "Encounter/1"
    assert [next(iter(list(one.values())[1:])) for one in new["extension"]] == [
        "Encounter/1",
        "Encounter/1",
        NEW,
        NEW,
        {"reference": "Patient/2"},
    ]
    assert new["_issued"]["extension"][0]["valueOid"] == "Encounter/1"
    assert new["subject"]["reference"] == "Patient/3/_history/4"
    assert new["encounter"] == {"reference": "Encounter/1#part", "display": NEW}
    assert new["partOf"] == media["partOf"]
    assert new["content"]["url"] == "Encounter/1"
    assert media["content"]["url"] == NEW


def test_an_escaped_link_in_the_narrative_is_the_same_link():
    div = '<div><a href="https://a/?x=1&amp;y=2">a</a> <a href="other">b</a></div>'
    media = {"resourceType": "Media", "text": {"div": div}}

    new = rewrite(media, {"https://a/?x=1&y=2": "Media?a&b"})

    assert new["text"]["div"] == '<div><a href="Media?a&amp;b">a</a> <a href="other">b</a></div>'


def test_nothing_is_rewritten_without_a_table_or_a_known_type(example):
    media = example("media-url", foo={"reference": NEW})

    assert rewrite(media, {}) is media
    assert rewrite(media, TABLE) == media
    assert rewrite({"resourceType": "Foo", "a": NEW}, TABLE) == {"resourceType": "Foo", "a": NEW}


def test_a_transaction_is_rewritten_whole(example):
    bundle = example("bundle-transaction")
    table = {entry["fullUrl"]: f"{entry['resource']['resourceType']}/1" for entry in bundle["entry"]}
    table["Practitioner?identifier=http://hl7.org/fhir/sid/us-npi|9941339108"] = "Practitioner/1"

    links = {reference["reference"] for _, reference in references(rewrite(bundle, table))}

    assert links == {"Patient/1", "Encounter/1", "Practitioner/1"}
