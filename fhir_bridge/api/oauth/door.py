"""The door: an app sends a person here, who signs in and is sent on from question to question.

What an app asks is kept in the store under an id that the URLs and forms carry; it belongs to
the browser that took it up first, known by its cookie. So a form that was sent by another page,
or in another browser, is not heard.

Whatever way a person signs in by ends in `signed_in`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from flask import Response, g, request

from fhir_bridge.api.guard import bridge, tokens
from fhir_bridge.errors import OAuthError, SentBack
from fhir_bridge.smart.approval import Ask, Person, digest_of, unguessable
from fhir_bridge.smart.authorize import back
from fhir_bridge.smart.consent import next_step, settled
from fhir_bridge.store import sign_in
from fhir_bridge.store.audit import AuditRow
from fhir_bridge.store.versions import now_ms
from fhir_bridge.verbs import audit

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from fhir_bridge.smart.client import Client

COOKIE: Final = "fhir_bridge_sign_in"
_OVER: Final = "This sign-in is over, or was begun in another browser: go back to the app and start again"


@dataclass(frozen=True)
class Visit:
    """A person at the door: what is asked by which app, in which browser, and who it is, once that is known."""

    id: str
    browser: str
    ask: Ask
    client: Client
    person: Person | None = None
    signed_in_ms: int = 0

    @property
    def known(self) -> Person:
        """Who it is.

        Raises:
            OAuthError: that is not known, or not any more.
        """
        if self.person is None:
            raise OAuthError("invalid_request", _OVER)
        return self.person


def arrive(ask: Ask) -> Response:
    """Keep what an app asks, and send the person to sign in."""
    id_ = unguessable()
    bridge().store.of(ask.tenant).write(lambda conn: sign_in.add_ask(conn, digest_of(id_), ask.text()))
    return _to("sign-in", id_)


def at_the_door() -> Visit:
    """Return the visit that this request belongs to; one that nobody took up yet is this browser's."""
    cookie = request.cookies.get(COOKIE)
    if not cookie:
        cookie = g.new_cookie = unguessable()
    id_ = request.args.get("ask", "")
    browser = digest_of(cookie)

    def come(conn: Connection) -> None:
        sign_in.take_up(conn, digest_of(id_), browser)
        sign_in.see(conn, browser)

    bridge().store.of_all().write(come)
    return _visit(id_, browser)


def inside() -> Visit:
    """Return the visit that this request belongs to, as far as it has come.

    Raises:
        OAuthError: it is over, or another browser's.
    """
    return returned(request.values.get("ask", ""))


def returned(id_: str) -> Visit:
    """Return the visit that somebody comes back to from elsewhere.

    Raises:
        OAuthError: it is over, or another browser's.
    """
    return _visit(id_, digest_of(request.cookies.get(COOKIE, "")))


def away(visit: Visit, secret: str | None) -> None:
    """Note that the person is sent elsewhere with this secret, or with None that they came back."""
    ask = replace(visit.ask, away=secret)
    bridge().store.of(visit.ask.tenant).write(lambda conn: sign_in.change_ask(conn, digest_of(visit.id), ask.text()))


def _visit(id_: str, browser: str) -> Visit:
    everyone = bridge().store.of_all()
    kept, session = everyone.read(
        lambda conn: (sign_in.ask(conn, digest_of(id_), browser), sign_in.session(conn, browser))
    )
    ask = Ask.read(kept) if kept else None
    client = tokens().find_client(ask.client) if ask else None
    if ask is None or client is None:
        raise OAuthError("invalid_request", _OVER)
    visit = Visit(id_, browser, ask, client)
    if session is None or session.tenant != ask.tenant or session.began_ms < ask.not_before * 1000:
        return visit
    person = Person.read(session.body)
    return replace(visit, ask=settled(ask, person), person=person, signed_in_ms=session.began_ms)


def signed_in(visit: Visit, person: Person) -> Response:
    """Let a person in who proved who they are, in whatever way; this is where all ways end.

    Raises:
        OAuthError: the person is of another tenant than the app.
    """
    if person.tenant != visit.ask.tenant:
        raise OAuthError("access_denied", "This app is not for the organisation of whoever signed in", status=403)
    cookie, now = unguessable(), now_ms()
    new = sign_in.Session(digest_of(cookie), person.tenant, person.text(), now, now)
    row = told("sign-in", visit, person=person)

    def begin(conn: Connection) -> None:
        sign_in.begin_session(conn, new, former=visit.browser)
        audit.record(conn, [row])

    bridge().store.of_all().write(begin)  # who was signed in before may be another tenant's
    g.new_cookie = cookie
    return _to("sign-in", visit.id)


def onward(visit: Visit) -> Response:
    """Send the person to what there is to ask next.

    Raises:
        SentBack: there is something to ask, and the app wants nothing asked.
    """
    if "none" in visit.ask.prompt:
        named = "consent_required" if visit.person else "login_required"
        text = "The person has to answer, which prompt=none rules out"
        raise SentBack(named, text, redirect_uri=visit.ask.redirect_uri, state=visit.ask.state)
    return _to(next_step(visit.ask, visit.known), visit.id)


def chosen(visit: Visit, **context: str | None) -> Response:
    """Note what the person chose, and go on."""
    ask = replace(visit.ask, context=replace(visit.ask.context, **context))  # type: ignore[arg-type]  # patient and encounter alone
    bridge().store.of(visit.ask.tenant).write(lambda conn: sign_in.change_ask(conn, digest_of(visit.id), ask.text()))
    return onward(replace(visit, ask=ask))


def signed_out(visit: Visit) -> Response:
    """End the session of this browser, and begin again."""
    bridge().store.of_all().write(lambda conn: sign_in.end_session(conn, visit.browser))
    return _to("sign-in", visit.id)


def sent_back(failure: SentBack) -> Response:
    """Tell the app what went wrong."""
    text = failure.text
    target = back(failure.redirect_uri, error=failure.error, error_description=text, state=failure.state)
    return leaving(target)


def leaving(target: str) -> Response:
    """Send the person back to the app, with 303: what was posted here is not posted there (RFC 9700 section 4.12)."""
    return Response(status=303, headers={"Location": target, "Referrer-Policy": "no-referrer"})


def told(verb: str, visit: Visit, *, person: Person | None = None, status: int = 200) -> AuditRow:
    """Return what the audit keeps of what happened at the door."""
    patient = visit.ask.context.patient if person else None
    row = AuditRow(
        visit.ask.tenant,
        g.request_id,
        verb,
        status,
        client=visit.ask.client,
        user=person.user if person else None,
        patient=f"Patient/{patient}" if patient else None,
    )
    return audit.current().completed(row)


def bake(answer: Response) -> Response:
    """Give the browser its cookie: for the door alone, unseen by scripts, never sent by other sites' forms."""
    cookie: str | None = g.pop("new_cookie", None)
    if cookie is not None:
        url = urlsplit(bridge().origin)
        secure = url.scheme == "https"
        answer.set_cookie(COOKIE, cookie, path=f"{url.path}/oauth", secure=secure, httponly=True, samesite="Lax")
    return answer


def _to(step: str, id_: str) -> Response:
    return leaving(f"{bridge().origin}/oauth/{step}?ask={id_}")
