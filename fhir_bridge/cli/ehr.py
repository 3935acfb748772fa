"""An EHR as the demo plays it: a SMART backend client that speaks FHIR over HTTP, and nothing else of the bridge."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

import click
import requests
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet

from fhir_bridge import clock, net
from fhir_bridge.errors import BridgeError
from fhir_bridge.fhir.resource.models import Bundle, Model, OperationOutcome, OperationOutcomeIssue, model_of
from fhir_bridge.fhir.resource.reader import read
from fhir_bridge.fhir.resource.writer import write

if TYPE_CHECKING:
    from pathlib import Path

    from fhir_bridge.fhir.resource.reader import Json

M = TypeVar("M", bound=Model)

SCOPE: Final = "system/*.cruds"
FHIR_JSON: Final = "application/fhir+json"
_ASSERTION: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
_LIFE: Final = 240
_SPARE: Final = 60.0  # a token is renewed this long before its end
_READ_SECONDS: Final = 120.0


def new_key() -> ECKey:
    """Make a key for ES384, as SMART wants one (SMART App Launch 2.2, "Asymmetric authentication")."""
    return ECKey.generate_key("P-384", {"kid": clock.new_id(), "use": "sig", "alg": "ES384"})


def public_jwks(key: ECKey) -> str:
    """Return the JWK Set to register."""
    return write(dict(KeySet([key]).as_dict(private=False)))  # type: ignore[arg-type]  # joserfc says object


class Ehr:
    """A client of one bridge. What the bridge refuses ends as one line that tells why."""

    def __init__(self, origin: str, client_id: str, key: ECKey) -> None:
        self._base = f"{origin}/fhir"
        self._client_id = client_id
        self._key = key
        self._session = net.session(read_seconds=_READ_SECONDS)
        self._token_url: str | None = None
        self._renew_at = 0.0

    def create(self, resource: Json) -> str:
        """POST a resource and return its id."""
        type_ = str(resource["resourceType"])
        return self._created(type_, self._send("POST", type_, body=write(resource).encode(), mime=FHIR_JSON))

    def upload(self, file: Path, mime: str) -> str:
        """POST a file as a raw Binary and return its id; the file is sent as it is read."""
        with file.open("rb") as opened:
            return self._created("Binary", self._send("POST", "Binary", body=opened, mime=mime))

    def found(self, kind: type[M], **criteria: str) -> list[M]:
        """Search resources of one type."""
        text = self._send("GET", kind.get_resource_type(), criteria=criteria).text
        return [each for each in entries(text) if isinstance(each, kind)]

    def text(self, path: str, accept: str = FHIR_JSON) -> str:
        """GET what a path below the base has."""
        answer = self._send("GET", path, accept=accept)
        answer.encoding = "utf-8"
        return answer.text

    def _created(self, type_: str, answer: requests.Response) -> str:
        return answer.headers["Location"].partition(f"/{type_}/")[2].partition("/")[0]

    def _send(
        self,
        method: str,
        path: str,
        *,
        criteria: dict[str, str] | None = None,
        body: object = None,
        mime: str | None = None,
        accept: str = FHIR_JSON,
    ) -> requests.Response:
        self._authorize()
        headers = {"Accept": accept} | ({"Content-Type": mime} if mime else {})
        answer = self._asked(method, f"{self._base}/{path}", params=criteria, data=body, headers=headers)
        if not answer.ok:
            raise click.ClickException(f"The bridge refused {method} {path}: {_why(answer)}")
        return answer

    def _asked(self, method: str, url: str, **said: object) -> requests.Response:
        try:
            return self._session.request(method, url, **said)  # type: ignore[arg-type]  # requests takes many kinds
        except requests.RequestException as exc:
            raise click.ClickException(f"{url.partition('?')[0]} does not answer") from exc

    def _authorize(self) -> None:
        """Get an access token when there is none, or it is about to end (SMART "Backend Services")."""
        if clock.monotonic() < self._renew_at:
            return
        form = {
            "grant_type": "client_credentials",
            "scope": SCOPE,
            "client_assertion_type": _ASSERTION,
            "client_assertion": self._assertion(url := self._token_endpoint()),
        }
        answer = self._asked("POST", url, data=form)
        if not answer.ok:
            raise click.ClickException(f"The bridge gave no token: {answer.text}")
        token = answer.json()
        self._session.headers["Authorization"] = f"Bearer {token['access_token']}"
        self._renew_at = clock.monotonic() + float(token["expires_in"]) - _SPARE

    def _token_endpoint(self) -> str:
        if self._token_url is None:
            answer = self._asked("GET", f"{self._base}/.well-known/smart-configuration")
            self._token_url = str(answer.json()["token_endpoint"])
        return self._token_url

    def _assertion(self, audience: str) -> str:
        now = int(clock.now().timestamp())
        claims = {"iss": self._client_id, "sub": self._client_id, "aud": audience, "jti": clock.new_id()}
        header = {"alg": "ES384", "typ": "JWT", "kid": self._key.kid}
        return str(jwt.encode(header, {**claims, "iat": now, "exp": now + _LIFE}, self._key, algorithms=["ES384"]))


def entries(text: str) -> list[Model]:
    """Return the resources of a searchset, all parsed."""
    bundle = model_of(read(text))
    assert isinstance(bundle, Bundle)  # noqa: S101 - a search answers with one
    return [entry.resource for entry in bundle.entry or () if entry.resource is not None]


def worded(outcome: OperationOutcome) -> str:
    """Return what an OperationOutcome says, with the elements it speaks of."""
    return "; ".join(_said(issue) for issue in outcome.issue)


def _said(issue: OperationOutcomeIssue) -> str:
    text = (issue.details and issue.details.text) or issue.diagnostics or issue.code
    elements = ", ".join(one for one in issue.expression or () if one)
    return f"{text} ({elements})" if elements else str(text)


def _why(answer: requests.Response) -> str:
    try:
        outcome = model_of(read(answer.text))
    except BridgeError:
        outcome = None
    return worded(outcome) if isinstance(outcome, OperationOutcome) else f"status {answer.status_code}"
