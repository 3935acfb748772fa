"""Requests made up from openapi.json, allowed and forbidden ones: each answer is one the document declares."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from judge import Judge
from schemathesis import GenerationMode

from fhir_bridge.fhir.rest.openapi import document

if TYPE_CHECKING:
    from conftest import Target

pytestmark = [pytest.mark.fuzz, pytest.mark.timeout(0)]

SEED = 20_260_417
schemathesis.serializer.alias("application/offset+octet-stream", "application/octet-stream")  # bytes, as tus calls them
MODES = (GenerationMode.NEGATIVE, GenerationMode.POSITIVE)
SETTINGS = settings(database=None, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))


def test_every_answer_to_a_request_made_up_is_one_that_the_document_declares(request, target, capsys):
    wanted = request.config.getoption("--fuzz-cases")
    began = time.monotonic()
    judge = _judged(schemathesis.openapi.from_wsgi("/openapi.json", target.app), target, wanted)
    told = ", ".join(f"{status}: {count}" for status, count in sorted(judge.statuses.items()))
    with capsys.disabled():
        print(f"\nseed {SEED}, {judge.cases} cases in {time.monotonic() - began:.0f} s; {told}")  # noqa: T201 - to be seen

    assert not judge.findings, judge.report()
    assert judge.cases == wanted
    assert judge.statuses.keys() >= {200, 201, 204, 400, 404, 410}, "too shallow: nothing was reached"


def test_the_judge_sees_what_a_document_does_not_declare(target):
    told = document("http://localhost")
    reads = {"/fhir/Patient/{id}": {"get": told["paths"]["/fhir/Patient/{id}"]["get"]}}
    del reads["/fhir/Patient/{id}"]["get"]["responses"]["410"]
    reads["/fhir/Patient/{id}"]["get"]["responses"]["200"]["content"] = {"text/plain": {}}
    schema = schemathesis.openapi.from_dict(told | {"paths": reads})
    schema.app = target.app

    faults = {fault for _, fault in _judged(schema, target, 40).findings}

    assert faults == {"410 Undocumented status code", "200 Undocumented Content-Type"}


def _judged(schema: Any, target: Target, wanted: int) -> Judge:
    schema.config.generation.update(with_security_parameters=False)
    judge = Judge(target, json.dumps(schema.raw_schema))
    runs = [(found.ok(), mode) for found in schema.get_all_operations() for mode in MODES]
    # Those with nothing to vary come first: what they leave of their share goes to the others.
    runs.sort(key=lambda run: bool(run[0].body) or any(True for _ in run[0].iter_parameters()))
    for index, (operation, mode) in enumerate(runs):
        share = (wanted - judge.cases) // (len(runs) - index)
        _judge(judge, operation.as_strategy(generation_mode=mode), share, SEED + index)
    return judge


def _judge(judge: Judge, cases: Any, count: int, number: int) -> None:
    """Judge so many cases, or none where nothing of a request can be wrong."""

    @seed(number)
    @settings(SETTINGS, max_examples=max(count, 1))
    @given(case=cases, data=st.data())
    def each(case: Any, data: Any) -> None:
        judge(case, data)

    if count:
        try:
            each()
        except Unsatisfiable:
            return
