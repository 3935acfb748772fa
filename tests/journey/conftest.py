"""An EHR at the bridge's door: the real application, a real database, real tokens."""

from __future__ import annotations

import base64
import io
import json
import math
import shutil
import struct
import subprocess
import wave
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from browser import App, Browser, add_app, add_user
from werkzeug.routing import Rule

from fhir_bridge import clock
from fhir_bridge.app import create_app
from fhir_bridge.fhir.resource.check import checked
from fhir_bridge.fhir.resource.models import model_of
from fhir_bridge.fhir.resource.reader import read
from fhir_bridge.smart.client import secret_hash
from fhir_bridge.store import oauth, verify
from fhir_bridge.verbs.verify import Proof
from fhir_bridge.worker.errands import Errands
from fhir_bridge.worker.rooms import Rooms

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from flask import Flask
    from flask.testing import FlaskClient

    from fhir_bridge.settings import Settings
    from fhir_bridge.verbs.bridge import Bridge

EXAMPLES = Path(__file__).parent.parent / "examples"
INTEROP = Path(__file__).parents[2] / "interop"
SECRET = "a secret of a test"
ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


def example(of: str, **changes: Any) -> dict[str, Any]:
    """A resource from tests/examples with some elements changed; None removes one."""
    resource = json.loads((EXAMPLES / f"{of}.json").read_text()) | changes
    return {element: value for element, value in resource.items() if value is not None}


def wav(seconds: float = 0.5, *, rate: int = 16_000, pitch: float = 9.0) -> bytes:
    """A tone as a WAV file."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(rate)
        count = int(seconds * rate)
        out.writeframes(b"".join(struct.pack("<h", int(9000 * math.sin(i / pitch))) for i in range(count)))
    return file.getvalue()


def media(visit: str, audio: bytes | None = None, **changes: Any) -> dict[str, Any]:
    """A Media of the Encounter `visit` with inline audio."""
    content = {"contentType": "audio/wav", "data": base64.b64encode(audio or wav()).decode()}
    resource = {"resourceType": "Media", "status": "completed", "encounter": {"reference": f"Encounter/{visit}"}}
    return resource | {"content": content} | changes


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    raw: bytes

    @property
    def json(self) -> dict[str, Any]:
        return json.loads(self.raw)

    @property
    def issue(self) -> dict[str, Any]:
        outcome = self.json
        assert outcome["resourceType"] == "OperationOutcome", outcome
        return outcome["issue"][0]

    @property
    def found(self) -> list[dict[str, Any]]:
        bundle = self.json
        assert bundle["resourceType"] == "Bundle", bundle
        return [entry["resource"] for entry in bundle.get("entry", [])]

    @property
    def ids(self) -> list[str]:
        return [resource["id"] for resource in self.found]


@dataclass
class Ehr:
    """One client of one tenant."""

    http: FlaskClient
    name: str
    scope: str
    received: Path
    _token: str = field(default="")

    def token_answer(self, scope: str | None = None, **form: str) -> Answer:
        asked = {"grant_type": "client_credentials", "scope": scope or self.scope}
        asked |= form or {"client_id": self.name, "client_secret": SECRET}
        return _answer(self.http.post("/oauth/token", data=asked))

    @property
    def token(self) -> str:
        if not self._token:
            self._token = self.token_answer().json["access_token"]
        return self._token

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if "Authorization" not in sent:
            sent["Authorization"] = f"Bearer {self.token}"
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
            sent.setdefault("Content-Type", "application/fhir+json")
        url = f"/fhir/{path}" if path else "/fhir"
        return self._kept(_answer(self.http.open(url, method=method, data=body, headers=sent)))

    def _kept(self, answer: Answer) -> Answer:
        """Check what is FHIR as if it was sent to us, and keep it for the validators of other projects; each once."""
        if answer.raw and answer.headers["Content-Type"].startswith("application/fhir+json"):
            file = self.received / f"{sha256(answer.raw).hexdigest()}.json"
            if not file.exists():
                model_of(checked(read(answer.raw)))
                file.write_bytes(answer.raw)
        return answer

    def get(self, path: str, **headers: str) -> Answer:
        return self.call("GET", path, **headers)

    def post(self, path: str, body: Any, **headers: str) -> Answer:
        return self.call("POST", path, body, **headers)

    def put(self, path: str, body: Any, **headers: str) -> Answer:
        return self.call("PUT", path, body, **headers)

    def create(self, resource: dict[str, Any]) -> str:
        """Create and return the id."""
        answer = self.post(resource["resourceType"], resource)
        assert answer.status == 201, answer.raw
        return answer.json["id"]

    def encounter(self, **changes: Any) -> str:
        return self.create(
            example("encounter-ambulatory", identifier=[{"system": "urn:test", "value": clock.new_id()}], **changes)
        )


def _answer(response: Any) -> Answer:
    return Answer(response.status_code, dict(response.headers), response.get_data())


@pytest.hookimpl(tryfirst=True)  # before tests are chosen by their markers
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what receives FHIR; what looks at everything received comes when everything was."""
    for item in items:
        if "received" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.heard)
    items.sort(key=lambda item: "everything_received" in getattr(item, "fixturenames", ()))


