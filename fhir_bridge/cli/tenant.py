"""`fhir-bridge tenant`: organisations, each with its own data and its own way to Corti."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Final, get_args

import click

from fhir_bridge import settings
from fhir_bridge.cli.opened import store_of
from fhir_bridge.cli.shown import as_json, listed, shown
from fhir_bridge.corti.endpoint import endpoint_of
from fhir_bridge.errors import Duplicate
from fhir_bridge.keyring import KeyRing
from fhir_bridge.settings import Kept
from fhir_bridge.store import oauth, retention

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


@command.command("keep")
@click.argument("name")
@click.argument("times", metavar="TYPE=DAYS...", nargs=-1)
def keep(name: str, times: tuple[str, ...]) -> None:
    """Set how long the tenant NAME keeps resources of a type after their last change.

    TYPE is Media, Observation, DocumentReference, Composition, Provenance or AuditEvent; DAYS is a number, or `ever`.
    Types that are not named are kept as FHIR_BRIDGE_RETENTION_DAYS says: without any, all are.
    """
    days = json.dumps(dict(map(_time, times)))
    with store_of() as store:
        if not store.of(name).write(lambda conn: retention.keep(conn, name, days)):
            raise click.ClickException(f"There is no tenant {name}")
    shown({"tenant": name, "retention_days": json.loads(days)})


def _time(text: str) -> tuple[str, int | None]:
    type_, _, days = text.partition("=")
    if type_ not in get_args(Kept) or not (days == "ever" or (days.isdecimal() and int(days) > 0)):
        raise click.BadParameter("such as DocumentReference=365 or Observation=ever", param_hint="TYPE=DAYS")
    return type_, None if days == "ever" else int(days)


@command.command("list")
@as_json
def list_(*, as_json: bool) -> None:
    """List all tenants."""
    with store_of() as store:
        found = store.of_all().read(oauth.tenants)
    rows = [
        {
            "tenant": tenant.id,
            "corti_environment": tenant.corti_environment,
            "corti_tenant": tenant.corti_tenant,
            "corti_client_id": tenant.corti_client_id,
            "audio_hours": tenant.audio_retention_hours,
            "retention_days": json.loads(tenant.retention_days or "{}"),
        }
        for tenant in found
    ]
    listed(rows, as_json=as_json, empty="There are no tenants.")


def _stored(name: str, own: dict[str, str], audio_hours: float | None) -> None:
    wanted = settings.load()
    with store_of(wanted) as store:
        new = replace(oauth.new_tenant(name, KeyRing.open(wanted), corti=own), audio_retention_hours=audio_hours)
        try:
            store.of_all().write(lambda conn: oauth.add_tenant(conn, new))
        except Duplicate as exc:
            raise click.ClickException(f"There is a tenant {name} already") from exc
