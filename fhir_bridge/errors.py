"""The error tree: what can go wrong for a caller, with its HTTP status and FHIR issue code.

Statuses and codes follow FHIR R4 http.html and the closed value set
http://hl7.org/fhir/R4/valueset-issue-type.html. A message may reach the EHR: it
names the element, the code and the remedy, never a patient's words, a secret or
the text of a foreign exception.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["fatal", "error", "warning", "information"]


@dataclass(frozen=True)
class Issue:
    """One finding, as OperationOutcome.issue will show it."""

    code: str
    text: str
    at: str | None = None
    severity: Severity = "error"


class BridgeError(Exception):
    """Something the caller must be told. Subclasses say how.

    `at` is the FHIRPath of the element at fault, `retry_after` seconds until a
    repeat makes sense, `issues` further findings when there are several.
    """

    status = 500
    issue = "exception"

    def __init__(
        self,
        text: str,
        *,
        at: str | None = None,
        retry_after: int | None = None,
        issues: tuple[Issue, ...] = (),
    ) -> None:
        super().__init__(text)
        self.text = text
        self.at = at
        self.retry_after = retry_after
        self.issues = issues or (Issue(self.issue, text, at),)


# --- what is wrong with a request -------------------------------------------------------


class Malformed(BridgeError):
    """Not JSON, the wrong JSON type, or an element FHIR does not know."""

    status, issue = 400, "structure"


class Invalid(BridgeError):
    """FHIR content whose findings carry their own codes (required, value, code-invalid, ...)."""

    status, issue = 400, "invalid"


class BadParameter(BridgeError):
    """A search or operation parameter whose value cannot be read."""

    status, issue = 400, "value"


class NotSupported(BridgeError):
    """Known to FHIR, not offered here."""

    status, issue = 400, "not-supported"


class NoSuchRoute(BridgeError):
    """No such resource type, operation or path."""

    status, issue = 404, "not-supported"


class MethodNotAllowed(BridgeError):
    """The path exists, the method does not; `allow` lists those it has."""

    status, issue = 405, "not-supported"

    def __init__(self, text: str, *, allow: tuple[str, ...] = ()) -> None:
        super().__init__(text)
        self.allow = allow


class NotAcceptable(BridgeError):
    """No representation the client accepts."""

    status, issue = 406, "not-supported"


class UnsupportedMediaType(BridgeError):
    """A request body in a format that is not read here."""

    status, issue = 415, "not-supported"


class NoSuchRange(BridgeError):
    """Bytes beyond the end of a content of `size` bytes."""

    status, issue = 416, "value"

    def __init__(self, text: str, *, size: int | None) -> None:
        super().__init__(text)
        self.size = size


class TooLarge(BridgeError):
    """A body over its limit."""

    status, issue = 413, "too-long"


class NotFound(BridgeError):
    """No such resource for this caller."""

    status, issue = 404, "not-found"


class Gone(BridgeError):
    """The resource was deleted."""

    status, issue = 410, "deleted"


class VersionConflict(BridgeError):
    """If-Match named another version than the current one."""

    status, issue = 412, "conflict"


class MultipleMatches(BridgeError):
    """A conditional reference or interaction met more than one resource."""

    status, issue = 412, "multiple-matches"


class Duplicate(BridgeError):
    """The business identifier belongs to a resource with other content."""

    status, issue = 409, "duplicate"


class Busy(BridgeError):
    """A running job holds the resource."""

    status, issue = 409, "conflict"


class WrongOffset(BridgeError):
    """Bytes for another place of an upload than its end."""

    status, issue = 409, "conflict"


class WrongProtocol(BridgeError):
    """A version of the upload protocol that is not spoken here."""

    status, issue = 412, "not-supported"


class BusinessRule(BridgeError):
    """Valid FHIR that a rule of the bridge refuses."""

    status, issue = 422, "business-rule"


class PatchFailed(BridgeError):
    """A patch that does not fit the resource, whose test failed, or that leaves no valid resource."""

    status, issue = 422, "processing"


class UnresolvedReference(BridgeError):
    """A reference that has to resolve does not (ruling 18: 422, never 404)."""

    status, issue = 422, "not-found"


class NotMapped(BridgeError):
    """Valid FHIR for which Corti has no word."""

    status, issue = 422, "not-supported"


class UnusableAudio(BridgeError):
    """Audio that cannot be read, or is not what it was declared to be."""

    status, issue = 422, "value"


# --- who asks ----------------------------------------------------------------------------


class Unauthenticated(BridgeError):
    """No token, or one that does not hold. `challenge` becomes the OAuth error attribute."""

    status, issue = 401, "login"

    def __init__(self, text: str, *, challenge: str | None = None) -> None:
        super().__init__(text)
        self.challenge = challenge


class Expired(Unauthenticated):
    """A token past its `exp`."""

    issue = "expired"


class Forbidden(BridgeError):
    """A valid token without the right. `scope` is what would have been enough."""

    status, issue = 403, "forbidden"

    def __init__(self, text: str, *, scope: str | None = None, at: str | None = None) -> None:
        super().__init__(text, at=at)
        self.scope = scope


class OAuthError(BridgeError):
    """An error answered in OAuth's JSON form on an OAuth route (RFC 6749 section 5.2)."""

    status, issue = 400, "invalid"

    def __init__(self, error: str, text: str, *, status: int = 400) -> None:
        super().__init__(text)
        self.error = error
        self.status = status


