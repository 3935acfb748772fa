"""`fhir-bridge user`: people who sign in at the bridge itself."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

import click

from fhir_bridge.cli.opened import store_of
from fhir_bridge.cli.shown import shown
from fhir_bridge.errors import Duplicate
from fhir_bridge.smart.password import hashed
from fhir_bridge.store import oauth
from fhir_bridge.store.versions import now_ms

if TYPE_CHECKING:
    from fhir_bridge.store import Store

_FHIR_USER: Final = re.compile(r"(Practitioner|PractitionerRole|Patient|RelatedPerson|Person)/[A-Za-z0-9\-.]{1,64}")


@click.group("user")
def command() -> None:
    """Add local users for the built-in sign-in."""


@command.command("add")
@click.argument("name")
@click.option("--password-file", metavar="F", type=click.Path(path_type=Path), help="Unset: it is asked for.")
@click.option("--fhir-user", metavar="Practitioner/ID", help="The resource that stands for this person.")
@click.option("--tenant", metavar="T", default="default", show_default=True, help="The tenant of this person.")
def add(name: str, *, password_file: Path | None, fhir_user: str | None, tenant: str) -> None:
    """Add the local user NAME."""
    if fhir_user is not None and not _FHIR_USER.fullmatch(fhir_user):
        raise click.BadParameter("such as Practitioner/123", param_hint="--fhir-user")
    password = password_file.read_text().strip() if password_file else _asked()
    if not password:
        raise click.ClickException(f"{password_file}: the password is empty")
    with store_of() as store:
        if store.of(tenant).read(lambda conn: oauth.tenant(conn, tenant)) is None:
            raise click.ClickException(f"--tenant: there is no tenant {tenant}; `tenant list` names them")
        if not added(store, oauth.User(name, tenant, hashed(password), now_ms(), fhir_user)):
            raise click.ClickException(f"There is a user {name} already")
    shown({"user": name, "tenant": tenant, "fhir_user": fhir_user})


def added(store: Store, new: oauth.User) -> bool:
    """Store a user; False: the name is taken."""
    try:
        store.of(new.tenant).write(lambda conn: oauth.add_user(conn, new))
    except Duplicate:
        return False
    return True


def _asked() -> str:
    asked: str = click.prompt("Password", hide_input=True, confirmation_prompt=True)
    return asked
