"""Each law about jobs and results is found broken when a row breaks it."""

from __future__ import annotations

import base64
import json
from contextlib import closing

import pytest
from sqlalchemy import text
from store_counting import steps_taken
from store_making import TENANT, new, put

from fhir_bridge.fhir.rest.encode import token_in
from fhir_bridge.mapping import systems
from fhir_bridge.store import Store, tables, verify
from fhir_bridge.store.states import STATES, State

IDENTIFIER = 3  # a parameter of Observation
RELATED = 7  # a parameter of DocumentReference that names its Media


def job(kind: str, n: int, state: State = State.PUBLISHED, **changes):
    media = f"m{n}" if kind == "media" else None
    row = {"id": f"{kind}-{n}", "tenant": TENANT, "kind": kind, "encounter": "e1", "media": media, "state": state}
    row |= {"task": f"{kind}-{n}", "epoch": 1, "queued_ms": 1, "created_ms": n, "session": 2, "owner": None}
    return row | {"lease_ms": None} | changes


def shown(type_: str, id_: str, status: str, state: str = ""):
    said = f',"businessStatus":{{"coding":[{{"code":"{state}"}}]}}' if state else ""
    return new(id_, type_=type_, before='{"meta":{', after=f'}},"status":"{status}"{said}}}')


def segment(session: int, n: int, start: int, words: str, **changes):
    row = {"tenant": TENANT, "media": "m1", "session": session, "n": n, "start_ms": start, "end_ms": start + 900}
    return row | {"channel": 0, "text": words, "superseded": False} | changes


@pytest.fixture
def lawful(store):
    """A visit with two recordings: one that was heard over two connections, and one that is at a worker's."""
    words = json.dumps([{"text": "one"}, {"text": "two"}, {"text": "three"}])
    data = base64.b64encode(words.encode()).decode()
    content = f'"content":[{{"attachment":{{"contentType":"application/json","data":"{data}"}}}}]'
    put(store, new("e1"), new("e2"), new("o1", type_="Observation"), new("o2", type_="Observation"))
    put(store, shown("Media", "m1", "completed"), shown("Media", "m2", "in-progress"))
    done, running = STATES[State.PUBLISHED], STATES[State.STREAMING]
    put(store, *(shown("Task", id_, done.task, "published") for id_ in ("interaction-1", "media-1")))
    put(store, shown("Task", "media-2", running.task, "streaming"))
    keys = [(RELATED, "Media/m1")]
    document = {"before": '{"meta":{', "after": f"}},{content}}}", "keys": keys, "author": "bridge"}
    put(store, new("d1", type_="DocumentReference", **document))

    def write(conn):
        running = job("media", 2, State.STREAMING, owner="w", lease_ms=9)
        conn.execute(tables.job.insert(), [job("interaction", 1), job("media", 1), running])
        kept = [segment(1, 0, 0, "one"), segment(2, 0, 1000, "two"), segment(2, 1, 2000, "three")]
        conn.execute(tables.segment.insert(), [*kept, segment(1, 1, 1000, "twp", superseded=True)])
        told = {"tenant": TENANT, "likeness": "l"}
        facts = [("m1", "f1", "o1"), ("m1", "f2", "o1"), ("m2", "f3", "o2")]
        rows = [told | {"media": media, "corti_id": id_, "observation": by} for media, id_, by in facts]
        conn.execute(tables.fact.insert(), rows)
        known = {"tenant": TENANT, "identifier": "i", "intended_ms": 1, "sent": True}
        rows = [known | {"encounter": f"e{n}", "corti_id": f"c{n}"} for n in (1, 2)]
        conn.execute(tables.interaction.insert(), rows)
        ended = {"id": "x", "tenant": TENANT, "subject": "Encounter/erased-1", "state": "erased", "created_ms": 1}
        conn.execute(tables.erasure.insert(), ended)

    store.write(write)
    return store


def laws(store) -> set[str]:
    return {found.law for found in store.read(verify.findings)}


def test_a_lawful_store_has_no_findings(lawful):
    assert lawful.read(verify.findings) == ()


