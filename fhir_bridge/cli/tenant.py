"""`fhir-bridge tenant`: organisations, each with its own data and its own way to Corti."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Final

import click

from fhir_bridge import settings
from fhir_bridge.cli.opened import store_of
from fhir_bridge.cli.shown import as_json, listed, shown
from fhir_bridge.corti.endpoint import endpoint_of
from fhir_bridge.errors import Duplicate
from fhir_bridge.keyring import KeyRing
from fhir_bridge.store import oauth

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")


@click.group("tenant")
def command() -> None:
    """Add and list tenants. A tenant `default` exists."""


@command.command("add")
@click.argument("name")
@click.option("--corti-environment", metavar="E", help="Corti region, such as eu or us.")
@click.option("--corti-tenant", metavar="T", help="Corti tenant (Keycloak realm).")
@click.option("--corti-client-id", metavar="ID", help="Corti API client id.")
@click.option("--corti-client-secret-file", metavar="F", type=click.Path(path_type=Path), help="File with its secret.")
@click.option("--audio-hours", metavar="H", type=click.FloatRange(min=0), help="Hours its audio is kept.")
def add(
    name: str,
    *,
    corti_environment: str | None,
    corti_tenant: str | None,
    corti_client_id: str | None,
    corti_client_secret_file: Path | None,
    audio_hours: float | None,
) -> None:
    """Add the tenant NAME: its own data, and its own Corti account where one is given.

    What is not given comes from the settings.
    """
    if not _NAME.fullmatch(name):
        raise click.BadParameter("letters, digits, dots, underscores and hyphens only", param_hint="NAME")
    if (corti_client_id is None) != (corti_client_secret_file is None):
        raise click.UsageError("--corti-client-id and --corti-client-secret-file belong together")
    endpoint_of(corti_environment or "eu", corti_tenant or "base")  # refuses names that cannot be part of a URL
    given = {"environment": corti_environment, "tenant": corti_tenant, "client_id": corti_client_id}
    own = {key: value for key, value in given.items() if value is not None}
    if corti_client_secret_file is not None:
        own["client_secret"] = corti_client_secret_file.read_text().strip()
    _stored(name, own, audio_hours)
    shown({"tenant": name})


@command.command("list")
@as_json
def list_(*, as_json: bool) -> None:
    """List all tenants."""
    with store_of() as store:
        found = store.read(oauth.tenants)
    rows = [
        {
            "tenant": tenant.id,
            "corti_environment": tenant.corti_environment,
            "corti_tenant": tenant.corti_tenant,
            "corti_client_id": tenant.corti_client_id,
            "audio_hours": tenant.audio_retention_hours,
        }
        for tenant in found
    ]
    listed(rows, as_json=as_json, empty="There are no tenants.")


def _stored(name: str, own: dict[str, str], audio_hours: float | None) -> None:
    wanted = settings.load()
    with store_of(wanted) as store:
        new = replace(oauth.new_tenant(name, KeyRing.open(wanted), corti=own), audio_retention_hours=audio_hours)
        try:
            store.write(lambda conn: oauth.add_tenant(conn, new))
        except Duplicate as exc:
            raise click.ClickException(f"There is a tenant {name} already") from exc
