"""Who may ask: tenants, SMART clients, local users, used assertions, signing keys."""

from __future__ import annotations

import hmac
import json
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Final, TypeVar

from sqlalchemy import delete, insert, select, true, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError

from fhir_bridge import clock
from fhir_bridge.errors import Duplicate
from fhir_bridge.store import tables
from fhir_bridge.store.audit_chain import Chain
from fhir_bridge.store.versions import now_ms

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection, Table

    from fhir_bridge.keyring import KeyRing

_KEY_BYTES: Final = 32


@dataclass(frozen=True)
class Tenant:
    """An organisation with its own Corti account and data; the secret and the key are wrapped."""

    id: str
    audio_key: str
    corti_environment: str | None = None
    corti_tenant: str | None = None
    corti_client_id: str | None = None
    corti_client_secret: str | None = None
    audio_retention_hours: float | None = None
    retention_days: str | None = None

    def open_audio_key(self, keys: KeyRing) -> bytes:
        """Return the key under which this tenant's blob keys are wrapped."""
        return keys.unwrap(self.audio_key, about=_audio_key_of(self.id))

    def open_chain(self, keys: KeyRing) -> Chain:
        """Return what seals this tenant's audit, under a key made from its audio key."""
        return Chain(self.id, hmac.digest(self.open_audio_key(keys), b"fhir-bridge audit chain", "sha256"))

    def open_corti_secret(self, keys: KeyRing) -> str | None:
        """Return the tenant's own Corti client secret; None: the settings' one is used."""
        if self.corti_client_secret is None:
            return None
        return keys.unwrap(self.corti_client_secret, about=_corti_secret_of(self.id)).decode()


@dataclass(frozen=True)
class Client:
    """A registered SMART client; `jwks` is JSON text, `secret_hash` what verifies its secret."""

    id: str
    tenant: str
    name: str
    scope: str
    created_ms: int
    secret_hash: str | None = None
    jwks: str | None = None
    jwks_uri: str | None = None
    redirect_uris: tuple[str, ...] = ()
    disabled: bool = False


@dataclass(frozen=True)
class User:
    """A person who signs in at the bridge itself."""

    name: str
    tenant: str
    password_hash: str
    created_ms: int
    fhir_user: str | None = None


@dataclass(frozen=True)
class SigningKey:
    """A private key of the authorization server, wrapped; a retired one still verifies."""

    kid: str
    alg: str
    wrapped: str
    created_ms: int
    retired_ms: int | None = None

    def open_private(self, keys: KeyRing) -> str:
        """Return the private key as JSON."""
        return keys.unwrap(self.wrapped, about=_signing_key_of(self.kid)).decode()


Record = TypeVar("Record", Tenant, User, SigningKey)


# --- tenants -----------------------------------------------------------------------------


def new_tenant(id_: str, keys: KeyRing, *, corti: dict[str, str] | None = None) -> Tenant:
    """Make a tenant with a new audio key; `corti` gives its environment, tenant, client_id and client_secret."""
    own = {f"corti_{name}": value for name, value in (corti or {}).items()}
    if "corti_client_secret" in own:
        own["corti_client_secret"] = keys.wrap(own["corti_client_secret"].encode(), about=_corti_secret_of(id_))
    audio_key = keys.wrap(clock.token_bytes(_KEY_BYTES), about=_audio_key_of(id_))
    return Tenant(id_, audio_key, **own)  # type: ignore[arg-type]  # all that is given is text


def add_tenant(conn: Connection, new: Tenant) -> None:
    """Store a tenant.

    Raises:
        Duplicate: the name is taken.
    """
    _add(conn, tables.tenant, vars(new))


def tenant(conn: Connection, id_: str) -> Tenant | None:
    """Return one tenant."""
    return next(iter(_found(conn, Tenant, tables.tenant, tables.tenant.c.id == id_)), None)


def tenants(conn: Connection) -> tuple[Tenant, ...]:
    """Return all tenants by name."""
    return _found(conn, Tenant, tables.tenant, true())


def chains(conn: Connection, keys: KeyRing) -> tuple[Chain, ...]:
    """Return what seals the audit of each tenant."""
    return tuple(each.open_chain(keys) for each in tenants(conn))


def _audio_key_of(id_: str) -> str:
    return f"tenant {id_} audio key"


def _corti_secret_of(id_: str) -> str:
    return f"tenant {id_} corti client secret"


# --- clients and users -------------------------------------------------------------------


def add_client(conn: Connection, new: Client) -> None:
    """Register a client.

    Raises:
        Duplicate: the id is taken.
    """
    _add(conn, tables.client, {**vars(new), "redirect_uris": json.dumps(new.redirect_uris)})


def client(conn: Connection, id_: str) -> Client | None:
    """Return one client, disabled or not."""
    return next(iter(_clients(conn, tables.client.c.id == id_)), None)


def clients(conn: Connection, *, tenant: str | None = None) -> tuple[Client, ...]:
    """Return the clients of a tenant, or of all, by id."""
    return _clients(conn, true() if tenant is None else tables.client.c.tenant == tenant)


