"""`fhir-bridge rotate-keys`: new keys for what is signed and for what is wrapped."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from fhir_bridge import settings
from fhir_bridge.cli.opened import store_of
from fhir_bridge.keyring import KeyRing
from fhir_bridge.smart import keys
from fhir_bridge.store import oauth
from fhir_bridge.store.versions import now_ms

if TYPE_CHECKING:
    from sqlalchemy import Connection


@click.command("rotate-keys")
@click.option(
    "--old-key-file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The former FHIR_BRIDGE_SECRET_KEY: what it wraps is wrapped anew under the present one.",
)
def command(*, old_key_file: Path | None) -> None:
    """Sign access tokens with a new key; with --old-key-file also rewrap all stored keys and secrets.

    Tokens signed before stay valid until they expire. Restart web processes afterwards: they hold the former keys.
    """
    wanted = settings.load()
    ring = KeyRing.open(wanted)
    old = KeyRing(old_key_file.read_bytes().strip()) if old_key_file else ring
    fresh = keys.generate("ES384")
    row = oauth.new_signing_key(fresh.kid, fresh.alg, fresh.private_json(), ring)

    def rotate(conn: Connection) -> int:
        rewrapped = oauth.rewrap(conn, old, ring) if old_key_file else 0
        oauth.retire_signing_keys(conn, now_ms())
        oauth.add_signing_key(conn, row)
        return rewrapped

    with store_of(wanted) as store:
        rewrapped = store.write(rotate)
    click.echo(f"A new signing key is in use; {rewrapped} stored keys and secrets were rewrapped. Restart `web`.")
