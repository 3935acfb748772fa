"""An OpenID provider where people sign in: authorization code with state, nonce and PKCE, then its id_token.

Authlib's parts of a client write and read the messages; they travel through the SSRF guard, and
the id_token is verified as strictly as an access token of an outside issuer.
"""

from __future__ import annotations

import json
import re
from hashlib import sha256
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

from authlib.oauth2.rfc6749 import OAuth2Error
from authlib.oauth2.rfc6749.parameters import parse_authorization_code_response, prepare_grant_uri
from authlib.oauth2.rfc7636 import create_s256_code_challenge

from fhir_bridge import clock, net
from fhir_bridge.errors import BusinessRule, IssuerUnavailable
from fhir_bridge.smart import compact
from fhir_bridge.smart.approval import Person
from fhir_bridge.smart.compact import Refused
from fhir_bridge.smart.introspection_client import form_of
from fhir_bridge.smart.outside import Issuer
from fhir_bridge.trusted import TrustedIssuer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fhir_bridge.trusted import SignInProvider

LARGEST: Final = 64 * 1024
SECONDS: Final = 10.0
RETRY_SECONDS: Final = 10
LONGEST_SUB: Final = 255  # OpenID Connect Core section 2
_USER: Final = re.compile(r"(?:Practitioner|PractitionerRole|Patient|RelatedPerson|Person)/[A-Za-z0-9.-]{1,64}")


class Provider:
    """The provider of one tenant, with the bridge as its client."""

    def __init__(self, known: SignInProvider, origin: str, *, allow_private: bool) -> None:
        self.name = known.name
        self._known = known
        self._base = f"{origin}/fhir"
        self._back = f"{origin}/oauth/sign-in/back"
        trusted = TrustedIssuer(
            issuer=known.issuer,
            algorithms=known.algorithms,
            types=("JWT", ""),
            private_network=known.private_network,
        )
        self._issuer = Issuer(trusted, base=self._base, allow_private=allow_private)

    def tried(self) -> str:
        """Ask it for what a first sign-in needs; tell what came.

        Raises:
            IssuerUnavailable: it cannot be had.
        """
        for name in ("authorization_endpoint", "token_endpoint"):
            self._issuer.metadata.endpoint(name)
        return f"lets people sign in, {self._issuer.tried()}"

    def url(self, secret: str, visit: str, *, prompt: str | None = None) -> str:
        """Return where to send somebody; `secret` is known to the browser's visit alone.

        Raises:
            IssuerUnavailable: the provider does not say where.
        """
        uri: str = prepare_grant_uri(
            self._issuer.metadata.endpoint("authorization_endpoint"),
            self._known.client_id,
            "code",
            redirect_uri=self._back,
            scope=self._known.scope,
            state=f"{visit}.{_derived('state', secret)}",
            nonce=_derived("nonce", secret),
            code_challenge=create_s256_code_challenge(_derived("verifier", secret)),
            code_challenge_method="S256",
            prompt=prompt,
        )
        return uri

    def person(self, secret: str, visit: str, answer: str) -> Person:
        """Return who came back with `answer`, the URL that the provider sent them to.

        Raises:
            Refused: nobody that the provider vouches for, here and now.
            IssuerUnavailable: the provider does not answer.
        """
        try:
            told = parse_authorization_code_response(answer, state=f"{visit}.{_derived('state', secret)}")
        except OAuth2Error as exc:
            raise Refused("the provider sent nobody back") from exc
        if told.get("iss", self._known.issuer) != self._known.issuer:  # RFC 9207
            raise Refused("another provider answers")
        claims = self._issuer.signed(self._id_token(str(told["code"]), secret))
        self._check(claims, secret)
        return self._read(claims)

    def _id_token(self, code: str, secret: str) -> str:
        """Exchange the code (OpenID Connect Core section 3.1.3)."""
        fields = {"grant_type": "authorization_code", "code": code, "redirect_uri": self._back}
        fields["code_verifier"] = _derived("verifier", secret)
        url = self._issuer.metadata.endpoint("token_endpoint")
        private = self._issuer.metadata.is_private(url)
        try:
            form = form_of(self._known, fields)
            answer = net.fetch(
                url, limit=LARGEST, seconds=SECONDS, accept="application/json", allow_private=private, form=form
            )
            found = json.loads(answer.body)
        except (BusinessRule, OSError, ValueError, RecursionError) as exc:
            raise IssuerUnavailable("The provider does not answer", retry_after=RETRY_SECONDS) from exc
        token = found.get("id_token") if isinstance(found, dict) else None
        if answer.status != HTTPStatus.OK or not isinstance(token, str):
            raise Refused("the provider gives no id_token for this code")
        return token

    def _check(self, claims: Mapping[str, object], secret: str) -> None:
        """Check what the signature does not (OpenID Connect Core section 3.1.3.7)."""
        client, aud = self._known.client_id, claims.get("aud")
        if claims.get("iss") != self._known.issuer or client not in (aud if isinstance(aud, list) else [aud]):
            raise Refused("an id_token of another issuer, or for another client")
        if claims.get("azp", client) != client or claims.get("typ", "ID") != "ID":
            raise Refused("no id_token for this client")
        if claims.get("nonce") != _derived("nonce", secret):
            raise Refused("an id_token of another sign-in")
        if clock.now().timestamp() >= compact.seconds_in(claims, "exp"):
            raise Refused("an id_token of the past")

    def _read(self, claims: Mapping[str, object]) -> Person:
        """Read who it is. Without a resource that stands for them nobody could say what they may see."""
        sub, user = claims.get("sub"), self._claim(claims, self._known.fhir_user)
        user = user and user.removeprefix(f"{self._base}/")
        if not isinstance(sub, str) or not sub.isprintable() or not 0 < len(sub) <= LONGEST_SUB:
            raise Refused("nobody is named")
        if user is None or not _USER.fullmatch(user):
            raise Refused("the provider does not say which resource here stands for this person")
        shown = self._claim(claims, self._known.shown)
        return Person(f"{self._known.issuer}#{sub}", self._known.tenant, user, shown)

    @staticmethod
    def _claim(claims: Mapping[str, object], names: tuple[str, ...]) -> str | None:
        found = next((claims[name] for name in names if name in claims), None)
        return found if isinstance(found, str) and found.isprintable() and found else None


def _derived(what: str, secret: str) -> str:
    """Return one of the values that travel, none of which tells another: 64 characters, fit for PKCE."""
    return sha256(f"{what} {secret}".encode()).hexdigest()
