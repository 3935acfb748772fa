"""A client that may do all, whose requests somebody else makes up: those that openapi.json describes, and worse."""

from __future__ import annotations

import json
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fhir_bridge.app import create_app
from fhir_bridge.smart.client import secret_hash
from fhir_bridge.store import oauth

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask import Flask

    from fhir_bridge.settings import Settings

EXAMPLES = Path(__file__).parent.parent / "examples"
CLIENT, SECRET = "fuzzer", "a secret of a test"
RENEWED_SECONDS = 100.0  # a token lives for 300


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--fuzz-cases", type=int, default=3000, help="how many requests to make up")


@dataclass
class Target:
    """The application, a token that is always fresh, and resources to aim at."""

    app: Flask
    examples: dict[str, dict[str, Any]]
    ids: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
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
            for id_ in ("here", "gone"):
                resource = example | {"id": id_, "identifier": [{"system": "urn:fuzz", "value": f"{type_}-{id_}"}]}
                if type_ not in TAKES_IDENTIFIER:
                    del resource["identifier"]
                answer = client.put(f"/fhir/{type_}/{id_}", json=resource, headers=self.bearer)
                if answer.status_code == 201:
                    self.ids[type_].append(id_)
            client.delete(f"/fhir/{type_}/gone", headers=self.bearer)


TAKES_IDENTIFIER = frozenset(("Encounter", "Patient", "Practitioner", "Organization", "Media", "Observation", "Task"))


@pytest.fixture
def app(sqlite_settings: Settings) -> Iterator[Flask]:
    made = create_app(sqlite_settings.model_copy(update={"public_url": "http://localhost"}))
    yield made
    made.extensions["fhir-bridge"].store.close()


@pytest.fixture
def target(app: Flask) -> Target:
    client = oauth.Client(CLIENT, "default", CLIENT, "system/*.cruds", 0, secret_hash=secret_hash(SECRET))
    app.extensions["fhir-bridge"].store.write(lambda conn: oauth.add_client(conn, client))
    found = [json.loads(file.read_text()) for file in sorted(EXAMPLES.glob("*.json"))]
    made = Target(app, {one["resourceType"]: one for one in found})
    made.fill()
    return made