class SentBack(OAuthError):
    """An error that the app is told, where it wants the person to be sent (RFC 6749 section 4.1.2.1)."""

    def __init__(self, error: str, text: str, *, redirect_uri: str, state: str | None) -> None:
        super().__init__(error, text)
        self.redirect_uri = redirect_uri
        self.state = state


# --- limits and outages ----------------------------------------------------------------


class Throttled(BridgeError):
    """Too many requests."""

    status, issue = 429, "throttled"


class Overloaded(BridgeError):
    """More than the bridge takes in now, from all together."""

    status, issue = 503, "transient"


class NoSpace(BridgeError):
    """The disk is below its watermark."""

    status, issue = 507, "no-store"


class IssuerUnavailable(BridgeError):
    """An outside issuer, or its keys, cannot be asked about a token."""

    status, issue = 503, "transient"


class StoreUnavailable(BridgeError):
    """The database did not take the write; nothing was kept."""

    status, issue = 503, "transient"


# --- Corti, as seen by the worker; they reach the EHR on a Task ---------------------------


class CortiError(BridgeError):
    """Anything Corti or the way to it did. `retry` says whether a later attempt may succeed."""

    status, issue = 502, "transient"
    retry = False


class CortiUnavailable(CortiError):
    """No answer, a 5xx, a broken connection."""

    status, issue, retry = 503, "transient", True


class CortiTimeout(CortiUnavailable):
    """No answer in time."""

    status, issue = 504, "timeout"


class CortiThrottled(CortiUnavailable):
    """429: too many requests, or an empty balance (corti-api 1.4)."""

    issue = "throttled"


class CortiPaused(CortiUnavailable):
    """Nothing was sent: Corti did not answer lately."""


class CortiLoginFailed(CortiError):
    """Wrong client id, secret, realm or tenant."""

    issue = "login"


class CortiForbidden(CortiError):
    """403: the tenant, scope or product is not Corti's to give to these credentials."""

    issue = "forbidden"


class CortiRefused(CortiError):
    """A 4xx: Corti will not take this request, now or later."""

    issue = "invalid"


class CortiNotFound(CortiRefused):
    """404: Corti does not know the id."""

    issue = "not-found"


class CortiDuplicate(CortiRefused):
    """The encounter identifier is reserved at Corti."""

    issue = "duplicate"


class ConfigRefused(CortiRefused):
    """CONFIG_DENIED and its kin: the stream configuration was not accepted.

    `about` tells what was refused as far as Corti's reason lets us know.
    """

    def __init__(
        self,
        text: str,
        *,
        about: Literal["audio", "language", "other"] = "other",
        at: str | None = None,
    ) -> None:
        super().__init__(text, at=at)
        self.about = about


class CortiNonsense(CortiError):
    """An answer that cannot be what Corti means: a page of something in between, as when it is being mended."""

    issue, retry = "exception", True


# --- our own house ---------------------------------------------------------------------


class BadSetting(BridgeError):
    """A setting, file or command line that cannot work; `at` is its name."""


class Fenced(BridgeError):
    """Another worker owns the job now: this one must stop writing."""


class BlobDamaged(BridgeError):
    """Stored audio is missing or does not verify."""
