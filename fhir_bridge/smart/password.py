"""Passwords of local users, hashed with Argon2id (RFC 9106)."""

from __future__ import annotations

from argon2 import PasswordHasher


def hashed(password: str) -> str:
    """Hash a password for the store; the parameters are part of the text."""
    return PasswordHasher().hash(password)
