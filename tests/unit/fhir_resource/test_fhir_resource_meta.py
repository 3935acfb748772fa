"""A resource's text, cut open for the server's version and time."""

from fhir_bridge.fhir.resource.meta import split
from fhir_bridge.fhir.resource.reader import read
from fhir_bridge.fhir.resource.writer import write

AT = "2026-04-17T09:00:00.000Z"


def test_the_servers_version_and_time_replace_the_clients(any_example):
    tag = {"system": "urn:example", "code": "kept"}
    sent = {"versionId": "77", "lastUpdated": "1999-01-01T00:00:00Z", "_lastUpdated": {"id": "a"}, "tag": [tag]}

    stored = read(split(any_example | {"meta": sent}, id="new").join(3, AT))

    assert stored["meta"] == {"versionId": "3", "lastUpdated": AT, "tag": [tag]}
    assert stored["id"] == "new"
    assert stored == any_example | {"id": "new", "meta": stored["meta"]}


def test_type_id_and_meta_come_first():
    halves = split({"status": "completed", "resourceType": "Media"}, id="a")

    assert halves.join(1, AT) == (
        '{"resourceType":"Media","id":"a","meta":{"versionId":"1","lastUpdated":"2026-04-17T09:00:00.000Z"}'
        ',"status":"completed"}'
    )


def test_a_resource_of_nothing_but_its_type_is_whole():
    assert read(split({"resourceType": "Device"}, id="a").join(1, AT))["id"] == "a"


def test_numbers_and_order_stay_as_they_came():
    body = '{"resourceType":"Media","duration":1.10,"status":"completed"}'

    assert '"duration":1.10,"status":"completed"}' in split(read(body), id="a").after
    assert write(read(body)) == body