@pytest.mark.parametrize(
    ("broken", "law"),
    [
        ("UPDATE job SET media = 'm1'", "a recording has one job"),
        ("UPDATE job SET kind = 'interaction'", "an Encounter has one job for its interaction"),
        ("DELETE FROM job WHERE media = 'm1'", "a completed recording has a job"),
        (
            "UPDATE segment SET superseded = false WHERE n = 1 AND session = 1",
            "words of a later connection follow those of an earlier one",
        ),
        (
            "UPDATE segment SET end_ms = 1001 WHERE n = 0 AND session = 1",
            "words of a later connection follow those of an earlier one",
        ),
        ("UPDATE segment SET end_ms = 0 WHERE session = 2", "words end after they begin"),
        ("UPDATE job SET session = 1", "words come of a connection that their job knows"),
        ("UPDATE segment SET media = 'm9'", "words belong to a recording with a job"),
        (
            "UPDATE segment SET superseded = true WHERE n = 0 AND session = 1",
            "a transcript says what was heard, once and in order",
        ),
        (
            "UPDATE segment SET start_ms = 2500 WHERE text = 'two'",
            "a transcript says what was heard, once and in order",
        ),
        ("UPDATE segment SET text = 'other'", "a transcript says what was heard, once and in order"),
        ("UPDATE fact SET corti_id = 'f1' WHERE corti_id = 'f3'", "a fact belongs to one recording"),
        ("UPDATE fact SET observation = 'o9' WHERE corti_id = 'f3'", "a fact is shown by an Observation"),
        ("UPDATE fact SET observation = 'o1'", "an Observation shows facts of one recording"),
        ("UPDATE interaction SET corti_id = 'c1'", "an interaction belongs to one Encounter"),
        ("UPDATE interaction SET sent = false", "an interaction was asked for before it was known"),
        ("UPDATE job SET owner = 'w', lease_ms = 1", "a job that has ended belongs to no worker"),
        ("UPDATE job SET lease_ms = 1 WHERE media = 'm1'", "a job that has ended belongs to no worker"),
        ("UPDATE job SET lease_ms = NULL", "a worker that has a job has a lease of it"),
        ("UPDATE job SET epoch = 0", "a job under way was queued"),
        (
            "UPDATE job SET state = 'stored', owner = NULL, lease_ms = NULL",
            "a job that waits has one of its Encounter before it",
        ),
        ("UPDATE erasure SET state = 'destroyed'", "an erasure ends within a day"),
        ("UPDATE erasure SET words = '[]'", "an erasure that has ended remembers nothing"),
        ("UPDATE job SET state = 'erased' WHERE kind = 'interaction'", "an Encounter that was erased is gone"),
    ],
)
def test_what_must_not_be_is_found(lawful, broken, law):
    lawful.write(lambda conn: conn.execute(text(broken)))

    assert law in laws(lawful)


def test_a_fact_that_is_not_shown_needs_no_observation(lawful):
    lawful.write(
        lambda conn: conn.execute(text("UPDATE fact SET observation = 'o9', withdrawn = true WHERE media = 'm2'"))
    )

    assert lawful.read(verify.findings) == ()


@pytest.mark.parametrize(("author", "found"), [("bridge", True), ("ehr", False)])
def test_a_fact_that_identifies_two_observations_is_found_unless_an_ehr_wrote_one(lawful, author, found):
    """An Observation that an EHR sends may say what it likes."""
    keys = [(IDENTIFIER, token_in(systems.FACT_ID, "f1"))]
    put(lawful, new("o1", type_="Observation", keys=keys, author="bridge"))
    put(lawful, new("o2", type_="Observation", keys=keys, author=author))

    assert ("a fact identifies one Observation" in laws(lawful)) is found


def test_what_is_left_to_search_an_erased_visit_by_is_found(lawful):
    put(lawful, new("e1", keys=[(1, "x")]))
    lawful.write(lambda conn: conn.execute(text("UPDATE job SET state = 'erased' WHERE kind = 'interaction'")))

    assert "an Encounter that was erased is found by nothing" in laws(lawful)


def test_a_transcript_that_an_ehr_corrected_is_its_own(lawful):
    put(lawful, new("d1", type_="DocumentReference", before='{"meta":{', after='},"content":[]}', author="ehr"))

    assert lawful.read(verify.findings) == ()


def heard(store, numbers: range) -> None:
    """Recordings that were published, each with its words, a fact and its documents."""
    done = STATES[State.PUBLISHED]
    for n in numbers:
        put(store, new(f"e{n}"), shown("Media", f"m{n}", "completed"), new(f"o{n}", type_="Observation"))
        put(store, shown("Task", f"media-{n}", done.task, "published"))
        put(store, new(f"d{n}", type_="DocumentReference", keys=[(RELATED, f"Media/m{n}")], author="bridge"))

    def write(conn):
        conn.execute(tables.job.insert(), [job("media", n, encounter=f"e{n}") for n in numbers])
        words = [segment(1, i, i * 1000, "word", media=f"m{n}") for n in numbers for i in range(10)]
        conn.execute(tables.segment.insert(), words)
        fact = {"tenant": TENANT, "likeness": "l"}
        rows = [fact | {"media": f"m{n}", "corti_id": f"f{n}", "observation": f"o{n}"} for n in numbers]
        conn.execute(tables.fact.insert(), rows)

    store.write(write)


def test_the_proof_of_a_store_four_times_as_large_takes_about_four_times_the_work(sqlite_settings):
    with closing(Store.open(sqlite_settings)) as opened:
        store = opened.of_all()
        heard(store, range(100))
        small = store.read(lambda conn: steps_taken(conn, verify.findings))
        heard(store, range(100, 400))
        large = store.read(lambda conn: steps_taken(conn, verify.findings))

    assert large < small * 5
