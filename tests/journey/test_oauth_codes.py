"""What a code is good for: once, soon, for who asked; and what becomes of the tokens."""

import base64
import json

import pytest
from browser import BASE, CALLBACK, ORIGIN, SCOPE, Browser, Later, add_app, begin, let_in
from conftest import SECRET, example
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet

from fhir_bridge import clock
from fhir_bridge.smart.client import secret_hash
from fhir_bridge.store import oauth

pytestmark = pytest.mark.usefixtures("holm")

KEY = ECKey.generate_key("P-384", {"kid": "app"})
JWKS = json.dumps(KeySet([KEY]).as_dict(private=False))


def refused(answer, error="invalid_grant", status=400):
    assert (answer.status_code, answer.json["error"]) == (status, error)
    assert answer.headers["Cache-Control"] == "no-store"
    return True


def can_read(ehr, tokens, path):
    return ehr.get(path, Authorization=f"Bearer {tokens['access_token']}").status


@pytest.fixture
def tokens(browser, heart, anna):
    return heart.exchange(let_in(browser, heart, anna)).json


# --- codes -------------------------------------------------------------------------------


def test_a_token_answer_tells_the_context_and_who_signed_in(browser, heart, anna, ehr):
    answer = heart.exchange(let_in(browser, heart, anna, nonce="n-1"))

    assert (answer.headers["Cache-Control"], answer.headers["Pragma"]) == ("no-store", "no-cache")
    told = answer.json
    assert (told["token_type"], told["expires_in"], told["patient"]) == ("Bearer", 300, anna)
    assert told["need_patient_banner"] is True
    assert set(told["scope"].split()) == set(SCOPE.split())
    published = KeySet.import_key_set(ehr.http.get("/oauth/jwks").json)
    read = jwt.decode(told["id_token"], published, algorithms=["RS256"])
    assert read.header["alg"] == "RS256"
    now = clock.now().timestamp()
    assert read.claims.pop("iat") <= now < read.claims.pop("exp") <= now + 301
    assert 0 <= now - read.claims.pop("auth_time") < 60
    assert read.claims == {
        "iss": ORIGIN,
        "sub": "holm",
        "aud": heart.id,
        "nonce": "n-1",
        "fhirUser": f"{BASE}/Practitioner/holm",
    }


def test_who_signed_in_can_be_read_with_openid_and_fhir_user_alone(browser, app, bridge, ehr):
    ehr.put("Practitioner/holm", example("practitioner", id="holm"))
    ehr.put("Practitioner/lind", example("practitioner", id="lind"))
    asks = add_app(bridge, app.test_client(), "openid fhirUser")
    tokens = asks.exchange(let_in(browser, asks)).json

    assert can_read(ehr, tokens, "Practitioner/holm") == 200
    assert can_read(ehr, tokens, "Practitioner/lind") == 404
    assert can_read(ehr, tokens, "Practitioner") == 403


def test_a_patients_token_opens_that_patient_alone(tokens, ehr, anna):
    other = ehr.create(example("patient"))

    assert can_read(ehr, tokens, f"Patient/{anna}") == 200
    assert can_read(ehr, tokens, f"Patient/{other}") in {403, 404}


def test_a_second_use_of_a_code_takes_back_what_came_of_the_first(browser, heart, anna, ehr):
    code = let_in(browser, heart, anna)
    tokens = heart.exchange(code).json
    assert can_read(ehr, tokens, f"Patient/{anna}") == 200

    assert refused(heart.exchange(code))

    assert can_read(ehr, tokens, f"Patient/{anna}") == 401
    assert refused(heart.refresh(tokens["refresh_token"]))


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"code_verifier": None}, "invalid_request"),
        ({"code_verifier": "x" * 43}, "invalid_grant"),
        ({"code_verifier": "short"}, "invalid_request"),
        ({"redirect_uri": None}, "invalid_grant"),
        ({"redirect_uri": f"{CALLBACK}/"}, "invalid_grant"),
        ({"code": "0" * 64}, "invalid_grant"),
        ({"code": None}, "invalid_request"),
        ({"client_id": None}, "invalid_client"),
        ({"client_id": "nobody"}, "invalid_client"),
        ({"client_secret": SECRET}, "invalid_client"),
    ],
)
def test_a_code_is_good_with_all_that_it_is_bound_to(browser, heart, anna, changes, error):
    code = let_in(browser, heart, anna)

    sent = changes if "code" in changes else {**changes}
    answer = heart.exchange(sent.pop("code", code), **sent)

    assert refused(answer, error, 401 if error == "invalid_client" else 400)
    assert heart.exchange(code).status_code == 200  # what was refused has not used it up


