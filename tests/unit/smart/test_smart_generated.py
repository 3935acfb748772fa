"""Ten thousand tokens and assertions that were good before something was done to them: each is refused, none breaks."""

from __future__ import annotations

import json
import random
from dataclasses import replace

import pytest
from authlib.oauth2.rfc6749 import InvalidClientError, OAuth2Request
from smart_forging import Genuine, at_now, ec, encoded, jws
from smart_issuer import LocalIssuer
from test_smart_assertion import BY_EC, BY_RSA, Door
from test_smart_outside import P256, RSA, genuine, trusting
from test_smart_token import GOOD, verifier

from fhir_bridge.errors import Unauthenticated
from fhir_bridge.smart.assertion import ASSERTION_TYPE
from fhir_bridge.smart.flows import Request, Server

COUNT = 2_500  # for each of four doors
SEED = 20_261_128
ODD = [None, True, 0, -1, 1.5, 10**20, "", "x", "\0", "../x", "' OR 1=1 --", [], [1], {}, {"a": []}, "é", "\ud800"]
HEADERS = ["alg", "kid", "typ", "jwk", "jku", "x5u", "x5c", "crit", "b64", "zip", "cty"]
ALPHABET = "ABCxyz019-_.=+/ \n\0%é"
STRANGER = ec("stranger")


class Spoiler:
    """Spoils good tokens in every way that it knows, by chance that can be repeated."""

    def __init__(self, good: Genuine, others: list[str], seed: int) -> None:
        self.good = good
        self.token = good.token()
        self.others = others
        self.chance = random.Random(seed)  # noqa: S311 - to be repeated, not to be secret

    def spoiled(self) -> str:
        ways = (self.cut, self.flipped, self.swapped, self.header, self.claim, self.stranger, self.garbage)
        while (made := self.chance.choice(ways)()) == self.token:
            pass
        return made

    def cut(self) -> str:
        begin = self.chance.randrange(len(self.token) + 1)
        end = min(len(self.token), begin + self.chance.randrange(9))
        new = "".join(self.chance.choices(ALPHABET, k=self.chance.randrange(5)))
        return self.token[:begin] + new + self.token[end:]

    def flipped(self) -> str:
        """Another letter of the same alphabet at one place: the form stays right."""
        at = self.chance.randrange(len(self.token))
        letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
        return self.token[:at] + self.chance.choice(letters) + self.token[at + 1 :]

    def swapped(self) -> str:
        """Parts of other good tokens in the place of its own."""
        parts = self.token.split(".")
        parts[self.chance.randrange(3)] = self.chance.choice(self.others).split(".")[self.chance.randrange(3)]
        return ".".join(parts)

    def header(self) -> str:
        changed = {**self.good.header, self.chance.choice(HEADERS): self.chance.choice(ODD)}
        return ".".join((encoded_or_odd(changed), *self.token.split(".")[1:]))

    def claim(self) -> str:
        changed = {**self.good.claims, self.chance.choice([*self.good.claims, "nbf"]): self.chance.choice(ODD)}
        head, _, sig = self.token.split(".")
        return f"{head}.{encoded_or_odd(changed)}.{sig}"

    def stranger(self) -> str:
        """Well made in every way, but by somebody else."""
        header = {**self.good.header, "alg": "ES384", "kid": self.chance.choice([self.good.header["kid"], "stranger"])}
        return jws(header, {**self.good.claims, "jti": str(self.chance.random())}, STRANGER, "ES384")

    def garbage(self) -> str:
        sizes = [self.chance.randrange(40) for _ in range(3)]
        return ".".join(encoded(self.chance.randbytes(size)) for size in sizes)


def encoded_or_odd(told: dict) -> str:
    return encoded(json.dumps(told))


def by_bearer(door):
    def accepted(token: str) -> bool:
        try:
            door.grant(token)
        except Unauthenticated:
            return False
        return True

    return accepted


def by_assertion(door: Door):
    """The authentication alone, as the token endpoint calls it."""

    def accepted(token: str) -> bool:
        form = {"client_assertion_type": ASSERTION_TYPE, "client_assertion": token}
        request: OAuth2Request = Request(form, {})
        try:
            Server(door.desk()).authenticate_client(request, ["private_key_jwt"])
        except InvalidClientError:
            return False
        return True

    return accepted


@pytest.mark.parametrize("door", ["of ours", "outside RS256", "outside ES256", "assertion"])
def test_nothing_spoiled_gets_through_and_nothing_breaks(door, local):
    with at_now():
        by_rsa, by_ec = genuine(local, RSA, "RS256"), genuine(local, P256, "ES256")
        good, accepted = {
            "of ours": lambda: (GOOD, by_bearer(verifier())),
            "outside RS256": lambda: (by_rsa, by_bearer(trusting(local))),
            "outside ES256": lambda: (by_ec, by_bearer(trusting(local, algorithms="ES256"))),
            "assertion": lambda: (BY_EC, by_assertion(Door())),
        }[door]()
        others = [each.token() for each in (GOOD, by_rsa, by_ec, BY_EC, BY_RSA)]
        others.append(replace(good, claims=good.claims | {"jti": "2"}).token())
        spoiler = Spoiler(good, others, SEED)
        assert accepted(good.token())
        through = [token for _ in range(COUNT) if accepted(token := spoiler.spoiled())]
    assert [token for token in through if token not in others] == []


@pytest.fixture
def local():
    made = LocalIssuer(RSA, P256)
    yield made
    made.close()
