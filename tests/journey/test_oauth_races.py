"""Of many who hand in the same thing at once, to two processes that share a database alone, one is served."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from browser import CALLBACK, HASH, App, Browser, begin, let_in

from fhir_bridge.app import create_app
from fhir_bridge.store import oauth, sign_in

MANY = 12


@pytest.fixture
def processes(settings):
    """Two applications on one database, on both kinds of database."""
    made = [create_app(settings.model_copy(update={"public_url": "http://127.0.0.1:8080"})) for _ in range(2)]
    client = oauth.Client("heart", "default", "Heart", "openid user/*.rs offline_access", 0, redirect_uris=(CALLBACK,))
    person = oauth.User("holm", "default", HASH, 0, "Practitioner/holm")
    store = made[0].extensions["fhir-bridge"].store.of_all()
    store.write(lambda conn: (oauth.add_client(conn, client), oauth.add_user(conn, person)))
    yield made
    for each in made:
        each.extensions["fhir-bridge"].store.close()


def heart_in(process) -> App:
    return App(process.test_client(), "heart", "openid user/*.rs offline_access", verifier="v" * 43)


def at_once(processes, send):
    """Let many send the same, each through one of the processes; return their answers."""
    ready = threading.Barrier(MANY)

    def one(number: int):
        heart = heart_in(processes[number % 2])
        ready.wait()
        return send(heart)

    with ThreadPoolExecutor(MANY) as pool:
        return list(pool.map(one, range(MANY)))


def statuses(answers):
    return sorted(answer.status_code for answer in answers)


def test_a_code_has_one_winner_whose_tokens_are_then_taken_back(processes):
    heart = heart_in(processes[0])
    code = let_in(Browser(processes[0].test_client()), heart)

    answers = at_once(processes, lambda app: app.exchange(code))

    assert statuses(answers) == [200] + [400] * (MANY - 1)
    assert {answer.json["error"] for answer in answers if answer.status_code == 400} == {"invalid_grant"}
    (won,) = (answer.json for answer in answers if answer.status_code == 200)
    assert heart.refresh(won["refresh_token"]).status_code == 400
    sent = {"Authorization": f"Bearer {won['access_token']}"}
    assert [each.test_client().get("/fhir/Encounter", headers=sent).status_code for each in processes] == [401, 401]


def test_a_refresh_token_has_one_winner_and_the_family_ends(processes):
    heart = heart_in(processes[0])
    tokens = heart.exchange(let_in(Browser(processes[0].test_client()), heart)).json

    answers = at_once(processes, lambda app: app.refresh(tokens["refresh_token"]))

    assert statuses(answers) == [200] + [400] * (MANY - 1)
    (won,) = (answer.json for answer in answers if answer.status_code == 200)
    assert heart.refresh(won["refresh_token"]).status_code == 400


def test_an_answer_to_one_question_gives_one_code(processes):
    browser, heart = Browser(processes[0].test_client()), heart_in(processes[0])
    page = browser.sign_in(begin(browser, heart), "holm")
    cookie = browser.http.get_cookie("fhir_bridge_sign_in", "127.0.0.1", "/oauth").value

    def send(app):
        app.http.set_cookie("fhir_bridge_sign_in", cookie, domain="127.0.0.1", path="/oauth")
        one = Browser(app.http)
        one.submit(page, "/oauth/consent", answer="allow")
        return one.left

    assert len([left for left in at_once(processes, send) if left]) == 1


def test_guesses_at_once_are_counted_one_by_one(processes):
    stores = [each.extensions["fhir-bridge"].store.of_all() for each in processes]
    ready = threading.Barrier(MANY)

    def guess(number: int) -> int:
        ready.wait()
        return stores[number % 2].write(lambda conn: sign_in.attempt(conn, "holm"))

    with ThreadPoolExecutor(MANY) as pool:
        locked = list(pool.map(guess, range(MANY)))
    assert sum(each == 0 for each in locked) == sign_in.TRIES
