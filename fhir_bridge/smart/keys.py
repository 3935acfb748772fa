"""The bridge's own signing keys, as JWK."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final, Literal

from joserfc.jwk import ECKey, Key, KeyParameters, KeySet, RSAKey

from fhir_bridge import clock

Algorithm = Literal["ES384", "RS256"]  # access tokens, and id_tokens (SMART 2.2: RS256)
RSA_BITS: Final = 3072


@dataclass(frozen=True)
class SigningKey:
    """One private key with its name."""

    kid: str
    alg: Algorithm
    key: Key

    def private_json(self) -> str:
        """Write the key for the store, which keeps it wrapped."""
        return json.dumps(self.key.as_dict(private=True))


def generate(alg: Algorithm) -> SigningKey:
    """Make a new key."""
    kid = clock.new_id()
    about: KeyParameters = {"kid": kid, "use": "sig", "alg": alg}
    key = ECKey.generate_key("P-384", about) if alg == "ES384" else RSAKey.generate_key(RSA_BITS, about)
    return SigningKey(kid, alg, key)


def load(kid: str, alg: Algorithm, private_json: str) -> SigningKey:
    """Read a key that `private_json` wrote."""
    kind = ECKey if alg == "ES384" else RSAKey
    return SigningKey(kid, alg, kind.import_key(json.loads(private_json)))


def public_set(keys: tuple[SigningKey, ...]) -> dict[str, object]:
    """Return the JWK Set that /oauth/jwks answers with."""
    return dict(KeySet([key.key for key in keys]).as_dict(private=False))
