"""What listened, as the Device that results name tells it."""

from __future__ import annotations

from fhir_bridge.mapping.device import CORTI, corti_device


def name_of(device):
    return device["deviceName"][0]["name"]


def test_the_device_of_a_sandbox_says_that_it_is_none_of_corti_s(ward):
    ward.record(ward.admit(), 40)

    ward.work()

    device = ward.resource("Device", CORTI)
    assert name_of(device) == "Corti sandbox (numbers)"
    assert device["manufacturer"] == "fhir_bridge"
    assert "Not for clinical use" in device["note"][0]["text"]


def test_a_device_that_says_what_no_longer_listens_gets_a_new_version_once(ward):
    encounter = ward.admit()
    ward.accept_resource(corti_device(environment="eu"))
    ward.record(encounter, 40)
    ward.work()
    assert name_of(ward.resource("Device", CORTI)) == "Corti sandbox (numbers)"

    ward.record(encounter, 60)
    ward.work()

    assert ward.vid("Device", CORTI) == 2
    assert ward.vid("Device", "fhir-bridge") == 1


def test_a_device_that_an_ehr_edited_or_deleted_stays_so(ward):
    encounter = ward.admit()
    ward.record(encounter, 40)
    ward.work()
    ward.edit(ward.resource("Device", CORTI) | {"manufacturer": "We know better"})
    ward.delete(ward.resource("Device", "fhir-bridge"))

    media = ward.record(encounter, 60)
    ward.work()

    assert ward.resource("Device", CORTI)["manufacturer"] == "We know better"
    assert [one["id"] for one in ward.all("Device")] == [CORTI]
    assert ward.task_of(media)["status"] == "completed"
