from __future__ import annotations

import argon2
import pytest

from fhir_bridge.store import Store, oauth


@pytest.fixture
def password(tmp_path):
    file = tmp_path / "password"
    file.write_text("correct horse\n")
    return str(file)


def test_a_password_is_kept_as_an_argon2_hash(run, password, sqlite_settings):
    arguments = ("--password-file", password, "--fhir-user", "Practitioner/holm")
    made = run("user", "add", "holm", *arguments, data_dir=str(sqlite_settings.data_dir)).json

    store = Store.open(sqlite_settings).of_all()
    kept = store.read(lambda conn: oauth.user(conn, "holm"))
    store.close()
    assert made == {"user": "holm", "tenant": "default", "fhir_user": "Practitioner/holm"}
    assert kept.password_hash.startswith("$argon2id$")
    assert argon2.PasswordHasher().verify(kept.password_hash, "correct horse")


def test_a_password_is_asked_for_twice_when_no_file_is_given(run, monkeypatch):
    asked = []
    monkeypatch.setattr("click.termui.hidden_prompt_func", lambda prompt: asked.append(prompt) or "correct horse")

    assert run("user", "add", "holm").status == 0
    assert len(asked) == 2


def test_a_name_is_taken_once(run, password):
    run("user", "add", "holm", "--password-file", password)
    answer = run("user", "add", "holm", "--password-file", password)

    assert (answer.status, answer.err) == (1, "fhir-bridge: There is a user holm already\n")


def test_an_empty_password_is_refused(run, tmp_path):
    (tmp_path / "empty").write_text("\n")
    answer = run("user", "add", "holm", "--password-file", "empty")

    assert (answer.status, answer.err) == (1, "fhir-bridge: empty: the password is empty\n")


def test_an_unknown_tenant_is_refused(run, password):
    answer = run("user", "add", "holm", "--password-file", password, "--tenant", "north")

    assert answer.status == 1
    assert "there is no tenant north" in answer.err


@pytest.mark.parametrize("reference", ["holm", "Encounter/1", "Practitioner/a b", "https://x/Practitioner/1"])
def test_a_user_is_a_person_or_role_of_this_server(run, password, reference):
    answer = run("user", "add", "holm", "--password-file", password, "--fhir-user", reference)

    assert answer.status == 2
    assert "--fhir-user" in answer.err
