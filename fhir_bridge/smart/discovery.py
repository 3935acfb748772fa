"""What a client learns before it has a token: smart-configuration (SMART 2.2) and openid-configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fhir_bridge.smart.assertion import ALGORITHMS
from fhir_bridge.smart.codes import IDENTITY_ALGORITHM, METHODS

if TYPE_CHECKING:
    from collections.abc import Mapping

# http://hl7.org/fhir/smart-app-launch/STU2.2/conformance.html#capabilities: those that are true, and no others.
CAPABILITIES: Final = (
    "launch-ehr",
    "launch-standalone",
    "authorize-post",
    "client-public",
    "client-confidential-asymmetric",
    "client-confidential-symmetric",
    "sso-openid-connect",
    "context-banner",
    "context-ehr-patient",
    "context-ehr-encounter",
    "context-standalone-patient",
    "context-standalone-encounter",
    "permission-offline",
    "permission-online",
    "permission-patient",
    "permission-user",
    "permission-v1",
    "permission-v2",
)
ENDPOINTS: Final = ("authorization_endpoint", "token_endpoint", "introspection_endpoint", "revocation_endpoint")
# What another authorization server says of itself, as it says it.
_THEIRS: Final = (
    "issuer",
    "jwks_uri",
    *ENDPOINTS,
    "registration_endpoint",
    "token_endpoint_auth_methods_supported",
    "token_endpoint_auth_signing_alg_values_supported",
    "grant_types_supported",
    "response_types_supported",
)
_OF_RESOURCES: Final = ("permission-patient", "permission-user", "permission-v1", "permission-v2")
_BY_METHOD: Final = {
    "private_key_jwt": "client-confidential-asymmetric",
    "client_secret_basic": "client-confidential-symmetric",
}
_CLAIMS: Final = ("iss", "sub", "aud", "exp", "iat", "auth_time", "nonce", "fhirUser", "profile")
_PROMPTS: Final = ("none", "login", "consent", "select_account")


def smart_configuration(origin: str, scopes: tuple[str, ...]) -> dict[str, object]:
    """Describe the authorization server at `origin`. Only what is served is listed."""
    return {**_endpoints(origin, scopes), "capabilities": list(CAPABILITIES)}


def configuration_elsewhere(published: Mapping[str, object], scopes: tuple[str, ...]) -> dict[str, object]:
    """Describe another authorization server, whose metadata is `published`, for the resources here."""
    told = {name: published[name] for name in _THEIRS if name in published}
    # Said by nobody, "authorization_code" and "implicit" are meant (RFC 8414); the latter SMART does not know.
    told.setdefault("grant_types_supported", ["authorization_code"])
    methods, pkce = (
        published.get(name) for name in ("token_endpoint_auth_methods_supported", "code_challenge_methods_supported")
    )
    known = [each for method, each in _BY_METHOD.items() if isinstance(methods, list) and method in methods]
    return {
        **told,
        "code_challenge_methods_supported": ["S256"] if isinstance(pkce, list) and "S256" in pkce else [],
        "scopes_supported": list(scopes),
        "capabilities": [*known, *_OF_RESOURCES],
    }


def openid_configuration(origin: str, scopes: tuple[str, ...]) -> dict[str, object]:
    """Describe the same as an OpenID provider (OpenID Connect Discovery section 3)."""
    return {
        **_endpoints(origin, scopes),
        "response_modes_supported": ["query"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": [IDENTITY_ALGORITHM],
        "claims_supported": list(_CLAIMS),
        "prompt_values_supported": list(_PROMPTS),
        "claims_parameter_supported": False,
        "request_parameter_supported": False,
        "request_uri_parameter_supported": False,  # which is true where it is not said
    }


def _endpoints(origin: str, scopes: tuple[str, ...]) -> dict[str, object]:
    return {
        "issuer": origin,
        "jwks_uri": f"{origin}/oauth/jwks",
        "authorization_endpoint": f"{origin}/oauth/authorize",
        "token_endpoint": f"{origin}/oauth/token",
        "introspection_endpoint": f"{origin}/oauth/introspect",
        "revocation_endpoint": f"{origin}/oauth/revoke",
        "token_endpoint_auth_methods_supported": list(METHODS),
        "token_endpoint_auth_signing_alg_values_supported": list(ALGORITHMS),
        "grant_types_supported": ["authorization_code", "refresh_token", "client_credentials"],
        "response_types_supported": ["code"],
        "code_challenge_methods_supported": ["S256"],
        "scopes_supported": list(scopes),
    }
