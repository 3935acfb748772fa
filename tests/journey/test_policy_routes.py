"""Every route asks for a right, and no route reaches rows around the policy."""

from __future__ import annotations

import ast
import json
from http import HTTPStatus
from pathlib import Path
from typing import Final

import pytest
from http_routes import GUARDED, ROUTES
from policy_rows import BASE, Bearer, Door, Given, fill

import fhir_bridge
from fhir_bridge.smart.grant import Grant
from fhir_bridge.smart.token import Place, issue

HOME: Final = Path(fhir_bridge.__file__).parent
# Routes that need no right of a scope: what is asked for lies behind a secret of the same client,
# or is judged entry by entry.
OWN: Final = ("_async/", "_page/")
ENTRIES: Final = ("POST /",)
# A Binary is not patched, but for the next bytes of an upload.
RESUMED: Final = {"Content-Type": "application/offset+octet-stream", "Tus-Resumable": "1.0.0", "Upload-Offset": "0"}
# Modules of verbs that make a Filter of their own, and why what it lets through is no answer to anyone.
UNASKED: Final = {
    "asynchronous": "the Task of a request's own job, for what it says went wrong",
    "audit_events": "times of a policy's Filter, translated",
    "binary": "whether a context is here at all",
    "erase": "all of a visit or patient, for the operator's command and for who may delete everything",
    "everything": "nothing",
    "media": "the Encounter's state inside the transaction",
    "policy": "the policy",
    "rerun": "the Task of a recording that the Grant may update",
    "retract": "results of a recording that the Grant may take back",
    "tasks": "the Media of a Task that the Grant may cancel",
    "under_way": "the Task of a job that is stopped",
    "write": "whether an id is taken",
}


def refusals(door: Door, bearer: Bearer, **headers: str) -> list[tuple[str, int, str, str]]:
    token = door.token(bearer)
    found = []
    for route in GUARDED:
        body = route.body()
        sent = {"Authorization": f"Bearer {token}", "Content-Type": route.kind} | headers
        sent |= RESUMED if str(route) == "PATCH /Binary/nobody" else {}
        answer = door.app.test_client().open(
            f"/fhir/{route.path}".rstrip("/"),
            method=route.method,
            json=body if body is not None else None,
            headers=sent,
        )
        code = (
            json.loads(answer.text)["issue"][0]["code"]
            if answer.status_code >= HTTPStatus.BAD_REQUEST and answer.text
            else ""
        )
        found.append((str(route), answer.status_code, answer.headers.get("WWW-Authenticate", ""), code))
    return found


@pytest.fixture
def door(app, bridge) -> Door:
    fill(bridge)
    return Door(app)


def headless(route: str) -> bool:
    return route.startswith("HEAD")


def test_each_route_asks_for_a_token_and_says_so_without_an_error(door):
    for route, status, challenge, code in refusals(door, Bearer(()), Authorization=""):
        assert (status, challenge) == (401, 'Bearer realm="fhir"'), route
        assert code == "login" or headless(route), route


def test_each_route_calls_a_token_that_does_not_hold_invalid(door):
    for route, status, challenge, code in refusals(door, Bearer(()), Authorization="Bearer x.y.z"):
        assert status == 401, route
        assert 'error="invalid_token"' in challenge, route
        assert code in {"login", "expired"} or headless(route), route


@pytest.mark.parametrize("header", ["Bearer a, Bearer b", "Bearer a,b"])
def test_each_route_refuses_two_tokens(door, header):
    for route, status, _, _ in refusals(door, Bearer(()), Authorization=header):
        assert status == 400, route


def test_each_route_refuses_a_token_in_the_url(door):
    client = door.app.test_client()
    for route in GUARDED:
        mark = "&" if "?" in route.path else "?"
        answer = client.open(f"/fhir/{route.path}".rstrip("/") + f"{mark}access_token=x", method=route.method)
        assert answer.status_code == 400, route


def test_each_route_declares_the_right_it_needs(door):
    """A token without one is told which would do; or it sees nothing of anyone else's."""
    for route, status, challenge, code in refusals(door, Bearer((Given("system", "Nothing", "cruds"),))):
        path = route.partition(" /")[2]
        if path.startswith(OWN):
            assert status == 404, route
        elif route in ENTRIES:
            assert status == 200, route
        else:
            assert status == 403, route
            assert 'error="insufficient_scope", scope="system/' in challenge, route
            assert code == "forbidden" or headless(route), route


def test_what_is_open_tells_of_the_server_alone():
    open_ = [route for route in ROUTES if route not in GUARDED]
    assert {route.path.partition("/")[0] for route in open_} <= {"metadata", ".well-known", "OperationDefinition"}


def functions(package: str) -> list[tuple[Path, ast.FunctionDef]]:
    files = sorted((HOME / package).glob("**/*.py"))
    return [
        (file, node)
        for file in files
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.FunctionDef)
    ]


def test_what_the_store_returns_of_resources_lies_behind_a_filter():
    """Apart from what was just written by the same call, and from what is private to a module."""
    for file, node in functions("store"):
        given = ast.unparse(node.args)
        gives = ast.unparse(node.returns) if node.returns else ""
        if file.stem in {"resources", "history", "pages", "versions"} and not node.name.startswith("_"):
            returns_rows = any(
                word in gives.replace("[", " ").replace("]", " ").replace(",", " ").split() for word in ("Row", "Page")
            )
            if returns_rows and (file.stem, node.name) not in {
                ("versions", "put"),
                ("versions", "remove"),
                ("pages", "page"),
            }:
                assert "filter_: Filter" in given, f"{file.stem}.{node.name}"


def test_only_known_places_ask_the_store_with_a_filter_of_their_own():
    made = {
        file.stem
        for file in sorted((HOME / "verbs").glob("**/*.py"))
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "Filter"
    }
    assert made == set(UNASKED)


def test_the_web_side_asks_for_no_rows_itself():
    for file in sorted((HOME / "api").glob("**/*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("fhir_bridge.store"):
                named = {f"{node.module}.{each.name}" for each in node.names}
                assert not {each for each in named if each.endswith((".filter", ".Filter", ".history"))}, file


def test_a_token_of_nothing_is_a_token(door):
    """So what is refused above is refused for its scopes."""
    key = door.app.extensions["fhir-bridge-tokens"].keys()[0]
    token = issue(Grant("default", "ehr", "system/Patient.s"), key, place=Place(BASE, f"{BASE}/fhir"), seconds=300)
    answer = door.app.test_client().get("/fhir/Patient", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 200
