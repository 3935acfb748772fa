"""`fhir-bridge rotate-keys`: new keys for what is signed and for what is wrapped."""

from __future__ import annotations

from pathlib import Path

import click

from fhir_bridge import settings
from fhir_bridge.cli.opened import store_of
from fhir_bridge.keyring import KeyRing
from fhir_bridge.smart import keys
from fhir_bridge.store import oauth


@click.command("rotate-keys")
@click.option(
    "--old-key-file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The former FHIR_BRIDGE_SECRET_KEY: what it wraps is wrapped anew under the present one.",
)
def command(*, old_key_file: Path | None) -> None:
    """Sign access tokens with a new key; with --old-key-file also rewrap all stored keys and secrets.

    Tokens signed before stay valid until they expire. Web processes take up the new key within a minute; after
    --old-key-file restart them, and workers: they hold the former key.
    """
    wanted = settings.load()
    ring = KeyRing.open(wanted)
    former = KeyRing(old_key_file.read_bytes().strip()) if old_key_file else None
    made = keys.generate("ES384")
    fresh = oauth.new_signing_key(made.kid, made.alg, made.private_json(), ring)
    with store_of(wanted) as store:
        count = store.of_all().write(lambda conn: oauth.rotate(conn, fresh, ring, former=former))
    next_ = "Restart `web` and `worker`." if former else "`web` takes it up within a minute."
    click.echo(f"A new signing key is in use; {count} stored keys and secrets were wrapped anew. {next_}")
