"""Sends a made-up request, aimed at what is there as often as not, and judges the answer."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import Failure, FailureGroup
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

import fhir_bridge

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Target
    from schemathesis import Case, Response

ALWAYS = [not_a_server_error, status_code_conformance]
CHECKS = [*ALWAYS, content_type_conformance, response_schema_conformance]
LONG = 12  # a shorter string may stand in an answer by chance
# What a search may well be asked for: a string made up for each parameter gets no further than the first refusal.
VALUES = (
    "2026-04",
    "ge2026-01-01T00:00:00Z",
    "urn:fuzz|Encounter-here",
    "Patient/here",
    "finished",
    "a",
    "a,b",
    "5",
    "-_id",
    "true",
)
CRITERIA = 2
CONDITIONS = {
    "If-Match": ('W/"1"',),
    "If-None-Match": ('W/"1"', 'W/"9"'),
    "If-None-Exist": ("identifier=urn:fuzz|Patient-here", "_id=none"),
}
PATCHES = (
    [{"op": "replace", "path": "/status", "value": "finished"}],
    [{"op": "add", "path": "/language", "value": "en"}],
    [{"op": "test", "path": "/id", "value": "here"}],
    [{"op": "remove", "path": "/identifier/0"}],
    [{"op": "move", "from": "/id", "path": "/resourceType"}],
)
SOURCE = Path(fhir_bridge.__file__).parent


class Judge:
    """Counts what was answered and keeps the first case of each kind of fault."""

    def __init__(self, target: Target, document: str) -> None:
        self.target = target
        self.cases = 0
        self.statuses: Counter[int] = Counter()
        self.findings: dict[tuple[str, str], str] = {}
        # Strings of our own source are sent too; what they say is no secret.
        ours = " ".join(file.read_text() for file in sorted(SOURCE.rglob("*.py")))
        self._ours = document + re.sub(r'"\s+f?"', "", ours)

    def __call__(self, case: Case, data: st.DataObject) -> None:
        if any("/" in str(value) for value in case.path_parameters.values()):
            case.path_parameters = {"id": "here", "vid": "1"}  # a slash would make it the path of another operation
        self._aim(case, data)
        self.cases += 1
        answer = case.call(headers={**case.headers, **self.target.bearer})
        self.statuses[answer.status_code] += 1
        # There is no way for the document to say that Prefer may leave the body out.
        is_bare = not answer.content and answer.headers.get("preference-applied") == ["return=minimal"]
        try:
            case.validate_response(answer, checks=ALWAYS if is_bare else CHECKS)
        except FailureGroup as group:
            for failure in group.exceptions:
                self._found(case, answer, str(getattr(failure, "title", failure)))
        except Failure as failure:
            self._found(case, answer, failure.title)
        for fault in self._faults(case, answer):
            self._found(case, answer, fault)

    def _aim(self, case: Case, data: st.DataObject) -> None:
        """Most requests speak of what is there, in words that are nearly right."""
        if not data.draw(st.sampled_from((True, True, True, False))):
            return
        case.headers = self._conditions(case, data)
        if "id" in case.path_parameters:
            case.path_parameters["id"] = data.draw(st.sampled_from(("here", "here", "gone")))
        if "vid" in case.path_parameters:
            case.path_parameters["vid"] = data.draw(st.sampled_from(("1", "2", "9")))
        if case.query:
            case.query = self._fewer(case.query, data)
        case.body = self._nearly_right(case, data)

    def _conditions(self, case: Case, data: st.DataObject) -> dict[str, str]:
        """Leave each header out, or let it name what is there, or leave it as it was made up."""
        chosen = {
            name: data.draw(st.sampled_from((None, *CONDITIONS.get(name, ()), value)))
            for name, value in sorted(case.headers.items())
        }
        return {name: value for name, value in chosen.items() if value is not None}

    def _fewer(self, query: dict[str, Any], data: st.DataObject) -> dict[str, Any]:
        """Leave a criterion or two, asking for something."""
        names = data.draw(st.lists(st.sampled_from(sorted(query)), max_size=CRITERIA)) if query else []
        return {name: data.draw(st.sampled_from((*VALUES, query[name]))) for name in names}

    def _nearly_right(self, case: Case, data: st.DataObject) -> Any:
        """Put an element or two that were made up, or none, into an example of that type."""
        body = case.body
        if isinstance(body, list):
            return data.draw(st.sampled_from((*PATCHES, body)))
        if case.path.endswith("/_search") and isinstance(body, dict):
            return self._fewer(body, data)
        example = self.target.examples.get(str(body.get("resourceType"))) if isinstance(body, dict) else None
        if example is None:
            return body
        made_up = sorted(body.keys() - {"resourceType"})
        names = data.draw(st.sampled_from(((), made_up[:1], made_up[1:2], made_up[-2:])))
        return example | {name: body[name] for name in names} | {"id": case.path_parameters.get("id", "made")}

    def _faults(self, case: Case, answer: Response) -> Iterator[str]:
        """What an error must be: in the one shape, and without the words of who asked."""
        if answer.status_code < 400:
            return
        if not _is_page(case, answer):
            yield from _misshapen(case, answer)
        said = answer.content.decode()
        if any(word in said for word in _words(case) if len(word) > LONG and word not in self._ours):
            yield "an error that says what was sent"

    def _found(self, case: Case, answer: Response, fault: str) -> None:
        place = f"{case.method} {case.path}"
        text = f"{place}: {answer.status_code}, {fault}\n  {case.as_curl_command()[:1500]}\n  {answer.content[:600]!r}"
        self.findings.setdefault((place, f"{answer.status_code} {fault}"), text)

    def report(self) -> str:
        """Tell each fault with a request that shows it."""
        return "\n\n".join([f"{len(self.findings)} faults", *self.findings.values()])


def _is_page(case: Case, answer: Response) -> bool:
    """Whether it is for the person who was sent there, as far as there is no app that could be told."""
    return case.path == "/oauth/authorize" and answer.headers["content-type"] == ["text/html; charset=utf-8"]


def _misshapen(case: Case, answer: Response) -> Iterator[str]:
    try:
        told = json.loads(answer.content)
    except ValueError:
        yield "an error that is no JSON"
        return
    if case.path.startswith("/oauth"):
        if not isinstance(told.get("error"), str):
            yield "an error that OAuth's clients cannot read"
    elif told.get("resourceType") != "OperationOutcome":
        yield "an error that is no OperationOutcome"


def _words(case: Case) -> Iterator[str]:
    """Every string of a request but its names."""
    for part in (case.path_parameters, case.query, dict(case.headers), case.body):
        yield from _strings(part)


def _strings(part: Any) -> Iterator[str]:
    if isinstance(part, str):
        yield part
    elif isinstance(part, dict):
        for value in part.values():
            yield from _strings(value)
    elif isinstance(part, list):
        for value in part:
            yield from _strings(value)