def disable_client(conn: Connection, id_: str) -> bool:
    """Refuse a client from now on; False: there is none of this id."""
    done = update(tables.client).where(tables.client.c.id == id_).values(disabled=True)
    return conn.execute(done).rowcount == 1


def _clients(conn: Connection, which: ColumnElement[bool]) -> tuple[Client, ...]:
    c = tables.client.c
    found = conn.execute(select(*(c[field.name] for field in fields(Client))).where(which).order_by(c.id))
    return tuple(
        Client(**{**row, "redirect_uris": tuple(json.loads(row["redirect_uris"]))}) for row in found.mappings()
    )


def add_user(conn: Connection, new: User) -> None:
    """Store a local user.

    Raises:
        Duplicate: the name is taken.
    """
    _add(conn, tables.user, vars(new))


def user(conn: Connection, name: str) -> User | None:
    """Return one local user."""
    return next(iter(_found(conn, User, tables.user, tables.user.c.name == name)), None)


# --- assertions used once ----------------------------------------------------------------


def first_use(conn: Connection, *, iss: str, jti: str, exp: int) -> bool:
    """Note a client assertion's `jti`; False: it was used before (security.md, jti replay)."""
    new = _insert_new(conn, tables.seen_jti).values(iss=iss, jti=jti, exp=exp).on_conflict_do_nothing()
    return conn.execute(new.returning(tables.seen_jti.c.jti)).first() is not None


def forget_expired(conn: Connection, now: int) -> int:
    """Delete the notes of assertions that `exp` refuses anyway; `now` in seconds. Returns how many."""
    return conn.execute(delete(tables.seen_jti).where(tables.seen_jti.c.exp < now)).rowcount


# --- signing keys ------------------------------------------------------------------------


def new_signing_key(kid: str, alg: str, private_json: str, keys: KeyRing) -> SigningKey:
    """Wrap a private key for the store."""
    return SigningKey(kid, alg, keys.wrap(private_json.encode(), about=_signing_key_of(kid)), now_ms())


def add_signing_key(conn: Connection, new: SigningKey) -> bool:
    """Store a key; False: another process was first, there is a live one for this `alg` already."""
    added = _insert_new(conn, tables.signing_key).values(**vars(new)).on_conflict_do_nothing()
    return conn.execute(added.returning(tables.signing_key.c.kid)).first() is not None


def retire_signing_keys(conn: Connection, now_ms: int) -> None:
    """Let no live key sign any more; they go on verifying what they signed."""
    t = tables.signing_key
    conn.execute(update(t).where(t.c.retired_ms.is_(None)).values(retired_ms=now_ms))


def signing_keys(conn: Connection) -> tuple[SigningKey, ...]:
    """Return all keys, live and retired."""
    return _found(conn, SigningKey, tables.signing_key, true())


def _signing_key_of(kid: str) -> str:
    return f"signing key {kid}"


# --- rotation ----------------------------------------------------------------------------


def rotate(conn: Connection, fresh: SigningKey, keys: KeyRing, *, former: KeyRing | None = None) -> int:
    """Let `fresh` sign from now on; return how many stored keys and secrets were wrapped anew.

    With `former`, all that it wraps is wrapped under `keys`; call it within one transaction.

    Raises:
        BadSetting: `former` is not what something was wrapped under.
    """
    count = 0
    if former is not None:
        count = _rewrapped_tenants(conn, former, keys) + _rewrapped_signing_keys(conn, former, keys)
    retire_signing_keys(conn, now_ms())
    add_signing_key(conn, fresh)
    return count


def _rewrapped_tenants(conn: Connection, old: KeyRing, new: KeyRing) -> int:
    count = 0
    for row in tenants(conn):
        values = {"audio_key": new.wrap(row.open_audio_key(old), about=_audio_key_of(row.id))}
        secret = row.open_corti_secret(old)
        if secret is not None:
            values["corti_client_secret"] = new.wrap(secret.encode(), about=_corti_secret_of(row.id))
        conn.execute(update(tables.tenant).where(tables.tenant.c.id == row.id).values(**values))
        count += len(values)
    return count


def _rewrapped_signing_keys(conn: Connection, old: KeyRing, new: KeyRing) -> int:
    found = signing_keys(conn)
    for row in found:
        wrapped = new.wrap(row.open_private(old).encode(), about=_signing_key_of(row.kid))
        conn.execute(update(tables.signing_key).where(tables.signing_key.c.kid == row.kid).values(wrapped=wrapped))
    return len(found)


# --- rows --------------------------------------------------------------------------------


def _found(conn: Connection, kind: type[Record], table: Table, which: ColumnElement[bool]) -> tuple[Record, ...]:
    columns = [table.c[field.name] for field in fields(kind)]
    found = conn.execute(select(*columns).where(which).order_by(*table.primary_key))
    return tuple(kind(*row) for row in found)


def _add(conn: Connection, table: Table, values: dict[str, object]) -> None:
    try:
        with conn.begin_nested():
            conn.execute(insert(table).values(**values))
    except IntegrityError as exc:
        raise Duplicate("The name is taken") from exc


def _insert_new(conn: Connection, table: Table) -> postgresql.Insert | sqlite.Insert:
    return postgresql.insert(table) if conn.dialect.name == "postgresql" else sqlite.insert(table)
