"""What a person is asked on the way to an app, and what their answer gives it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Final, Literal, NoReturn

from fhir_bridge.errors import SentBack
from fhir_bridge.smart import scope as scopes

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fhir_bridge.smart.approval import Ask, Person
    from fhir_bridge.smart.scope import Scope

Step = Literal["patient", "encounter", "consent"]

# Told by what was chosen, not asked for: they say in which context the rest is meant.
_CONTEXT: Final = ("launch", "launch/patient", "launch/encounter")
# Words that are asked for together, and in which words.
_TOGETHER: Final = {
    ("openid", "fhirUser", "profile"): "Know who you are",
    ("offline_access",): "Go on after you have left, until you or the hospital withdraw it",
    ("online_access",): "Go on for as long as you are signed in here",
}
_RIGHTS: Final = {"c": "create", "r": "read", "u": "change", "d": "delete", "s": "search"}
_LEVELS: Final = {"patient": "of this patient", "user": "that you may see"}


def offered(ask: Ask, person: Person) -> tuple[str, ...]:
    """Return what this person can give of what was asked.

    Who is no staff has no more than their own record to give, and who is not known as a
    patient has none here.
    """
    words = ask.scope.split()
    if not person.is_staff:
        words = [word for word in words if not word.startswith("user/")]
        words = words if person.patient else [word for word in words if not word.startswith("patient/")]
    if person.fhir_user is None:
        words = [word for word in words if word not in {"fhirUser", "profile"}]
    return tuple(words)


def settled(ask: Ask, person: Person) -> Ask:
    """Fill in what is no choice: somebody who is a patient is in their own record.

    Raises:
        SentBack: the EHR opened this for somebody else, or on somebody else.
    """
    patient, meant = person.patient, ask.context.user
    if meant is not None and meant not in {person.user, person.name}:
        _refuse(ask, "The EHR opened this for another person than the one who signed in")
    if patient is None:
        return ask
    if ask.context.patient not in {None, patient}:
        _refuse(ask, "The record of somebody else was opened")
    return replace(ask, context=replace(ask.context, patient=patient))


def next_step(ask: Ask, person: Person) -> Step:
    """Tell what there is to ask; whatever is granted of a patient needs one in context (SMART 2.2)."""
    words = offered(ask, person)
    if ask.context.patient is None and any(word.startswith(("patient/", "launch/patient")) for word in words):
        return "patient"
    if ask.context.encounter is None and "launch/encounter" in words:
        return "encounter"
    return "consent"


def choices(ask: Ask, person: Person) -> tuple[tuple[str, str], ...]:
    """Return what is put to the person: the words that stand for each choice, and the choice in plain words."""
    words = offered(ask, person)
    together = [(" ".join(word for word in group if word in words), told) for group, told in _TOGETHER.items()]
    each = [(str(scope), _told(scope)) for scope in scopes.parse(" ".join(words))]
    return (*each, *(choice for choice in together if choice[0]))


def agreed(ask: Ask, person: Person, chosen: Iterable[str]) -> str:
    """Return the scope that the person left.

    Raises:
        SentBack: it is nothing.
    """
    left = {word for choice in chosen for word in choice.split()}
    words = offered(ask, person)
    kept = [word for word in words if word in left and word not in _CONTEXT]
    if not any("/" in word or word == "openid" for word in kept):
        _refuse(ask, "The person gave no access")
    return " ".join([*(word for word in words if word in _CONTEXT), *kept])


def _refuse(ask: Ask, text: str) -> NoReturn:
    raise SentBack("access_denied", text, redirect_uri=ask.redirect_uri, state=ask.state)


def _told(scope: Scope) -> str:
    rights = [_RIGHTS[right] for right in scope.rights]
    listed = " and ".join([", ".join(rights[:-1]), rights[-1]] if len(rights) > 1 else rights)
    what = "everything" if scope.type == "*" else scope.type
    only = ", only with " + " and ".join(f"{name} {value}" for name, value in scope.query) if scope.query else ""
    return f"{listed.capitalize()} {what} {_LEVELS[scope.level]}{only}"
