"""SMART scopes are read as written and never reinterpreted."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_bridge.smart.grant import Grant
from fhir_bridge.smart.scope import RIGHTS, Scope, narrowed, others, parse

VALUES = st.text(st.sampled_from('ab%&=+#? |/.*\t\u00a0é\\"') | st.characters(codec="utf-8"), min_size=1, max_size=12)

WORDS = st.builds(
    "{}/{}.{}".format,
    st.sampled_from(["patient", "user", "system"]),
    st.sampled_from(["*", "Media", "Observation"]),
    st.sampled_from(["rs", "c", "cruds", "read", "write", "*", "u", "cu"]),
)


@pytest.mark.parametrize(
    ("text", "rights"),
    [
        ("system/Media.read", "rs"),
        ("system/Media.write", "cud"),
        ("system/Media.*", "cruds"),
        ("system/Media.cruds", "cruds"),
        ("system/Media.rs", "rs"),
        ("system/Media.c", "c"),
    ],
)
def test_v1_and_v2_rights_are_read(text, rights):
    assert parse(text) == (Scope("system", "Media", rights, v1=text.split(".")[1] in {"read", "write", "*"}),)
    assert str(parse(text)[0]) == text


@pytest.mark.parametrize(
    "text",
    [
        "system/Media.dus",
        "system/Media.",
        "system/Media",
        "SYSTEM/Media.rs",
        "system/media.rs",
        "system/Media.reads",
        "system/Media.read?category=x",
        "system/Media.rs?",
        "system/Media.rs?&",
        "admin/Media.rs",
        "openid",
        "system/Media.rs,c",
    ],
)
def test_a_scope_that_cannot_be_read_is_ignored(text):
    assert parse(text) == ()


def test_query_constraints_are_kept_and_written_back():
    scope = parse("user/Observation.rs?category=http://x|vital-signs&status=final")[0]
    assert scope.query == (("category", "http://x|vital-signs"), ("status", "final"))
    assert str(scope) == "user/Observation.rs?category=http://x|vital-signs&status=final"


@pytest.mark.parametrize(
    ("requested", "registered", "expected"),
    [
        ("system/Media.rs", "system/*.cruds", "system/Media.rs"),
        ("system/*.cruds", "system/Media.rs system/Encounter.c", "system/Media.rs system/Encounter.c"),
        ("system/*.read", "system/*.cruds", "system/*.read"),
        ("system/*.*", "system/Media.cud", "system/Media.write"),
        ("system/*.read", "system/Media.r", "system/Media.r"),
        ("patient/Media.rs", "system/*.cruds", ""),
        ("system/Media.rs", "system/Encounter.rs", ""),
        ("system/Media.c", "system/Media.rs", ""),
        ("system/Media.rs", "system/Media.rs?status=completed", "system/Media.rs?status=completed"),
        ("system/Media.rs system/Media.r", "system/*.rs", "system/Media.rs"),
        ("openid launch/patient system/Media.rs", "openid system/*.rs", "openid system/Media.rs"),
        ("nonsense", "system/*.cruds", ""),
    ],
)
def test_a_request_is_narrowed_to_what_is_registered(requested, registered, expected):
    assert narrowed(requested, registered) == expected


@pytest.mark.parametrize("blank", ["%20", "+", "%09", "%0A", "%C2%A0", "%e2%80%a8", "%2520"])
def test_a_blank_in_a_query_begins_no_scope(blank):
    asked = f"system/Media.rs?status=completed{blank}system/*.cruds"
    given_ = narrowed(asked, "system/Media.rs")
    assert [(scope.type, scope.rights) for scope in parse(given_)] == [("Media", "rs")]
    assert parse(given_) == parse(asked)


@given(st.lists(st.tuples(VALUES, VALUES), min_size=1, max_size=3))
def test_a_scope_is_read_again_as_it_was_written(query):
    scope = Scope("system", "Media", "rs", tuple(query))
    assert parse(str(scope)) == (scope,)


def test_the_order_of_constraints_says_nothing():
    assert narrowed("system/Media.rs?a=1&b=2 system/Media.rs?b=2&a=1", "system/*.rs") == "system/Media.rs?a=1&b=2"


@given(st.lists(WORDS, max_size=4).map(" ".join), st.lists(WORDS, max_size=4).map(" ".join))
def test_narrowing_never_gives_what_was_not_asked_and_registered(requested, registered):
    given_, asked, held = parse(narrowed(requested, registered)), parse(requested), parse(registered)
    for level in ("patient", "user", "system"):
        for type_ in ("Media", "Observation", "Task"):
            for right in RIGHTS:
                has = [any(s.level == level and s.covers(type_, right) for s in some) for some in (given_, asked, held)]
                assert has[0] == (has[1] and has[2])


def test_words_that_are_no_resource_scopes_are_told_apart():
    assert others("openid launch/patient system/Media.rs openid") == ("openid", "launch/patient")


def test_a_grant_names_the_scopes_that_give_a_right():
    grant = Grant("default", "ehr", "system/Media.c system/*.rs")
    assert [str(scope) for scope in grant.scopes_for("Media", "r")] == ["system/*.rs"]
    assert grant.scopes_for("Encounter", "c") == ()
