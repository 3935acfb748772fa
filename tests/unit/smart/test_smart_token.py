"""An access token is what the bridge signed, unaltered and in time; everything else is refused in the same words."""

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from smart_forging import FORGED, SECOND, Genuine, at_now, der, ec, encoded, jws, rsa, signature

from fhir_bridge.errors import Expired, Unauthenticated
from fhir_bridge.smart import keys
from fhir_bridge.smart.grant import Grant
from fhir_bridge.smart.keys import SigningKey
from fhir_bridge.smart.token import Place, Verifier, issue

PLACE = Place("https://bridge.example", "https://bridge.example/fhir")
KEY = keys.generate("ES384")
OLD = keys.generate("ES384")
FOR_ID_TOKENS = SigningKey("id-tokens", "RS256", rsa("id-tokens", alg="RS256"))
KEYS = {key.kid: key for key in (KEY, OLD, FOR_ID_TOKENS)}
GRANT = Grant("default", "ehr", "system/Encounter.rs")
CLAIMS = {
    "iss": PLACE.issuer,
    "aud": PLACE.audience,
    "sub": "ehr",
    "client_id": "ehr",
    "tenant": "default",
    "scope": GRANT.scope,
    "iat": SECOND,
    "exp": SECOND + 300,
    "jti": "1",
}
GOOD = Genuine({"alg": "ES384", "typ": "at+jwt", "kid": KEY.kid}, CLAIMS, KEY.key)
ASSERTION = {
    "iss": "ehr",
    "sub": "ehr",
    "aud": "https://bridge.example/oauth/token",
    "exp": SECOND + 300,
    "jti": "1",
}

FORGED_TOKENS = FORGED | {
    "RS384 with the public point": lambda good: good.token(rsa("r"), "RS384", alg="RS384"),
    "ES256": lambda good: good.token(ec("x", "P-256"), "ES256", alg="ES256"),
    "ES384 over a shorter curve": lambda good: good.token(ec("x", "P-256"), "ES256"),
    "the key for id_tokens with its own algorithm": lambda good: good.token(
        FOR_ID_TOKENS.key, "RS256", alg="RS256", kid="id-tokens"
    ),
    "the key for id_tokens with ours": lambda good: good.token(KEY.key, "ES384", kid="id-tokens"),
    "signature in the form of OpenSSL": lambda good: good.resigned(
        der(signature(".".join(good.parts()[:2]), good.key, "ES384"))
    ),
    "typ JWT": lambda good: good.token(typ="JWT"),
    "a client assertion": lambda good: jws({**good.header, "typ": "JWT"}, ASSERTION, good.key, "ES384"),
    "a client assertion of the right typ": lambda good: good.raw(payload=ASSERTION),
    "aud a list with ours": lambda good: good.says(aud=[PLACE.audience, "https://evil.example"]),
    "aud the token endpoint": lambda good: good.says(aud="https://bridge.example/oauth/token"),
    "exp this very second": lambda good: good.says(exp=SECOND),
    "tenant missing": lambda good: good.omits("tenant"),
    "tenant a number": lambda good: good.says(tenant=1),
    "tenant empty": lambda good: good.says(tenant=""),
    "tenant with NUL": lambda good: good.says(tenant="default\0"),
    "tenant with half a character": lambda good: good.says(tenant="\ud800"),
    "client missing": lambda good: good.omits("client_id"),
    "client a list": lambda good: good.says(client_id=["ehr"]),
    "scope missing": lambda good: good.omits("scope"),
    "scope a list": lambda good: good.says(scope=["system/*.cruds"]),
    "user a number": lambda good: good.says(user=1),
    "user null": lambda good: good.says(user=None),
    "patient a list": lambda good: good.says(patient=["p"]),
    "patient empty": lambda good: good.says(patient=""),
}


def verifier() -> Verifier:
    return Verifier(KEYS.get, PLACE)


def test_there_are_enough_forgeries():
    assert len(FORGED_TOKENS) >= 60


@pytest.mark.parametrize("forge", FORGED_TOKENS.values(), ids=FORGED_TOKENS)
def test_a_forged_token_is_refused(forge):
    with at_now():
        with pytest.raises(Unauthenticated) as refused:
            verifier().grant(forge(GOOD))
        assert verifier().grant(GOOD.token()) == GRANT  # what was spoiled was good
    assert (refused.value.status, refused.value.challenge) == (401, "invalid_token")
    assert refused.value.text in {
        "The access token is not valid here: get a new one",
        "The access token has expired: get a new one",
    }


@pytest.mark.parametrize(
    "grant", [GRANT, replace(GRANT, user="Practitioner/1"), replace(GRANT, user="u", patient="p", scope="patient/*.rs")]
)
def test_an_issued_token_says_what_was_granted(grant):
    with at_now():
        token = issue(grant, KEY, place=PLACE, seconds=300)
        assert verifier().grant(token) == grant


