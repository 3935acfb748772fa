"""Who signed in, what an app was opened on, and what was approved: as values, and as the JSON that is kept of them."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, Final, Literal

from fhir_bridge import clock

if TYPE_CHECKING:
    from collections.abc import Callable

_RANDOM_BYTES: Final = 32


def unguessable() -> str:
    """Make a code, a token or an id that nobody can guess: 256 random bits as text."""
    return clock.token_bytes(_RANDOM_BYTES).hex()


def digest_of(text: str) -> str:
    """Return what is kept of a code, token or cookie. They are 256 random bits: one SHA-256 is enough."""
    return sha256(text.encode("utf-8", "replace")).hexdigest()


@dataclass(frozen=True)
class Person:
    """Somebody who signed in. `name` is theirs alone at this bridge, and the `sub` of their id_tokens.

    `fhir_user` is the resource that stands for them, such as Practitioner/1; `shown` what pages
    call them, where that is not their name.
    """

    name: str
    tenant: str
    fhir_user: str | None = None
    shown: str | None = None

    @property
    def user(self) -> str:
        """Whom tokens and the audit name."""
        return self.fhir_user or self.name

    @property
    def patient(self) -> str | None:
        """The id of the Patient that this person is."""
        kind, _, id_ = (self.fhir_user or "").partition("/")
        return id_ if kind == "Patient" else None

    @property
    def is_staff(self) -> bool:
        """Tell whether this is somebody who cares for patients, and not one of them or theirs."""
        return (self.fhir_user or "").partition("/")[0] not in {"Patient", "RelatedPerson", "Person"}

    def text(self) -> str:
        """Write it as JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def read(cls, text: str) -> Person:
        """Read what `text` wrote."""
        return cls(**json.loads(text))


@dataclass(frozen=True)
class Context:
    """What an app is opened on (SMART App Launch 2.2, "Launch context arrives with your access_token").

    `user` is for whom an EHR opened it: nobody else may sign in to it.
    """

    patient: str | None = None
    encounter: str | None = None
    user: str | None = None
    intent: str | None = None
    need_patient_banner: bool = True
    fhir_context: tuple[dict[str, object], ...] = ()

    def text(self) -> str:
        """Write it as JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def read(cls, text: str) -> Context:
        """Read what `text` wrote."""
        return _context(json.loads(text))

    def members(self) -> dict[str, object]:
        """Return what a token answer tells of it."""
        told: dict[str, object] = {"patient": self.patient, "encounter": self.encounter, "intent": self.intent}
        if self.patient:
            told["need_patient_banner"] = self.need_patient_banner
        told["fhirContext"] = list(self.fhir_context)
        return {name: value for name, value in told.items() if value or value is False}


def _context(members: dict[str, object]) -> Context:
    return Context(**{**members, "fhir_context": tuple(members["fhir_context"])})  # type: ignore[arg-type]  # as asdict wrote it


@dataclass(frozen=True)
class Ask:
    """An authorization request that is in order; `launch` is the digest of what the EHR launched.

    `away` is the secret of a sign-in that was begun at an OpenID provider and has not come back.
    """

    client: str
    tenant: str
    redirect_uri: str
    scope: str
    challenge: str
    state: str | None = None
    nonce: str | None = None
    launch: str | None = None
    prompt: tuple[str, ...] = ()
    away: str | None = None
    not_before: float = 0.0  # seconds; a person who signed in before that signs in again
    context: Context = field(default_factory=Context)

    def text(self) -> str:
        """Write it as JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def read(cls, text: str) -> Ask:
        """Read what `text` wrote."""
        members = json.loads(text)
        return cls(**{**members, "context": _context(members["context"]), "prompt": tuple(members["prompt"])})


@dataclass(frozen=True)
class Approval:
    """A person's yes: `scope` is what the person left of what was asked, `auth_time` when they signed in."""

    id: str
    client: str
    redirect_uri: str
    challenge: str
    scope: str
    person: Person
    context: Context
    auth_time: int
    nonce: str | None = None

    @property
    def words(self) -> list[str]:
        """The words of the scope."""
        return self.scope.split()

    def text(self) -> str:
        """Write it as JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def read(cls, text: str) -> Approval:
        """Read what `text` wrote."""
        members = json.loads(text)
        return cls(**{**members, "context": _context(members["context"]), "person": Person(**members["person"])})


@dataclass(frozen=True)
class Ticket:
    """A code or refresh token that was handed in for tokens, as Authlib's grants ask about it."""

    digest: str
    kind: Literal["code", "refresh"]
    approval: Approval
    good: bool
    used: bool
    exp: int

    def get_redirect_uri(self) -> str:
        """Where the code was sent, which has to be named again (RFC 6749 section 4.1.3)."""
        return self.approval.redirect_uri

    def get_scope(self) -> str:
        """To what the person said yes."""
        return self.approval.scope


@dataclass(frozen=True)
class Approvals:
    """What was approved, as the flows ask about it and change it."""

    by_id: Callable[[str], Approval | None]
    by_code: Callable[[str], Ticket | None]
    by_refresh: Callable[[str], Ticket | None]
    redeem: Callable[[Ticket, str | None], bool]  # with the digest of the next refresh token, if there is to be one
    revoke: Callable[[str], None]
    revoke_token: Callable[[str, int], None]  # jti, exp
    is_revoked: Callable[[str | None, str | None], bool]  # jti, approval
