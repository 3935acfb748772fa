"""What a client learns before it has a token: /.well-known/smart-configuration (SMART 2.2)."""

from __future__ import annotations

from typing import Final

from fhir_bridge.smart.assertion import ALGORITHMS
from fhir_bridge.smart.client import PRIVATE_KEY_JWT, SECRET_METHODS

CAPABILITIES: Final = (
    "client-confidential-asymmetric",
    "client-confidential-symmetric",
    "permission-v1",
    "permission-v2",
)


def smart_configuration(origin: str, scopes: tuple[str, ...]) -> dict[str, object]:
    """Describe the authorization server at `origin`. Only what is served is listed."""
    return {
        "token_endpoint": f"{origin}/oauth/token",
        "jwks_uri": f"{origin}/oauth/jwks",
        "token_endpoint_auth_methods_supported": [PRIVATE_KEY_JWT, *SECRET_METHODS],
        "token_endpoint_auth_signing_alg_values_supported": ALGORITHMS,
        "grant_types_supported": ["client_credentials"],
        "scopes_supported": list(scopes),
        "code_challenge_methods_supported": ["S256"],
        "capabilities": list(CAPABILITIES),
    }
