"""Clients' keys are read strictly, fetched with care, and kept as long as the client said and no longer."""

from __future__ import annotations

import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from joserfc.jwk import KeySet, OctKey, OKPKey
from smart_forging import at_now, ec, rsa

from fhir_bridge.smart import jwks
from fhir_bridge.smart.jwks import JwksCache, key_set

ONE, TWO = ec("one"), rsa("two")


def public(*keys) -> list[dict]:
    return KeySet(list(keys)).as_dict(private=False)["keys"]


def text(*members) -> str:
    return json.dumps({"keys": list(members)})


SET = text(*public(ONE, TWO))


def kids(found: KeySet) -> list[str]:
    return [key.kid for key in found.keys]


# --- reading -----------------------------------------------------------------------------


def test_keys_for_the_algorithms_of_smart_are_read():
    assert kids(key_set(SET)) == ["one", "two"]


@pytest.mark.parametrize(
    "useless",
    [
        *public(ec("p256", "P-256")),
        *public(ec("p521", "P-521")),
        *public(rsa("enc", use="enc")),
        *public(OKPKey.generate_key("Ed25519", {"kid": "ed"})),
        {"kty": "oct", "k": "c2VjcmV0", "kid": "mac"},
        {"kty": "AKP", "alg": "ML-DSA-65", "pub": "AA", "kid": "of the future"},
        {"kid": "of no kind"},
        ec("private").as_dict(private=True),
        rsa("private").as_dict(private=True),
        {"kty": "RSA", "n": "AQAB" * 40, "e": "AQAB", "kid": "short"},
        {"kty": "RSA", "n": "AAAA" * 80 + "AQAB" * 40, "e": "AQAB", "kid": "short, with zeros before it"},
        {"kty": "RSA", "n": "AQAB" * 400, "e": "AQAB", "kid": "long enough to keep us busy"},
    ],
    ids=lambda member: member["kid"],
)
def test_keys_that_cannot_or_must_not_verify_are_left_out(useless):
    assert kids(key_set(text(useless, *public(ONE)))) == ["one"]


@pytest.mark.parametrize(
    "broken",
    [
        "",
        "no JSON",
        "[]",
        "{}",
        "null",
        '{"keys": null}',
        '{"keys": 1}',
        '{"keys": [1]}',
        '{"keys": ["one"]}',
        '{"keys": [[]]}',
        '{"keys": ' + "[" * 5000 + "}",
        text({name: value for name, value in public(ONE)[0].items() if name != "kid"}),
        text({**public(ONE)[0], "kid": 1}),
        text({**public(ONE)[0], "kid": ""}),
        text({**public(ONE)[0], "x": "!"}),
        text({**public(ONE)[0], "x": "AAAA"}),
        text({**public(ONE)[0], "key_ops": 5}),
        text({**public(TWO)[0], "n": "!"}),
        text({**public(TWO)[0], "n": 5}),
        text({**public(TWO)[0], "e": ""}),
        text({**public(TWO)[0], "e": "AQ"}),
        text({name: value for name, value in public(TWO)[0].items() if name != "n"}),
    ],
)
def test_what_is_no_set_of_named_keys_is_refused(broken):
    with pytest.raises(ValueError, match="no JWK Set whose keys have a kid"):
        key_set(broken)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
MEMBERS = st.sampled_from(["kty", "kid", "use", "alg", "key_ops", "crv", "x", "y", "n", "e", "x5c", "d"])


@settings(max_examples=500, deadline=None)
@given(st.sampled_from(public(ONE, TWO)), st.dictionaries(MEMBERS, JSON, max_size=3))
def test_an_odd_set_is_read_or_refused_and_nothing_else(member, changes):
    try:
        found = key_set(text({**member, **changes}))
    except ValueError:
        return
    assert all(key.key_type in {"RSA", "EC"} and not key.is_private for key in found.keys)


# --- fetching ----------------------------------------------------------------------------


class Server:
    """A client's web server on the loopback: what it answers can be changed, what it was asked is counted."""

    def __init__(self) -> None:
        self.body: bytes = SET.encode()
        self.status = 200
        self.headers: dict[str, str] = {}
        self.wait = 0.0
        self.asked: list[dict[str, str]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(dict(self.headers))
                time.sleep(outer.wait)
                self.send_response(outer.status)
                for name, value in outer.headers.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(outer.body)))
                self.end_headers()
                self.wfile.write(outer.body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.handle_error = lambda *_: None  # who hangs up early is part of the test
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/jwks"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server():
    made = Server()
    yield made
    made.close()


@pytest.fixture
def moved():
    with at_now() as clock:
        yield clock


@pytest.fixture
def cache():
    return JwksCache(allow_private=True)


def test_keys_are_asked_for_as_json_and_kept(server, cache):
    assert [kids(cache.get(server.url, kid)) for kid in ("one", "two", "one")] == [["one", "two"]] * 3
    assert len(server.asked) == 1
    assert server.asked[0]["Accept"] == "application/json"


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, jwks.DEFAULT_AGE),
        ({"Cache-Control": "max-age=120"}, 120),
        ({"Cache-Control": "public, MAX-AGE=120, must-revalidate"}, 120),
        ({"Cache-Control": 'max-age="120"'}, 120),
        ({"Cache-Control": "max-age=120", "Age": "100"}, 20),
        ({"Cache-Control": "max-age=120", "Age": "no number"}, 120),
        ({"Cache-Control": "s-maxage=9, public"}, jwks.DEFAULT_AGE),
        ({"Cache-Control": "max-age=999999999"}, jwks.LONGEST_AGE),
        ({"Cache-Control": "max-age=99999999999999999999"}, 0),
        ({"Cache-Control": "max-age=-1"}, 0),
        ({"Cache-Control": "max-age=soon"}, 0),
        ({"Cache-Control": "max-age=0"}, 0),
        ({"Cache-Control": "max-age=120", "Age": "200"}, 0),
        ({"Cache-Control": "no-store"}, 0),
        ({"Cache-Control": "no-cache, max-age=120"}, 0),
    ],
)
def test_keys_are_kept_as_long_as_the_headers_say(server, cache, moved, headers, seconds):
    server.headers = headers
    cache.get(server.url, "one")
    if seconds:
        moved.passed += seconds - 1
        cache.get(server.url, "one")
        assert len(server.asked) == 1
        moved.passed += 1.1
    cache.get(server.url, "one")
    assert len(server.asked) == 2


