"""A client proves itself with an assertion that it signed for us, lately, for the first time; or it does not."""

import json
from collections import defaultdict
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from joserfc.jwk import KeySet
from smart_forging import FORGED, SECOND, At, Genuine, at_now, der, ec, encoded, jws, rsa, signature
from smart_pledges import desk_of

from fhir_bridge import clock
from fhir_bridge.smart import keys
from fhir_bridge.smart.assertion import ASSERTION_TYPE
from fhir_bridge.smart.client import Client, secret_hash
from fhir_bridge.smart.flows import token_response
from fhir_bridge.smart.jwks import JwksCache
from fhir_bridge.smart.token import Place

PLACE = Place("https://bridge.example", "https://bridge.example/fhir")
TOKEN_URL = "https://bridge.example/oauth/token"
SIGNING = keys.generate("ES384")

RSA, EC = rsa("rsa-1"), ec("ec-1")
TWIN_A, TWIN_B = ec("twin"), ec("twin")
BOTH_EC, BOTH_RSA = ec("both"), rsa("both")
FOR_SECRETS, FOR_RS256, SHORT, WEAK = (
    rsa("enc", use="enc"),
    rsa("rs256", alg="RS256"),
    ec("p256", "P-256"),
    ec("unused"),
)
REGISTERED = [RSA, EC, TWIN_A, TWIN_B, BOTH_EC, BOTH_RSA, FOR_SECRETS, FOR_RS256, SHORT]
JWKS = json.dumps(KeySet(REGISTERED).as_dict(private=False))
STRANGERS = ec("ec-1")
CLIENTS = {
    client.id: client
    for client in (
        Client("ehr", "default", "system/*.rs", jwks=JWKS),
        Client("other", "default", "system/*.rs", jwks=json.dumps(KeySet([STRANGERS]).as_dict(private=False))),
        Client("by-secret", "default", "system/*.rs", secret_hash=secret_hash("s"), jwks=None),
        Client("broken", "default", "system/*.rs", jwks="no JSON"),
        Client("by-url", "default", "system/*.rs", jwks_uri="http://127.0.0.1:9/jwks"),
    )
}
CLAIMS = {"iss": "ehr", "sub": "ehr", "aud": TOKEN_URL, "exp": SECOND + 300, "iat": SECOND, "jti": "1"}
BY_EC = Genuine({"alg": "ES384", "typ": "JWT", "kid": "ec-1"}, CLAIMS, EC)
BY_RSA = Genuine({"alg": "RS384", "typ": "JWT", "kid": "rsa-1"}, CLAIMS, RSA)

