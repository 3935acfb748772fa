"""A token of an outside issuer counts when it was signed by that issuer's keys, for us, as a bearer token, in time."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from smart_forging import FORGED, SECOND, Genuine, at_now, der, ec, encoded, jws, rsa, signature
from smart_issuer import LocalIssuer

from fhir_bridge.errors import BadSetting, Expired, IssuerUnavailable, Unauthenticated
from fhir_bridge.smart import keys, outside
from fhir_bridge.smart.grant import Grant
from fhir_bridge.smart.outside import Outside
from fhir_bridge.trusted import TrustedIssuer

BASE = "https://bridge.example/fhir"
RSA, P256, P384 = rsa("rsa-1"), ec("p256-1", "P-256"), ec("p384-1")
OTHER_RSA, FOR_ENC, TWINS = rsa("rsa-2", alg="RS384"), rsa("enc", use="enc"), (rsa("twin"), rsa("twin"))
OURS = keys.generate("ES384")


@pytest.fixture(scope="module")
def home():
    made = LocalIssuer(RSA, P256, P384, OTHER_RSA, FOR_ENC, *TWINS)
    yield made
    made.close()


@pytest.fixture
def local():
    made = LocalIssuer(RSA)
    yield made
    made.close()


def trusting(*issuers: LocalIssuer, **about) -> Outside:
    trusted = tuple(TrustedIssuer(issuer=each.url, **about) for each in issuers)
    return Outside(trusted, base=BASE, allow_private=True)


def claims_of(issuer: LocalIssuer, **changes) -> dict:
    told = {
        "iss": issuer.url,
        "aud": BASE,
        "sub": "f3a1",
        "azp": "ehr",
        "scope": "openid system/Encounter.rs",
        "iat": SECOND,
        "exp": SECOND + 300,
        "jti": "1",
    } | changes
    return {name: value for name, value in told.items() if value is not None}


def genuine(issuer: LocalIssuer, key=RSA, alg: str = "RS256", **changes) -> Genuine:
    return Genuine({"alg": alg, "typ": "JWT", "kid": key.kid}, claims_of(issuer, **changes), key)


def granted(issuer: LocalIssuer, **changes) -> Grant:
    made = {"tenant": "default", "client": f"{issuer.url}#ehr", "scope": "openid system/Encounter.rs"}
    return Grant(**(made | changes), issuer=issuer.url)


FORGED_OUTSIDE = FORGED | {
    "RS384 by the same key": lambda good: good.token(RSA, "RS384", alg="RS384", kid="rsa-1"),
    "RS512": lambda good: good.token(RSA, "RS512", alg="RS512", kid="rsa-1"),
    "PS256": lambda good: good.token(RSA, "PS256", alg="PS256", kid="rsa-1"),
    "HS256 with the modulus": lambda good: good.by_mac(RSA.as_dict(private=False)["n"].encode()),
    "RS256 with the kid of an EC key": lambda good: good.token(RSA, "RS256", alg="RS256", kid="p256-1"),
    "ES256 with the kid of the RSA key": lambda good: good.token(P256, "ES256", alg="ES256", kid="rsa-1"),
    "ES256 by a key of another curve": lambda good: good.token(P384, "ES384", alg="ES256", kid="p384-1"),
    "ES384, which this issuer does not sign with": lambda good: good.token(P384, "ES384", alg="ES384", kid="p384-1"),
    "a kid that two keys have": lambda good: good.token(TWINS[0], "RS256", alg="RS256", kid="twin"),
    "a key for encryption": lambda good: good.token(FOR_ENC, "RS256", alg="RS256", kid="enc"),
    "a key for another algorithm": lambda good: good.token(OTHER_RSA, "RS256", alg="RS256", kid="rsa-2"),
    "a key of the bridge": lambda good: good.token(OURS.key, "ES384", alg="ES384", kid=OURS.kid),
    "signature in the form of OpenSSL": lambda good: good.resigned(
        der(signature(".".join(good.parts()[:2]), P256, "ES256"))
    ),
    "jku of the issuer itself": lambda good: good.token(jku=good.claims["iss"] + "/jwks"),
    "iss with a slash more": lambda good: good.says(iss=good.claims["iss"] + "/"),
    "iss in capitals": lambda good: good.says(iss=good.claims["iss"].upper()),
    "iss of the bridge": lambda good: good.says(iss="https://bridge.example"),
    "aud the client": lambda good: good.says(aud="ehr"),
    "aud the token endpoint": lambda good: good.says(aud="https://bridge.example/oauth/token"),
    "aud the base in another list": lambda good: good.says(aud=[[BASE]]),
    "aud below the base": lambda good: good.says(aud=BASE + "/Encounter"),
    "an id_token": lambda good: good.raw(
        payload={name: good.claims[name] for name in ("iss", "sub", "iat", "exp")} | {"aud": "ehr", "nonce": "n"}
    ),
    "an id_token for our audience": lambda good: good.says(nonce="n"),
    "an id_token with at_hash": lambda good: good.says(at_hash="x"),
    "an id_token with c_hash": lambda good: good.says(c_hash="x"),
    "an id_token as Keycloak marks it": lambda good: good.says(typ="ID"),
    "a refresh token as Keycloak marks it": lambda good: good.says(typ="Refresh"),
    "an offline token as Keycloak marks it": lambda good: good.says(typ="Offline"),
    "a logout token": lambda good: good.says(typ="Logout"),
    "a kind that is no text": lambda good: good.says(typ=["Bearer"]),
    "bound to a certificate": lambda good: good.says(cnf={"x5t#S256": "abc"}),
    "bound to a key": lambda good: good.says(cnf={"jkt": "abc"}),
    "said to be DPoP": lambda good: good.says(token_type="DPoP"),
    "a client assertion": lambda good: good.raw(
        payload={"iss": "ehr", "sub": "ehr", "aud": "https://bridge.example/oauth/token", "exp": SECOND, "jti": "1"}
    ),
    "client missing": lambda good: good.omits("azp"),
    "client a list": lambda good: good.says(azp=["ehr"]),
    "client empty": lambda good: good.says(azp=""),
    "client with NUL": lambda good: good.says(azp="ehr\0"),
    "client with half a character": lambda good: good.says(azp="\ud800"),
    "scope missing": lambda good: good.omits("scope"),
    "scope a number": lambda good: good.says(scope=1),
    "scope an object": lambda good: good.says(scope={"system/*.rs": True}),
    "scope a list with a number": lambda good: good.says(scope=["system/*.rs", 1]),
    "scope with NUL": lambda good: good.says(scope="system/*.rs\0"),
    "scope longer than is read": lambda good: good.says(scope="s " * 2100),
    "patient a list": lambda good: good.says(patient=["p"]),
    "patient of another server": lambda good: good.says(patient="https://elsewhere/fhir/Patient/p"),
    "patient another type": lambda good: good.says(patient="Encounter/p"),
    "patient a path": lambda good: good.says(patient="../p"),
    "user a number": lambda good: good.says(fhirUser=1),
    "exp this very second": lambda good: good.says(exp=SECOND),
}


def test_there_are_enough_forgeries():
    assert len(FORGED_OUTSIDE) >= 60


@pytest.mark.parametrize("alg", ["RS256", "ES256"])
@pytest.mark.parametrize("forge", FORGED_OUTSIDE.values(), ids=FORGED_OUTSIDE)
def test_a_forged_token_is_refused(home, forge, alg):
    good = genuine(home, {"RS256": RSA, "ES256": P256}[alg], alg)
    door = trusting(home, algorithms=alg)
    with at_now():
        with pytest.raises(Unauthenticated) as refused:
            door.grant(forge(good))
        assert door.grant(good.token()) == granted(home)  # what was spoiled was good
    assert (refused.value.status, refused.value.challenge) == (401, "invalid_token")
    assert refused.value.text in {
        "The access token is not valid here: get a new one",
        "The access token has expired: get a new one",
    }


@pytest.mark.parametrize(
    ("key", "alg"),
    [(RSA, "RS256"), (RSA, "RS384"), (P256, "ES256"), (P384, "ES384")],
    ids=["RS256", "RS384", "ES256", "ES384"],
)
def test_each_issuer_signs_with_the_algorithms_that_were_fixed_for_it(home, key, alg):
    with at_now():
        assert trusting(home, algorithms=[alg]).grant(genuine(home, key, alg).token()) == granted(home)
        rest = sorted({"RS256", "RS384", "ES256", "ES384"} - {alg})
        with pytest.raises(Unauthenticated):
            trusting(home, algorithms=rest).grant(genuine(home, key, alg).token())


@pytest.mark.parametrize(
    ("what", "forge", "about"),
    [
        ("typ at+jwt", lambda good: good.token(typ="at+jwt"), {}),
        ("typ in other letters", lambda good: good.token(typ="AT+JWT"), {}),
        ("no typ where that was allowed, as Okta has it", lambda good: good.without("typ"), {"types": ["", "at+jwt"]}),
        ("thumbprints, as Entra has them", lambda good: good.token(x5t="abc", **{"x5t#S256": "abc"}), {}),
        ("aud a list", lambda good: good.says(aud=["account", BASE]), {}),
        ("an audience of the operator's choice", lambda good: good.says(aud="api://b"), {"audience": "api://b"}),
        ("one of several audiences", lambda good: good.says(aud="b"), {"audience": ["a", "b"]}),
        ("a kind that is Bearer", lambda good: good.says(typ="Bearer", token_type="Bearer"), {}),
        ("claims of its own", lambda good: good.says(realm_access={"roles": ["x"]}, acr=1.5), {}),
        ("iat and nbf ahead by what clocks may differ", lambda good: good.says(iat=SECOND + 30, nbf=SECOND + 30), {}),
    ],
)
def test_a_token_may_have(home, what, forge, about):
    with at_now():
        assert trusting(home, **about).grant(forge(genuine(home))) == granted(home), what


@pytest.mark.parametrize(
    ("claims", "about", "expected"),
    [
        ({"scope": None, "scp": "system/*.rs user/*.rs"}, {}, {"scope": "system/*.rs user/*.rs"}),
        ({"scope": None, "scp": ["system/*.rs", "openid"]}, {}, {"scope": "system/*.rs openid"}),
        ({"azp": None, "client_id": "a"}, {}, {"client": "a"}),
        ({"azp": "a", "client_id": "b"}, {}, {"client": "b"}),
        ({"azp": None, "cid": "a"}, {}, {"client": "a"}),
        ({"azp": None, "appid": "a"}, {}, {"client": "a"}),
        ({"patient": "p-1"}, {}, {"patient": "p-1"}),
        ({"patient": "Patient/p-1"}, {}, {"patient": "p-1"}),
        ({"patient": f"{BASE}/Patient/p-1"}, {}, {"patient": "p-1"}),
        ({"fhirUser": f"{BASE}/Practitioner/1"}, {}, {"user": f"{BASE}/Practitioner/1"}),
        ({}, {"claims": {"user": ["fhirUser", "sub"]}}, {"user": "f3a1"}),
        ({"https://h.example/patient": "p"}, {"claims": {"patient": "https://h.example/patient"}}, {"patient": "p"}),
        ({"roles": ["Read"]}, {"claims": {"scope": "roles"}, "scope_names": {"Read": "system/*.rs"}}, {
            "scope": "system/*.rs"
        }),
        ({"scope": "system/*.cruds launch"}, {"scopes": "system/Media.cruds launch"}, {
            "scope": "launch system/Media.cruds"
        }),
        ({"scope": "user/*.rs"}, {"scopes": "system/*.rs"}, {"scope": ""}),
        ({"scope": ""}, {}, {"scope": ""}),
        ({}, {"tenant": "north"}, {"tenant": "north"}),
        ({}, {"clients": "ehr"}, {}),
        ({}, {"clients": ["other", "ehr"]}, {}),
    ],
)  # fmt: skip
def test_claims_become_a_grant_by_the_names_that_the_operator_gave(home, claims, about, expected):
    if "client" in expected:
        expected = {"client": f"{home.url}#{expected['client']}"}
    with at_now():
        assert trusting(home, **about).grant(genuine(home, **claims).token()) == granted(home, **expected)


@pytest.mark.parametrize("clients", [[], ["other"], ["EHR"]])
def test_a_client_that_does_not_count_is_refused(home, clients):
    with at_now(), pytest.raises(Unauthenticated):
        trusting(home, clients=clients).grant(genuine(home).token())


def test_a_token_opens_the_tenant_of_its_issuer_and_audience(home, local):
    both = Outside(
        (
            TrustedIssuer(issuer=home.url, audience="a", tenant="of-a"),
            TrustedIssuer(issuer=home.url, audience="b", tenant="of-b"),
            TrustedIssuer(issuer=local.url, audience="a", tenant="of-local"),
        ),
        base=BASE,
        allow_private=True,
    )
    with at_now():
        tokens = [genuine(home, aud="a"), genuine(home, aud="b"), genuine(local, aud="a")]
        assert [both.grant(each.token()).tenant for each in tokens] == ["of-a", "of-b", "of-local"]
        for stranger in (genuine(local, aud="b"), genuine(home, aud=BASE)):
            with pytest.raises(Unauthenticated):
                both.grant(stranger.token())


def test_the_key_of_one_issuer_signs_nothing_of_another(home, local):
    local.publish(rsa("own"))
    with at_now(), pytest.raises(Unauthenticated):
        trusting(home, local).grant(genuine(local).token())


def test_a_token_is_shown_to_no_issuer_that_it_does_not_name(home, local):
    door = trusting(local)
    for text in (genuine(home).token(), "opaque", "", "a b", "é", "x" * 9000, "a.b.c", f"a.{encoded([1])}.c"):
        assert not door.is_theirs(text)
        with at_now(), pytest.raises(Unauthenticated):
            door.grant(text)
    assert local.asked == []
    assert door.is_theirs(genuine(local).token())


def test_the_bridge_itself_is_no_outside_issuer(local):
    trusted = (TrustedIssuer(issuer=local.url),)
    with pytest.raises(BadSetting, match="own name") as refused:
        Outside(trusted, base=BASE, allow_private=True, own=local.url)
    assert refused.value.at == "FHIR_BRIDGE_TRUSTED_ISSUERS"


# --- keys --------------------------------------------------------------------------------


def test_a_token_is_verified_once_and_believed_for_five_minutes(local):
    door = trusting(local)
    token = genuine(local, exp=SECOND + 3600).token()
    with at_now() as moved:
        for _ in range(3):
            door.grant(token)
        local.publish(rsa("new"))  # the old key is withdrawn
        moved.passed = outside.VERIFIED_SECONDS - 1
        door.grant(token)
        moved.passed = outside.VERIFIED_SECONDS + 1
        with pytest.raises(Unauthenticated):
            door.grant(token)


def test_a_token_ends_at_its_second(local):
    door = trusting(local)
    token = genuine(local, exp=SECOND + 60).token()
    with at_now() as moved:
        door.grant(token)
        moved.passed = 60
        with pytest.raises(Expired):
            door.grant(token)


def test_what_was_verified_is_forgotten_before_it_fills_memory(local, monkeypatch):
    monkeypatch.setattr(outside, "CACHED", 2)
    door = trusting(local)
    with at_now():
        for name in ("a", "b", "c"):
            door.grant(genuine(local, azp=name).token())
    assert len(door._seen) == 1


def test_a_new_key_of_the_issuer_is_found_within_a_minute(local):
    door = trusting(local)
    new = rsa("rsa-new")
    with at_now() as moved:
        door.grant(genuine(local).token())
        local.publish(RSA, new)
        asked = len(local.asked)
        for _ in range(3):
            with pytest.raises(Unauthenticated):
                door.grant(genuine(local, new).token())
        assert len(local.asked) == asked  # unknown kids of strangers do not make us ask
        moved.passed = 61
        assert door.grant(genuine(local, new).token()) == granted(local)


def test_keys_are_kept_while_an_issuer_is_away_and_no_longer_than_an_hour(local):
    door = trusting(local, jwks_uri=f"{local.origin}/jwks")
    with at_now() as moved:
        door.grant(genuine(local).token())
        local.status = 500
        for passed in (400, 420, 3800):
            moved.passed = passed
            token = genuine(local, exp=SECOND + 9000, jti=str(passed)).token()
            assert door.grant(token) == granted(local)
        moved.passed = 4000
        with pytest.raises(IssuerUnavailable) as refused:
            door.grant(genuine(local, exp=SECOND + 9000).token())
        assert (refused.value.status, refused.value.retry_after) == (503, 10)
        local.status = 200
        moved.passed = 4011
        assert door.grant(genuine(local, exp=SECOND + 9000).token()) == granted(local)


def test_keys_that_may_not_be_cached_are_not_fetched_for_each_token(local):
    """Keycloak says no-cache of its keys."""
    door = trusting(local)
    with at_now():
        for name in ("a", "b", "c"):
            door.grant(genuine(local, azp=name).token())
    assert local.paths().count("/jwks") == 1


# --- metadata ----------------------------------------------------------------------------


def test_metadata_is_read_hourly_and_kept_while_the_issuer_is_away(local):
    door = trusting(local)
    metadata = door.issuers[0].metadata
    with at_now() as moved:
        metadata.endpoint("jwks_uri")
        local.status = 500
        moved.passed = 3601
        assert metadata.endpoint("token_endpoint") == f"{local.origin}/token"
        assert len(local.asked) == 3  # once, and then at both places in vain
        metadata.endpoint("token_endpoint")
        assert len(local.asked) == 3


def test_metadata_may_be_where_rfc_8414_has_it(local):
    found = local.answers.pop("/realms/hospital/.well-known/openid-configuration")
    local.answers["/.well-known/oauth-authorization-server/realms/hospital"] = found
    with at_now():
        assert trusting(local).grant(genuine(local).token()) == granted(local)


@pytest.mark.parametrize(
    "published",
    [
        None,
        b"no JSON",
        b"[" * 5000,
        b"\xff",
        [],
        {},
        {"issuer": "https://evil.example", "jwks_uri": "{origin}/jwks"},
        {"issuer": "{issuer}"},
        {"issuer": "{issuer}", "jwks_uri": 1},
        {"issuer": "{issuer}", "jwks_uri": "file:///etc/passwd"},
        {"issuer": "{issuer}", "jwks_uri": "{origin}/nowhere"},
    ],
)
def test_an_issuer_that_does_not_say_where_its_keys_are_is_away(local, published):
    if isinstance(published, dict):
        published = {
            name: value.format(issuer=local.url, origin=local.origin) if isinstance(value, str) else value
            for name, value in published.items()
        }
    local.answers["/realms/hospital/.well-known/openid-configuration"] = published
    with at_now(), pytest.raises(IssuerUnavailable):
        trusting(local).grant(genuine(local).token())


PRIVATE = "https://id.hospital.internal/realms/h"


@pytest.mark.parametrize(
    ("about", "url", "allowed"),
    [
        ({}, f"{PRIVATE}/jwks", False),
        ({"private_network": True}, f"{PRIVATE}/jwks", True),
        ({"private_network": True}, "https://elsewhere.internal/jwks", False),
        ({"private_network": True, "jwks_uri": "https://k.internal/jwks"}, "https://k.internal/jwks", True),
        ({"private_network": True}, "http://id.hospital.internal/jwks", False),
    ],
)
def test_only_what_the_operator_named_may_live_at_a_private_address(about, url, allowed):
    door = Outside((TrustedIssuer(issuer=PRIVATE, **about),), base=BASE, allow_private=False)
    assert door.issuers[0].metadata.is_private(url) is allowed


def test_an_issuer_at_a_private_address_is_not_asked_unless_that_was_allowed(local):
    door = Outside((TrustedIssuer(issuer=local.url),), base=BASE, allow_private=False)
    with at_now(), pytest.raises(IssuerUnavailable):
        door.grant(genuine(local).token())
    assert local.asked == []


def test_metadata_may_not_lead_to_plain_http(local):
    """Where private addresses are allowed for this one issuer, encryption is not given up."""
    door = Outside((TrustedIssuer(issuer=local.url, private_network=True),), base=BASE, allow_private=False)
    with at_now(), pytest.raises(IssuerUnavailable, match="publishes no jwks_uri"):
        door.grant(genuine(local).token())
    assert "/jwks" not in local.paths()


# --- whatever comes ----------------------------------------------------------------------

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.sampled_from(["alg", "kid", "typ", "jwk", "jku", "x5c", "crit", "b64", "cty"]) | st.text(max_size=5)
CLAIMS = st.sampled_from(
    ["iss", "aud", "azp", "client_id", "scope", "scp", "exp", "iat", "nbf", "patient", "fhirUser", "typ", "cnf"]
)


@settings(max_examples=300, deadline=None)
@given(header=st.dictionaries(NAMES, JSON, max_size=2), claims=st.dictionaries(CLAIMS, JSON, min_size=1, max_size=3))
def test_odd_claims_under_the_issuers_signature_are_read_or_refused_and_nothing_else(home, header, claims):
    good = genuine(home, P256, "ES256")
    token = jws({**good.header, **header}, {**good.claims, **claims}, P256, "ES256")
    with at_now():
        try:
            grant = trusting(home, algorithms="ES256").grant(token)
        except Unauthenticated:
            return
    assert (grant.tenant, grant.issuer) == ("default", home.url)
    assert grant.client.startswith(f"{home.url}#")
    assert header.keys() <= {"alg", "kid", "typ", "x5t"}