def test_a_code_is_of_no_use_to_another_app_and_harms_nothing_there(browser, heart, anna, app, bridge, ehr):
    other = add_app(bridge, app.test_client())
    code = let_in(browser, heart, anna)
    stolen = {"client_id": other.id, "code_verifier": heart.verifier}
    assert refused(heart.exchange(code, **stolen))

    tokens = heart.exchange(code).json
    assert refused(heart.exchange(code, **stolen))
    assert can_read(ehr, tokens, f"Patient/{anna}") == 200


def test_a_code_is_good_for_a_minute(browser, heart, anna):
    early, late = let_in(browser, heart, anna), let_in(browser, heart, anna)
    with clock.use(Later(55)):
        assert heart.exchange(early).status_code == 200
    with clock.use(Later(65)):
        assert refused(heart.exchange(late))


def test_a_confidential_app_proves_who_it_is_by_secret_or_key(browser, app, bridge, anna):
    by_secret = add_app(bridge, app.test_client(), secret_hash=secret_hash(SECRET))
    by_key = add_app(bridge, app.test_client(), jwks=JWKS)

    code = let_in(browser, by_secret, anna)
    assert refused(by_secret.exchange(code), "invalid_client", 401)
    basic = base64.b64encode(f"{by_secret.id}:{SECRET}".encode()).decode()
    sent = {"grant_type": "authorization_code", "code": code, "redirect_uri": CALLBACK}
    sent["code_verifier"] = by_secret.verifier
    assert by_secret.post(sent, headers={"Authorization": f"Basic {basic}"}).status_code == 200

    code = let_in(browser, by_key, anna)
    assert refused(by_key.exchange(code), "invalid_client", 401)
    now = int(clock.now().timestamp())
    claims = {"iss": by_key.id, "sub": by_key.id, "aud": f"{ORIGIN}/oauth/token", "exp": now + 300, "jti": "once"}
    proof = {
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": jwt.encode({"alg": "ES384", "typ": "JWT", "kid": "app"}, claims, KEY, algorithms=["ES384"]),
    }
    assert by_key.exchange(code, client_id=None, **proof).status_code == 200


def test_an_app_without_a_proof_acts_for_nobody_but_people(heart, ehr):
    own = {"grant_type": "client_credentials", "client_id": heart.id, "scope": "patient/*.rs"}
    assert refused(heart.post(own), "invalid_client", 401)
    without = {"grant_type": "refresh_token", "refresh_token": "x", "client_id": ehr.name, "client_secret": SECRET}
    assert refused(heart.post(without), "unauthorized_client")
    assert refused(heart.post(without | {"grant_type": "authorization_code", "code": "x"}), "unauthorized_client")


def test_a_disabled_app_and_its_tokens_end_at_once(tokens, heart, bridge, ehr, anna):
    bridge.store.write(lambda conn: oauth.disable_client(conn, heart.id))

    assert can_read(ehr, tokens, f"Patient/{anna}") == 401
    assert refused(heart.refresh(tokens["refresh_token"]), "invalid_client", 401)


def test_codes_tokens_and_cookies_are_not_in_the_database(browser, heart, anna, bridge):
    cookie_before = {begin(browser, heart).path.partition("ask=")[2]}
    code = let_in(browser, heart, anna)
    tokens = heart.exchange(code).json
    cookie = browser.http.get_cookie("fhir_bridge_sign_in", "127.0.0.1", "/oauth").value
    bridge.store.close()

    kept = b"".join(file.read_bytes() for file in bridge.settings.data_dir.glob("*.db*"))

    assert heart.id.encode() in kept
    for secret in (code, cookie, tokens["refresh_token"], tokens["access_token"], heart.verifier, *cookie_before):
        assert secret
        assert secret.encode() not in kept


# --- refreshing --------------------------------------------------------------------------


def test_a_refresh_token_becomes_the_next_one(tokens, heart, ehr, anna):
    answer = heart.refresh(tokens["refresh_token"])

    assert answer.status_code == 200
    fresh = answer.json
    assert fresh["refresh_token"] != tokens["refresh_token"]
    assert (fresh["scope"], fresh["patient"], fresh["expires_in"]) == (tokens["scope"], anna, 300)
    assert can_read(ehr, fresh, f"Patient/{anna}") == 200
    assert heart.refresh(fresh["refresh_token"]).status_code == 200


def test_a_refresh_token_that_is_used_twice_ends_the_whole_family(tokens, heart, ehr, anna):
    fresh = heart.refresh(tokens["refresh_token"]).json

    assert refused(heart.refresh(tokens["refresh_token"]))

    assert refused(heart.refresh(fresh["refresh_token"]))
    assert can_read(ehr, fresh, f"Patient/{anna}") == can_read(ehr, tokens, f"Patient/{anna}") == 401


