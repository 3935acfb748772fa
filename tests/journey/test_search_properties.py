"""Any resources and any query: a search finds what a naive reading of the JSON finds, on both databases."""

from __future__ import annotations

import calendar
import unicodedata
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import cmp_to_key
from typing import Any
from urllib.parse import parse_qsl, urlencode

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fhir_bridge import clock
from fhir_bridge.fhir.rest.search import parse
from fhir_bridge.store import Filter, oauth, resources
from fhir_bridge.store.filter import OfType
from fhir_bridge.verbs.criteria import nodes_of, order_of
from fhir_bridge.verbs.record import new_version

Resource = dict[str, Any]
Pairs = tuple[tuple[str, str], ...]

BASE = "https://bridge/fhir"
STATUSES = ["planned", "in-progress", "finished"]
CODES = ["AMB", "a|b", "a,b", "x\\y"]
SYSTEMS = ["urn:s", "urn:t"]
NAMES = ["Müller", "MULLER", "Muller-Lüdenscheidt", "O'Neil", "van der Berg", "Ber%g_", "ß"]
DATES = ["2023", "2024", "2024-02", "2024-02-29", "2024-03-01", "2024-02-29T23:30:00Z", "2024-03-01T00:30:00+02:00"]
AMOUNTS = ["1", "1.0", "9.5", "10", "-2", "0.95e1"]
UNITS = [("urn:ucum", "min"), ("urn:ucum", "h"), ("urn:other", "min")]
PATIENTS = ["p1", "p2"]

codings = st.builds(
    lambda system, code: {"code": code} | ({"system": system} if system else {}),
    st.sampled_from([*SYSTEMS, None]),
    st.sampled_from(CODES),
)
periods = st.fixed_dictionaries(
    {}, optional={"start": st.sampled_from(DATES[3:]), "end": st.sampled_from(DATES[3:])}
).filter(bool)
quantities = st.builds(
    lambda value, unit: {"value": Decimal(value), "system": unit[0], "code": unit[1]},
    st.sampled_from(AMOUNTS),
    st.sampled_from(UNITS),
)
encounters = st.fixed_dictionaries(
    {"resourceType": st.just("Encounter"), "status": st.sampled_from(STATUSES), "class": codings},
    optional={
        "type": st.lists(st.builds(lambda c: {"coding": c}, st.lists(codings, min_size=1, max_size=2)), min_size=1),
        "period": periods,
        "length": quantities,
        "subject": st.builds(
            lambda base, id_: {"reference": f"{base}Patient/{id_}"},
            st.sampled_from(["", f"{BASE}/"]),
            st.sampled_from([*PATIENTS, "elsewhere"]),
        ),
    },
)
patients = st.fixed_dictionaries(
    {"resourceType": st.just("Patient")},
    optional={
        "name": st.lists(st.builds(lambda family: {"family": family}, st.sampled_from(NAMES)), min_size=1, max_size=2),
        "birthDate": st.sampled_from([date for date in DATES if "T" not in date]),
        "active": st.booleans(),
    },
)


# --- queries ------------------------------------------------------------------------------


def escaped(text: str) -> str:
    for char in "\\|,$":
        text = text.replace(char, f"\\{char}")
    return text


def any_of(values: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    return st.lists(values, min_size=1, max_size=2).map(",".join)


code_values = any_of(
    st.one_of(
        st.sampled_from(CODES).map(escaped),
        st.builds(lambda s, c: f"{s}|{escaped(c)}", st.sampled_from(["", *SYSTEMS]), st.sampled_from(CODES)),
        st.sampled_from(SYSTEMS).map(lambda system: f"{system}|"),
    )
)
date_values = any_of(
    st.builds(
        str.__add__, st.sampled_from(["", "eq", "ne", "gt", "lt", "ge", "le", "sa", "eb"]), st.sampled_from(DATES)
    )
)
names = any_of(st.sampled_from(["mul", "Müller", "muller-l", "berg", "VAN", "ber%", "%", "s", "ss", "'"]).map(escaped))
amounts = any_of(
    st.builds(
        lambda prefix, value, unit: f"{prefix}{value}{unit}",
        st.sampled_from(["", "ne", "gt", "lt", "ge", "le"]),
        st.sampled_from(AMOUNTS),
        st.sampled_from(["", *(f"|{system}|{code}" for system, code in UNITS), "||min"]),
    )
)
whose = any_of(
    st.builds(str.__add__, st.sampled_from(["", "Patient/", f"{BASE}/Patient/"]), st.sampled_from([*PATIENTS, "no"]))
)
missing = st.sampled_from(["true", "false"])
of_patient = st.one_of(
    st.tuples(st.sampled_from(["family", "family:contains", "name"]), names),
    st.tuples(st.just("family:exact"), any_of(st.sampled_from(NAMES).map(escaped))),
    st.tuples(st.just("birthdate"), date_values),
    st.tuples(st.just("active"), missing),
    st.tuples(st.sampled_from(["birthdate:missing", "family:missing"]), missing),
)
of_encounter = st.one_of(
    st.tuples(st.sampled_from(["status", "status:not"]), any_of(st.sampled_from(STATUSES))),
    st.tuples(st.sampled_from(["class", "type", "type:not", "class:not"]), code_values),
    st.tuples(st.just("date"), date_values),
    st.tuples(st.just("length"), amounts),
    st.tuples(st.sampled_from(["patient", "subject"]), whose),
    st.tuples(st.sampled_from(["date:missing", "length:missing", "patient:missing", "type:missing"]), missing),
)
asked_of_patients = of_patient | of_encounter.map(lambda pair: (f"_has:Encounter:patient:{pair[0]}", pair[1]))
asked_of_encounters = of_encounter | of_patient.map(lambda pair: (f"patient.{pair[0]}", pair[1]))
queries = st.one_of(
    st.tuples(st.just("Patient"), st.lists(asked_of_patients, min_size=1, max_size=2).map(tuple)),
    st.tuples(st.just("Encounter"), st.lists(asked_of_encounters, min_size=1, max_size=2).map(tuple)),
)


# --- the naive reading --------------------------------------------------------------------


def folded(text: str) -> str:
    bare = unicodedata.normalize("NFKD", text.casefold())
    return "".join(char for char in bare if not unicodedata.combining(char))


def span(text: str) -> tuple[datetime, datetime]:
    """The half-open span of time that a date means."""
    if "T" in text:
        start = datetime.fromisoformat(text)
        return start, start + timedelta(seconds=1)
    year, month, day = ([int(part) for part in text.split("-")] + [0, 0])[:3]
    start = datetime(year, month or 1, day or 1, tzinfo=UTC)
    if day:
        return start, start + timedelta(days=1)
    days = calendar.monthrange(year, month)[1] if month else 366 if calendar.isleap(year) else 365
    return start, start + timedelta(days=days)


FIRST, LAST = datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)


