"""Every route below /fhir, as the application has it, with an example of its path: what tests are generated from."""

from __future__ import annotations

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path

from conftest import example

from fhir_bridge.app import create_app
from fhir_bridge.fhir.rest.operations import OPERATIONS
from fhir_bridge.settings import Settings

OPEN = ("metadata", ".well-known", "OperationDefinition")  # no token, no audit
GIVEN = {
    "type_": "Patient",
    "id_": "nobody",
    "vid": "1",
    "member_type": "Observation",
    "sealed": "nothing",
    "number": "0",
}
BODIES = {"Patient": "patient", "Encounter": "encounter-ambulatory"}


@dataclass(frozen=True)
class Route:
    """One method of one path below the base."""

    method: str
    rule: str
    path: str

    @property
    def type(self) -> str:
        """The type that its path names, or none."""
        first = self.path.partition("/")[0]
        return first if first[:1].isupper() else ""

    @property
    def writes(self) -> bool:
        return self.method in {"POST", "PUT", "PATCH"}

    @property
    def is_form(self) -> bool:
        return self.path.endswith("_search")

    def body(self) -> object:
        """A body that is right as far as its form goes."""
        if not self.writes or self.is_form:
            return None
        if self.method == "PATCH":
            return [{"op": "replace", "path": "/active", "value": True}]
        if "$" in self.path:
            given = [{"name": "resource", "resource": example(BODIES["Encounter"])}] if "$explain" in self.path else []
            return {"resourceType": "Parameters"} | ({"parameter": given} if given else {})
        if self.type == "Binary":
            return {"resourceType": "Binary", "contentType": "text/plain", "data": "AAAA", "id": "nobody"}
        if self.type:
            return example(BODIES[self.type], id="nobody")
        return {"resourceType": "Bundle", "type": "transaction"}

    @property
    def kind(self) -> str:
        if self.is_form:
            return "application/x-www-form-urlencoded"
        return "application/json-patch+json" if self.method == "PATCH" else "application/fhir+json"

    def __str__(self) -> str:
        return f"{self.method} /{self.path}"


def _paths(rule: str, method: str) -> list[str]:
    """Fill the places of a rule; that of an operation's name by each that is called so."""
    below = rule.removeprefix("/fhir").strip("/")
    if "<name>" not in below:
        return [re.sub(r"<(?:\w+:)?(\w+)>", lambda found: GIVEN.get(found[1], "nothing"), below)]
    level = "instance" if "<id_>" in below else "type" if "<type_>" in below else "system"
    found = [each for each in OPERATIONS if level in each.levels and method.replace("HEAD", "GET") in each.methods]
    types = {each: "Patient" if each.is_for("Patient") else "".join(each.types[:1]) for each in found}
    filled = {each: below.replace("<type_>", types[each]).replace("<id_>", "nobody") for each in found}
    return [path.replace("<name>", each.name) for each, path in filled.items()]


def _routes() -> tuple[Route, ...]:
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(data_dir=Path(folder), secret_key="x", public_url="http://127.0.0.1:8080")
        rules = [each for each in create_app(settings).url_map.iter_rules() if each.rule.startswith("/fhir")]
    every = [
        Route(method, rule.rule, path)
        for rule in rules
        for method in sorted(rule.methods - {"OPTIONS"})
        for path in _paths(rule.rule, method)
    ]
    return tuple(dict.fromkeys(every))


ROUTES = _routes()
GUARDED = tuple(route for route in ROUTES if not route.path.startswith(OPEN))
