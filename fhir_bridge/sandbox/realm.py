"""The auth host: tokens of every realm, discovery and keys, as Keycloak answers (corti-api 1.1, 1.3)."""

from __future__ import annotations

import base64
import hashlib
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlencode
from uuid import uuid4

from flask import Blueprint, Response, jsonify, redirect, request
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import KeySet, RSAKey

from fhir_bridge.sandbox.refusals import Refusal, unauthorised
from fhir_bridge.sandbox.state import Owner

if TYPE_CHECKING:
    from werkzeug.wrappers import Response as AnyResponse

    from fhir_bridge.sandbox.shapes import Json
    from fhir_bridge.sandbox.state import State

LIMITED_SCOPES = frozenset({"streams", "transcribe"})
USER_GRANTS = frozenset({"password", "authorization_code", "refresh_token"})
REFRESH_SECONDS = 1800


@dataclass(frozen=True)
class Bearer:
    """A verified access token."""

    owner: Owner
    scopes: frozenset[str]
    expires: int
    id: str

    def may(self, product: str) -> bool:
        """Limited tokens open only their own socket (corti-api 1.3)."""
        limits = self.scopes & LIMITED_SCOPES
        return not limits or product in limits


@dataclass(frozen=True)
class Code:
    """An authorization code on its way back to the client."""

    client: str
    redirect_uri: str
    scope: str
    challenge: str | None


@dataclass(frozen=True)
class Denied(Exception):
    """The token endpoint's error form."""

    error: str
    description: str
    status: int = 400


class Realms:
    """Issues and verifies the tokens of all realms with one RSA key."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.key = RSAKey.generate_key(2048, {"use": "sig", "alg": "RS256", "kid": "sandbox"})
        self.codes: dict[str, Code] = {}

    def issuer(self, realm: str) -> str:
        """`iss` of a realm's tokens."""
        return f"{self.state.url}/realms/{realm}"

    def sign(self, realm: str, claims: Json, seconds: int) -> str:
        """A JWT that lives so many seconds from now."""
        at = int(time.time())
        full = {"iss": self.issuer(realm), "iat": at, "exp": at + seconds, "jti": str(uuid4()), **claims}
        return jwt.encode({"alg": "RS256", "typ": "JWT", "kid": "sandbox"}, full, self.key)

    def verify(self, token: str, kind: str = "Bearer") -> Bearer:
        """The token's rights, or the 401 that names what is wrong with it."""
        try:
            claims = jwt.decode(token, self.key, algorithms=["RS256"]).claims
        except (JoseError, ValueError) as exc:
            raise unauthorised("Token verification failed") from exc
        issuer = str(claims.get("iss", ""))
        if claims.get("typ") != kind or not issuer.startswith(f"{self.state.url}/realms/"):
            raise unauthorised("Token issuer is not known")
        if claims["exp"] <= time.time():
            raise unauthorised("Token is expired")
        scopes = frozenset(str(claims.get("scope", "")).split())
        owner = Owner(issuer.rpartition("/")[2], str(claims["azp"]))
        return Bearer(owner, scopes, claims["exp"], str(claims["jti"]))

    def grant(self, realm: str) -> Json:
        """The token response for the form of the present request."""
        kind = request.form.get("grant_type", "")
        client = self._client(public=kind == "authorization_code")
        scope, subject = self._authorised(realm, kind, client)
        claims: Json = {"azp": client, "sub": subject, "scope": scope, "typ": "Bearer"}
        answer: Json = {
            "access_token": self.sign(realm, claims, self.state.switches.token_seconds),
            "expires_in": self.state.switches.token_seconds,
            "refresh_expires_in": 0,
            "token_type": "Bearer",
            "not-before-policy": 0,
            "scope": scope,
        }
        if "openid" in scope.split():
            answer["id_token"] = self.sign(realm, {"aud": client, "sub": subject, "typ": "ID"}, 300)
        if kind in USER_GRANTS:
            answer["refresh_token"] = self.sign(realm, {**claims, "typ": "Refresh"}, REFRESH_SECONDS)
            answer["refresh_expires_in"] = REFRESH_SECONDS
            answer["session_state"] = str(uuid4())
        return answer

    def _client(self, *, public: bool) -> str:
        basic = request.authorization
        name = request.form.get("client_id") or (basic.username if basic else None) or ""
        secret = request.form.get("client_secret") or (basic.password if basic else None) or ""
        if name not in self.state.clients:
            raise Denied("invalid_client", "Invalid client or Invalid client credentials", 401)
        proved = public and bool(request.form.get("code_verifier")) and not secret
        proved = proved or (request.form.get("grant_type") in {"password", "refresh_token"} and not secret)
        if not proved and not secrets.compare_digest(self.state.clients[name].encode(), secret.encode()):
            raise Denied("unauthorized_client", "Invalid client or Invalid client credentials", 401)
        return name

    def _authorised(self, realm: str, kind: str, client: str) -> tuple[str, str]:
        """Scope and subject of the grant."""
        wanted = request.form.get("scope") or "openid email profile"
        if kind == "client_credentials":
            return wanted, f"service-account-{client}"
        if kind == "password":
            name = request.form.get("username", "")
            if not name or not request.form.get("password"):
                raise Denied("invalid_grant", "Invalid user credentials", 401)
            return wanted, name
        if kind == "refresh_token":
            return self._refreshed(realm, client)
        if kind == "authorization_code":
            return self._redeemed(client), "sandbox-user"
        raise Denied("unsupported_grant_type", "Unsupported grant_type")

    def _refreshed(self, realm: str, client: str) -> tuple[str, str]:
        try:
            bearer = self.verify(request.form.get("refresh_token", ""), "Refresh")
        except Refusal as exc:
            raise Denied("invalid_grant", "Invalid refresh token") from exc
        if bearer.owner != Owner(realm, client):
            raise Denied("invalid_grant", "Invalid refresh token. Token client and authorized client don't match")
        held = " ".join(sorted(bearer.scopes))
        return request.form.get("scope") or held, "sandbox-user"

    def _redeemed(self, client: str) -> str:
        code = self.codes.pop(request.form.get("code", ""), None)
        if code is None or code.client != client or code.redirect_uri != request.form.get("redirect_uri"):
            raise Denied("invalid_grant", "Code not valid")
        if code.challenge is not None:
            digest = hashlib.sha256(request.form.get("code_verifier", "").encode()).digest()
            if base64.urlsafe_b64encode(digest).rstrip(b"=").decode() != code.challenge:
                raise Denied("invalid_grant", "PKCE verification failed")
        return code.scope

    def authorize(self) -> AnyResponse:
        """The sandbox has one user, always signed in: the code comes back at once."""
        back = request.args.get("redirect_uri", "")
        if request.args.get("client_id") not in self.state.clients or not back:
            return Response("Invalid parameter: client_id or redirect_uri", status=400)
        code = secrets.token_urlsafe(24)
        self.codes[code] = Code(
            request.args["client_id"],
            back,
            request.args.get("scope", "openid"),
            request.args.get("code_challenge"),
        )
        query = {"code": code} | ({"state": request.args["state"]} if "state" in request.args else {})
        return redirect(f"{back}{'&' if '?' in back else '?'}{urlencode(query)}")


