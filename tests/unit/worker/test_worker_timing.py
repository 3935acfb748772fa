"""Both ways in which Corti may count time, with every kind of interruption (reliability.md, rule 12)."""

from __future__ import annotations

import base64
import json
from dataclasses import replace

import pytest

from fhir_bridge import points
from fhir_bridge.corti.messages import Segment
from fhir_bridge.sandbox.numbers import make_wav
from fhir_bridge.store import results, verify
from fhir_bridge.store.results import Received, SegmentRow
from fhir_bridge.worker.resume import Session
from fhir_bridge.worker.timing import Origin, origin_of

ORIGINS = ["connection", "interaction"]


def said(start, end, *, text="words", final=True):
    return Segment(text, start, end, final=final)


def row(start_ms, end_ms):
    return SegmentRow(1, 0, start_ms, end_ms, None, 0, "words")


NEW, RESUMED = Session(1, 0), Session(2, 28_000)
HEARD = [row(0, 27_000), row(28_500, 30_000)]
NOTHING, SURE = Received(0, 0), Received(30_000, 30_000)


def unsure(ms):
    return Origin(ms, sure=False)


@pytest.mark.parametrize(
    ("heard", "session", "rows", "sent_ms", "before", "origin"),
    [
        # the first connection of all counts from its own begin
        ([said(1.0, 2.0)], NEW, [], 5_000, NOTHING, Origin(0)),
        ([said(1.0, 9.0)], NEW, [], 5_000, NOTHING, Origin(0)),
        # a second recording: times before the end of the first can only be its own
        ([said(1.0, 2.0)], NEW, [], 5_000, SURE, Origin(0)),
        ([said(31.0, 32.0)], NEW, [], 5_000, SURE, Origin(30_000)),
        # ... and a silence as long as all audio before is unlikely, but may be
        ([said(31.0, 32.0)], NEW, [], 60_000, SURE, unsure(30_000)),
        ([said(5.0, 6.0)], NEW, [], 9_000, Received(4_000, 4_000), unsure(0)),
        ([said(5.0, 6.0)], NEW, [], 2_500, Received(4_000, 4_000), Origin(4_000)),
        # a broken connection, or a worker that died: nobody knows how much of its audio arrived
        ([said(40.0, 41.0)], NEW, [], 5_000, Received(30_000, 90_000), unsure(40_000)),
        ([said(31.0, 32.0)], NEW, [], 5_000, Received(28_000, 30_000), unsure(30_000)),
        # ... not even when it is a few milliseconds: words would be cut
        ([said(31.0, 32.0)], NEW, [], 5_000, Received(29_990, 30_000), unsure(30_000)),
        # a connection that broke before its first word tells nothing of the clock
        ([said(3.0, 4.0)], NEW, [], 9_000, Received(0, 3_000), unsure(0)),
        # after a break the words that are said again tell, whatever was lost in between
        ([said(0.5, 2.0)], RESUMED, HEARD, 60_000, Received(30_000, 31_000), Origin(0)),
        ([said(31.0, 32.5)], RESUMED, HEARD, 60_000, Received(30_000, 31_000), Origin(30_500, recognised=True)),
        ([said(31.5, 33.0)], RESUMED, HEARD, 4_000, Received(30_000, 31_000), Origin(31_000, recognised=True)),
        # ... unless they are others, or at a place where they cannot have been said
        ([said(31.5, 33.0, text="others")], RESUMED, HEARD, 4_000, Received(30_000, 31_000), unsure(31_000)),
        ([said(50.5, 52.0)], RESUMED, HEARD, 60_000, Received(30_000, 31_000), unsure(31_000)),
        # a message may hold its words in any order, and interim ones say nothing
        ([said(34.0, 35.0), said(31.0, 32.0)], NEW, [], 6_000, SURE, Origin(30_000)),
        ([said(31.0, 32.0, final=False)], NEW, [], 6_000, SURE, None),
        ([], NEW, [], 6_000, SURE, None),
    ],
)
def test_the_first_words_of_a_connection_tell_how_its_time_is_counted_or_that_they_cannot(
    heard, session, rows, sent_ms, before, origin
):
    assert origin_of(heard, session, rows, sent_ms=sent_ms, before=before) == origin