def test_a_token_ends_at_its_second_and_not_before():
    verified = verifier()
    with at_now() as moved:
        token = issue(GRANT, KEY, place=PLACE, seconds=300)
        moved.passed = 299.9
        assert verified.grant(token) == GRANT
        moved.passed = 300
        for _ in range(2):  # remembered, then not any more
            with pytest.raises(Expired):
                verified.grant(token)


def test_clocks_of_two_hosts_may_differ_a_little():
    with at_now():
        assert verifier().grant(GOOD.says(iat=SECOND + 30, nbf=SECOND + 30)) == GRANT


def test_a_verified_token_is_not_verified_again():
    asked = []
    verified = Verifier(lambda kid: asked.append(kid) or KEYS.get(kid), PLACE)
    with at_now():
        token = issue(GRANT, KEY, place=PLACE, seconds=300)
        assert [verified.grant(token) for _ in range(3)] == [GRANT] * 3
    assert asked == [KEY.kid]


def test_what_was_verified_is_forgotten_before_it_fills_memory(monkeypatch):
    monkeypatch.setattr("fhir_bridge.smart.token._CACHED", 2)
    verified = verifier()
    with at_now():
        for name in ("a", "b", "c"):
            verified.grant(issue(replace(GRANT, client=name), KEY, place=PLACE, seconds=300))
    assert len(verified._seen) == 1


def test_a_token_of_a_rotated_key_is_verified_by_the_old_key():
    with at_now():
        tokens = [issue(GRANT, key, place=PLACE, seconds=300) for key in (OLD, KEY)]
        assert [verifier().grant(token) for token in tokens] == [GRANT, GRANT]
        with pytest.raises(Unauthenticated):
            Verifier({KEY.kid: KEY}.get, PLACE).grant(tokens[0])


@pytest.mark.parametrize("place", [replace(PLACE, issuer="https://other"), replace(PLACE, audience="https://other")])
def test_a_token_is_for_one_issuer_and_one_audience(place):
    with at_now():
        token = issue(GRANT, KEY, place=PLACE, seconds=300)
        with pytest.raises(Unauthenticated):
            Verifier(KEYS.get, place).grant(token)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from(["alg", "kid", "typ", "jwk", "jku", "x5c", "crit", "b64", "cty"]) | st.text(max_size=5)
CLAIM_NAMES = st.sampled_from([*CLAIMS, "user", "patient", "nbf"]) | st.text(max_size=5)
TEXT = st.text("abcXYZ019-_.=+/ \n\0é", max_size=6) | st.text(max_size=3)


@st.composite
def cut(draw):
    """A good token with a piece of it replaced."""
    token = GOOD.token()
    begin = draw(st.integers(0, len(token)))
    end = draw(st.integers(begin, min(len(token), begin + 8)))
    return token, token[:begin] + draw(TEXT) + token[end:]


@settings(max_examples=500, deadline=None, suppress_health_check=list(HealthCheck))
@given(cut())
def test_a_token_with_anything_changed_is_refused(changed):
    token, other = changed
    if token == other:
        return
    with at_now(), pytest.raises(Unauthenticated):
        verifier().grant(other)


@settings(max_examples=500, deadline=None)
@given(st.dictionaries(NAMES, JSON, max_size=3), st.dictionaries(CLAIM_NAMES, JSON, max_size=3))
def test_whatever_a_stranger_signs_is_refused(header, claims):
    token = jws({**GOOD.header, **header}, {**CLAIMS, **claims}, GOOD.stranger, "ES384")
    with at_now(), pytest.raises(Unauthenticated):
        verifier().grant(token)


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(NAMES, JSON, max_size=2), st.dictionaries(CLAIM_NAMES, JSON, min_size=1, max_size=3))
def test_odd_claims_under_our_own_signature_are_read_or_refused_and_nothing_else(header, claims):
    token = jws({**GOOD.header, **header}, {**CLAIMS, **claims}, KEY.key, "ES384")
    with at_now():
        try:
            grant = verifier().grant(token)
        except Unauthenticated:
            return
    told = {**CLAIMS, **claims}
    assert (grant.tenant, grant.client, grant.scope) == (told["tenant"], told["client_id"], told["scope"])
    assert header.keys() <= {"alg", "kid", "typ"}


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60), st.binary(max_size=60), st.binary(max_size=100))
def test_any_bytes_are_refused(head, payload, sig):
    with at_now(), pytest.raises(Unauthenticated):
        verifier().grant(f"{encoded(head)}.{encoded(payload)}.{encoded(sig)}")


@given(st.text(max_size=200))
def test_any_text_is_refused(text):
    with at_now(), pytest.raises(Unauthenticated):
        verifier().grant(text)
