"""A person with a browser and an app, as far as HTTP goes: forms are read from the pages and sent as they are."""

from __future__ import annotations

import base64
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlencode, urlsplit

from fhir_bridge import clock
from fhir_bridge.smart.password import hashed
from fhir_bridge.store import oauth

if TYPE_CHECKING:
    from flask.testing import FlaskClient

    from fhir_bridge.verbs.bridge import Bridge

ORIGIN = "http://127.0.0.1:8080"
BASE = f"{ORIGIN}/fhir"
CALLBACK = "https://app.example/callback"
SCOPE = "openid fhirUser launch/patient patient/*.rs user/Practitioner.rs offline_access"
PASSWORD = "correct horse"
HASH = hashed(PASSWORD)


class Later(clock.Clock):
    """Some seconds on."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return super().monotonic() + self.seconds


class _Reader(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[dict[str, Any]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        told = {name: value if value is not None else "" for name, value in attrs}
        if tag == "form":
            self.forms.append({"action": told["action"], "fields": [], "buttons": []})
        elif tag == "input" and "name" in told and self.forms:
            self.forms[-1]["fields"].append(told)
        elif tag == "button" and self.forms:
            self.forms[-1]["buttons"].append(told)


@dataclass
class Page:
    """What the browser shows."""

    status: int
    headers: dict[str, str]
    text: str
    path: str

    @property
    def forms(self) -> list[dict[str, Any]]:
        reader = _Reader()
        reader.feed(self.text)
        return reader.forms

    def form(self, action: str, index: int = 0) -> dict[str, Any]:
        return [form for form in self.forms if form["action"].endswith(action)][index]

    @property
    def scopes(self) -> list[str]:
        return [one["value"] for one in self.form("/oauth/consent")["fields"] if one["name"] == "scope"]


@dataclass
class Browser:
    """One browser, with its cookies."""

    http: FlaskClient
    left: str | None = None  # where an app was reached

    def go(self, url: str, **sent: Any) -> Page:
        """Open a URL on the bridge and follow where it leads, until a page or an app."""
        url = url if "://" in url else ORIGIN + url
        method = "POST" if sent else "GET"
        for _ in range(8):
            answer = self.http.open(url, method=method, **sent)
            if answer.status_code != 303:
                return Page(answer.status_code, dict(answer.headers), answer.get_data(as_text=True), url)
            url, method, sent = answer.headers["Location"], "GET", {}
            if not url.startswith(f"{ORIGIN}/oauth/"):
                self.left = url
                return Page(303, dict(answer.headers), "", url)
        raise AssertionError("the bridge leads in circles")

    def submit(self, page: Page, action: str, /, *, index: int = 0, **values: Any) -> Page:
        """Send a form as the page has it, with what the person filled in."""
        form = page.form(action, index)
        sent: dict[str, Any] = {}
        for one in form["fields"]:
            if one.get("type") == "checkbox":
                sent.setdefault(one["name"], []).append(one["value"])
            elif one.get("type") != "radio":
                sent[one["name"]] = one.get("value", "")
        return self.go(form["action"], data=sent | values)

    def sign_in(self, page: Page, name: str, password: str = PASSWORD) -> Page:
        return self.submit(page, "/oauth/sign-in", name=name, password=password)

    @property
    def told(self) -> dict[str, str]:
        """What the app was told in its URL."""
        return {name: values[0] for name, values in parse_qs(urlsplit(self.left or "").query).items()}


@dataclass
class App:
    """A registered app."""

    http: FlaskClient
    id: str
    scope: str = SCOPE
    redirect_uri: str = CALLBACK
    verifier: str = field(default_factory=lambda: clock.token_bytes(32).hex())

    @property
    def challenge(self) -> str:
        return base64.urlsafe_b64encode(sha256(self.verifier.encode()).digest()).decode().rstrip("=")

    def asks(self, **changes: Any) -> dict[str, Any]:
        sent = {
            "response_type": "code",
            "client_id": self.id,
            "redirect_uri": self.redirect_uri,
            "scope": self.scope,
            "state": "state of a test",
            "aud": BASE,
            "code_challenge": self.challenge,
            "code_challenge_method": "S256",
        } | changes
        return {name: value for name, value in sent.items() if value is not None}

    def exchange(self, code: str, **changes: Any) -> Any:
        sent = {"grant_type": "authorization_code", "code": code, "redirect_uri": self.redirect_uri}
        sent |= {"code_verifier": self.verifier, "client_id": self.id} | changes
        return self.post({name: value for name, value in sent.items() if value is not None})

    def refresh(self, token: str, **changes: Any) -> Any:
        return self.post({"grant_type": "refresh_token", "refresh_token": token, "client_id": self.id} | changes)

    def post(self, form: dict[str, Any], **sent: Any) -> Any:
        return self.http.post("/oauth/token", data=form, **sent)


def begin(browser: Browser, app: App, **changes: Any) -> Page:
    """Let an app send the person to the bridge."""
    return browser.go("/oauth/authorize?" + urlencode(app.asks(**changes), doseq=True))


def add_user(bridge: Bridge, name: str = "holm", fhir_user: str | None = "Practitioner/holm", **more: Any) -> str:
    user = oauth.User(name, more.get("tenant", "default"), HASH, 0, fhir_user)
    bridge.store.write(lambda conn: oauth.add_user(conn, user))
    return name


def add_app(bridge: Bridge, http: FlaskClient, scope: str = SCOPE, **registered: Any) -> App:
    name = f"app-{clock.new_id()[:8]}"
    given = {"redirect_uris": (CALLBACK,), "tenant": "default", "name": "Heart"} | registered
    client = oauth.Client(id=name, scope=scope, created_ms=0, **given)
    bridge.store.write(lambda conn: oauth.add_client(conn, client))
    return App(http, name, scope, given["redirect_uris"][0])


def let_in(browser: Browser, app: App, patient: str | None = None, **changes: Any) -> str:
    """Have Holm say yes to all that an app asks, and return the code."""
    page = begin(browser, app, **changes)
    if page.text and "<h1>Sign in</h1>" in page.text:
        page = browser.sign_in(page, "holm")
    if "<h1>Choose a patient</h1>" in page.text:
        page = browser.submit(page, "/oauth/patient", index=1, patient=patient)
    browser.submit(page, "/oauth/consent", answer="allow")
    return browser.told["code"]