def spans(resource: Resource) -> list[tuple[datetime, datetime]]:
    if "birthDate" in resource:
        return [span(resource["birthDate"])]
    period = resource.get("period")
    if period is None:
        return []
    start = span(period["start"])[0] if "start" in period else FIRST
    return [(start, span(period["end"])[1] if "end" in period else LAST)]


def prefixed(value: str) -> tuple[str, str]:
    return (value[:2], value[2:]) if value[:2].isalpha() else ("eq", value)


def in_time(value: str, resource: Resource) -> bool:
    prefix, text = prefixed(value)
    low, high = span(text)
    return any(
        {
            "eq": low <= start and end <= high,
            "ne": not (low <= start and end <= high),
            "gt": end > high,
            "lt": start < low,
            "ge": end > high or (low <= start and end <= high),
            "le": start < low or (low <= start and end <= high),
            "sa": start >= high,
            "eb": end <= low,
        }[prefix]
        for start, end in spans(resource)
    )


def in_numbers(value: str, resource: Resource) -> bool:
    quantity = resource.get("length")
    if quantity is None:
        return False
    prefix, text = prefixed(value)
    number, *unit = text.split("|")
    if unit and (unit[1] != quantity["code"] or unit[0] not in {"", quantity["system"]}):
        return False
    asked, have = Decimal(number), quantity["value"]
    half = Decimal((0, (5,), int(asked.as_tuple().exponent) - 1))
    about = asked - half <= have < asked + half
    return {
        "eq": about,
        "ne": not about,
        "gt": have > asked,
        "lt": have < asked,
        "ge": have >= asked,
        "le": have <= asked,
    }[prefix]


def parts_of(value: str, separator: str) -> list[str]:
    """Cut at separators that are not escaped, and resolve the escapes only when asked for no more."""
    parts, part, rest = [], "", iter(value)
    for char in rest:
        if char == "\\":
            part += char + next(rest, "")
        elif char == separator:
            parts.append(part)
            part = ""
        else:
            part += char
    return [*parts, part]


def unescaped(part: str) -> str:
    text, rest = "", iter(part)
    for char in rest:
        text += next(rest, "") if char == "\\" else char
    return text


def coded(value: str, resource: Resource, name: str) -> bool:
    found = [resource["class"]] if name == "class" else [c for t in resource.get("type", []) for c in t["coding"]]
    pieces = [unescaped(piece) for piece in parts_of(value, "|")]
    if len(pieces) == 1:
        return any(coding["code"] == pieces[0] for coding in found)
    system, code = pieces
    return any(coding.get("system", "") == system and code in {"", coding["code"]} for coding in found)


def named(value: str, resource: Resource, modifier: str) -> bool:
    have = [name["family"] for name in resource.get("name", [])]
    text = unescaped(value)
    if modifier == "exact":
        return text in have
    if modifier == "contains":
        return any(folded(text) in folded(name) for name in have)
    return any(folded(name).startswith(folded(text)) for name in have)


def patient_of(resource: Resource) -> str | None:
    reference = resource.get("subject", {}).get("reference")
    return reference.rpartition("/")[2] if reference else None


PRESENT = {
    "date": spans,
    "birthdate": spans,
    "length": lambda resource: "length" in resource,
    "patient": patient_of,
    "type": lambda resource: "type" in resource,
    "family": lambda resource: "name" in resource,
}


