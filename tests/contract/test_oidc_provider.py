"""npm oidc-provider as outside issuer, by its keys and by introspection, and as the place where people sign in."""

from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import contextmanager
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin

import pytest
import requests

from fhir_bridge.app import create_app
from fhir_bridge.smart.provider import Provider
from fhir_bridge.trusted import SignInProvider, TrustedIssuer

if TYPE_CHECKING:
    from collections.abc import Iterator

INTEROP = Path(__file__).parents[2] / "interop"
NODE = shutil.which("node")
ORIGIN = "http://127.0.0.1:8080"
BASE = f"{ORIGIN}/fhir"
BACK = f"{ORIGIN}/oauth/sign-in/back"
SECRET = "a secret of this provider alone"
ANOTHER = "urn:another-resource"

pytestmark = [
    pytest.mark.interop,
    pytest.mark.skipif(NODE is None, reason="node is not installed"),
    pytest.mark.skipif(not (INTEROP / "node_modules" / "oidc-provider").is_dir(), reason="run `make interop`"),
]


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    with oidc_provider(BACK) as origin:
        yield origin


@contextmanager
def oidc_provider(back: str) -> Iterator[str]:
    """Run it, with the bridge as a client that takes people up at `back`; tell where it is."""
    given = {"FHIR_BASE": BASE, "SECRET": SECRET, "BACK": back, "PATH": os.environ["PATH"]}
    called = [str(NODE), str(INTEROP / "oidc-provider.mjs")]
    with subprocess.Popen(called, env=given, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:  # noqa: S603 - our own script
        try:
            origin = process.stdout.readline().strip() if process.stdout else ""
            while "http://127.0.0.1" not in origin and process.poll() is None:
                origin = process.stdout.readline().strip()
            yield origin
        finally:
            process.terminate()
            process.wait(15)


def token(issuer: str, **form: str) -> str:
    asked = {"grant_type": "client_credentials", "client_id": "ehr", "client_secret": SECRET} | form
    answer = requests.post(f"{issuer}/token", data=asked, timeout=20)
    assert answer.status_code == 200, answer.text
    return answer.json()["access_token"]


ASKS = {"verify": "introspection", "client_id": "bridge", "client_secret": SECRET, "audience": ANOTHER}


@pytest.mark.parametrize(
    ("about", "resource"), [({}, BASE), (ASKS, ANOTHER)], ids=["JWT by its keys", "opaque by introspection"]
)
def test_a_backend_s_token_opens_what_its_scopes_say(sqlite_settings, issuer, about, resource):
    trusted = TrustedIssuer(issuer=issuer, algorithms="ES256", **about)
    changes = {"public_url": ORIGIN, "allow_private_endpoints": True, "trusted_issuers": (trusted,)}
    app = create_app(sqlite_settings.model_copy(update=changes))
    scope = "system/Encounter.rs"
    reads, elsewhere = token(issuer, scope=scope, resource=resource), token(issuer, scope=scope, resource="urn:other")
    assert (reads.count(".") == 2) == (resource == BASE)

    def use(sent: str, path: str = "Encounter") -> int:
        return app.test_client().get(f"/fhir/{path}", headers={"Authorization": f"Bearer {sent}"}).status_code

    assert [use(reads), use(reads, "Patient"), use(elsewhere), use(reads[:-3])] == [200, 403, 401, 401]
    assert app.extensions["fhir-bridge-tokens"].grant(reads).client == f"{issuer}#ehr"
    app.extensions["fhir-bridge"].store.close()


def test_a_person_signs_in_there(issuer):
    known = SignInProvider(
        issuer=issuer, client_id="bridge", client_secret=SECRET, algorithms="ES256", scope="openid", tenant="north"
    )
    provider = Provider(known, ORIGIN, allow_private=True)
    back = signed_in(provider.url("a secret", "visit"), login="holm")
    person = provider.person("a secret", "visit", back)
    assert (person.name, person.tenant, person.fhir_user) == (f"{issuer}#holm", "north", "Practitioner/holm")


class Form(HTMLParser):
    """The first form of a page whose action ends in `action`: where it goes, and what it sends by itself."""

    def __init__(self, text: str, action: str = "") -> None:
        super().__init__()
        self.action = ""
        self.fields: dict[str, str] = {}
        self._wanted, self._open = action, False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = {name: value or "" for name, value in attrs}
        if tag == "form" and not self.action and told["action"].endswith(self._wanted):
            self.action, self._open = told["action"], True
        elif tag == "input" and "name" in told and self._open:
            self.fields.setdefault(told["name"], told.get("value", ""))

    def handle_endtag(self, tag: str) -> None:
        self._open = self._open and tag != "form"


def signed_in(url: str, browser: requests.Session | None = None, back: str = BACK, **filled: str) -> str:
    """Go through the pages of a provider as a browser would; return where it sends back."""
    browser = browser or requests.Session()
    answer: Any = browser.get(url, timeout=20, allow_redirects=False)
    for _ in range(12):
        for cookie in browser.cookies:
            cookie.secure = False  # browsers take the loopback for a place where secure cookies may go
        if answer.is_redirect:
            url = urljoin(answer.url, answer.headers["Location"])
            if url.startswith(back):
                return url
            answer = browser.get(url, timeout=20, allow_redirects=False)
            continue
        form = Form(answer.text)
        assert form.action, answer.text
        sent = form.fields | {name: value for name, value in filled.items() if name in form.fields}
        answer = browser.post(urljoin(answer.url, form.action), data=sent, timeout=20, allow_redirects=False)
    raise AssertionError("the pages lead in circles")
