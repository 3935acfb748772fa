"""A real browser: the fhirclient library opens apps by PKCE, and what others wrote runs nowhere on our pages."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import threading
from typing import TYPE_CHECKING, Any

import pytest
from browser import PASSWORD, add_app, add_user
from conftest import INTEROP, SECRET, example
from werkzeug.serving import make_server

from fhir_bridge.app import create_app

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask import Flask

    from fhir_bridge.settings import Settings

pytestmark = pytest.mark.interop

SCOPE = "launch launch/patient openid fhirUser patient/*.rs"
HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(2)>{{7*7}}'
CORPUS = (
    "<svg/onload=alert(3)>",
    "</label></fieldset></form><script>alert(4)</script>",
    "' onfocus=alert(5) autofocus '",
    '" onmouseover="alert(6)" autofocus onfocus="alert(7)" x="',
    "javascript:alert(8)",
    "<iframe srcdoc='<script>parent.alert(9)</script>'></iframe>",
    "<a href=javascript:alert(10)>name</a>",
    "{{constructor.constructor('alert(11)')()}}",
    "{% raw %}{{ config }}{% endraw %}",
    "<style>@import'//elsewhere.example'</style>",
    "<base href=//elsewhere.example>",
    "&lt;script&gt;alert(12)&lt;/script&gt;",
)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@pytest.fixture
def web_settings(web_settings: Settings) -> Settings:
    return web_settings.model_copy(update={"public_url": f"http://127.0.0.1:{free_port()}"})


@pytest.fixture
def app(web_settings: Settings) -> Iterator[Flask]:
    """The application as a browser reaches it."""
    made = create_app(web_settings)
    server = make_server("127.0.0.1", int(str(web_settings.public_url).rpartition(":")[2]), made, threaded=True)
    serving = threading.Thread(target=server.serve_forever)
    serving.start()
    yield made
    server.shutdown()
    serving.join()
    made.extensions["fhir-bridge"].store.close()


@pytest.fixture
def chromium() -> str:
    found = shutil.which("chromium")
    if found is None or not (INTEROP / "node_modules" / "puppeteer-core").is_dir():
        pytest.skip("needs chromium and `npm ci` in interop/")
    return found


def test_apps_open_in_a_browser_and_nothing_foreign_runs(app, bridge, new_ehr, node, chromium, tmp_path):
    ehr = new_ehr("launch system/*.cruds")
    ehr.put("Practitioner/holm", example("practitioner", id="holm"))
    for each in CORPUS:
        ehr.create(example("patient", name=[{"family": each}]))
    named = [{"family": HOSTILE, "given": [HOSTILE]}]
    patient = ehr.create(example("patient", name=named))
    ehr.encounter(subject={"reference": f"Patient/{patient}"})
    ehr.encounter()
    port = free_port()
    redirect = f"http://127.0.0.1:{port}/app"
    registered = add_app(bridge, app.test_client(), SCOPE, redirect_uris=(redirect,), name=HOSTILE)
    sent = {"Authorization": f"Bearer {ehr.token}"}
    launch = ehr.http.post("/oauth/launch", json={"patient": f"Patient/{patient}"}, headers=sent).json["launch"]
    asked: dict[str, Any] = {
        "base": bridge.base,
        "docs": f"{bridge.origin}/docs",
        "client": registered.id,
        "port": port,
        "user": add_user(bridge),
        "password": PASSWORD,
        "patient": patient,
        "launch": launch,
        "backend": ehr.name,
        "secret": SECRET,
    }

    called = [node, str(INTEROP / "browser.mjs"), chromium, str(tmp_path)]
    done = subprocess.run(  # noqa: S603 - our own script
        called, input=json.dumps(asked), capture_output=True, text=True, timeout=100, check=False
    )

    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    for flow in ("standalone", "launch"):
        assert told[flow] == {"patient": patient, "visits": 1, "user": "Practitioner/holm"}, flow
    assert told["swagger"] == "authorized"
    assert [each for each in CORPUS if each not in told["picker"]] == []
    assert told["violations"] == told["dialogs"] == []