FORGED_ASSERTIONS = FORGED | {
    "HS256 with the registered modulus": lambda good: good.by_mac(RSA.as_dict(private=False)["n"].encode()),
    "RS256": lambda good: good.token(RSA, "RS256", alg="RS256", kid="rsa-1"),
    "RS512": lambda good: good.token(RSA, "RS512", alg="RS512", kid="rsa-1"),
    "PS384": lambda good: good.token(RSA, "PS384", alg="PS384", kid="rsa-1"),
    "ES256": lambda good: good.token(SHORT, "ES256", alg="ES256", kid="p256"),
    "ES512": lambda good: good.token(ec("x", "P-521"), "ES512", alg="ES512", kid="ec-1"),
    "RS384 with the kid of the EC key": lambda good: good.token(RSA, "RS384", alg="RS384", kid="ec-1"),
    "ES384 with the kid of the RSA key": lambda good: good.token(EC, "ES384", alg="ES384", kid="rsa-1"),
    "RS384 said of an EC signature": lambda good: good.token(EC, "ES384", alg="RS384", kid="ec-1"),
    "ES384 said of an RSA signature": lambda good: good.token(RSA, "RS384", alg="ES384", kid="rsa-1"),
    "ES384 by a key of a shorter curve": lambda good: good.token(SHORT, "ES256", alg="ES384", kid="p256"),
    "a kid that two keys have": lambda good: good.token(TWIN_A, "ES384", alg="ES384", kid="twin"),
    "a key for encryption": lambda good: good.token(FOR_SECRETS, "RS384", alg="RS384", kid="enc"),
    "a key for another algorithm": lambda good: good.token(FOR_RS256, "RS384", alg="RS384", kid="rs256"),
    "a key that is not registered": lambda good: good.token(WEAK, "ES384", alg="ES384", kid="unused"),
    "the key of another client": lambda good: good.token(STRANGERS, "ES384", alg="ES384", kid="ec-1"),
    "signature in the form of OpenSSL": lambda _: BY_EC.resigned(
        der(signature(".".join(BY_EC.parts()[:2]), EC, "ES384"))
    ),
    "jku though keys were registered": lambda good: good.token(jku="https://ehr.example/jwks"),
    "jku empty": lambda good: good.token(jku=""),
    "jku a list": lambda good: good.token(jku=["https://ehr.example/jwks"]),
    "typ of an access token": lambda good: good.token(typ="at+jwt"),
    "typ of a request": lambda good: good.token(typ="oauth-authz-req+jwt"),
    "an access token of ours": lambda _: jws(
        {"alg": "ES384", "typ": "at+jwt", "kid": SIGNING.kid}, CLAIMS, SIGNING.key, "ES384"
    ),
    "an access token of ours called a JWT": lambda _: jws(
        {"alg": "ES384", "typ": "JWT", "kid": SIGNING.kid}, CLAIMS, SIGNING.key, "ES384"
    ),
    "sub missing": lambda good: good.omits("sub"),
    "sub empty": lambda good: good.says(sub=""),
    "sub a number": lambda good: good.says(sub=1),
    "sub a list": lambda good: good.says(sub=["ehr"]),
    "sub with NUL": lambda good: good.says(sub="ehr\0"),
    "sub with half a character": lambda good: good.says(sub="ehr\ud800"),
    "sub unknown": lambda good: good.says(sub="nobody", iss="nobody"),
    "sub of another client": lambda good: good.says(sub="other"),
    "iss and sub of another client": lambda good: good.says(sub="other", iss="other"),
    "iss of another client": lambda good: good.says(iss="other"),
    "a client that has a secret": lambda good: good.says(sub="by-secret", iss="by-secret"),
    "a client whose keys cannot be read": lambda good: good.says(sub="broken", iss="broken"),
    "a client whose keys cannot be fetched": lambda good: good.says(sub="by-url", iss="by-url"),
    "aud the FHIR base": lambda good: good.says(aud=PLACE.audience),
    "aud the issuer": lambda good: good.says(aud=PLACE.issuer),
    "aud our URL in another list": lambda good: good.says(aud=[[TOKEN_URL]]),
    "exp an hour ahead": lambda good: good.says(exp=SECOND + 3600),
    "exp a second too far ahead": lambda good: good.says(exp=SECOND + 331),
    "exp at the end of the skew": lambda good: good.says(exp=SECOND - 30),
    "iat true": lambda good: good.says(iat=True),
    "jti missing": lambda good: good.omits("jti"),
    "jti empty": lambda good: good.says(jti=""),
    "jti null": lambda good: good.says(jti=None),
    "jti a number": lambda good: good.says(jti=1),
    "jti a list": lambda good: good.says(jti=["1"]),
    "jti too long": lambda good: good.says(jti="j" * 256),
    "jti with NUL": lambda good: good.says(jti="1\0"),
    "jti with half a character": lambda good: good.says(jti="\udfff"),
}


class Door:
    """The token endpoint without a web server, and what it remembers."""

    def __init__(self) -> None:
        self.used: dict[tuple[str, str], int] = {}
        self.cache = JwksCache(allow_private=False)

    def first_use(self, iss: str, jti: str, exp: int) -> bool:
        is_first = (iss, jti) not in self.used
        self.used[iss, jti] = exp
        return is_first

    def desk(self):
        found = desk_of(CLIENTS.get, SIGNING, place=PLACE)
        return replace(found, first_use=self.first_use, cache=self.cache, token_url=TOKEN_URL)

    def ask(self, assertion: str, **form: str):
        sent = {
            "grant_type": "client_credentials",
            "scope": "system/*.rs",
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": assertion,
        }
        return token_response(self.desk(), sent | form, {})


