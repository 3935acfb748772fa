from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_bridge.fhir.rest import encode
from fhir_bridge.fhir.rest.encode import BOUND, EARLIEST, LATEST, moments

INSTANTS = st.datetimes(
    min_value=datetime(1, 1, 3),  # noqa: DTZ001 - the zone is given apart
    max_value=datetime(9999, 12, 29),  # noqa: DTZ001 - the zone is given apart
    timezones=st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes))),
)
DECIMALS = st.decimals(allow_nan=False, allow_infinity=False).filter(lambda number: abs(number.adjusted()) < 40_000)
TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))


def fhir(at: datetime) -> str:
    return at.isoformat()


@given(INSTANTS, INSTANTS)
def test_moments_are_ordered_like_their_texts(one: datetime, other: datetime):
    first, second = moments(fhir(one)), moments(fhir(other))

    assert first is not None
    assert second is not None
    assert (first.low < second.low) == (first.start < second.start)
    assert first.start == one
    assert EARLIEST < first.low <= first.high < first.after < LATEST
    assert len(first.low) == len(first.high) == len(first.after) == 20


@given(INSTANTS)
def test_a_moment_lies_within_every_less_precise_text_of_it(at: datetime):
    utc = at.astimezone(UTC)
    exact = moments(fhir(utc))
    assert exact is not None
    for text in (f"{utc.year:04}", f"{utc.year:04}-{utc.month:02}", f"{utc.date()}", f"{utc:%H:%M}"):
        wider = moments(text if "-" in text or len(text) == 4 else f"{utc.date()}T{text}Z")
        assert wider is not None
        assert wider.low <= exact.low <= exact.high <= wider.high


@pytest.mark.parametrize(
    ("text", "low", "high"),
    [
        ("2024", "20240101000000000000", "20241231235959999999"),
        ("2023-02", "20230201000000000000", "20230228235959999999"),
        ("2024-02-29", "20240229000000000000", "20240229235959999999"),
        ("2024-02-29T10:15Z", "20240229101500000000", "20240229101559999999"),
        ("2024-02-29T10:15:30+02:00", "20240229081530000000", "20240229081530999999"),
        ("2024-02-29T10:15:30.12-01:30", "20240229114530120000", "20240229114530129999"),
        ("2024-02-29T10:15:30.123456789Z", "20240229101530123456", "20240229101530123456"),
        ("2016-12-31T23:59:60Z", "20170101000000000000", "20170101000000999999"),
        ("2024-02-29T10:15:30", "20240229101530000000", "20240229101530999999"),
        ("0001-01-01", "00010101000000000000", "00010101235959999999"),
        ("0001-01-01T00:00:00+14:00", "00010101000000000000", "00010101000000000000"),
        ("9999-12-31", "99991231000000000000", "99991231235959999998"),
        ("9999", "99990101000000000000", "99991231235959999998"),
        ("9999-12-31T23:00:00-14:00", "99991231235959999998", "99991231235959999998"),
    ],
)
def test_a_date_covers_exactly_what_its_precision_leaves_open(text: str, low: str, high: str):
    found = moments(text)

    assert found is not None
    assert (found.low, found.high) == (low, high)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "24",
        "2024-13",
        "2024-02-30",
        "2024-1-1",
        "0000",
        "2024-01-01T",
        "2024-01-01T10",
        "2024-01-01T24:00:00Z",
        "2024-01-01T10:00:00+02:75",
        "2024-01-01T10:00:00+99:00",
        "2024-01-01T10:00:61Z",
        "2024-01-01 10:00",
        "٢٠٢٤",
    ],
)
def test_what_is_no_fhir_date_is_none(text: str):
    assert moments(text) is None


@given(DECIMALS, DECIMALS)
def test_numbers_are_ordered_like_their_texts(one: Decimal, other: Decimal):
    first, second = encode.number(one), encode.number(other)

    assert (first < second) == (one < other)
    assert (first == second) == (one == other)


@given(st.integers(-300, 300), st.integers(-300, 300))
def test_small_numbers_that_share_digits_are_ordered_too(one: int, other: int):
    first, second = Decimal(one) / 10, Decimal(other) / 100

    assert (encode.number(first) < encode.number(second)) == (first < second)


