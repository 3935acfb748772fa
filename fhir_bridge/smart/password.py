"""Passwords of local users, hashed with Argon2id (RFC 9106)."""

from __future__ import annotations

from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from fhir_bridge.smart.approval import unguessable


def hashed(password: str) -> str:
    """Hash a password for the store; the parameters are part of the text."""
    return PasswordHasher().hash(password)


def is_right(password: str, kept: str | None) -> bool:
    """Compare a password with what is kept of one; without any, take as long to say no."""
    try:
        return PasswordHasher().verify(kept or _nobodys(), password) and kept is not None
    except (VerificationError, InvalidHashError):
        return False


@cache
def _nobodys() -> str:
    return hashed(unguessable())
