"""Reads an authorization request: SMART App Launch 2.2, "Obtain authorization code"; RFC 6749 section 4.1.1.

What is wrong about the client or the redirect URI is for the person to see; all else the app is told.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NoReturn
from urllib.parse import urlencode, urlsplit, urlunsplit

from fhir_bridge import clock
from fhir_bridge.errors import OAuthError, SentBack
from fhir_bridge.smart.approval import Ask, Context, digest_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fhir_bridge.smart.client import Client

LONGEST: Final = 4096  # of state and nonce, which are kept
_CHALLENGE: Final = re.compile(r"[A-Za-z0-9_-]{43}")  # base64url of a SHA-256 (RFC 7636 section 4.2)
_SECONDS: Final = re.compile(r"[0-9]{1,9}")
_PROMPTS: Final = frozenset(("none", "login", "consent", "select_account"))


@dataclass(frozen=True)
class Launched:
    """What an EHR of a tenant has open."""

    tenant: str
    context: Context


@dataclass(frozen=True)
class House:
    """What a request is judged by: the clients, what EHRs launched, and the URL of the FHIR base."""

    find_client: Callable[[str], Client | None]
    find_launch: Callable[[str], Launched | None]
    base: str


class _Request:
    """The parameters of a request whose client and redirect URI are known, and how to refuse it."""

    def __init__(self, given: Mapping[str, Sequence[str]], client: Client, redirect_uri: str) -> None:
        self._given = given
        self.client = client
        self.redirect_uri = redirect_uri
        states = given.get("state", ())
        self.state = states[0] if len(states) == 1 and _is_plain(states[0]) else None

    def refuse(self, error: str, text: str) -> NoReturn:
        raise SentBack(error, text, redirect_uri=self.redirect_uri, state=self.state)

    def one(self, name: str) -> str | None:
        """Return a parameter; none is there twice, and one without a value is not there (RFC 6749 section 3.1)."""
        values = self._given.get(name, ())
        if len(values) > 1:
            self.refuse("invalid_request", f"{name} is given more than once")
        return values[0] if values and values[0] else None

    def plain(self, name: str) -> str | None:
        value = self.one(name)
        if value is not None and not _is_plain(value):
            self.refuse("invalid_request", f"{name} is too long, or no printable text")
        return value


def asked(given: Mapping[str, Sequence[str]], house: House) -> Ask:
    """Read an authorization request.

    Raises:
        OAuthError: the client or its redirect URI is not known: for the person to see.
        SentBack: anything else is not right: for the app.
    """
    client = _client(given, house)
    request = _Request(given, client, _redirect_uri(given, client))
    _check_form(request)
    _check_audience(request, house.base)
    challenge = _challenge(request)
    launch, launched = _launched(request, house)
    prompt = tuple((request.one("prompt") or "").split())
    return Ask(
        client=client.id,
        tenant=client.tenant,
        redirect_uri=request.redirect_uri,
        scope=_scope(request, launched=launched is not None),
        challenge=challenge,
        state=request.plain("state"),
        nonce=request.plain("nonce"),
        launch=launch,
        prompt=prompt,
        not_before=_not_before(request, prompt),
        context=launched.context if launched else Context(),
    )


def back(redirect_uri: str, **parameters: str | None) -> str:
    """Add parameters to a redirect URI, which may have a query of its own (RFC 6749 section 3.1.2)."""
    parts = urlsplit(redirect_uri)
    added = urlencode({name: value for name, value in parameters.items() if value is not None})
    return urlunsplit(parts._replace(query=f"{parts.query}&{added}" if parts.query else added))


def _is_plain(text: str) -> bool:
    return len(text) <= LONGEST and text.isprintable()


def _client(given: Mapping[str, Sequence[str]], house: House) -> Client:
    ids = given.get("client_id", ())
    client = house.find_client(ids[0]) if len(ids) == 1 else None
    if client is None or not client.redirect_uris:
        raise OAuthError("invalid_request", "The app that sent you here is not registered for signing in (client_id)")
    return client


def _redirect_uri(given: Mapping[str, Sequence[str]], client: Client) -> str:
    uris = given.get("redirect_uri", ())
    if len(uris) != 1 or uris[0] not in client.redirect_uris:
        raise OAuthError("invalid_request", "The app that sent you here names no address of its own (redirect_uri)")
    return uris[0]


def _check_form(request: _Request) -> None:
    for name in ("request", "request_uri"):
        if request.one(name) is not None:
            request.refuse(f"{name}_not_supported", f"Send the parameters themselves, not {name}")
    if request.one("response_type") is None:
        request.refuse("invalid_request", "response_type is missing")
    if request.one("response_type") != "code":
        request.refuse("unsupported_response_type", "response_type must be code")
    if request.one("response_mode") not in {None, "query"}:
        request.refuse("invalid_request", "response_mode must be query")


def _check_audience(request: _Request, base: str) -> None:
    """A token is for this FHIR base alone: an app that was led here from elsewhere names another."""
    named = {value.rstrip("/") for name in ("aud", "resource") if (value := request.one(name))}
    if named != {base}:
        request.refuse("invalid_request", "aud must be the URL of this FHIR base")


def _challenge(request: _Request) -> str:
    challenge = request.one("code_challenge") or ""
    if request.one("code_challenge_method") != "S256" or not _CHALLENGE.fullmatch(challenge):
        request.refuse("invalid_request", "PKCE is needed: code_challenge with code_challenge_method=S256")
    return challenge


def _launched(request: _Request, house: House) -> tuple[str | None, Launched | None]:
    sent = request.one("launch")
    if sent is None:
        return None, None
    found = house.find_launch(sent)
    if found is None or found.tenant != request.client.tenant:
        request.refuse("invalid_request", "launch is not known, was used, or is too old: open the app anew")
    return digest_of(sent), found


def _scope(request: _Request, *, launched: bool) -> str:
    """Return what may be asked of the person; system scopes are for who acts for itself."""
    words = [word for word in (request.one("scope") or "").split() if not word.startswith("system/")]
    allowed = request.client.get_allowed_scope(" ".join(words))
    held = allowed.split() if allowed else []
    if launched and "launch" not in held:
        request.refuse("invalid_scope", "What an EHR launched is for apps that ask for the scope launch, and may")
    scope = " ".join(word for word in held if launched or word != "launch")
    if not scope:
        request.refuse("invalid_scope", "The app is not registered for any scope that was asked for")
    return scope


def _not_before(request: _Request, prompt: tuple[str, ...]) -> float:
    """Return when the person must have signed in (OpenID Connect Core section 3.1.2.1)."""
    if not set(prompt) <= _PROMPTS or ("none" in prompt and len(prompt) > 1):
        request.refuse("invalid_request", "prompt is none, or of login, consent and select_account")
    age = request.one("max_age")
    if age is not None and not _SECONDS.fullmatch(age):
        request.refuse("invalid_request", "max_age is a number of seconds")
    now = clock.now().timestamp()
    if {"login", "select_account"} & set(prompt):
        return now
    return now - int(age) if age is not None else 0.0
