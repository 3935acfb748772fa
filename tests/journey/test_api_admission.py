"""Who is not let in: told why and when to come again, before the body is read."""

from __future__ import annotations

import io
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta

import pytest
from conftest import example, media, wav

from fhir_bridge import clock
from fhir_bridge.app import create_app


class Unread(io.RawIOBase):
    """A body that nobody may read."""

    def readable(self):
        return True

    def readinto(self, _target):
        raise AssertionError("the body was read")


class Tomorrow(clock.Clock):
    def now(self):
        return datetime.now(UTC) + timedelta(days=1)


@pytest.fixture
def limited(web_settings, ehr, other_ehr):
    """Let the clients of both tenants speak to a bridge with other limits."""
    assert ehr.token
    assert other_ehr.token
    with ExitStack() as opened:

        def make(**changes):
            app = create_app(web_settings.model_copy(update=changes))
            ehr.http, other_ehr.http = app.test_client(), app.test_client()
            bridge = app.extensions["fhir-bridge"].of_all()
            opened.callback(bridge.store.close)
            return bridge

        yield make


def unread(ehr, path, type_="application/fhir+json", **headers):
    """Post what must not be read."""
    sent = {"Authorization": f"Bearer {ehr.token}", "Content-Type": type_} | headers
    body = {"wsgi.input": Unread(), "CONTENT_LENGTH": "1000"}
    return ehr.http.post(f"/fhir/{path}", headers=sent, environ_overrides=body)


def refusal(answer):
    issue = answer.json["issue"][0]
    return answer.status_code, issue["code"], int(answer.headers["Retry-After"])


def test_a_tenant_s_audio_of_a_day_is_counted_once_each_and_then_refused_until_the_day_turns(limited, ehr, other_ehr):
    limited(tenant_audio_minutes_per_day=1)
    visit, long = ehr.encounter(), wav(40)
    assert ehr.post("Media", media(visit, long)).status == 201
    assert ehr.post("Media", media(visit, long)).status == 200

    over = ehr.post("Media", media(visit, wav(30)))
    fits = ehr.post("Media", media(visit, wav(20)))
    answer = unread(ehr, "Media")

    assert (over.status, over.issue["code"]) == (429, "throttled")
    assert "FHIR_BRIDGE_TENANT_AUDIO_MINUTES_PER_DAY" in over.issue["details"]["text"]
    assert 0 < int(over.headers["Retry-After"]) <= 86_400
    assert fits.status == 201
    assert refusal(answer)[:2] == (429, "throttled")
    assert ehr.post("Patient", example("patient")).status == 201
    assert other_ehr.post("Media", media(other_ehr.encounter(), wav(20))).status == 201
    with clock.use(Tomorrow()):
        ehr._token = ""
        assert ehr.post("Media", media(visit, wav(50))).status == 201


def test_a_transaction_over_the_budget_is_refused_whole(limited, ehr):
    limited(tenant_audio_minutes_per_day=0)
    visit = ehr.encounter()
    entries = [
        {"resource": example("patient"), "request": {"method": "POST", "url": "Patient"}},
        {"resource": media(visit), "request": {"method": "POST", "url": "Media"}},
    ]

    answer = ehr.post("", {"resourceType": "Bundle", "type": "transaction", "entry": entries})

    assert (answer.status, answer.issue["code"]) == (429, "throttled")
    assert ehr.get("Patient").ids == []


@pytest.mark.parametrize(
    ("path", "type_", "headers"),
    [
        ("Media", "application/fhir+json", {}),
        ("Binary", "application/fhir+json", {}),
        ("Binary", "audio/wav", {}),
        ("Binary", "application/offset+octet-stream", {"Tus-Resumable": "1.0.0", "Upload-Length": "1000"}),
    ],
)
def test_while_a_tenant_s_recordings_pile_up_no_more_of_its_are_read(limited, ehr, other_ehr, path, type_, headers):
    limited(tenant_waiting=1)
    ehr.create(media(ehr.encounter()))

    assert refusal(unread(ehr, path, type_, **headers)) == (429, "throttled", 30)
    assert ehr.post("Patient", example("patient")).status == 201
    assert other_ehr.post("Media", media(other_ehr.encounter())).status == 201


def test_while_everyone_s_recordings_pile_up_nobody_s_are_read(limited, ehr, other_ehr):
    limited(max_waiting=1)
    ehr.create(media(ehr.encounter()))

    assert refusal(unread(other_ehr, "Media")) == (503, "transient", 30)


def test_one_tenant_cannot_take_all_the_room_for_bodies(limited, ehr, other_ehr):
    bridge = limited(tenant_bodies=1, web_bodies=2)
    with bridge.door.inside(bridge.settings, "default"):
        assert refusal(unread(ehr, "Patient")) == (429, "throttled", 1)
        assert ehr.get("Patient").status == 200
        assert other_ehr.post("Patient", example("patient")).status == 201
        with bridge.door.inside(bridge.settings, "third"):
            assert refusal(unread(other_ehr, "Patient")) == (503, "transient", 1)

    assert ehr.post("Patient", example("patient")).status == 201
