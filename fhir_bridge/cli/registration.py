"""What a client may be registered with: keys, URLs and scopes that can work, refused here when they cannot."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

import click

from fhir_bridge.smart import scope as smart_scope
from fhir_bridge.smart.jwks import key_set

if TYPE_CHECKING:
    from pathlib import Path

# Words that are no resource scopes (SMART App Launch 2.2, "Scopes and Launch Context").
WORDS: Final = frozenset(
    ("openid", "fhirUser", "profile", "offline_access", "online_access", "launch", "launch/patient", "launch/encounter")
)
_LOOPBACK: Final = frozenset(("127.0.0.1", "localhost", "::1"))
# What signs RS384 and ES384 (SMART App Launch 2.2, "Asymmetric authentication").
_KINDS: Final = {"RSA": None, "EC": "P-384"}
_PRIVATE: Final = frozenset(("d", "k"))


def public_keys(file: Path) -> str:
    """Return the JWK Set in `file`: public keys with a kid, for RS384 or ES384."""
    text = file.read_text()
    try:
        keys = key_set(text).keys
        members = json.loads(text)["keys"]
    except (ValueError, KeyError) as exc:
        raise click.ClickException(f"{file}: this is no JWK Set whose keys have a kid") from exc
    if any(_PRIVATE & member.keys() for member in members):
        raise click.ClickException(f"{file}: it holds private keys; give the public ones and keep those to the client")
    if not any(key.key_type in _KINDS and _KINDS[key.key_type] in {None, key.get("crv")} for key in keys):
        raise click.ClickException(f"{file}: SMART needs an RSA key (RS384) or an EC key on P-384 (ES384)")
    return text


def https_url(url: str, *, allow_private: bool) -> str:
    """Return a URL that keys may be fetched from."""
    parts = urlsplit(url)
    if not parts.hostname or (parts.scheme != "https" and not (allow_private and parts.scheme == "http")):
        raise click.ClickException("--jwks-uri must be an https URL")
    return url


def redirect_uri(uri: str) -> str:
    """Return a redirect URI as OAuth 2.1 section 2.3 wants it: absolute, without fragment, not plain http."""
    parts = urlsplit(uri)
    if not parts.scheme or parts.fragment or (parts.scheme == "http" and parts.hostname not in _LOOPBACK):
        raise click.ClickException(f"--redirect-uri {uri}: an absolute URI without fragment; http only for loopback")
    return uri


def scopes(text: str) -> str:
    """Return a scope string all of whose words mean something here."""
    unknown = [word for word in text.split() if word not in WORDS and not smart_scope.parse(word)]
    if unknown or not text.split():
        named = unknown[0] if unknown else "nothing"
        raise click.UsageError(f"--scope: {named} is no SMART scope; such as system/Encounter.cruds or system/*.read")
    return " ".join(text.split())
