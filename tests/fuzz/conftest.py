"""A client that may do all, whose requests somebody else makes up: those that openapi.json describes, and worse."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fhir_bridge.app import create_app
from fhir_bridge.fhir.rest.openapi_parts import EXAMPLES
from fhir_bridge.smart.client import secret_hash
from fhir_bridge.store import oauth

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask import Flask

    from fhir_bridge.settings import Settings

FOLDER = Path(__file__).parent.parent / "examples"
CLIENT, SECRET = "fuzzer", "a secret of a test"
NOT_PUT = ("AuditEvent", "Bundle")
RENEWED_SECONDS = 100.0  # a token lives for 300


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fuzz-cases", type=int, default=3000, help="how many requests to make up")


@dataclass
class Target:
    """The application, a token that is always fresh, and resources to aim at."""

    app: Flask
    examples: dict[str, dict[str, Any]]
    _token: str = ""
    _got_at: float = 0.0

    @property
    def bearer(self) -> dict[str, str]:
        if not self._token or time.monotonic() - self._got_at > RENEWED_SECONDS:
            form = {"grant_type": "client_credentials", "scope": "system/*.cruds"}
            form |= {"client_id": CLIENT, "client_secret": SECRET}
            self._token = self.app.test_client().post("/oauth/token", data=form).get_json()["access_token"]
            self._got_at = time.monotonic()
        return {"Authorization": f"Bearer {self._token}"}

    def fill(self) -> None:
        """Store an example of each type under two ids, and delete the second."""
        client = self.app.test_client()
        for type_, example in self.examples.items():
            if type_ in NOT_PUT:
                continue
            for id_ in ("here", "gone"):
                resource = example | {"id": id_}
                if "identifier" in example:
                    resource["identifier"] = [{"system": "urn:fuzz", "value": f"{type_}-{id_}"}]
                answer = client.put(f"/fhir/{type_}/{id_}", json=resource, headers=self.bearer)
                assert answer.status_code == 201, answer.get_data()
            assert client.delete(f"/fhir/{type_}/gone", headers=self.bearer).status_code == 204


@pytest.fixture
def app(sqlite_settings: Settings) -> Iterator[Flask]:
    made = create_app(sqlite_settings.model_copy(update={"public_url": "http://localhost"}))
    yield made
    made.extensions["fhir-bridge"].store.close()


@pytest.fixture
def target(app: Flask) -> Target:
    client = oauth.Client(CLIENT, "default", CLIENT, "system/*.cruds", 0, secret_hash=secret_hash(SECRET))
    app.extensions["fhir-bridge"].store.of_all().write(lambda conn: oauth.add_client(conn, client))
    found = [json.loads(file.read_text()) for file in sorted(FOLDER.glob("*.json"))]
    examples: dict[str, dict[str, Any]] = {one["resourceType"]: one for one in found} | {"Bundle": EXAMPLES["Bundle"]}
    identifier = [{"system": "urn:fuzz", "value": "recording"}]  # without, the same audio would be the same Media
    examples["Media"] = EXAMPLES["Media"] | {"encounter": {"reference": "Encounter/here"}, "identifier": identifier}
    examples["Binary"]["data"] = EXAMPLES["Media"]["content"]["data"]
    made = Target(app, examples)
    made.fill()
    return made
