"""Every route and every failure: the right status and code, the one error shape, nothing echoed, never a 500."""

from __future__ import annotations

import inspect
import json
from dataclasses import replace

import pytest
from conftest import example
from http_routes import GUARDED, ROUTES, Route

from fhir_bridge import errors

# http://hl7.org/fhir/R4/valueset-issue-type.html
CODES = """
invalid structure required value invariant security login unknown expired forbidden suppressed processing
not-supported duplicate multiple-matches not-found deleted too-long code-invalid extension too-costly
business-rule conflict transient lock-error no-store exception timeout incomplete throttled informational
"""
ERRORS = [one for one in vars(errors).values() if inspect.isclass(one) and issubclass(one, errors.BridgeError)]
STATUSES = {one.status for one in ERRORS} - {500}
MARKER = "zebra-7261"
READS = ("GET", "HEAD")


def faults(route: Route, answer, status: int, code: str | None) -> str | None:
    """Say what is wrong with a refusal, if anything is."""
    if answer.status != status:
        return f"{answer.status} instead of {status}: {answer.raw[:200]!r}"
    kind = answer.headers.get("Content-Type", "")
    if not kind.startswith(("application/fhir+json", "application/json")):
        return f"Content-Type {kind}"
    return None if route.method == "HEAD" else _faults_in(answer.raw.decode(), code)


def _faults_in(text: str, code: str | None) -> str | None:
    outcome = json.loads(text)
    issues = outcome.get("issue")
    if outcome.get("resourceType") != "OperationOutcome" or not issues or not all(map(_is_right, issues)):
        return f"no outcome: {text[:500]}"
    if MARKER in text or "<html" in text.lower() or "Traceback" in text or 'File "' in text:
        return f"tells too much: {text[:500]}"
    return None if code in {None, issues[0]["code"]} else f"{issues[0]['code']} instead of {code}"


def _is_right(issue) -> bool:
    expressions = issue.get("expression", ["-"])
    return (
        set(issue) <= {"severity", "code", "details", "diagnostics", "expression"}
        and issue["severity"] in {"error", "fatal"}
        and issue["code"] in CODES.split()
        and bool(issue["details"]["text"])
        and bool(expressions)
        and all(isinstance(each, str) and each for each in expressions)
    )


def called(ehr, route: Route, body=None, **headers):
    body = route.body() if body is None else body
    return ehr.call(route.method, route.path, body, **({"Content_Type": route.kind} | headers))


def found(routes, judge):
    """Ask each route, and return what is wrong by route."""
    assert routes
    wrong = {str(route): judge(route) for route in routes}
    return {name: fault for name, fault in wrong.items() if fault is not None}


@pytest.fixture
def there(ehr):
    """The patient that the routes name."""
    ehr.put("Patient/nobody", example("patient", id="nobody"))


def of_type(route: Route) -> bool:
    """Tell whether the route is one of a resource type, whichever."""
    return "<type_>" in route.rule


def plain(route: Route) -> bool:
    """Tell whether the route is one of FHIR's interactions with one type, and no operation."""
    return of_type(route) and "$" not in route.path


def instance(route: Route) -> bool:
    return plain(route) and route.path == "Patient/nobody"


def test_without_a_token_or_with_a_wrong_one(ehr):
    for headers in ({"Authorization": ""}, {"Authorization": f"Bearer {MARKER}.b.c"}, {"Authorization": "Basic eDp5"}):
        assert found(GUARDED, lambda route, h=headers: faults(route, called(ehr, route, **h), 401, "login")) == {}


def test_with_a_token_that_allows_something_else(new_ehr):
    weak = new_ehr("system/Device.d")
    # What was asked for is its client's; a page is its search's; the entries of a Bundle are
    # judged one by one; a Binary is patched by tus alone.
    free = {"GET /_page/nothing", "HEAD /_page/nothing", "POST /", "PATCH /Binary/nobody"}
    routes = [route for route in GUARDED if str(route) not in free and not route.path.startswith("_async")]

    assert found(routes, lambda route: faults(route, called(weak, route), 403, "forbidden")) == {}


@pytest.mark.parametrize("type_", ["Condition", "patient", "Zebra-7261"])
def test_a_type_that_is_not_served(ehr, type_):
    routes = [
        replace(route, path=route.path.replace("Patient", type_, 1))
        for route in ROUTES
        if of_type(route) and route.type == "Patient"
    ]

    assert (
        found(routes, lambda route: faults(route, called(ehr, route, example("patient")), 404, "not-supported")) == {}
    )