def test_an_unknown_kid_asks_again_at_most_once_a_minute(server, cache, moved):
    cache.get(server.url, "one")
    for _ in range(3):
        assert "three" not in kids(cache.get(server.url, "three"))
    assert len(server.asked) == 1
    server.body = text(*public(ONE, ec("three"))).encode()
    moved.passed += jwks.REFETCH_SECONDS + 0.1
    assert kids(cache.get(server.url, "three")) == ["one", "three"]
    for _ in range(3):
        cache.get(server.url, "four")
    assert len(server.asked) == 2


def test_keys_stay_good_when_asking_for_an_unknown_kid_fails(server, cache, moved):
    cache.get(server.url, "one")
    server.status = 500
    moved.passed += jwks.REFETCH_SECONDS + 0.1
    assert [kids(cache.get(server.url, kid)) for kid in ("three", "one", "three")] == [["one", "two"]] * 3
    assert len(server.asked) == 2
    moved.passed += jwks.DEFAULT_AGE
    with pytest.raises(ValueError, match="JWKS URL"):  # but not for longer than they would have been
        cache.get(server.url, "one")


def test_keys_that_are_withdrawn_are_gone(server, cache, moved):
    cache.get(server.url, "one")
    server.body = text(*public(TWO)).encode()
    moved.passed += jwks.DEFAULT_AGE + 1
    assert kids(cache.get(server.url, "one")) == ["two"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"status": 302, "headers": {"Location": "http://127.0.0.1/elsewhere"}},
        {"status": 404},
        {"status": 204, "body": b""},
        {"body": b"<html>"},
        {"body": b'{"keys": "\xff"}'},
        {"body": b"[" * 60_000},
        {"body": SET.encode() + b" " * jwks.LARGEST},
    ],
)
def test_what_is_no_answer_with_keys_is_refused_and_not_asked_for_again_at_once(server, cache, moved, wrong):
    good = vars(server).copy()
    vars(server).update(wrong)
    for _ in range(3):
        with pytest.raises(ValueError, match="JWKS URL"):
            cache.get(server.url, "one")
    assert len(server.asked) == 1
    vars(server).update({name: good[name] for name in wrong})
    moved.passed += jwks.FAILED_SECONDS + 0.1
    assert kids(cache.get(server.url, "one")) == ["one", "two"]


def test_a_redirect_is_not_followed(server, cache):
    elsewhere = Server()
    server.status, server.headers = 302, {"Location": elsewhere.url}
    with pytest.raises(ValueError, match="JWKS URL"):
        cache.get(server.url, "one")
    assert elsewhere.asked == []
    elsewhere.close()


def test_a_slow_server_is_given_up_and_holds_nobody_else_up(server, cache, monkeypatch):
    monkeypatch.setattr(jwks, "SECONDS", 0.5)
    slow = Server()
    slow.wait = 3
    with ThreadPoolExecutor(4) as pool:
        begun = time.monotonic()
        late = [pool.submit(cache.get, slow.url, "one") for _ in range(3)]
        time.sleep(0.1)
        assert kids(cache.get(server.url, "one")) == ["one", "two"]
        assert time.monotonic() - begun < 0.45
        for each in late:
            with pytest.raises(ValueError, match="JWKS URL"):
                each.result()
        assert time.monotonic() - begun < 2
    assert len(slow.asked) == 1  # those who waited shared the one answer
    slow.close()


def test_many_who_ask_at_once_are_answered_by_one_fetch(server, cache):
    server.wait = 0.1
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: kids(cache.get(server.url, "one")), range(8)))
    assert found == [["one", "two"]] * 8
    assert len(server.asked) == 1


def test_nobody_there_is_refused(cache):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        with pytest.raises(ValueError, match="JWKS URL"):
            cache.get(f"http://127.0.0.1:{unused.getsockname()[1]}/", "one")


@contextmanager
def trap():
    """A listener that must hear nothing."""
    heard = []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0.3)
        yield listening.getsockname()[1], heard
        try:
            heard.append(listening.accept())
        except TimeoutError:
            return


def test_without_leave_nothing_private_is_connected_to():
    with trap() as (port, heard):
        for scheme in ("https", "http"):
            for host in ("127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1", "0", "127.1"):
                for suffix in (f":{port}/jwks", "/jwks"):
                    with pytest.raises(ValueError, match="JWKS URL"):
                        JwksCache(allow_private=False).get(f"{scheme}://{host}{suffix}", "one")
        for url in (
            f"file:///etc/passwd#{port}",
            f"gopher://127.0.0.1:{port}/",
            f"//127.0.0.1:{port}",
            "",
            "https://",
            "x",
        ):
            with pytest.raises(ValueError, match="JWKS URL"):
                JwksCache(allow_private=False).get(url, "one")
    assert heard == []


def test_a_mac_key_never_verifies():
    assert kids(key_set(text(OctKey.generate_key(256, {"kid": "mac"}).as_dict(private=True)))) == []
