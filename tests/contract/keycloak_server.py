"""A real Keycloak, as `make interop` fetches it: started once, with realms that are written here."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests

if TYPE_CHECKING:
    from collections.abc import Iterator

HOME = Path(__file__).parents[2] / "interop" / "keycloak" / "home"
STARTS_WITHIN = 300.0
SECRET = "a secret of this realm alone"
PASSWORD = "a password of this realm alone"
SCOPES = ("system/*.cruds", "system/Encounter.rs", "user/*.rs", "patient/*.rs")


def is_there() -> bool:
    return shutil.which("java") is not None and (HOME / "bin" / "kc.sh").is_file()


@dataclass(frozen=True)
class Keycloak:
    """Where it listens."""

    origin: str

    def issuer(self, realm: str = "hospital") -> str:
        return f"{self.origin}/realms/{realm}"

    def token(self, client: str, realm: str = "hospital", **form: str) -> dict[str, Any]:
        """Ask for tokens as a confidential client."""
        url = f"{self.issuer(realm)}/protocol/openid-connect/token"
        asked = {"client_id": client, "client_secret": SECRET, "grant_type": "client_credentials"} | form
        answer = requests.post(url, data=asked, timeout=20)
        assert answer.status_code == 200, answer.text
        return answer.json()


@contextmanager
def running(base: str) -> Iterator[Keycloak]:
    """Start it with the realms; `base` is the FHIR base that its tokens are for."""
    wanted = HOME / "data" / "import"
    wanted.mkdir(parents=True, exist_ok=True)
    for realm in (hospital(base), corti()):
        (wanted / f"{realm['realm']}.json").write_text(json.dumps(realm))
    port = _free_port()
    called = ["bash", str(HOME / "bin" / "kc.sh"), "start", "--optimized", "--import-realm", "--cache=local"]
    called += ["--http-enabled=true", "--hostname-strict=false", "--http-host=127.0.0.1", f"--http-port={port}"]
    with (HOME / "log.txt").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - our own words
            called, stdout=log, stderr=log, start_new_session=True, env=os.environ | {"JAVA_OPTS_KC_HEAP": "-Xmx512m"}
        )
        try:
            _wait(process, f"http://127.0.0.1:{port}/realms/hospital")
            yield Keycloak(f"http://127.0.0.1:{port}")
        finally:
            os.killpg(process.pid, signal.SIGTERM)
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(15)


def _wait(process: subprocess.Popen, url: str) -> None:
    ends = time.monotonic() + STARTS_WITHIN
    while time.monotonic() < ends:
        assert process.poll() is None, (HOME / "log.txt").read_text()[-3000:]
        try:
            if requests.get(url, timeout=5).status_code == 200:
                return
        except requests.RequestException:
            pass
        time.sleep(0.5)
    raise AssertionError((HOME / "log.txt").read_text()[-3000:])


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return found.getsockname()[1]


def hospital(base: str) -> dict[str, Any]:
    """The realm of docs/security/issuers.md: SMART scopes, the audience, people with fhirUser and patient."""
    return {
        "realm": "hospital",
        "enabled": True,
        "clientScopes": [*map(_scope, SCOPES), {**_scope("bridge", shown="false"), "protocolMappers": _mappers(base)}],
        "clients": [
            _client("ehr-backend", serviceAccountsEnabled=True),
            _client("elsewhere", serviceAccountsEnabled=True, defaultClientScopes=[]),
            _client("app", directAccessGrantsEnabled=True),
            _client(
                "bridge",
                standardFlowEnabled=True,
                redirectUris=["http://127.0.0.1:*"],
                attributes={"pkce.code.challenge.method": "S256"},
            ),
        ],
        "users": [_person("clinician", "Practitioner/1"), _person("nobody", None)],
        "components": {"org.keycloak.userprofile.UserProfileProvider": [_free_attributes()]},
    }


def corti() -> dict[str, Any]:
    """A realm such as Corti has for each tenant."""
    client = _client("corti-client", serviceAccountsEnabled=True, defaultClientScopes=[], optionalClientScopes=[])
    return {"realm": "base", "enabled": True, "accessTokenLifespan": 300, "clients": [client]}


def _scope(name: str, shown: str = "true") -> dict[str, Any]:
    return {"name": name, "protocol": "openid-connect", "attributes": {"include.in.token.scope": shown}}


def _mappers(base: str) -> list[dict[str, Any]]:
    told = {"access.token.claim": "true", "introspection.token.claim": "true", "id.token.claim": "true"}

    def mapper(name: str, kind: str, **config: str) -> dict[str, Any]:
        return {"name": name, "protocol": "openid-connect", "protocolMapper": kind, "config": told | config}

    def attribute(name: str) -> dict[str, Any]:
        config = {"user.attribute": name, "claim.name": name, "jsonType.label": "String"}
        return mapper(name, "oidc-usermodel-attribute-mapper", **config)

    return [
        mapper("sub", "oidc-sub-mapper"),
        mapper("audience", "oidc-audience-mapper", **{"included.custom.audience": base, "id.token.claim": "false"}),
        # Keycloak tells nobody about tokens that are not for them.
        mapper("asker", "oidc-audience-mapper", **{"included.client.audience": "bridge", "id.token.claim": "false"}),
        attribute("fhirUser"),
        attribute("patient"),
    ]


def _client(name: str, **more: Any) -> dict[str, Any]:
    made = {
        "clientId": name,
        "secret": SECRET,
        "publicClient": False,
        "standardFlowEnabled": False,
        "directAccessGrantsEnabled": False,
        "defaultClientScopes": ["bridge"],
        "optionalClientScopes": list(SCOPES),
    }
    return made | more


def _person(name: str, fhir_user: str | None) -> dict[str, Any]:
    return {
        "username": name,
        "enabled": True,
        "email": f"{name}@hospital.example",
        "emailVerified": True,
        "firstName": "A",
        "lastName": name,
        "credentials": [{"type": "password", "value": PASSWORD, "temporary": False}],
        "attributes": {"fhirUser": [fhir_user], "patient": ["p-1"]} if fhir_user else {},
    }


def _free_attributes() -> dict[str, Any]:
    """Let people have attributes that the realm does not list."""
    plain = {"permissions": {"view": ["admin", "user"], "edit": ["admin", "user"]}}
    names = ("username", "email", "firstName", "lastName")
    profile = {"attributes": [{"name": name, **plain} for name in names], "unmanagedAttributePolicy": "ENABLED"}
    return {
        "providerId": "declarative-user-profile",
        "config": {"kc.user.profile.config": [json.dumps(profile)]},
    }
