"""Who may write for a job, from claim to takeover."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_bridge.errors import Fenced
from fhir_bridge.store import jobs
from fhir_bridge.store.dispatch import Ledger, Ticket
from fhir_bridge.store.jobs import Claim
from fhir_bridge.store.states import DISPATCHED, STATES, TERMINAL, State


def test_a_new_job_is_queued_in_the_transaction_that_made_it(base):
    job = base.job()

    ledger = Ledger(base.url)
    assert job.state == State.QUEUED
    assert ledger.unfinished() == {job.ticket: "ENQUEUED"}
    ledger.close()


def test_a_job_of_a_transaction_that_fails_is_nowhere(base):
    new = jobs.NewJob("media", "default", "e", "t", "m")

    def fails(conn):
        jobs.create(conn, new)
        raise LookupError

    with pytest.raises(LookupError):
        base.write(fails)

    ledger = Ledger(base.url)
    assert base.write(lambda conn: jobs.by_id(conn, "t")) is None
    assert ledger.unfinished() == {}
    ledger.close()


def test_of_many_workers_one_gets_the_job(base):
    job = base.job()

    with ThreadPoolExecutor(8) as pool:
        claims = list(pool.map(lambda n: base.claim(job, f"worker-{n}"), range(8)))

    assert sum(claim is not None for claim in claims) == 1


def test_a_ticket_of_an_earlier_epoch_gets_nothing(base):
    job = base.job()
    held = base.claim(job)
    base.write(lambda conn: jobs.release(conn, held))

    assert base.claim(job, "late") is None
    assert base.claim(base.now(job), "next") is not None


def test_a_worker_whose_job_was_taken_over_can_write_nothing(base):
    job = base.job()
    held = base.claim(job, lease=-1)
    [dead] = base.write(lambda conn: jobs.abandoned(conn, lease_seconds=30))
    assert base.write(lambda conn: jobs.take_over(conn, dead))

    for write in (
        lambda conn: jobs.advance(conn, held, acked_ms=5),
        lambda conn: jobs.advance(conn, held, state=State.STREAMING),
        lambda conn: jobs.release(conn, held),
        lambda conn: jobs.finish(conn, held, State.FAILED),
    ):
        with pytest.raises(Fenced):
            base.write(write)
    assert base.now(job).acked_ms == 0


def test_the_right_epoch_with_another_owner_is_fenced_too(base):
    job = base.job()
    base.claim(job, "one")

    with pytest.raises(Fenced):
        base.write(lambda conn: jobs.advance(conn, Claim(job.id, job.epoch, "other")))


def test_a_job_seen_as_dead_by_two_sweeps_is_taken_over_once(base):
    job = base.job()
    base.claim(job, lease=-1)
    [dead] = base.write(lambda conn: jobs.abandoned(conn, lease_seconds=30))

    with ThreadPoolExecutor(4) as pool:
        won = list(pool.map(lambda _: base.write(lambda conn: jobs.take_over(conn, dead)), range(4)))

    assert won.count(True) == 1
    assert base.now(job).epoch == job.epoch + 1


def test_a_lease_renewed_after_it_was_seen_dead_is_not_taken_over(base):
    job = base.job()
    base.claim(job, lease=-1)
    [dead] = base.write(lambda conn: jobs.abandoned(conn, lease_seconds=30))
    base.write(lambda conn: jobs.renew(conn, "worker-1", [job.id], lease_seconds=30))

    assert not base.write(lambda conn: jobs.take_over(conn, dead))


def test_a_lease_from_another_wall_clock_does_not_hold_for_ever(base):
    base.claim(base.job(), lease=3600)

    assert len(base.write(lambda conn: jobs.abandoned(conn, lease_seconds=30))) == 1


def test_renewal_prolongs_what_a_worker_holds_and_tells_which_were_asked_to_stop(base):
    one, two, other = base.job(), base.job(), base.job()
    first, second = base.claim(one, "w"), base.claim(two, "w")
    base.claim(other, "else")
    base.write(lambda conn: jobs.cancel(conn, two.id))

    held = base.write(lambda conn: jobs.renew(conn, "w", [one.id, two.id, other.id], lease_seconds=30))

    assert held == {first: False, second: True}


def test_what_a_worker_has_given_up_runs_out_while_it_renews_the_rest(base):
    one, given_up = base.job(), base.job()
    base.claim(one, "w", lease=-1)
    base.claim(given_up, "w", lease=-1)

    base.write(lambda conn: jobs.renew(conn, "w", [one.id], lease_seconds=30))

    [dead] = base.write(lambda conn: jobs.abandoned(conn, lease_seconds=30))
    assert dead.id == given_up.id


def test_media_of_one_encounter_run_one_after_another_as_they_came(base):
    first, second, third = (base.job(encounter="e") for _ in range(3))
    other = base.job(encounter="f")

    assert [job.state for job in (first, second, third, other)] == ["queued", "stored", "stored", "queued"]

    held = base.claim(first)
    base.write(lambda conn: jobs.advance(conn, held, state=State.STREAMING))
    base.write(lambda conn: jobs.finish(conn, held, State.FAILED, code="transient", text="gone"))

    assert [base.now(job).state for job in (first, second, third)] == ["failed", "queued", "stored"]
    assert base.now(first).error_code == "transient"


def test_an_interaction_goes_before_the_media_that_wait(base):
    running, waiting = base.job(encounter="e"), base.job(encounter="e")
    interaction = base.job("interaction", encounter="e")
    held = base.claim(running)
    base.write(lambda conn: jobs.finish(conn, held, State.CANCELLED))

    assert base.now(interaction).state == State.QUEUED
    assert base.now(waiting).state == State.STORED


def test_a_suspended_job_keeps_its_place(base):
    first, second = base.job(encounter="e"), base.job(encounter="e")
    held = base.claim(first)
    base.write(lambda conn: jobs.advance(conn, held, state=State.INTERACTION_PENDING))
    base.write(lambda conn: jobs.release(conn, held, delay=60, state=State.SUSPENDED))

    ledger = Ledger(base.url)
    assert base.now(second).state == State.STORED
    assert ledger.unfinished()[Ticket(first.id, held.epoch + 1)] == "DELAYED"
    ledger.close()


def test_a_job_nobody_holds_is_cancelled_at_once_and_the_next_begins(base):
    first, second = base.job(encounter="e"), base.job(encounter="e")

    cancelled = base.write(lambda conn: jobs.cancel(conn, first.id))

    assert cancelled.state == State.CANCELLED
    assert base.claim(first) is None
    assert base.now(second).state == State.QUEUED


def test_cancelling_an_ended_job_changes_nothing(base):
    job = base.job()
    held = base.claim(job)
    base.write(lambda conn: jobs.finish(conn, held, State.FAILED))
    before = base.now(job)

    assert base.write(lambda conn: jobs.cancel(conn, job.id)) == before


def test_a_failed_job_asked_for_again_starts_a_new_epoch(base):
    job = base.job()
    held = base.claim(job)
    base.write(lambda conn: jobs.finish(conn, held, State.FAILED, code="login", text="wrong secret"))

    again = base.write(lambda conn: jobs.again(conn, job.id))

    assert again.state == State.QUEUED
    assert again.epoch > held.epoch
    assert again.error_code is None


def test_asking_again_for_a_job_under_way_leaves_it_alone(base):
    job = base.job()

    assert base.write(lambda conn: jobs.again(conn, job.id)) == base.now(job)


def test_a_step_the_table_does_not_have_is_refused(base):
    job = base.job()
    held = base.claim(job)

    with pytest.raises(ValueError, match="from queued to published"):
        base.write(lambda conn: jobs.finish(conn, held, State.PUBLISHED))


def test_jobs_are_found_by_media_encounter_and_state(base):
    job = base.job(encounter="e")

    assert base.write(lambda conn: jobs.of_media(conn, "default", job.media)) == job
    assert base.write(lambda conn: jobs.of_media(conn, "other", job.media)) is None
    assert base.write(lambda conn: jobs.of_encounter(conn, "default", "e")) == (job,)
    assert base.write(jobs.counts) == {State.QUEUED: 1}
    assert base.write(lambda conn: jobs.epochs(conn, [job.id, "none"])) == {job.id: (job.epoch, True)}


def test_only_jobs_queued_long_ago_are_looked_for(base):
    job = base.job()

    assert base.write(lambda conn: jobs.waiting(conn, seconds=60)) == ()
    assert base.write(lambda conn: jobs.waiting(conn, seconds=-1)) == (job,)


def test_every_state_but_the_erased_one_leads_somewhere_and_every_end_can_be_reached():
    reached = {after for phase in STATES.values() for after in phase.follows}

    assert set(STATES) - {State.RECEIVED} == reached
    assert [state for state, phase in STATES.items() if not phase.follows] == [State.ERASED]
    assert TERMINAL.isdisjoint(DISPATCHED)


@given(st.sampled_from(sorted(DISPATCHED)))
def test_whatever_is_under_way_can_fail_be_cancelled_and_erased(state):
    assert {State.FAILED, State.CANCELLED, State.ERASED} <= STATES[state].follows
