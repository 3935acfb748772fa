"""What an outside issuer says of a token becomes a Grant, by the names that the operator gave."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from fhir_bridge.smart.client import LONGEST_SCOPE
from fhir_bridge.smart.compact import Refused
from fhir_bridge.smart.grant import Grant
from fhir_bridge.smart.scope import narrowed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fhir_bridge.trusted import TrustedIssuer

# What id_tokens have and access tokens have not (OpenID Connect Core 2 and 3.3.2.11): one of an app's id_tokens
# must not open its data where its client_id is the audience too.
_OF_ID_TOKENS: Final = frozenset({"nonce", "at_hash", "c_hash"})
_BEARER: Final = ("Bearer", "bearer")  # Keycloak says in `typ` what a token is for
_PATIENT: Final = re.compile(r"(?:Patient/)?([A-Za-z0-9.-]{1,64})")


def grant_from_claims(claims: Mapping[str, object], issuer: TrustedIssuer, *, base: str) -> Grant:
    """Read claims that were verified.

    Raises:
        Refused: they are of no bearer token for us, or lack what a Grant needs.
    """
    _check_kind(claims)
    _check_audience(claims.get("aud"), issuer, base)
    client = _text(claims, issuer.claims.client)
    if client is None or (issuer.clients is not None and client not in issuer.clients):
        raise Refused("of no client that counts")
    patient = _text(claims, issuer.claims.patient)
    return Grant(
        tenant=issuer.tenant,
        client=f"{issuer.issuer}#{client}",  # never the name of a client that is registered here
        scope=_scope(claims, issuer),
        user=_text(claims, issuer.claims.user),
        patient=None if patient is None else _patient_id(patient, base),
        issuer=issuer.issuer,
    )


def _check_kind(claims: Mapping[str, object]) -> None:
    """Refuse id_tokens, refresh tokens, and tokens that count only with a proof (RFC 7800 section 3.1)."""
    if _OF_ID_TOKENS & claims.keys() or "cnf" in claims:
        raise Refused("no bearer token")
    for name in ("typ", "token_type"):
        if claims.get(name, "Bearer") not in _BEARER:
            raise Refused("no bearer token")


def _check_audience(aud: object, issuer: TrustedIssuer, base: str) -> None:
    wanted = (base,) if issuer.audience is None else issuer.audience
    if wanted and not any(each in wanted for each in (aud if isinstance(aud, list) else [aud])):
        raise Refused("for another audience")


def _text(claims: Mapping[str, object], names: tuple[str, ...]) -> str | None:
    found = next((claims[name] for name in names if name in claims), None)
    if found is not None and not (isinstance(found, str) and found and found.isprintable()):
        raise Refused("a claim that must be a text is none")
    return found


def _patient_id(said: str, base: str) -> str:
    """Return the id of a Patient here, said as id, as reference, or as URL below our base."""
    found = _PATIENT.fullmatch(said.removeprefix(f"{base}/"))
    if found is None:
        raise Refused("of no Patient here")
    return found[1]


def _scope(claims: Mapping[str, object], issuer: TrustedIssuer) -> str:
    """Return the scopes: a text or a list of texts, in our words, and no more than the operator allows."""
    found = next((claims[name] for name in issuer.claims.scope if name in claims), None)
    words = found.split() if isinstance(found, str) else found
    if not isinstance(words, list):
        raise Refused("scope is no text and no list of texts")
    named = [issuer.scope_names.get(word, word) for word in words if isinstance(word, str) and word.isprintable()]
    if len(named) < len(words):
        raise Refused("scope is no text and no list of texts")
    told = " ".join(named)
    if len(told) > LONGEST_SCOPE:
        raise Refused("of more scopes than are read")
    return told if issuer.scopes is None else narrowed(told, issuer.scopes)