def test_precision_does_not_tell_equal_numbers_apart():
    assert encode.number(Decimal("1.10")) == encode.number(Decimal("1.1")) == encode.number(Decimal("11e-1"))
    assert encode.number(Decimal("-0.0")) == encode.number(Decimal(0))


@given(TEXTS, TEXTS)
def test_a_text_is_found_by_its_folded_beginning(beginning: str, rest: str):
    whole, start = encode.folded(f"{beginning}x{rest}"), encode.folded(f"{beginning}x")

    assert whole.startswith(start[:-1])
    assert encode.folded(whole) == whole or len(whole) == BOUND


@pytest.mark.parametrize(
    ("text", "folded"),
    [("Müller", "muller"), ("  Ångström   Straße ", "angstrom strasse"), ("İstanbul", "istanbul"), ("ﬁne", "fine")],
)
def test_case_accents_and_blanks_do_not_matter_to_a_string(text: str, folded: str):
    assert encode.folded(text) == folded


@given(TEXTS, TEXTS, TEXTS, TEXTS)
def test_tokens_are_equal_only_when_system_and_code_are(system: str, code: str, system2: str, code2: str):
    same = (system, code) == (system2, code2)

    assert (encode.token_in(system, code) == encode.token_in(system2, code2)) == same
    assert encode.token_in(system, code).startswith(encode.token_of(system))
    assert encode.token(code) != encode.token_in(system2, code2)
    assert (encode.token_typed(system, code, "v") == encode.token_typed(system2, code2, "v")) == same


@given(TEXTS.filter(bool), TEXTS.filter(bool))
def test_units_are_told_apart_and_go_before_the_number(system: str, code: str):
    units = [encode.unit(None, None), encode.unit(None, code), encode.unit(system, code), encode.unit("", code)]

    assert len(set(units)) == 4
    for one in units:
        assert [other for other in units if other.startswith(one + "2")] == []


@given(st.text("abc", min_size=BOUND + 1), st.text("abc", min_size=BOUND + 1))
def test_long_values_are_bounded_and_stay_distinct(one: str, other: str):
    assert len(encode.bounded(one)) <= BOUND
    assert (encode.bounded(one) == encode.bounded(other)) == (one == other)


@pytest.mark.parametrize(
    ("text", "encoded", "type_"),
    [
        ("Patient/1", "Patient/1", "Patient"),
        ("Patient/1/_history/7", "Patient/1", "Patient"),
        ("https://bridge/fhir/Patient/1", "Patient/1", "Patient"),
        ("https://bridge/fhir/Patient/1/_history/2", "Patient/1", "Patient"),
        ("https://other/fhir/Patient/1", "https://other/fhir/Patient/1", "Patient"),
        ("https://Other/Group/Patient/1", "https://Other/Group/Patient/1", "Patient"),
        ("https://bridge/fhirs/Patient/1", "https://bridge/fhirs/Patient/1", "Patient"),
        ("https://other/metadata", "https://other/metadata", None),
        ("urn:uuid:53fefa32-fcbb-4ff8-8a92-55ee120877b7", "urn:uuid:53fefa32-fcbb-4ff8-8a92-55ee120877b7", None),
    ],
)
def test_a_reference_is_known_by_type_and_id_however_it_is_written(text: str, encoded: str, type_: str | None):
    assert encode.reference(text, base="https://bridge/fhir/") == encoded
    assert encode.type_of_reference(encoded) == type_


@pytest.mark.parametrize("text", ["#contained", "", "1", "patient/1", "Patient/", "Patient/a b", "Patient?name=x"])
def test_what_names_no_resource_of_its_own_is_no_reference_key(text: str):
    assert encode.reference(text) is None


def test_without_a_base_an_absolute_reference_stays_absolute():
    assert encode.reference("https://bridge/fhir/Patient/1") == "https://bridge/fhir/Patient/1"


def test_a_moment_is_read_back_to_its_millisecond():
    at = datetime(2026, 11, 22, 8, 15, 0, 667_999, tzinfo=UTC)

    assert encode.ms_of(encode.moment(at)) == 1_795_335_300_667
    assert encode.ms_of(encode.moment(datetime(1969, 12, 31, 23, 59, 59, 999_000, tzinfo=UTC))) == -1