def test_a_body_of_another_type(ehr):
    body = example("encounter-ambulatory", id="nobody", title=MARKER)
    routes = [route for route in GUARDED if plain(route) and route.method in {"POST", "PUT"} and not route.is_form]

    def judge(route):
        answer = called(ehr, route, body)
        return faults(route, answer, 400, "structure") or (
            None if answer.issue["expression"] == ["resourceType"] else f"{answer.issue}"
        )

    assert found(routes, judge) == {}


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b'"zebra-7261"',
        b'{"resourceType":"Patient","name":[{"family":"zebra-7261"',
        b'{"resourceType":"Patient","resourceType":"Patient"}',
        b'{"resourceType":"Patient","birthDate":null}',
        b'{"resourceType":"Patient","name":[]}',
        b'{"resourceType":"Patient","extension":[{"valueDecimal":NaN}]}',
        b"\xff\xfe\x00",
        b"[" * 10_000,
        b'{"a":' * 10_000,
    ],
)
@pytest.mark.usefixtures("there")
def test_a_body_that_is_no_fhir_json(ehr, body):
    routes = [route for route in GUARDED if route.writes and not route.is_form and route.type != "Binary"]

    assert found(routes, lambda route: faults(route, called(ehr, route, body), 400, None)) == {}


@pytest.mark.parametrize(
    ("changes", "code", "at"),
    [
        ({"gender": MARKER}, "code-invalid", "Patient.gender"),
        ({"birthDate": MARKER}, "value", "Patient.birthDate"),
        ({"zebra": MARKER}, "structure", "Patient.zebra"),
        ({"active": MARKER}, "structure", "Patient.active"),
        ({"name": {"family": MARKER}}, "structure", "Patient.name"),
        ({"link": [{"type": "refer"}]}, "required", "Patient.link[0].other"),
        ({"managingOrganization": {"reference": f"Encounter/{MARKER}"}}, "value", "Patient.managingOrganization"),
    ],
)
def test_an_element_that_is_wrong_is_named(ehr, changes, code, at):
    body = example("patient", id="nobody") | changes
    routes = [route for route in GUARDED if plain(route) and route.method in {"POST", "PUT"} and not route.is_form]

    def judge(route):
        path = route.path + ("?identifier=x" if route.path == "Patient" and route.method == "PUT" else "")
        answer = called(ehr, replace(route, path=path), body)
        fault = faults(route, answer, 400, code)
        return fault or (None if answer.issue["expression"] == [at] else f"{answer.issue['expression']}")

    assert found(routes, judge) == {}


def test_an_id_that_nothing_has(ehr):
    reads = [route for route in GUARDED if route.path.startswith("Patient/nobody") and route.method in READS]
    routes = [route for route in reads if "<member_type>" not in route.rule]
    routes += [route for route in GUARDED if instance(route) and route.method == "PATCH"]

    assert found(routes, lambda route: faults(route, called(ehr, route), 404, "not-found")) == {}


def test_an_id_that_cannot_be(ehr):
    for id_ in ("%00", "a" * 100, "%F0%9F%A6%93", "..%2F..", "a b", "'%20OR%201=1--", "%C3%28"):
        routes = [
            replace(route, path=route.path.replace("nobody", id_))
            for route in GUARDED
            if instance(route) and route.method in READS
        ]
        assert found(routes, lambda route: faults(route, called(ehr, route), 404, None)) == {}


def test_an_id_that_was_deleted(ehr):
    ehr.put("Patient/nobody", example("patient", id="nobody"))
    assert ehr.call("DELETE", "Patient/nobody").status == 204
    routes = [route for route in GUARDED if instance(route) and route.method in {*READS, "PATCH"}]
    routes += [route for route in GUARDED if route.path == "Patient/nobody/$everything"]
    routes += [Route(method, "", "Patient/nobody/_history/2") for method in READS]

    assert found(routes, lambda route: faults(route, called(ehr, route), 410, "deleted")) == {}


@pytest.mark.parametrize("tag", ['W/"99"', 'W/"0"'])
def test_a_version_that_is_not_the_current_one(ehr, tag):
    ehr.put("Patient/nobody", example("patient", id="nobody"))
    routes = [route for route in GUARDED if instance(route) and route.method in {"PUT", "PATCH", "DELETE"}]

    assert found(routes, lambda route: faults(route, called(ehr, route, If_Match=tag), 412, "conflict")) == {}


@pytest.mark.parametrize("vid", ["99", "0", "x", "-1", "1.0", "9" * 50])
def test_a_version_that_never_was(ehr, vid):
    ehr.put("Patient/nobody", example("patient", id="nobody"))
    routes = [Route(method, "", f"Patient/nobody/_history/{vid}") for method in READS]

    assert found(routes, lambda route: faults(route, called(ehr, route), 404, "not-found")) == {}


