"""Models and Json turned into each other, and every failure of a model translated."""

from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal

import pytest

from fhir_bridge.errors import Invalid, Malformed
from fhir_bridge.fhir.resource import models
from fhir_bridge.fhir.resource.models import json_of, model_of
from fhir_bridge.fhir.resource.reader import read
from fhir_bridge.fhir.resource.writer import write


def test_every_example_survives_its_model(any_example):
    assert json_of(model_of(any_example)) == any_example


def test_a_decimal_of_a_model_keeps_its_precision():
    quantity = models.Quantity(value=Decimal("0.10000000000000000001"))

    assert write(json_of(quantity)) == '{"value":0.10000000000000000001}'


@pytest.mark.parametrize(
    ("moment", "text"),
    [
        (datetime(2026, 4, 17, 9, 5, 12, tzinfo=UTC), "2026-04-17T09:05:12Z"),
        (datetime(2026, 4, 17, 9, 5, 12, 500_000, tzinfo=UTC), "2026-04-17T09:05:12.500Z"),
        (datetime(2026, 4, 17, 9, 5, 12, 500_001, tzinfo=UTC), "2026-04-17T09:05:12.500001Z"),
        (datetime(2026, 4, 17, 9, 5, tzinfo=timezone(timedelta(hours=2))), "2026-04-17T09:05:00+02:00"),
        (date(2026, 4, 17), "2026-04-17"),
        ("2026-04", "2026-04"),
    ],
)
def test_a_moment_is_written_as_fhir_wants_it(moment, text):
    assert json_of(models.Media(status="completed", content={"title": "a"}, createdDateTime=moment)) == {
        "resourceType": "Media",
        "status": "completed",
        "createdDateTime": text,
        "content": {"title": "a"},
    }


def test_time_base64_uuid_and_url_are_written_as_text():
    parts = [
        {"name": "a", "valueTime": time(8, 30)},
        {"name": "b", "valueBase64Binary": b"QUJD"},
        {"name": "c", "valueUuid": "urn:uuid:c757873d-ec9a-4326-a141-556f43239520"},
        {"name": "d", "valueUrl": "https://ehr.example/a"},
    ]

    assert json_of(models.Parameters(parameter=parts)) == {
        "resourceType": "Parameters",
        "parameter": [
            {"name": "a", "valueTime": "08:30:00"},
            {"name": "b", "valueBase64Binary": "QUJD"},
            {"name": "c", "valueUuid": "urn:uuid:c757873d-ec9a-4326-a141-556f43239520"},
            {"name": "d", "valueUrl": "https://ehr.example/a"},
        ],
    }


def test_an_empty_part_of_a_model_is_left_out():
    assert json_of(models.HumanName(family="Berg", given=[])) == {"family": "Berg"}


@pytest.mark.parametrize("kind", [None, 7, "Foo", "Period", "Patient\0"])
def test_what_names_no_resource_type_has_no_model(kind):
    with pytest.raises(Malformed) as caught:
        model_of({"resourceType": kind})

    assert caught.value.at == "resourceType"


def test_each_finding_of_a_model_has_its_code_and_expression():
    body = '{"resourceType":"Encounter","class":{"code":"AMB"},"participant":[{"period":{"start":"20"}},{"foo":1}]}'

    with pytest.raises(Invalid) as caught:
        model_of(read(body))

    assert [(issue.code, issue.at) for issue in caught.value.issues] == [
        ("value", "Encounter.participant[0].period.start"),
        ("structure", "Encounter.participant[1].foo"),
    ]


def test_a_missing_element_is_required():
    with pytest.raises(Invalid) as caught:
        model_of({"resourceType": "Encounter", "class": {"code": "AMB"}})

    assert [(issue.code, issue.at) for issue in caught.value.issues] == [("required", "Encounter.status")]


@pytest.mark.parametrize("inner", [{"resourceType": "Foo"}, {"resourceType": 5}])
def test_an_unknown_type_inside_is_an_answer_and_no_crash(inner):
    with pytest.raises(Malformed):
        model_of({"resourceType": "Bundle", "type": "collection", "entry": [{"resource": inner}]})