@pytest.fixture(scope="session")
def received(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """A folder with each distinct FHIR body that a journey received, in this run or an earlier one that was told it."""
    folder: Path = request.config.getoption("--received") or tmp_path_factory.mktemp("received")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def node() -> str:
    """Node, with the software of other projects that interop/ names."""
    found = shutil.which("node")
    if found is None or not (INTEROP / "node_modules" / "fhir").is_dir():
        pytest.skip("needs Node and `npm ci` in interop/: run `make interop`")
    return found


@pytest.fixture(scope="session")
def judged(node: str) -> Callable[[Path], list[dict[str, Any]]]:
    """Ask two validators of other projects; return the errors that they find in a folder of resources."""

    def judge(folder: Path) -> list[dict[str, Any]]:
        called = [node, str(INTEROP / "validate.mjs"), str(folder)]
        done = subprocess.run(called, capture_output=True, text=True, timeout=100, check=False)  # noqa: S603 - our own script
        assert done.returncode in {0, 1}, done.stderr
        found = [json.loads(line) for line in done.stdout.splitlines()]
        assert bool(found) == bool(done.returncode), done.stderr
        return found

    return judge


@pytest.fixture(scope="session", autouse=True)
def _routes_compiled_once() -> Iterator[None]:
    """Each test makes the application anew; of what that costs, most was werkzeug's code for the same 64 routes."""
    compiled, known = Rule._compile_builder, {}

    def once(rule: Rule, append_unknown: bool = True) -> Any:  # noqa: FBT001, FBT002 - werkzeug's
        key = (tuple(rule._trace), str(rule.defaults), append_unknown)
        return known.get(key) or known.setdefault(key, compiled(rule, append_unknown))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Rule, "_compile_builder", once)
        yield


@pytest.fixture
def web_settings(sqlite_settings: Settings) -> Settings:
    return sqlite_settings.model_copy(update={"public_url": "http://127.0.0.1:8080"})


@pytest.fixture
def app(web_settings: Settings) -> Iterator[Flask]:
    made = create_app(web_settings)
    yield made
    made.extensions["fhir-bridge"].store.close()


@pytest.fixture
def bridge(app: Flask) -> Bridge:
    return app.extensions["fhir-bridge"].of_all()


@pytest.fixture
def proved(bridge: Bridge) -> Iterator[None]:
    """What `verify` proves holds after a journey in which jobs ran."""
    yield
    assert bridge.store.read(verify.findings) == ()
    assert Proof(bridge.store, bridge.blobs, bridge.keyring).audit() == ()


@pytest.fixture
def new_ehr(app: Flask, bridge: Bridge, received: Path) -> Callable[..., Ehr]:
    """Register a client and give it a token when it needs one."""

    def make(scope: str = "system/*.cruds", *, tenant: str = "default", **registered: Any) -> Ehr:
        name = f"ehr-{clock.new_id()[:8]}"
        client = oauth.Client(name, tenant, name, scope, 0, **({"secret_hash": secret_hash(SECRET)} | registered))

        def register(conn: Any) -> None:
            if oauth.tenant(conn, tenant) is None:
                oauth.add_tenant(conn, oauth.new_tenant(tenant, bridge.keyring))
            oauth.add_client(conn, client)

        bridge.store.write(register)
        return Ehr(app.test_client(), name, scope, received)

    return make


@pytest.fixture
def ehr(new_ehr: Callable[..., Ehr]) -> Ehr:
    return new_ehr()


@pytest.fixture
def errands(web_settings: Settings) -> Iterator[Errands]:
    """A worker's asynchronous requests, run when the test says so."""
    rooms = Rooms.open(web_settings, boot="boot-1")
    yield Errands(rooms, stopping=lambda: False)
    rooms.close()


@pytest.fixture
def other_ehr(new_ehr: Callable[..., Ehr]) -> Ehr:
    """A client of another tenant."""
    return new_ehr(tenant="elsewhere")


# --- people ------------------------------------------------------------------------------


@pytest.fixture
def browser(app: Flask) -> Browser:
    return Browser(app.test_client())


@pytest.fixture
def heart(app: Flask, bridge: Bridge) -> App:
    """An app that a person may be sent from."""
    return add_app(bridge, app.test_client())


@pytest.fixture
def holm(bridge: Bridge) -> str:
    """Somebody with a password here."""
    return add_user(bridge)


@pytest.fixture
def anna(ehr: Ehr) -> str:
    """A patient."""
    return ehr.create(example("patient", name=[{"family": "Berg", "given": ["Anna"]}]))