def one(name: str, value: str, resource: Resource) -> bool:  # noqa: PLR0911 - one case a parameter
    head, _, modifier = name.partition(":")
    match head:
        case "status":
            return resource["status"] == value
        case "class" | "type":
            return coded(value, resource, head)
        case "date" | "birthdate":
            return in_time(value, resource)
        case "length":
            return in_numbers(value, resource)
        case "patient" | "subject":
            return patient_of(resource) == value.rpartition("/")[2]
        case "family" | "name":
            return named(value, resource, modifier)
        case _:
            return resource.get("active") is not None and str(resource["active"]).lower() == value


def meets(name: str, value: str, resource: Resource, others: list[Resource]) -> bool:
    if name.startswith("_has:"):
        inner = name.split(":", 3)[3]
        mine = [other for other in others if patient_of(other) == resource["id"]]
        return any(meets(inner, value, other, []) for other in mine)
    if name.startswith("patient."):
        targets = [other for other in others if other["id"] == patient_of(resource)]
        return any(meets(name.removeprefix("patient."), value, target, []) for target in targets)
    head, _, modifier = name.partition(":")
    if modifier == "missing":
        return bool(PRESENT[head](resource)) != (value == "true")
    found = any(one(name, each, resource) for each in parts_of(value, ","))
    return not found if modifier == "not" else found


# --- the test -----------------------------------------------------------------------------


def stored(store, tenant: str, told: list[Resource]) -> None:
    versions = [new_version(each, base=BASE) for each in told]
    store.write(lambda conn: resources.put(conn, tenant, versions))


def found(store, tenant: str, type_: str, pairs: Pairs) -> list[str]:
    read_back = tuple(parse_qsl(urlencode(pairs), keep_blank_values=True))
    request = parse(type_, read_back, strict=True, base=BASE)
    filter_ = Filter(tenant).narrowed(OfType((type_,)), *nodes_of(request))
    page = store.read(lambda conn: resources.search(conn, filter_, count=99, order=order_of(request)))
    return [row.id for row in page.rows]


fixed = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)


def told_of(
    store, patients_: list[Resource], encounters_: list[Resource]
) -> tuple[str, list[Resource], list[Resource]]:
    tenant = clock.new_id()
    store.write(lambda conn: oauth.add_tenant(conn, oauth.Tenant(tenant, "-")))
    people = [each | {"id": id_} for id_, each in zip(PATIENTS, patients_, strict=False)]
    visits = [each | {"id": f"e{n}"} for n, each in enumerate(encounters_)]
    stored(store, tenant, [*people, *visits])
    return tenant, people, visits


@fixed
@given(
    people=st.lists(patients, min_size=1, max_size=2),
    visits=st.lists(encounters, min_size=1, max_size=6),
    asked=st.lists(queries, min_size=8, max_size=20),
)
def test_a_search_finds_what_a_naive_reading_of_the_json_finds(store, people, visits, asked):
    tenant, people, visits = told_of(store, people, visits)

    for type_, pairs in asked:
        mine, others = (people, visits) if type_ == "Patient" else (visits, people)
        wanted = {each["id"] for each in mine if all(meets(name, value, each, others) for name, value in pairs)}
        assert set(found(store, tenant, type_, pairs)) == wanted, (type_, pairs)


SORTED_BY = {
    "status": lambda each: [each["status"]],
    "class": lambda each: [each["class"]["code"]],
    "type": lambda each: [coding["code"] for kind in each.get("type", []) for coding in kind["coding"]],
    "length": lambda each: [each["length"]["value"]] if "length" in each else [],
    "patient": lambda each: [patient_of(each)] if patient_of(each) else [],
    "date": lambda each: [start for start, _ in spans(each)],
    "_id": lambda each: [each["id"]],
}


def before(keys: list[str]):
    def compare(one: Resource, other: Resource) -> int:
        for key in keys:
            down = key.startswith("-")
            mine, theirs = (SORTED_BY[key.removeprefix("-")](each) for each in (one, other))
            if not mine or not theirs:
                if mine or theirs:
                    return -1 if mine else 1
                continue
            best = max if down else min
            if best(mine) != best(theirs):
                return (1 if best(mine) > best(theirs) else -1) * (-1 if down else 1)
        return 0

    return cmp_to_key(compare)


@fixed
@given(
    visits=st.lists(encounters, min_size=2, max_size=7),
    keys=st.lists(
        st.builds(str.__add__, st.sampled_from(["", "-"]), st.sampled_from([*SORTED_BY])), min_size=1, max_size=3
    ),
)
def test_a_sorted_search_is_in_the_order_of_a_naive_reading_of_the_json(store, visits, keys):
    tenant, _, visits = told_of(store, [], visits)
    key, by_id = before(keys), {each["id"]: each for each in visits}

    told = found(store, tenant, "Encounter", (("_sort", ",".join(keys)),))

    assert sorted(told) == sorted(by_id)
    order = [key(by_id[id_]) for id_ in told]
    assert order == sorted(order)