def refusal(answer) -> str:
    assert answer.status == 401, answer
    assert answer.body.keys() == {"error", "error_description"}
    assert answer.body["error"] == "invalid_client"
    assert dict(answer.headers)["Cache-Control"] == "no-store"
    assert dict(answer.headers)["WWW-Authenticate"] == 'Basic realm="fhir-bridge"'
    return answer.body["error_description"]


def test_there_are_enough_forgeries():
    assert len(FORGED_ASSERTIONS) >= 60


@pytest.mark.parametrize("good", [BY_EC, BY_RSA], ids=["ES384", "RS384"])
@pytest.mark.parametrize("forge", FORGED_ASSERTIONS.values(), ids=FORGED_ASSERTIONS)
def test_a_forged_assertion_is_refused(forge, good):
    door = Door()
    with at_now():
        sent = forge(good)
        said = refusal(door.ask(sent))
        assert not door.used  # a refused assertion uses nothing up
        assert door.ask(good.token()).status == 200  # what was spoiled was good
    assert said.isascii()
    assert not {'"', "\\"} & set(said)
    assert "evil" not in said


@pytest.mark.parametrize("good", [BY_EC, BY_RSA], ids=["ES384", "RS384"])
def test_both_algorithms_of_smart_are_accepted(good):
    with at_now():
        answer = Door().ask(good.token())
    assert answer.status == 200
    assert answer.body.keys() == {"access_token", "token_type", "expires_in", "scope"}
    assert (answer.body["token_type"], answer.body["expires_in"], answer.body["scope"]) == (
        "bearer",
        300,
        "system/*.rs",
    )
    assert {("Cache-Control", "no-store"), ("Pragma", "no-cache")} <= set(answer.headers)


@pytest.mark.parametrize(
    ("what", "sent"),
    {
        "exp exactly five minutes ahead, as Inferno has it": BY_EC.says(exp=SECOND + 300),
        "exp as far ahead as clocks may differ": BY_EC.says(exp=SECOND + 330),
        "exp past by less than clocks may differ": BY_EC.says(exp=SECOND - 29),
        "no iat": BY_EC.omits("iat"),
        "iat and nbf ahead by what clocks may differ": BY_EC.says(iat=SECOND + 30, nbf=SECOND + 30),
        "aud a list": BY_EC.says(aud=["https://elsewhere", TOKEN_URL]),
        "typ in small letters": BY_EC.token(typ="jwt"),
        "thumbprints of certificates": BY_EC.token(x5t="abc", **{"x5t#S256": "abc"}),
        "a kid that an RSA and an EC key have": BY_EC.token(BOTH_RSA, "RS384", alg="RS384", kid="both"),
        "the longest jti": BY_EC.says(jti="j" * 255),
        "a jti in another script": BY_EC.says(jti="ключ"),
        "claims of the client's own": BY_EC.says(extensions={"hl7-b2b": {"version": "1"}}, x=1.5),
    }.items(),
)
def test_an_assertion_may_have(what, sent):
    with at_now():
        assert Door().ask(sent).status == 200, what


def test_an_assertion_is_taken_once_until_no_clock_would_take_it():
    door = Door()
    with at_now():
        assert door.ask(BY_EC.token()).status == 200
        assert refusal(door.ask(BY_EC.token())).endswith("jti was used before")
        assert door.used == {("ehr", "1"): SECOND + 330}
        assert door.ask(BY_EC.says(jti="2")).status == 200


def test_a_jti_belongs_to_its_client():
    door = Door()
    theirs = replace(BY_EC, claims=CLAIMS | {"iss": "other", "sub": "other"}, key=STRANGERS)
    with at_now():
        assert [door.ask(each.token()).status for each in (BY_EC, theirs)] == [200, 200]


