"""Tenants, clients, users, used assertions, signing keys, contents of Binaries."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import delete
from store_making import TENANT

from fhir_bridge.errors import BadSetting, Duplicate
from fhir_bridge.keyring import KeyRing
from fhir_bridge.store import binaries, oauth, tables

KEYS = KeyRing(b"key")
CLIENT = oauth.Client("c1", TENANT, "EHR", "system/*.rs", 5, jwks='{"keys":[]}', redirect_uris=("https://ehr/a b",))
USER = oauth.User("demo", TENANT, "$argon2", 5, "Practitioner/1")
BLOB = binaries.StoredBlob("b1", "blob-1", 44, "ab" * 32, "c2hhMQ==", "wrapped", 1_000)


def test_a_tenant_opens_its_own_keys_only(store):
    own = {"environment": "us", "tenant": "t", "client_id": "id", "client_secret": "secret"}
    one, other = oauth.new_tenant("one", KEYS, corti=own), oauth.new_tenant("other", KEYS)
    for each in (one, other):
        store.write(lambda conn, each=each: oauth.add_tenant(conn, each))

    told = store.read(lambda conn: oauth.tenant(conn, "one"))

    assert told == one
    assert (told.corti_environment, told.corti_tenant, told.corti_client_id) == ("us", "t", "id")
    assert told.open_corti_secret(KEYS) == "secret"
    assert "secret" not in repr(told.corti_client_secret)
    assert other.open_corti_secret(KEYS) is None
    assert len(told.open_audio_key(KEYS)) == 32
    assert told.open_audio_key(KEYS) != other.open_audio_key(KEYS)
    with pytest.raises(BadSetting):
        oauth.Tenant("one", other.audio_key).open_audio_key(KEYS)
    assert [each.id for each in store.read(oauth.tenants)] == ["default", "one", "other"]
    assert store.read(lambda conn: oauth.tenant(conn, "nobody")) is None


@pytest.mark.parametrize(
    "add",
    [
        lambda conn: oauth.add_tenant(conn, oauth.Tenant(TENANT, "-")),
        lambda conn: [oauth.add_client(conn, CLIENT) for _ in range(2)],
        lambda conn: [oauth.add_user(conn, USER) for _ in range(2)],
    ],
)
def test_a_name_is_given_once(store, add):
    with pytest.raises(Duplicate):
        store.write(add)


def test_a_client_is_read_back_as_it_was_registered_until_it_is_disabled(store):
    store.write(lambda conn: oauth.add_client(conn, CLIENT))

    assert store.read(lambda conn: oauth.client(conn, "c1")) == CLIENT
    assert store.read(oauth.clients) == (CLIENT,)
    assert store.read(lambda conn: oauth.clients(conn, tenant=TENANT)) == (CLIENT,)
    assert store.read(lambda conn: oauth.clients(conn, tenant="other")) == ()
    assert store.write(lambda conn: oauth.disable_client(conn, "c1"))
    assert not store.write(lambda conn: oauth.disable_client(conn, "c2"))
    assert store.read(lambda conn: oauth.client(conn, "c1")).disabled
    assert store.read(lambda conn: oauth.client(conn, "c2")) is None


def test_a_user_is_read_back(store):
    store.write(lambda conn: oauth.add_user(conn, USER))

    assert store.read(lambda conn: oauth.user(conn, "demo")) == USER
    assert store.read(lambda conn: oauth.user(conn, "other")) is None


def test_of_sixteen_uses_of_one_assertion_the_first_counts(store):
    def use(iss: str) -> bool:
        return store.write(lambda conn: oauth.first_use(conn, iss=iss, jti="j", exp=100))

    with ThreadPoolExecutor(16) as pool:
        assert sorted(pool.map(use, ["c1"] * 16)) == [False] * 15 + [True]
    assert use("c2")


def test_a_used_assertion_is_remembered_until_it_has_expired(store):
    store.write(lambda conn: oauth.first_use(conn, iss="c", jti="j", exp=100))

    assert store.write(lambda conn: oauth.forget_expired(conn, 100)) == 0
    assert store.write(lambda conn: oauth.forget_expired(conn, 101)) == 1


def test_one_key_signs_with_each_algorithm_and_retired_ones_stay_known(store):
    def add(kid: str, alg: str = "ES384") -> bool:
        return store.write(lambda conn: oauth.add_signing_key(conn, oauth.SigningKey(kid, alg, "w", 5)))

    assert [add("a"), add("b"), add("c", "RS384")] == [True, False, True]
    store.write(lambda conn: oauth.retire_signing_keys(conn, 9))
    assert add("d")

    told = [(key.kid, key.retired_ms) for key in store.read(oauth.signing_keys)]
    assert told == [("a", 9), ("c", 9), ("d", None)]


def test_everything_wrapped_is_wrapped_anew_or_nothing_is(store):
    old, new = KEYS, KeyRing(b"another key")
    tenant = oauth.new_tenant("one", old, corti={"client_secret": "secret"})
    key = oauth.new_signing_key("kid", "ES384", '{"kty":"EC"}', old)
    store.write(lambda conn: conn.execute(delete(tables.tenant)))
    store.write(lambda conn: oauth.add_tenant(conn, tenant))
    store.write(lambda conn: oauth.add_signing_key(conn, key))

    fresh = oauth.new_signing_key("next", "ES384", '{"kty":"EC","next":1}', new)

    with pytest.raises(BadSetting):
        store.write(lambda conn: oauth.rotate(conn, fresh, old, former=new))
    assert store.write(lambda conn: oauth.rotate(conn, fresh, new, former=old)) == 3

    told = store.read(lambda conn: oauth.tenant(conn, "one"))
    assert told.open_audio_key(new) == tenant.open_audio_key(old)
    assert told.open_corti_secret(new) == "secret"
    opened = {row.kid: row.open_private(new) for row in store.read(oauth.signing_keys)}
    assert opened == {"kid": '{"kty":"EC"}', "next": '{"kty":"EC","next":1}'}


def test_the_content_of_a_binary_is_found_until_it_is_forgotten(store):
    store.write(lambda conn: binaries.add(conn, TENANT, BLOB))

    assert store.read(lambda conn: binaries.of(conn, TENANT, "b1")) == BLOB
    assert store.read(lambda conn: binaries.of(conn, "other", "b1")) is None
    assert store.read(lambda conn: binaries.unreferenced(conn, ["blob-1", "blob-2"])) == {"blob-2"}
    assert store.read(lambda conn: binaries.older_than(conn, TENANT, 1_001)) == (BLOB,)
    assert store.read(lambda conn: binaries.older_than(conn, TENANT, 1_000)) == ()
    assert store.write(lambda conn: binaries.forget(conn, TENANT, "b1"))
    assert not store.write(lambda conn: binaries.forget(conn, TENANT, "b1"))
    assert store.read(lambda conn: binaries.of(conn, TENANT, "b1")) is None