@pytest.mark.parametrize(
    ("scope", "given"),
    [
        ("patient/Observation.rs", True),
        ("openid patient/*.rs", True),
        ("patient/Observation.r?status=final", True),
        ("patient/*.read", True),
        ("patient/*.cruds", False),
        ("user/Encounter.rs", False),
        ("patient/*.rs nonsense", False),
        ("launch", False),
    ],
)
def test_a_refresh_may_ask_for_less_and_never_for_more(tokens, heart, scope, given):
    answer = heart.refresh(tokens["refresh_token"], scope=scope)

    if given:
        assert answer.json["scope"] == scope
        assert heart.refresh(answer.json["refresh_token"]).json["scope"] == tokens["scope"]
    else:
        assert refused(answer, "invalid_scope")
        assert heart.refresh(tokens["refresh_token"]).status_code == 200


def test_a_refresh_token_is_of_no_use_to_another_app(tokens, heart, app, bridge):
    other = add_app(bridge, app.test_client())

    assert refused(other.refresh(tokens["refresh_token"]))
    assert refused(heart.refresh("0" * 64))
    assert refused(heart.post({"grant_type": "refresh_token", "client_id": heart.id}), "invalid_request")
    assert heart.refresh(tokens["refresh_token"]).status_code == 200


def test_offline_access_ends_when_it_is_not_used_for_ninety_days(tokens, heart):
    with clock.use(Later(89 * 86400)):
        fresh = heart.refresh(tokens["refresh_token"]).json
    with clock.use(Later(178 * 86400)):
        fresh = heart.refresh(fresh["refresh_token"]).json
    with clock.use(Later(269 * 86400)):
        assert refused(heart.refresh(fresh["refresh_token"]))


def test_online_access_lasts_as_long_as_the_person_is_there(browser, app, bridge, anna, ehr):
    online = add_app(bridge, app.test_client(), "patient/*.rs online_access")
    tokens = online.exchange(let_in(browser, online, anna)).json
    for minutes in (25, 50, 75):  # what the app does is heard of
        with clock.use(Later(minutes * 60)):
            tokens = online.refresh(tokens["refresh_token"]).json
    with clock.use(Later(75 * 60 + 31 * 60)):
        assert refused(online.refresh(tokens["refresh_token"]))

    tokens = online.exchange(let_in(browser, online, anna)).json
    browser.submit(browser.submit(begin(browser, online), "/oauth/patient", index=1, patient=anna), "/oauth/sign-out")
    assert can_read(ehr, tokens, f"Patient/{anna}") == 401
    assert refused(online.refresh(tokens["refresh_token"]))


def test_without_either_there_is_no_refresh_token(browser, app, bridge, anna):
    short = add_app(bridge, app.test_client(), "patient/*.rs")
    assert "refresh_token" not in short.exchange(let_in(browser, short, anna)).json


# --- looking into tokens, taking them back -----------------------------------------------


def introspect(ehr, token, **sent):
    headers = {"Authorization": f"Bearer {sent.pop('bearer')}"} if "bearer" in sent else {}
    proof = {} if headers else {"client_id": ehr.name, "client_secret": SECRET}
    return ehr.http.post("/oauth/introspect", data=proof | {"token": token} | sent, headers=headers)


def test_a_client_learns_what_a_token_is_good_for(tokens, ehr, heart, anna):
    for answer in (
        introspect(ehr, tokens["access_token"]),
        introspect(ehr, tokens["access_token"], bearer=ehr.token),
        introspect(ehr, tokens["access_token"], bearer=tokens["access_token"]),
    ):
        assert answer.status_code == 200
        told = answer.json
        assert (told["active"], told["client_id"], told["scope"]) == (True, heart.id, tokens["scope"])
        assert (told["patient"], told["iss"], told["sub"]) == (anna, ORIGIN, "holm")
        assert told["fhirUser"] == f"{BASE}/Practitioner/holm"
        assert 0 < told["exp"] - clock.now().timestamp() <= 300
        assert answer.headers["Cache-Control"] == "no-store"
    own = introspect(ehr, ehr.token).json
    assert (own["active"], own["client_id"], "patient" in own, "fhirUser" in own) == (True, ehr.name, False, False)


def test_of_a_token_that_is_not_good_nothing_is_said(tokens, ehr, other_ehr, heart):
    for token in ("nothing", "a.b.c", "0" * 64, tokens["id_token"]):
        assert introspect(ehr, token).json == {"active": False}
    assert introspect(other_ehr, tokens["access_token"]).json == {"active": False}
    assert introspect(ehr, tokens["refresh_token"]).json == {"active": False}  # another client's
    with clock.use(Later(301)):
        assert introspect(ehr, tokens["access_token"]).json == {"active": False}
    heart.refresh(tokens["refresh_token"])
    heart.refresh(tokens["refresh_token"])
    assert introspect(ehr, tokens["access_token"]).json == {"active": False}