def test_the_client_id_of_the_form_is_the_one_that_signed():
    with at_now():
        assert Door().ask(BY_EC.token(), client_id="ehr").status == 200
        assert Door().ask(BY_EC.token(), client_id="").status == 200  # as if it were omitted
        assert "client_id" in refusal(Door().ask(BY_EC.token(), client_id="other"))


@pytest.mark.parametrize(
    "kind", ["", "jwt-bearer", ASSERTION_TYPE + " ", "urn:ietf:params:oauth:client-assertion-type:saml2-bearer"]
)
def test_an_assertion_of_another_type_proves_nothing(kind):
    with at_now():
        refusal(Door().ask(BY_EC.token(), client_assertion_type=kind))


def test_an_empty_assertion_is_none():
    with at_now():
        refusal(Door().ask(""))


def test_without_a_clock_of_its_own_an_assertion_lives_by_ours():
    """Authlib would ask the machine: here a machine whose clock went wrong is the one that is believed."""
    door = Door()
    with clock.use(At()) as moved:
        moved.passed = 10 * 365 * 86_400
        refusal(door.ask(BY_EC.token()))
        assert door.ask(BY_EC.says(exp=SECOND + 10 * 365 * 86_400 + 60)).status == 200


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
HEADERS = st.sampled_from(["alg", "kid", "typ", "jku", "jwk", "x5c", "crit", "b64"]) | st.text(max_size=5)
NAMES = st.sampled_from([*CLAIMS, "nbf"]) | st.text(max_size=5)
TEXT = st.text("abcXYZ019-_.=+/ \n\0é", max_size=6) | st.text(max_size=3)


@st.composite
def cut(draw):
    token = draw(st.sampled_from([BY_EC, BY_RSA])).token()
    begin = draw(st.integers(0, len(token)))
    end = draw(st.integers(begin, min(len(token), begin + 8)))
    return token, token[:begin] + draw(TEXT) + token[end:]


@settings(max_examples=500, deadline=None, suppress_health_check=list(HealthCheck))
@given(cut())
def test_an_assertion_with_anything_changed_is_refused(changed):
    token, other = changed
    if token == other:
        return
    with at_now():
        refusal(Door().ask(other))


@settings(max_examples=500, deadline=None)
@given(st.dictionaries(HEADERS, JSON, max_size=3), st.dictionaries(NAMES, JSON, max_size=3))
def test_whatever_a_stranger_signs_is_refused(header, claims):
    with at_now():
        refusal(Door().ask(jws({**BY_EC.header, **header}, {**CLAIMS, **claims}, BY_EC.stranger, "ES384")))


@settings(max_examples=300, deadline=None)
@given(st.dictionaries(HEADERS, JSON, max_size=2), st.dictionaries(NAMES, JSON, min_size=1, max_size=3))
def test_odd_claims_of_a_known_client_are_taken_or_refused_and_nothing_else(header, claims):
    door = Door()
    with at_now():
        answer = door.ask(jws({**BY_EC.header, **header}, {**CLAIMS, **claims}, EC, "ES384"))
    if answer.status != 200:
        refusal(answer)
        return
    told = CLAIMS | claims
    assert told["iss"] == told["sub"] == "ehr"
    assert header.keys() <= {"alg", "kid", "typ", "jku", "x5t", "x5t#S256"}
    assert door.used == {("ehr", told["jti"]): told["exp"] + 30}


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=60), st.binary(max_size=60), st.binary(max_size=100))
def test_any_bytes_are_refused(head, payload, sig):
    with at_now():
        refusal(Door().ask(f"{encoded(head)}.{encoded(payload)}.{encoded(sig) or 'AA'}"))


def test_descriptions_of_refusals_are_few():
    """So that nothing of an assertion comes back in one."""
    said = defaultdict(list)
    with at_now():
        for name, forge in FORGED_ASSERTIONS.items():
            said[refusal(Door().ask(forge(BY_EC)))].append(name)
    assert len(said) < 25
