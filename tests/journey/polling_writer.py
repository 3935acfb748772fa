"""Writes like a busy EHR for some seconds, in a process of its own: `polling_writer.py SETTINGS SECONDS`.

Prints what it wrote as JSON lines: kind, id, version.
"""

from __future__ import annotations

import json
import sys
import time
from random import SystemRandom
from typing import TYPE_CHECKING, Any

from fhir_bridge.app import create_app
from fhir_bridge.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flask.testing import FlaskClient

FHIR = "application/fhir+json"
CHANCE = SystemRandom()
Wrote = tuple[str, str, int]


class Writer:
    """Creates Practitioners, alone and several at once; creates, updates and deletes Patients."""

    def __init__(self, http: FlaskClient, client: str, secret: str) -> None:
        self._http, self._login = http, {"client_id": client, "client_secret": secret}
        self._token, self._until = "", 0.0
        self._patients: dict[str, int] = {}

    def write(self, seconds: float) -> Iterator[Wrote]:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            yield from CHANCE.choice([self._create, self._create_several, self._change, self._change])()
            time.sleep(CHANCE.random() * 0.01)

    def _create(self) -> Iterator[Wrote]:
        made = self._call("POST", "/fhir/Practitioner", {"resourceType": "Practitioner"})
        yield "Practitioner", made["id"], 1

    def _create_several(self) -> Iterator[Wrote]:
        entry = {"resource": {"resourceType": "Practitioner"}, "request": {"method": "POST", "url": "Practitioner"}}
        bundle = {"resourceType": "Bundle", "type": "transaction", "entry": [entry] * CHANCE.randint(2, 9)}
        for each in self._call("POST", "/fhir", bundle)["entry"]:
            yield "Practitioner", each["resource"]["id"], 1

    def _change(self) -> Iterator[Wrote]:
        known = CHANCE.choice([None, *self._patients])
        if known is None:
            made = self._call("POST", "/fhir/Patient", {"resourceType": "Patient"})
            self._patients[made["id"]] = 1
            yield "Patient", made["id"], 1
            return
        version = self._patients.pop(known) + 1
        if CHANCE.random() < 0.3:
            self._call("DELETE", f"/fhir/Patient/{known}")
        else:
            sent = {"resourceType": "Patient", "id": known, "active": version % 2 == 0}
            assert self._call("PUT", f"/fhir/Patient/{known}", sent)["meta"]["versionId"] == str(version)
            self._patients[known] = version
        yield "Patient", known, version

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        headers = {"Authorization": f"Bearer {self._bearer()}"}
        data = None if body is None else json.dumps(body)
        answer = self._http.open(path, method=method, data=data, headers=headers, content_type=FHIR if data else None)
        assert answer.status_code in {200, 201, 204}, answer.text
        return answer.json if answer.data else None

    def _bearer(self) -> str:
        if time.monotonic() > self._until:
            form = {"grant_type": "client_credentials", "scope": "system/*.cruds", **self._login}
            self._token, self._until = (
                self._http.post("/oauth/token", data=form).json["access_token"],
                (time.monotonic() + 60),
            )
        return self._token


def main() -> None:
    told = json.loads(sys.argv[1])
    app = create_app(Settings(**told["settings"]))
    writer = Writer(app.test_client(), told["client"], told["secret"])
    for wrote in writer.write(float(sys.argv[2])):
        sys.stdout.write(json.dumps(wrote) + "\n")
    app.extensions["fhir-bridge"].store.close()


if __name__ == "__main__":
    main()
