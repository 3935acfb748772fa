"""`fhir-bridge client`: the SMART clients that may ask for tokens."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from fhir_bridge import clock, settings
from fhir_bridge.cli import registration
from fhir_bridge.cli.opened import store_of
from fhir_bridge.cli.shown import Cell, as_json, listed, shown
from fhir_bridge.smart.client import secret_hash
from fhir_bridge.store import oauth
from fhir_bridge.store.versions import now_ms

if TYPE_CHECKING:
    from fhir_bridge.store import Store

_SECRET_BYTES = 32


@dataclass(frozen=True)
class Proof:
    """How a client shows who it is: by a key set, by the URL of one, or by a secret that is made here."""

    jwks: str | None = None
    jwks_uri: str | None = None
    secret: bool = False


@click.group("client")
def command() -> None:
    """Add, list and disable SMART clients."""


@command.command("add")
@click.argument("name")
@click.option("--jwks", metavar="FILE", type=click.Path(path_type=Path), help="Its public keys, as a JWK Set.")
@click.option("--jwks-uri", metavar="URL", help="Where its public keys are.")
@click.option("--secret", is_flag=True, help="Make a client secret and print it, once.")
@click.option("--redirect-uri", "redirect_uris", metavar="URL", multiple=True, help="May be given several times.")
@click.option("--scope", metavar='"…"', required=True, help="SMART scopes it may ask for, such as system/*.cruds.")
@click.option("--tenant", metavar="T", default="default", show_default=True, help="The tenant whose data it sees.")
def add(
    name: str,
    *,
    jwks: Path | None,
    jwks_uri: str | None,
    secret: bool,
    redirect_uris: tuple[str, ...],
    scope: str,
    tenant: str,
) -> None:
    """Register the SMART client NAME and print its client_id as JSON."""
    if sum((jwks is not None, jwks_uri is not None, secret)) > 1:
        raise click.UsageError("Give one of --jwks, --jwks-uri and --secret")
    if not (jwks or jwks_uri or secret or redirect_uris):
        raise click.UsageError("Say how the client proves who it is: --jwks FILE, --jwks-uri URL or --secret")
    if not (jwks or jwks_uri or secret) and "system/" in scope:
        raise click.UsageError("--scope: system/ scopes are for a client that proves who it is; --secret makes one")
    wanted = settings.load()
    proof = Proof(
        jwks=registration.public_keys(jwks) if jwks else None,
        jwks_uri=registration.https_url(jwks_uri, allow_private=wanted.allow_private_endpoints) if jwks_uri else None,
        secret=secret,
    )
    redirects = tuple(map(registration.redirect_uri, redirect_uris))
    with store_of(wanted) as store:
        shown(registered(store, name, proof, scope=registration.scopes(scope), tenant=tenant, redirects=redirects))


def registered(
    store: Store, name: str, proof: Proof, *, scope: str, tenant: str = "default", redirects: tuple[str, ...] = ()
) -> dict[str, Cell]:
    """Store a client and return what it has to know: its client_id, and its client_secret if it has one."""
    if store.of(tenant).read(lambda conn: oauth.tenant(conn, tenant)) is None:
        raise click.ClickException(f"--tenant: there is no tenant {tenant}; `tenant list` names them")
    secret = base64.urlsafe_b64encode(clock.token_bytes(_SECRET_BYTES)).decode().rstrip("=") if proof.secret else None
    new = oauth.Client(
        id=clock.new_id(),
        tenant=tenant,
        name=name,
        scope=scope,
        created_ms=now_ms(),
        secret_hash=secret_hash(secret) if secret else None,
        jwks=proof.jwks,
        jwks_uri=proof.jwks_uri,
        redirect_uris=redirects,
    )
    store.of(tenant).write(lambda conn: oauth.add_client(conn, new))
    made: dict[str, Cell] = {"client_id": new.id, "name": name, "tenant": tenant, "scope": scope}
    return made | ({"client_secret": secret} if secret else {})


@command.command("list")
@click.option("--tenant", metavar="T", help="Only of this tenant.")
@as_json
def list_(*, tenant: str | None, as_json: bool) -> None:
    """List clients, disabled ones too. Secrets are not stored and cannot be shown."""
    with store_of() as store:
        found = store.of_all().read(lambda conn: oauth.clients(conn, tenant=tenant))
    rows: list[dict[str, Cell]] = [
        {
            "client_id": client.id,
            "name": client.name,
            "tenant": client.tenant,
            "proof": _proof_of(client),
            "scope": client.scope,
            "redirect_uris": list(client.redirect_uris),
            "disabled": client.disabled,
        }
        for client in found
    ]
    listed(rows, as_json=as_json, empty="There are no clients.")


@command.command("disable")
@click.argument("client_id", metavar="ID")
def disable(client_id: str) -> None:
    """Refuse the client ID from now on, and the tokens it holds."""
    with store_of() as store:
        if not store.of_all().write(lambda conn: oauth.disable_client(conn, client_id)):
            raise click.ClickException(f"There is no client {client_id}; `client list` names them")
    click.echo(f"The client {client_id} is disabled.")


def _proof_of(client: oauth.Client) -> str:
    if client.secret_hash:
        return "secret"
    return "jwks" if client.jwks else client.jwks_uri or "public"