def test_an_app_learns_about_its_own_refresh_token(tokens, heart, anna):
    sent = {"token": tokens["refresh_token"]}
    headers = {"Authorization": f"Bearer {tokens['access_token']}"}
    told = heart.http.post("/oauth/introspect", data=sent, headers=headers).json
    assert (told["active"], told["client_id"], told["patient"]) == (True, heart.id, anna)


def test_who_asks_about_tokens_says_who_it_is(tokens, ehr, heart):
    token = tokens["access_token"]
    assert refused(introspect(ehr, token, client_secret="wrong"), "invalid_client", 401)
    assert refused(introspect(ehr, token, client_id=heart.id, client_secret=""), "invalid_client", 401)
    assert refused(introspect(ehr, ""), "invalid_request")
    answer = introspect(ehr, token, bearer="wrong")
    assert answer.status_code == 401
    assert "invalid_token" in answer.headers["WWW-Authenticate"]


def test_an_access_token_is_taken_back_by_itself(tokens, heart, ehr, anna):
    answer = heart.http.post("/oauth/revoke", data={"token": tokens["access_token"], "client_id": heart.id})

    assert answer.status_code == 200
    assert can_read(ehr, tokens, f"Patient/{anna}") == 401
    assert introspect(ehr, tokens["access_token"]).json == {"active": False}
    assert can_read(ehr, heart.refresh(tokens["refresh_token"]).json, f"Patient/{anna}") == 200


def test_a_refresh_token_is_taken_back_with_all_that_came_of_it(tokens, heart, ehr, anna):
    form = {"token": tokens["refresh_token"], "client_id": heart.id, "token_type_hint": "access_token"}
    assert heart.http.post("/oauth/revoke", data=form).status_code == 200

    assert can_read(ehr, tokens, f"Patient/{anna}") == 401
    assert refused(heart.refresh(tokens["refresh_token"]))


def test_a_backends_token_is_taken_back_too(ehr):
    proof = {"client_id": ehr.name, "client_secret": SECRET}
    assert ehr.get("Patient").status == 200
    assert ehr.http.post("/oauth/revoke", data=proof | {"token": ehr.token}).status_code == 200
    assert ehr.get("Patient").status == 401


def test_taking_back_is_for_the_client_that_has_the_token(tokens, ehr, anna):
    proof = {"client_id": ehr.name, "client_secret": SECRET}
    post = ehr.http.post

    assert post("/oauth/revoke", data=proof | {"token": "unknown"}).status_code == 200
    assert refused(post("/oauth/revoke", data=proof | {"token": tokens["access_token"]}))
    assert refused(post("/oauth/revoke", data=proof | {"token": tokens["refresh_token"]}))
    assert refused(post("/oauth/revoke", data=proof), "invalid_request")
    assert refused(post("/oauth/revoke", data={"token": "x"}), "invalid_client", 401)
    assert can_read(ehr, tokens, f"Patient/{anna}") == 200


# --- discovery ---------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/.well-known/openid-configuration", "/fhir/.well-known/openid-configuration"])
def test_an_openid_client_finds_its_way(ehr, path):
    answer = ehr.http.get(path)

    assert (answer.status_code, answer.mimetype) == (200, "application/json")
    assert answer.json["issuer"] == ORIGIN
    assert "RS256" in answer.json["id_token_signing_alg_values_supported"]
    smart = ehr.http.get("/fhir/.well-known/smart-configuration").json
    assert smart["issuer"] == ORIGIN
    assert {name: smart[name] for name in smart if name.endswith("_endpoint")} == {
        name: answer.json[name] for name in answer.json if name.endswith("_endpoint")
    }


def test_every_scope_that_is_announced_can_be_asked_for(ehr, app, bridge, anna):
    announced = ehr.http.get("/fhir/.well-known/smart-configuration").json["scopes_supported"]
    personal = [word for word in announced if not word.startswith("system/")]
    encounter = ehr.encounter(subject={"reference": f"Patient/{anna}"})
    for word in personal:
        wanted = f"openid {word}" if word != "launch" else "openid"
        each, browser = add_app(bridge, app.test_client(), wanted), Browser(app.test_client())
        page = browser.sign_in(begin(browser, each), "holm")
        if "Choose a patient" in page.text:
            page = browser.submit(page, "/oauth/patient", index=1, patient=anna)
        if "Choose an encounter" in page.text:
            page = browser.submit(page, "/oauth/encounter", encounter=encounter)
        browser.submit(page, "/oauth/consent", answer="allow")
        assert set(each.exchange(browser.told["code"]).json["scope"].split()) == set(wanted.split()), word
