"""Wraps stored keys and secrets under `FHIR_BRIDGE_SECRET_KEY` (AES-256-GCM, ruling 27)."""

from __future__ import annotations

import base64
import os
from contextlib import suppress
from hashlib import sha256
from typing import TYPE_CHECKING, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from fhir_bridge import clock
from fhir_bridge.errors import BadSetting

if TYPE_CHECKING:
    from pathlib import Path

    from fhir_bridge.settings import Settings

KEY_FILE: Final = "secret.key"
_NONCE: Final = 12
_KEY: Final = 32
_FOLDER: Final = "FHIR_BRIDGE_DATA_DIR"


class KeyRing:
    """Wraps and unwraps small secrets. `about` binds a wrapped value to what it is for."""

    def __init__(self, secret: bytes) -> None:
        self._cipher = AESGCM(sha256(b"fhir-bridge key ring" + secret).digest())

    @classmethod
    def open(cls, settings: Settings) -> KeyRing:
        """Take the key from the settings, else from the key file, which is made when missing."""
        if settings.secret_key is not None:
            return cls(settings.secret_key.get_secret_value().encode())
        return cls(_key_file(settings.data_dir / KEY_FILE))

    def wrap(self, secret: bytes, *, about: str) -> str:
        """Encrypt `secret` for storage, as base64 text."""
        nonce = clock.token_bytes(_NONCE)
        return base64.b64encode(nonce + self._cipher.encrypt(nonce, secret, about.encode())).decode()

    def unwrap(self, wrapped: str, *, about: str) -> bytes:
        """Give back what `wrap` took.

        Raises:
            BadSetting: wrapped under another key, for another purpose, or altered.
        """
        try:
            raw = base64.b64decode(wrapped)
            return self._cipher.decrypt(raw[:_NONCE], raw[_NONCE:], about.encode())
        except (InvalidTag, ValueError) as exc:
            raise BadSetting(
                "A stored key does not open: FHIR_BRIDGE_SECRET_KEY is not the one it was stored under",
                at="FHIR_BRIDGE_SECRET_KEY",
            ) from exc


def _key_file(path: Path) -> bytes:
    """Read the key file; the first process to ask makes it."""
    try:
        if not path.exists():
            _make(path)
        secret = path.read_bytes()
    except OSError as exc:
        raise BadSetting("The key file can be neither read nor made in the data directory", at=_FOLDER) from exc
    if len(secret) < _KEY:
        raise BadSetting(f"{KEY_FILE} in the data directory holds no key: restore it from a backup", at=_FOLDER)
    return secret


def _make(path: Path) -> None:
    """Make a key file readable by its owner only, on disk before anything is wrapped under it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f"{path.name}.{clock.new_id()}")
    descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(base64.b64encode(clock.token_bytes(_KEY)))
        file.flush()
        os.fsync(file.fileno())
    with suppress(FileExistsError):  # another process was first: its key counts
        os.link(fresh, path)
    fresh.unlink()
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