def transcript(ward, media):
    """The complete transcript of one recording: each number and where it was heard."""
    [document] = [one for one in ward.all("DocumentReference") if f"Media/{media}" in json.dumps(one)]
    return json.loads(base64.b64decode(document["content"][2]["attachment"]["data"]))


def check(ward, media, numbers, late=0.1):
    """Each number once, in order, and at its own place in the recording, or not much later."""
    segments = transcript(ward, media)
    assert [int(word) for one in segments for word in one["text"].split()] == list(numbers)
    first = numbers[0]
    for one in segments:
        assert one["start"] == pytest.approx((int(one["text"].split()[0]) - first) / 4, abs=late)
    assert ward.store.read(verify.findings) == ()


@pytest.fixture(params=ORIGINS)
def counted(request, ward):
    ward.sandbox.switches.time_origin = request.param
    return ward


def test_a_second_recording_of_a_visit_is_placed_in_its_own_time(counted):
    encounter = counted.admit()
    first = counted.record(encounter, 60)
    second = counted.record(encounter, make_wav(100, first=1000))
    third = counted.record(encounter, make_wav(20, first=2000))

    counted.work()

    check(counted, first, range(60))
    check(counted, second, range(1000, 1100))
    check(counted, third, range(2000, 2020))


@pytest.mark.parametrize("lost", [False, True])
def test_a_broken_stream_loses_and_doubles_nothing_however_time_is_counted(counted, lost):
    counted.sandbox.switches.close_at = 20.0
    counted.sandbox.switches.untold_lost_at_break = lost
    media = counted.record(counted.admit(), 200)

    counted.work()

    assert counted.job_of(media).session == 2
    check(counted, media, range(200))


def test_a_connection_that_breaks_before_its_first_word_costs_none_when_a_later_one_breaks(counted):
    """Until then nothing tells the clocks apart: what is placed in doubt is heard again from where it began."""
    switches = counted.sandbox.switches
    switches.close_at, switches.untold_lost_at_break = 3.0, True
    later = iter([20.0, 30.0])

    def breaks_again(point):
        if point == "stream.broken" and (at := next(later, None)):
            switches.close_at, switches.breaks = at, switches.breaks + 1

    media = counted.record(counted.admit(), 200)
    points.watch(breaks_again)
    try:
        counted.work()
    finally:
        points.watch(None)

    check(counted, media, range(200), late=3.0)


def test_a_second_recording_that_breaks_off_is_placed_too(counted):
    encounter = counted.admit()
    first = counted.record(encounter, 60)
    counted.work()
    counted.sandbox.switches.drop_at_byte = 700_000
    second = counted.record(encounter, make_wav(160, first=1000))

    counted.work()

    assert counted.job_of(second).session == 2
    check(counted, first, range(60))
    check(counted, second, range(1000, 1160))


def test_a_recording_asked_for_again_is_placed_where_it_was(counted):
    media = counted.record(counted.admit(), 80)
    counted.work()
    counted.again(media)

    counted.work()

    check(counted, media, range(80))


def test_what_an_interaction_got_is_noted(ward):
    encounter = ward.admit()
    ward.record(encounter, 60)
    ward.record(encounter, make_wav(20, first=1000))

    ward.work()

    noted = ward.store.read(lambda conn: results.received(conn, "default", encounter))
    assert noted.least_ms == noted.most_ms == pytest.approx(20_000, abs=600)


def test_until_a_connection_has_ended_all_that_it_may_still_send_counts_as_received(ward):
    """Whoever dies after some words has sent on meanwhile, and can note nothing more."""
    noted, encounter = [], ward.admit()
    paced = ward.rooms.settings.model_copy(update={"stream_pace": 20.0})
    ward.rooms = replace(ward.rooms, settings=paced)
    ward.record(encounter, 60)

    def look(point):
        if point == "words.shown":
            noted.append(ward.store.read(lambda conn: results.received(conn, "default", encounter)).most_ms)

    points.watch(look)
    try:
        ward.work()
    finally:
        points.watch(None)

    assert len(noted) > 1
    assert min(noted) >= 15_000