def blueprint(realms: Realms) -> Blueprint:
    """Routes below `/realms/{realm}`."""
    routes = Blueprint("realms", __name__, url_prefix="/realms/<realm>")

    @routes.post("/protocol/openid-connect/token")
    def token(realm: str) -> tuple[Response, int]:
        try:
            return jsonify(realms.grant(realm)), 200
        except Denied as denied:
            return jsonify({"error": denied.error, "error_description": denied.description}), denied.status

    @routes.get("/protocol/openid-connect/certs")
    def certs(realm: str) -> Response:  # noqa: ARG001 - all realms share the key
        return jsonify(KeySet([realms.key]).as_dict(private=False))

    @routes.get("/protocol/openid-connect/auth")
    def auth(realm: str) -> AnyResponse:  # noqa: ARG001 - all realms share the user
        return realms.authorize()

    @routes.get("/.well-known/openid-configuration")
    def discovery(realm: str) -> Response:
        base = f"{realms.issuer(realm)}/protocol/openid-connect"
        return jsonify(
            issuer=realms.issuer(realm),
            authorization_endpoint=f"{base}/auth",
            token_endpoint=f"{base}/token",
            jwks_uri=f"{base}/certs",
            grant_types_supported=["client_credentials", "authorization_code", "refresh_token", "password"],
            response_types_supported=["code"],
            subject_types_supported=["public"],
            id_token_signing_alg_values_supported=["RS256"],
            code_challenge_methods_supported=["S256"],
            token_endpoint_auth_methods_supported=["client_secret_post", "client_secret_basic"],
            scopes_supported=["openid", "profile", "email", "streams", "transcribe"],
        )

    return routes
