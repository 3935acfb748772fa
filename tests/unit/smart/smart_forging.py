"""Makes JWTs by hand, good ones and forged ones, from the bytes up."""

from __future__ import annotations

import base64
import hmac
import json
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc.jwk import ECKey, RSAKey
from joserfc.jws import JWSRegistry

from fhir_bridge import clock

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NOW = datetime(2026, 11, 22, 8, 15, tzinfo=UTC)
SECOND = int(NOW.timestamp())


class At(clock.Clock):
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.passed = 0.0

    def now(self) -> datetime:
        return NOW + timedelta(seconds=self.passed)

    def monotonic(self) -> float:
        return super().monotonic() + self.passed


@contextmanager
def at_now() -> Iterator[At]:
    with clock.use(At()) as moved:
        yield moved


def ec(kid: str, curve: str = "P-384", **about: str) -> ECKey:
    return ECKey.generate_key(curve, {"kid": kid, **about})


def rsa(kid: str, bits: int = 2048, **about: str) -> RSAKey:
    return RSAKey.generate_key(bits, {"kid": kid, **about})


def encoded(raw: object) -> str:
    """base64url of bytes, of a text as it is, or of anything else as JSON."""
    if not isinstance(raw, bytes | str):
        raw = json.dumps(raw, separators=(",", ":"))
    raw = raw if isinstance(raw, bytes) else raw.encode("utf-8", "surrogatepass")
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


def signature(text: str, key: Any, alg: str) -> bytes:
    """A signature by joserfc's algorithm, whatever joserfc would think of using it so."""
    return JWSRegistry.algorithms[alg].sign(text.encode(), key)


def jws(header: object, payload: object, key: Any, alg: str) -> str:
    text = f"{encoded(header)}.{encoded(payload)}"
    return f"{text}.{encoded(signature(text, key, alg))}"


@dataclass(frozen=True)
class Genuine:
    """A good token, to be spoiled: what it says, and the key that makes it good."""

    header: dict[str, Any]
    claims: dict[str, Any]
    key: Any
    stranger: Any = field(default_factory=lambda: ec("stranger"))

    @property
    def alg(self) -> str:
        return self.header["alg"]

    def token(self, key: Any = None, by: str | None = None, /, **header: Any) -> str:
        """The token, with other headers, or by another key and its algorithm."""
        return jws({**self.header, **header}, self.claims, key or self.key, by or self.alg)

    def without(self, *names: str) -> str:
        return jws({name: v for name, v in self.header.items() if name not in names}, self.claims, self.key, self.alg)

    def says(self, **claims: Any) -> str:
        return jws(self.header, {**self.claims, **claims}, self.key, self.alg)

    def omits(self, name: str) -> str:
        return jws(self.header, {each: v for each, v in self.claims.items() if each != name}, self.key, self.alg)

    def raw(self, header: object = None, payload: object = None) -> str:
        chosen = self.header if header is None else header
        return jws(chosen, self.claims if payload is None else payload, self.key, self.alg)

    def parts(self) -> list[str]:
        return self.token().split(".")

    def resigned(self, sig: bytes | str) -> str:
        head, payload, _ = self.parts()
        return f"{head}.{payload}.{sig if isinstance(sig, str) else encoded(sig)}"

    def by_mac(self, secret: bytes, alg: str = "HS256") -> str:
        text = f"{encoded({**self.header, 'alg': alg})}.{encoded(self.claims)}"
        return f"{text}.{encoded(hmac.digest(secret, text.encode(), alg.replace('HS', 'sha')))}"

    def public(self, encoding: Encoding, form: PublicFormat) -> bytes:
        return self.key.public_key.public_bytes(encoding, form)

    def json_text(self) -> str:
        """The claims, to be cut open."""
        return json.dumps(self.claims)


def der(sig: bytes) -> bytes:
    """An ECDSA signature in the form JOSE does not use."""
    half = len(sig) // 2
    return encode_dss_signature(int.from_bytes(sig[:half], "big"), int.from_bytes(sig[half:], "big"))


def _sig(good: Genuine) -> bytes:
    head, payload, _ = good.parts()
    return signature(f"{head}.{payload}", good.key, good.alg)


PEM, DER, SPKI = Encoding.PEM, Encoding.DER, PublicFormat.SubjectPublicKeyInfo
NESTED = "[" * 2900 + "]" * 2900

