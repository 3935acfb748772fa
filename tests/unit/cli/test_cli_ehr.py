"""The demo's EHR, against servers that are not as a bridge should be."""

from __future__ import annotations

import json
import threading
import wave

import click
import pytest
from joserfc import jwt
from rich.console import Console
from werkzeug.serving import make_server

from fhir_bridge.cli import screen, visit
from fhir_bridge.cli.ehr import SCOPE, Ehr, new_key
from fhir_bridge.cli.visit import Fact, Recording, Status, Words
from fhir_bridge.fhir.resource.models import Device

ENCOUNTER = {"resourceType": "Encounter", "status": "planned", "class": {"code": "AMB"}}


@pytest.fixture
def served():
    """Serve fixed answers by path, and keep the forms that came in."""
    answers, forms = {}, []

    def application(environ, start_response):
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        forms.append((environ["PATH_INFO"], body.decode()))
        status, headers, text = answers[environ["PATH_INFO"]]
        start_response(status, [("Content-Type", "application/json"), *headers])
        return [text.encode()]

    server = make_server("127.0.0.1", 0, application, threaded=True)
    origin = f"http://127.0.0.1:{server.server_port}"
    answers["/fhir/.well-known/smart-configuration"] = "200 OK", [], json.dumps({"token_endpoint": f"{origin}/token"})
    answers["/token"] = "200 OK", [], json.dumps({"access_token": "secret", "expires_in": 300})
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield origin, answers, forms
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_bridge_that_is_away_is_named():
    with pytest.raises(click.ClickException, match=r"^http://127.0.0.1:1/fhir/.well-known/.* does not answer$"):
        Ehr("http://127.0.0.1:1", "client", new_key()).create(ENCOUNTER)


def test_a_token_that_is_refused_is_told_with_the_reason(served):
    origin, answers, _ = served
    answers["/token"] = "401 UNAUTHORIZED", [], '{"error": "invalid_client"}'

    with pytest.raises(click.ClickException, match=r"gave no token: .*invalid_client"):
        Ehr(origin, "client", new_key()).create(ENCOUNTER)


def test_the_assertion_is_signed_for_the_token_endpoint_and_used_once_for_many_requests(served):
    origin, answers, forms = served
    answers["/fhir/Encounter"] = "201 CREATED", [("Location", f"{origin}/fhir/Encounter/e1/_history/1")], ""
    key = new_key()
    ehr = Ehr(origin, "client", key)

    assert [ehr.create(ENCOUNTER), ehr.create(ENCOUNTER)] == ["e1", "e1"]

    [form] = [dict(pair.split("=") for pair in body.split("&")) for path, body in forms if path == "/token"]
    claims = jwt.decode(form["client_assertion"], key, algorithms=["ES384"]).claims
    assert (claims["iss"], claims["sub"], claims["aud"]) == ("client", "client", f"{origin}/token")
    assert claims["exp"] - claims["iat"] <= 300
    assert form["scope"].replace("%2F", "/").replace("%2A", "*") == SCOPE


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("<html>", "status 500"),
        ('{"resourceType": "Patient"}', "status 500"),
        (
            json.dumps(
                {
                    "resourceType": "OperationOutcome",
                    "issue": [
                        {
                            "severity": "error",
                            "code": "value",
                            "details": {"text": "It is wrong"},
                            "expression": ["Encounter.class"],
                        },
                        {"severity": "error", "code": "invalid", "diagnostics": "Also this"},
                        {"severity": "error", "code": "login"},
                    ],
                }
            ),
            "It is wrong (Encounter.class); Also this; login",
        ),
    ],
)
def test_a_refusal_is_told_as_the_bridge_words_it(served, body, told):
    origin, answers, _ = served
    answers["/fhir/Encounter"] = "500 INTERNAL SERVER ERROR", [], body

    with pytest.raises(click.ClickException) as refused:
        Ehr(origin, "client", new_key()).create(ENCOUNTER)
    assert refused.value.message == f"The bridge refused POST Encounter: {told}"


# --- what is shown ---------------------------------------------------------------------------


def test_words_are_shown_once_and_the_bar_ends_at_the_end(tmp_path):
    out = Console(width=80, record=True, file=(tmp_path / "out").open("w"))
    first = Words(1.0, 2.0, "Any fever? [sic]", 0)
    with screen.Hearing(out, Recording(tmp_path, "audio/wav", 10.0)) as hearing:
        hearing.show(_status(first))
        hearing.show(_status(first, Words(61.0, 63.0, "No.", 1), ended="completed"))
    out.file.close()
    text = out.export_text()

    assert text.count("Any fever? [sic]") == 1
    assert "00:01  Any fever? [sic]" in text
    assert "01:01  Speaker 2: No." in text
    assert "(1 fact)" in text
    assert "10 of 10 s" in text


def test_a_recording_of_unknown_length_is_shown_by_what_was_heard(tmp_path):
    out = Console(width=80, record=True, file=(tmp_path / "out").open("w"))
    with screen.Hearing(out, Recording(tmp_path, "audio/wav", None)) as hearing:
        hearing.show(_status(Words(1.0, 2.4, "Hello", None)))
    out.file.close()

    assert "2 s" in out.export_text()


def test_resources_are_counted_with_the_first_of_each_type():
    table = screen.resources_table([Device(id="a"), Device(id="b")])

    assert [list(column.cells) for column in table.columns] == [["Device"], ["2"], ["/fhir/Device/a"]]


def test_a_fact_without_loinc_code_has_a_dash():
    table = screen.facts_table([Fact("1", "Worried", "Concerns and expectations", None)])

    assert [next(iter(column.cells)) for column in table.columns] == ["Worried", "Concerns and expectations", "-"]


# --- recordings ------------------------------------------------------------------------------


def test_a_recording_is_told_by_its_content_and_measured(tmp_path):
    file = tmp_path / "any.name"
    with wave.open(str(file), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(8000)
        out.writeframes(bytes(2 * 8000 * 3))

    assert visit.recording_of(file) == Recording(file, "audio/wav", 3.0)


def test_what_is_no_recording_is_left_to_the_bridge_to_refuse(tmp_path):
    file = tmp_path / "notes.wav"
    file.write_text("These are notes.")

    assert visit.recording_of(file) == Recording(file, "application/octet-stream", None)


def _status(*words: Words, ended: str | None = None) -> Status:
    return Status(words, (Fact("1", "No fever", "Denials", None),), "audio is on its way to Corti: 1 of 2", ended, None)
