"""Where a broken stream goes on, and what counts as heard twice."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from fhir_bridge.corti.messages import Segment
from fhir_bridge.store.results import SegmentRow
from fhir_bridge.worker import resume
from fhir_bridge.worker.resume import Session


def row(start, end, text="words", *, session=1, n=0, channel=0):
    return SegmentRow(session, n, start, end, None, channel, text)


def test_a_stream_goes_on_two_seconds_before_what_was_heard():
    assert resume.base_for_resume([row(0, 5_000), row(6_000, 7_500), row(7_600, 10_000)], acked_ms=10_000) == 7_600


def test_between_sentences_it_goes_on_right_there():
    assert resume.base_for_resume([row(0, 5_000), row(9_000, 10_000)], acked_ms=10_000) == 8_000


def test_nothing_heard_means_from_the_start():
    assert resume.base_for_resume([], acked_ms=0) == 0


def test_words_without_a_sure_place_are_all_heard_again():
    rows = [row(0, 5_000), row(6_000, 9_000), row(9_000, 12_000)]

    assert resume.base_for_resume(rows, acked_ms=8_000, doubt_ms=5_500) == 5_500
    assert resume.base_for_resume(rows, acked_ms=5_000, doubt_ms=5_500) == 0
    assert resume.kept([row(5_500, 5_500)], Session(2, 5_500)) == ()


def test_sentences_spoken_at_the_same_time_are_all_heard_again():
    rows = [row(0, 7_000), row(6_500, 9_000, channel=1), row(8_500, 10_000)]

    assert resume.base_for_resume(rows, acked_ms=10_000) == 0


rows = st.lists(
    st.tuples(st.integers(0, 60_000), st.integers(0, 9_000)).map(lambda pair: row(pair[0], pair[0] + pair[1]))
)


@given(rows)
def test_no_kept_sentence_reaches_into_what_is_sent_again(heard):
    acked_ms = resume.acked(heard, 0)
    base = resume.base_for_resume(heard, acked_ms=acked_ms)
    kept = resume.kept(heard, Session(2, base))

    assert all(one.end_ms <= base for one in kept)
    assert all(one.start_ms >= base for one in heard if one not in kept)
    assert base <= max(0, acked_ms - resume.GUARD_MS)


def test_segments_are_placed_in_the_recording_and_interim_ones_are_left_out():
    heard = [Segment("a", 0.5, 1.0, speaker=1), Segment("b", 1.0, 2.0, final=False), Segment("c", 2.0, 3.0)]

    placed = resume.placed(heard, Session(3, 10_000), first=4)

    assert [(one.n, one.start_ms, one.end_ms, one.text) for one in placed] == [
        (4, 10_500, 11_000, "a"),
        (5, 12_000, 13_000, "c"),
    ]


def test_the_same_words_at_the_same_time_are_heard_once():
    before = [row(7_000, 8_000, "Twice a day.")]
    again = [row(7_900, 8_900, "twice  a day", session=2), row(9_100, 9_900, "twice a day", session=2)]

    assert resume.unheard(again, before, Session(2, 8_000)) == (again[1],)


def test_a_short_answer_given_twice_around_the_place_of_a_break_is_two_answers():
    before = [row(7_200, 7_600, "Yes.")]
    again = [row(8_000, 8_300, "Yes.", session=2), row(8_900, 9_200, "yes", session=2)]

    assert resume.unheard(again, before, Session(2, 8_000)) == tuple(again)


def test_a_sentence_that_the_place_of_a_break_cuts_through_is_heard_once():
    before = [row(7_500, 7_900, "Yes.")]

    assert resume.unheard([row(8_000, 8_150, "yes", session=2)], before, Session(2, 8_000)) == ()
    assert len(resume.unheard([row(8_000, 8_150, "yes", session=2, channel=1)], before, Session(2, 8_000))) == 1


def test_words_repeated_within_one_session_are_kept():
    before = [row(8_000, 8_500, "yes", session=2)]
    again = [row(8_600, 8_900, "yes", session=2)]

    assert resume.unheard(again, before, Session(2, 8_000)) == tuple(again)


def test_facts_are_alike_by_group_and_words():
    assert resume.likeness("plan", "Rest, and ice.") == resume.likeness("plan", "rest and  ice")
    assert resume.likeness("plan", "Rest") != resume.likeness("actions", "Rest")
    assert resume.likeness("vital-signs", "5.5 mg") != resume.likeness("vital-signs", "55 mg")