@pytest.mark.parametrize("tag", ["x", '"', 'W/"x"', MARKER, "*"])
def test_a_version_that_is_none(ehr, tag):
    routes = [route for route in GUARDED if instance(route) and route.method in {"PUT", "PATCH", "DELETE"}]

    assert found(routes, lambda route: faults(route, called(ehr, route, If_Match=tag), 400, "value")) == {}


def test_a_method_that_a_path_does_not_have(ehr):
    every = ("GET", "POST", "PUT", "PATCH", "DELETE")
    there: dict[str, set[str]] = {}
    for route in GUARDED:
        if route.path and route.type in {"", "Patient"}:  # of other types a path may be that of all types too
            there.setdefault(route.path, set()).add(route.method)
    routes = [Route(method, "", path) for path, have in there.items() for method in every if method not in have]

    def judge(route):
        answer = called(ehr, route, b"{}")
        named = {method.strip() for method in answer.headers.get("Allow", "").split(",")}
        fault = faults(route, answer, 405, "not-supported")
        return fault or (None if there[route.path] - {"HEAD"} <= named else f"Allow: {named}")

    assert found(routes, judge) == {}


def test_a_method_that_nothing_has(ehr):
    routes = [Route(method, "", "Patient/nobody") for method in ("TRACE", "PROPFIND", "ZEBRA")]

    assert found(routes, lambda route: faults(route, called(ehr, route), 405, "not-supported")) == {}


@pytest.mark.parametrize(
    "wanted", ["text/html", "application/fhir+xml", "image/png;q=0.5", "application/xml, text/xml"]
)
def test_an_answer_that_is_not_to_be_had(ehr, wanted):
    ehr.put("Patient/nobody", example("patient", id="nobody"))
    raw = ("Binary",)  # is given as what it is
    routes = [route for route in GUARDED if route.type not in raw and route.path != "_page/nothing"]

    assert found(routes, lambda route: faults(route, called(ehr, route, Accept=wanted), 406, "not-supported")) == {}


@pytest.mark.parametrize("kind", ["application/fhir+xml", "text/plain", "application/x-zebra-7261", "x", ""])
def test_a_body_in_a_format_that_is_not_read(ehr, kind):
    routes = [route for route in GUARDED if route.writes and route.type != "Binary"]
    body = b"<Patient xmlns='http://hl7.org/fhir'/>"

    assert (
        found(routes, lambda route: faults(route, called(ehr, route, body, Content_Type=kind), 415, "not-supported"))
        == {}
    )


def test_a_compressed_body(ehr):
    routes = [route for route in GUARDED if route.writes and route.type != "Binary"]

    assert (
        found(routes, lambda route: faults(route, called(ehr, route, b"{}", Content_Encoding="gzip"), 415, None)) == {}
    )


@pytest.mark.usefixtures("there")
def test_an_empty_body(ehr):
    routes = [route for route in GUARDED if plain(route) and route.writes and not route.is_form]

    assert found(routes, lambda route: faults(route, called(ehr, route, b""), 400, None)) == {}


@pytest.mark.parametrize(
    "query",
    [
        "_count=zebra-7261",
        "_count=-1",
        "birthdate=zebra-7261",
        "_lastUpdated=zebra-7261",
        "name:zebra=x",
        "_summary=zebra-7261",
        "_total=zebra-7261",
        "_elements=zebra 7261",
        "name=%00",
        "&".join(f"name={number}" for number in range(300)),
    ],
)
def test_a_search_that_cannot_be_read(ehr, query):
    routes = [Route(method, "", f"Patient?{query}") for method in READS]
    form = Route("POST", "", "Patient/_search")

    assert found(routes, lambda route: faults(route, called(ehr, route), 400, None)) == {}
    assert (
        faults(form, called(ehr, form, query.encode(), Content_Type="application/x-www-form-urlencoded"), 400, None)
        is None
    )


def test_a_body_over_its_limit(ehr):
    body = b'{"resourceType":"Patient","name":[{"family":"' + b"x" * (21 * 2**20) + b'"}]}'
    routes = [route for route in GUARDED if route.writes and route.type != "Binary"]
    routes = [
        next(route for route in routes if route.method == method and of_type(route))
        for method in ("POST", "PUT", "PATCH")
    ]

    assert found(routes, lambda route: faults(route, called(ehr, route, body), 413, "too-long")) == {}


def test_every_status_of_a_refusal_is_one_that_is_declared():
    assert {400, 401, 403, 404, 405, 406, 409, 410, 412, 413, 415, 422, 429, 503, 507} <= STATUSES
