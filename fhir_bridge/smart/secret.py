"""Client authentication by secret, in the Authorization header or the form (RFC 6749 section 2.3.1).

Methods for Authlib's server in place of its own, which raise foreign errors at broken base64 and UTF-8.
"""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING
from urllib.parse import unquote

from authlib.oauth2.rfc6749 import InvalidClientError

if TYPE_CHECKING:
    from collections.abc import Callable

    from authlib.oauth2.rfc6749 import OAuth2Request

    from fhir_bridge.smart.client import Client


def by_basic(query_client: Callable[[str], Client | None], request: OAuth2Request) -> Client | None:
    """Authenticate by `Authorization: Basic`, None without one."""
    scheme, _, sent = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        name, _, secret = base64.b64decode(sent.strip(), validate=True).decode().partition(":")
    except ValueError as exc:
        raise InvalidClientError(
            description="The Authorization header is no base64 of client_id:client_secret"
        ) from exc
    return _checked(query_client(unquote(name)), unquote(secret))


def by_form(query_client: Callable[[str], Client | None], request: OAuth2Request) -> Client | None:
    """Authenticate by client_id and client_secret of the form, None without a secret."""
    secret = request.form.get("client_secret")
    return _checked(query_client(request.form.get("client_id", "")), secret) if secret else None


def by_nothing(query_client: Callable[[str], Client | None], request: OAuth2Request) -> Client | None:
    """Take a public client at its client_id: its code_verifier or refresh token is its proof (RFC 7636)."""
    client = query_client(request.form.get("client_id", ""))
    return client if client is not None and client.is_public else None


def _checked(client: Client | None, secret: str) -> Client:
    """Say the same of an unknown client, a disabled one and a wrong secret."""
    if client is None or not client.check_client_secret(secret):
        raise InvalidClientError(description="No client has this client_id and secret")
    return client
