from __future__ import annotations

import io
import json
import logging

import pytest

from fhir_bridge import log


@pytest.fixture
def stderr(monkeypatch):
    """Stderr as a process that serves has it, with events sent to it."""
    logger = logging.getLogger("fhir_bridge")
    before = logger.handlers[:], logger.level, logger.propagate
    written = io.StringIO()
    with monkeypatch.context() as patch:
        patch.setattr("sys.stderr", written)
        log.to_stderr()
    yield written
    logger.handlers[:], logger.level, logger.propagate = before


@pytest.fixture
def lines(stderr):
    return lambda: [json.loads(line) for line in stderr.getvalue().splitlines()]


def test_an_event_is_one_json_line_with_its_time_name_and_fields(lines):
    log.event("job.suspended", job="j1", epoch=2, error="CortiUnavailable", seconds=1.5)

    [line] = lines()
    assert line.pop("at").endswith("Z")
    assert line == {"event": "job.suspended", "job": "j1", "epoch": 2, "error": "CortiUnavailable", "seconds": 1.5}


def test_an_event_may_leave_fields_out(lines):
    log.event("sweep.done", deleted=3)

    assert lines()[0]["deleted"] == 3


def test_a_field_that_was_not_declared_is_refused_and_not_logged(lines):
    with pytest.raises(ValueError, match=r"not declared in log\.EVENTS: patient, transcript"):
        log.event("job.started", job="j1", epoch=1, transcript="she said", patient="Ada")

    assert lines() == []


def test_an_event_that_was_not_declared_is_refused(lines):
    with pytest.raises(ValueError, match=r"not declared in log\.EVENTS: job\.whispered"):
        log.event("job.whispered", job="j1")

    assert lines() == []


def test_a_line_break_in_a_field_cannot_forge_a_second_line(lines):
    log.event("web.request", route='/fhir\n{"event":"forged"}')

    assert len(lines()) == 1


def test_a_level_can_silence_events(lines):
    logging.getLogger("fhir_bridge").setLevel("ERROR")
    log.event("service.stopped", part="web")

    assert lines() == []


def test_no_event_declares_a_field_for_what_patients_say_or_secrets_are():
    declared = {field for fields in log.EVENTS.values() for field in fields}

    assert declared.isdisjoint({"text", "body", "name", "patient", "transcript", "token", "query", "secret"})


def test_no_field_of_an_event_hides_its_name_or_its_time():
    assert all(fields.isdisjoint({"at", "event"}) for fields in log.EVENTS.values())
