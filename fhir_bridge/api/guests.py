"""Who is let in to try the bridge, with `serve --sandbox` on a loopback address and nowhere else.

They are kept in no database: a bridge that is started otherwise on the same data knows nothing of them.
"""

from __future__ import annotations

from functools import cache
from typing import Final

from fhir_bridge.fhir.rest.openapi import PERSONAL
from fhir_bridge.smart.client import Client
from fhir_bridge.smart.password import hashed
from fhir_bridge.store import oauth
from fhir_bridge.store.schema import DEFAULT_TENANT

NAME: Final = "demo"  # and password
SWAGGER: Final = "swagger-ui"  # client_id of the page at /docs
REDIRECT: Final = "/docs/assets/oauth2-redirect.html"


@cache
def user() -> oauth.User:
    """Return the one person there is."""
    return oauth.User(NAME, DEFAULT_TENANT, hashed(NAME), 0)


def swagger(origin: str) -> Client:
    """Return the app that Swagger UI is."""
    return Client(
        SWAGGER, DEFAULT_TENANT, " ".join(PERSONAL), redirect_uris=(f"{origin}{REDIRECT}",), name="Swagger UI"
    )
