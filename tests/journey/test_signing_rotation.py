"""Keys are exchanged while tokens live, and an assertion counts once, whatever number of processes there are."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from pathlib import Path

from browser import Later
from click.testing import CliRunner
from conftest import ASSERTION
from test_api_tokens import JWKS, assertion

from fhir_bridge import clock
from fhir_bridge.app import create_app
from fhir_bridge.cli import rotate_keys
from fhir_bridge.store import oauth

PROCESS = Path(__file__).parent / "asserting_process.py"


def kid_of(token: str) -> str:
    return json.loads(base64.urlsafe_b64decode(token.split(".", maxsplit=1)[0] + "=="))["kid"]


def test_rotate_keys_lets_old_tokens_live_signs_with_the_new_key_and_lets_the_old_one_go(
    web_settings, app, ehr, monkeypatch
):
    """By the command, beside two processes that go on serving."""
    monkeypatch.setenv("FHIR_BRIDGE_DATA_DIR", str(web_settings.data_dir))
    monkeypatch.setenv("FHIR_BRIDGE_SECRET_KEY", web_settings.secret_key.get_secret_value())
    monkeypatch.chdir(web_settings.data_dir)
    other = create_app(web_settings)
    old = ehr.token

    def published(alg: str) -> list[str]:
        return [key["kid"] for key in other.test_client().get("/oauth/jwks").json["keys"] if key["alg"] == alg]

    def use(of_app, token: str) -> int:
        return of_app.test_client().get("/fhir/Encounter", headers={"Authorization": f"Bearer {token}"}).status_code

    before = {alg: published(alg) for alg in ("ES384", "RS256")}
    assert use(other, old) == 200
    told = CliRunner().invoke(rotate_keys.command, [])
    assert told.exit_code == 0, told.output
    assert "within a minute" in told.output

    with clock.use(Later(61)):
        new = ehr.token_answer().json["access_token"]
        assert [use(each, token) for each in (app, other) for token in (old, new)] == [200] * 4
        for alg, (first,) in before.items():
            kids = published(alg)
            assert len(kids) == 2
            assert kids[1] == first
        assert kid_of(new) == published("ES384")[0] != kid_of(old)
    with clock.use(Later(361)):
        assert use(app, old) == 401
    with clock.use(Later(500)):
        assert [len(published(alg)) for alg in before] == [1, 1]
        assert published("ES384") == [kid_of(new)]
    other.extensions["fhir-bridge"].store.close()


def test_of_sixteen_threads_in_two_processes_that_send_one_assertion_one_gets_a_token(settings, store):
    client = oauth.Client("ehr", "default", "ehr", "system/*.rs", 0, jwks=JWKS)
    store.write(lambda conn: oauth.add_client(conn, client))
    form = {"grant_type": "client_credentials", "scope": "system/*.rs", "client_assertion_type": ASSERTION}
    form["client_assertion"] = assertion("ehr")
    given = {"DATA_DIR": str(settings.data_dir), "SECRET_KEY": settings.secret_key.get_secret_value()}
    given |= {"PUBLIC_URL": "http://127.0.0.1:8080", "DATABASE_URL": settings.database_url or ""}
    env = os.environ | {f"FHIR_BRIDGE_{name}": value for name, value in given.items()}
    both = [
        subprocess.Popen(  # noqa: S603 - our own script
            [sys.executable, str(PROCESS)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=env
        )
        for _ in range(2)
    ]
    try:
        for each in both:
            each.stdin.write(json.dumps(form) + "\n")
            each.stdin.flush()
        assert [each.stdout.readline() for each in both] == ["ready\n"] * 2
        for each in both:
            each.stdin.write("\n")
            each.stdin.flush()
        told = [json.loads(each.communicate(timeout=60)[0]) for each in both]
    finally:
        for each in both:
            each.kill()
            each.wait(10)
    assert sorted(told[0] + told[1]) == [200] + [401] * 15
