"""Signing in with a name and a password that the bridge itself keeps."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from fhir_bridge.api.guard import bridge, tokens
from fhir_bridge.api.oauth.door import told
from fhir_bridge.smart.approval import Person
from fhir_bridge.smart.password import is_right
from fhir_bridge.store import sign_in
from fhir_bridge.verbs import audit

if TYPE_CHECKING:
    from fhir_bridge.api.oauth.door import Visit

LONGEST_NAME: Final = 128
LONGEST_PASSWORD: Final = 1024


@dataclass(frozen=True)
class Refusal:
    """Why somebody was not let in, as they are told; never which of name and password was wrong."""

    text: str
    status: int
    retry_after: int | None = None


ELSEWHERE: Final = Refusal("The people of this organisation sign in there.", 403)
WRONG: Final = Refusal("Name and password do not belong together.", 403)


def judged(visit: Visit, name: str, password: str) -> Person | Refusal:
    """Find who has this name and password; of another tenant than the app's, nobody has."""
    if visit.ask.tenant in tokens().providers:
        return ELSEWHERE
    if not 0 < len(name) <= LONGEST_NAME or not name.isprintable() or not 0 < len(password) <= LONGEST_PASSWORD:
        return WRONG
    store = bridge().store.of(visit.ask.tenant)
    locked_ms = store.write(lambda conn: sign_in.attempt(conn, name))
    if locked_ms:
        tell(visit, 429)
        minutes = -(-locked_ms // 60_000)
        return Refusal(f"Too many attempts. Try again in {minutes} min.", 429, -(-locked_ms // 1000))
    user = tokens().find_user(name)
    right = is_right(password, user.password_hash if user else None)
    if user is None or not right or user.tenant != visit.ask.tenant:
        tell(visit, 403)
        return WRONG
    store.write(lambda conn: sign_in.succeeded(conn, name))
    return Person(user.name, user.tenant, user.fhir_user)


def tell(visit: Visit, status: int) -> None:
    """Let the audit keep that somebody was not let in."""
    row = told("sign-in", visit, status=status)
    bridge().store.of(visit.ask.tenant).write(lambda conn: audit.record(conn, [row]))