# What nobody may get through with, whether as access token or as client assertion.
FORGED: dict[str, Callable[[Genuine], str]] = {
    "empty": lambda _: "",
    "alg none without signature": lambda good: ".".join((encoded({**good.header, "alg": "none"}), good.parts()[1], "")),
    "alg none with its old signature": lambda good: ".".join(
        (encoded({**good.header, "alg": "none"}), *good.parts()[1:])
    ),
    "alg None": lambda good: f"{encoded({**good.header, 'alg': 'None'})}.{good.parts()[1]}.AA",
    "alg NONE": lambda good: f"{encoded({**good.header, 'alg': 'NONE'})}.{good.parts()[1]}.AA",
    "alg in small letters": lambda good: f"{encoded({**good.header, 'alg': good.alg.lower()})}.{good.parts()[1]}.AA",
    "alg missing": lambda good: good.without("alg"),
    "alg null": lambda good: good.raw({**good.header, "alg": None}),
    "alg a list": lambda good: good.raw({**good.header, "alg": [good.alg]}),
    "alg a number": lambda good: good.raw({**good.header, "alg": 384}),
    "alg with a blank": lambda good: good.raw({**good.header, "alg": good.alg + " "}),
    "HS256 with the public key as PEM": lambda good: good.by_mac(good.public(PEM, SPKI)),
    "HS256 with the public key as DER": lambda good: good.by_mac(good.public(DER, SPKI)),
    "HS384 with the public key as PEM": lambda good: good.by_mac(good.public(PEM, SPKI), "HS384"),
    "HS512 with the public JWK": lambda good: good.by_mac(
        json.dumps(good.key.as_dict(private=False)).encode(), "HS512"
    ),
    "HS256 with the kid as secret": lambda good: good.by_mac(good.header["kid"].encode()),
    "signed by a stranger": lambda good: jws(good.header, good.claims, good.stranger, "ES384"),
    "stranger says ES384": lambda good: good.token(good.stranger, "ES384", alg="ES384"),
    "stranger under own kid": lambda good: good.token(good.stranger, "ES384", alg="ES384", kid="stranger"),
    "embedded jwk": lambda good: good.token(
        good.stranger, "ES384", alg="ES384", jwk=good.stranger.as_dict(private=False)
    ),
    "embedded jwk with the right signature": lambda good: good.token(jwk=good.key.as_dict(private=False)),
    "jku elsewhere": lambda good: good.token(jku="https://evil.example/jwks"),
    "jku null": lambda good: good.raw({**good.header, "jku": None}),
    "x5u": lambda good: good.token(x5u="https://evil.example/cert"),
    "x5c": lambda good: good.token(x5c=["MIIB"]),
    "crit empty": lambda good: good.token(crit=[]),
    "crit unknown": lambda good: good.token(crit=["exp"], exp=1),
    "crit a number": lambda good: good.token(crit=5),
    "crit null": lambda good: good.token(crit=None),
    "crit of lists": lambda good: good.token(crit=[["b64"]]),
    "b64 false": lambda good: good.token(crit=["b64"], b64=False),
    "b64 true": lambda good: good.token(b64=True),
    "zip": lambda good: good.token(zip="DEF"),
    "enc": lambda good: good.token(enc="A256GCM"),
    "a header nobody knows": lambda good: good.token(admin="true"),
    "kid missing": lambda good: good.without("kid"),
    "kid null": lambda good: good.token(kid=None),
    "kid a number": lambda good: good.token(kid=1),
    "kid a list": lambda good: good.token(kid=[good.header["kid"]]),
    "kid empty": lambda good: good.token(kid=""),
    "kid unknown": lambda good: good.token(kid="nobody"),
    "kid a path": lambda good: good.token(kid="../../../../dev/null"),
    "kid a query": lambda good: good.token(kid="' OR '1'='1"),
    "kid with NUL": lambda good: good.token(kid=good.header["kid"] + "\0"),
    "kid with a line": lambda good: good.token(kid=good.header["kid"] + "\n"),
    "kid with half a character": lambda good: good.token(kid="\ud800"),
    "kid too long": lambda good: good.token(kid="k" * 129),
    "kid in capitals": lambda good: good.token(kid=good.header["kid"].upper() + "X"),
    "typ missing": lambda good: good.without("typ"),
    "typ null": lambda good: good.token(typ=None),
    "typ of a key": lambda good: good.token(typ="jwk+json"),
    "typ of a logout token": lambda good: good.token(typ="logout+jwt"),
    "header an array": lambda good: good.raw(["alg", "kid", "typ"]),
    "header a text": lambda good: good.raw('"alg kid typ b64 crit"'),
    "header a number": lambda good: good.raw(7),
    "header null": lambda good: good.raw("null"),
    "header empty": lambda good: good.raw({}),
    "header not JSON": lambda good: good.raw("{alg:ES384}"),
    "header not UTF-8": lambda good: good.raw(b'{"alg":"\xff"}'),
    "header with a byte order mark": lambda good: good.raw("\ufeff" + json.dumps(good.header)),
    "header nested": lambda good: good.raw('{"alg":' + NESTED[:700] + "}"),
    "header with alg twice": lambda good: good.raw('{"alg":"none",' + json.dumps(good.header)[1:]),
    "header with kid twice": lambda good: good.raw(
        json.dumps(good.header)[:-1] + ',"kid":"' + good.header["kid"] + '"}'
    ),
    "header too long": lambda good: good.token(kid="k" * 7000),
    "not base64": lambda good: good.token().replace(".", "!.", 1),
    "standard base64": lambda good: good.parts()[0] + "+/." + ".".join(good.parts()[1:]),
    "padded base64": lambda good: good.parts()[0] + "==." + ".".join(good.parts()[1:]),
    "base64 of impossible length": lambda good: good.parts()[0] + "." + encoded("abc") + "A." + good.parts()[2],
    "one part": lambda good: good.parts()[1],
    "two parts": lambda good: ".".join(good.parts()[:2]),
    "four parts": lambda good: good.token() + ".AA",
    "five parts, as if encrypted": lambda good: good.token() + ".AA.AA",
    "empty parts": lambda _: "..",
    "JSON serialization": lambda good: json.dumps(
        {"protected": good.parts()[0], "payload": good.parts()[1], "signature": good.parts()[2]}
    ),
    "a blank before": lambda good: " " + good.token(),
    "a line after": lambda good: good.token() + "\n",
    "a NUL after": lambda good: good.token() + "\0",
    "letters of another script": lambda good: good.token().replace("e", "\u0435"),
    "half a character": lambda good: good.token() + "\ud800",
    "payload an array": lambda good: good.raw(payload=[good.claims]),
    "payload a text": lambda good: good.raw(payload='"iss"'),
    "payload a number": lambda good: good.raw(payload="1"),
    "payload null": lambda good: good.raw(payload="null"),
    "payload not JSON": lambda good: good.raw(payload="iss=me"),
    "payload empty": lambda good: good.raw(payload=""),
    "payload not UTF-8": lambda good: good.raw(payload=b'{"iss":"\xff"}'),
    "payload nested": lambda good: good.raw(payload='{"deep":' + NESTED + "}"),
    "payload with iss twice": lambda good: good.raw(payload='{"iss":"other",' + good.json_text()[1:]),
    "payload with a nested name twice": lambda good: good.raw(payload='{"x":{"a":1,"a":2},' + good.json_text()[1:]),
    "payload with NaN": lambda good: good.raw(payload='{"x":NaN,' + good.json_text()[1:]),
    "payload with a huge number": lambda good: good.raw(payload='{"x":' + "9" * 5000 + "," + good.json_text()[1:]),
    "payload too long": lambda good: good.says(filler="x" * 9000),
    "payload another token": lambda good: good.raw(payload=json.dumps(good.token())),
    "claims of another token under this signature": lambda good: ".".join(
        (good.parts()[0], encoded({**good.claims, "scope": "system/*.cruds", "sub": "root"}), good.parts()[2])
    ),
    "signature cut": lambda good: good.resigned(_sig(good)[:-1]),
    "signature longer": lambda good: good.resigned(_sig(good) + b"\0"),
    "signature of zeros": lambda good: good.resigned(bytes(96)),
    "signature of one zero": lambda good: good.resigned(b"\0"),
    "signature with one bit turned": lambda good: good.resigned(bytes((_sig(good)[0] ^ 1,)) + _sig(good)[1:]),
    "signature as a random text": lambda good: good.resigned("c2lnbmF0dXJl"),
    "iss missing": lambda good: good.omits("iss"),
    "iss of another": lambda good: good.says(iss="https://evil.example"),
    "iss a list": lambda good: good.says(iss=[good.claims["iss"]]),
    "iss empty": lambda good: good.says(iss=""),
    "aud missing": lambda good: good.omits("aud"),
    "aud of another server": lambda good: good.says(aud="https://evil.example/fhir"),
    "aud with a slash more": lambda good: good.says(aud=good.claims["aud"] + "/"),
    "aud in capitals": lambda good: good.says(aud=good.claims["aud"].upper()),
    "aud a number": lambda good: good.says(aud=1),
    "aud an object": lambda good: good.says(aud={good.claims["aud"]: 1}),
    "aud an empty list": lambda good: good.says(aud=[]),
    "aud a list of others": lambda good: good.says(aud=["https://evil.example"]),
    "exp missing": lambda good: good.omits("exp"),
    "exp null": lambda good: good.says(exp=None),
    "exp past": lambda good: good.says(exp=SECOND - 31),
    "exp zero": lambda good: good.says(exp=0),
    "exp negative": lambda good: good.says(exp=-SECOND),
    "exp a fraction": lambda good: good.says(exp=SECOND + 60.5),
    "exp a text": lambda good: good.says(exp=str(SECOND + 60)),
    "exp true": lambda good: good.says(exp=True),
    "exp a list": lambda good: good.says(exp=[SECOND + 60]),
    "exp beyond any calendar": lambda good: good.says(exp=10**30),
    "exp infinite": lambda good: good.raw(payload=good.json_text().replace(str(good.claims["exp"]), "1e999")),
    "iat in the future": lambda good: good.says(iat=SECOND + 31),
    "iat a text": lambda good: good.says(iat="now"),
    "nbf in the future": lambda good: good.says(nbf=SECOND + 31),
    "nbf negative": lambda good: good.says(nbf=-1),
    "nbf a fraction": lambda good: good.says(nbf=0.5),
}
