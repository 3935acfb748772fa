from __future__ import annotations

import time
import uuid
from datetime import UTC, datetime, timedelta, timezone

import pytest

from fhir_bridge import clock


class Standing(clock.Clock):
    """A clock that stands still and rolls the dice it was given."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def now(self):
        return datetime(2026, 3, 29, 3, 30, 0, 123_900, tzinfo=timezone(timedelta(hours=2)))

    def monotonic(self):
        return 7.0

    def sleep(self, seconds):
        self.slept.append(seconds)

    def token_bytes(self, size):
        return b"\xff" * size

    def random(self):
        return 0.25


def test_the_real_clock_tells_the_time_in_utc():
    before = datetime.now(UTC)
    told = clock.now()

    assert told.utcoffset() == timedelta(0)
    assert before <= told <= datetime.now(UTC)


def test_the_real_monotonic_clock_never_goes_back():
    told = [clock.monotonic() for _ in range(100)]

    assert told == sorted(told)


def test_the_real_sleep_waits_and_a_negative_one_does_not():
    began = time.monotonic()
    clock.sleep(-5)
    assert time.monotonic() - began < 1
    clock.sleep(0.02)
    assert time.monotonic() - began >= 0.02


def test_real_chance_gives_other_bytes_ids_and_numbers_each_time():
    assert len({clock.token_bytes(16) for _ in range(100)}) == 100
    assert len({clock.new_id() for _ in range(100)}) == 100
    assert len({clock.random() for _ in range(100)}) > 90
    assert all(0 <= clock.random() < 1 for _ in range(100))


def test_a_new_id_is_a_random_uuid_and_so_a_valid_fhir_id():
    made = clock.new_id()

    assert uuid.UUID(made).version == 4
    assert len(made) == 36
    assert set(made) <= set("0123456789abcdef-")


def test_one_seam_replaces_time_and_chance_and_gives_them_back():
    with clock.use(Standing()) as standing:
        clock.sleep(3)
        assert clock.now() == datetime(2026, 3, 29, 1, 30, 0, 123_900, tzinfo=UTC)
        assert clock.instant() == "2026-03-29T01:30:00.123Z"
        assert clock.monotonic() == 7.0
        assert clock.token_bytes(2) == b"\xff\xff"
        assert clock.random() == 0.25
        assert clock.new_id() == "ffffffff-ffff-4fff-bfff-ffffffffffff"
        assert standing.slept == [3]

    assert clock.monotonic() != 7.0


def test_the_real_source_comes_back_after_a_failure_too():
    with pytest.raises(RuntimeError), clock.use(Standing()):
        raise RuntimeError

    assert clock.monotonic() != 7.0


@pytest.mark.parametrize(
    ("moment", "written"),
    [
        (datetime(2026, 1, 1, tzinfo=UTC), "2026-01-01T00:00:00.000Z"),
        (datetime(2026, 1, 1, 0, 30, tzinfo=timezone(timedelta(hours=1))), "2025-12-31T23:30:00.000Z"),
        (datetime(2026, 1, 1, 12, 0, 0, 999_999, tzinfo=UTC), "2026-01-01T12:00:00.999Z"),
    ],
)
def test_an_instant_is_written_in_utc_with_milliseconds(moment, written):
    assert clock.instant_of(moment) == written
