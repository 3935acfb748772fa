"""An outside issuer, as an operator trusts it with tokens or with signing people in."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - pydantic reads annotations at run time
from typing import Annotated, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, model_validator

from fhir_bridge.origins import origin_of


def _listed(value: object) -> object:
    return (value,) if isinstance(value, str) else value


Words = Annotated[tuple[str, ...], BeforeValidator(_listed)]  # one text, or a JSON list of them
SignedBy = Literal["RS256", "RS384", "ES256", "ES384"]
Algorithms = Annotated[tuple[SignedBy, ...], BeforeValidator(_listed), Field(min_length=1)]
URLS: Final = ("issuer", "jwks_uri", "introspection_endpoint")


class ClaimNames(BaseModel):
    """In which claims an issuer says what a Grant needs; of several names the first that a token has."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    scope: Words = ("scope", "scp")
    client: Words = ("client_id", "azp", "cid", "appid")
    user: Words = ("fhirUser",)
    patient: Words = ("patient",)


def _url(value: str) -> str:
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError as exc:
        raise ValueError("a URL is wanted") from exc
    if not parts.hostname or parts.scheme not in {"https", "http"} or parts.fragment or "@" in parts.netloc:
        raise ValueError("an https URL without user part and fragment is wanted")
    return value


Url = Annotated[str, AfterValidator(_url)]


def _origins(value: tuple[str, ...]) -> tuple[str, ...]:
    for each in value:
        if each != origin_of(each):
            raise ValueError(f"an origin is wanted as browsers send it, such as https://app.example, not {each}")
    return value


Origins = Annotated[Words, AfterValidator(_origins)]


class Known(BaseModel):
    """An issuer that knows the bridge as a client."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    issuer: Url = Field(description="Its exact `iss`")
    tenant: str = Field("default", description="The tenant that it opens")
    client_id: str | None = Field(None, description="Who the bridge is when it asks")
    client_secret: SecretStr | None = Field(None, description="Its secret there, or")
    client_secret_file: Path | None = Field(None, description="the file that holds it")
    client_auth: Literal["client_secret_basic", "client_secret_post"] = "client_secret_basic"
    private_network: bool = Field(default=False, description="It may live at a private address")

    @model_validator(mode="after")
    def _one_secret(self) -> Self:
        if self.client_secret and self.client_secret_file:
            raise ValueError("client_secret and client_secret_file are both given; keep one")
        return self

    def secret(self) -> str:
        """Return the client secret, read anew from its file, so that it can be exchanged.

        Raises:
            OSError: the file cannot be read.
        """
        if self.client_secret_file is not None:
            return self.client_secret_file.read_text().strip()
        return self.client_secret.get_secret_value() if self.client_secret else ""

    def encrypted(self) -> bool:
        """Tell whether each of its URLs is https."""
        return all(url.startswith("https:") for name in URLS if (url := getattr(self, name, None)))


class SignInProvider(Known):
    """An OpenID provider at which the people of a tenant sign in."""

    client_id: str
    name: str = Field("your organisation", description="What people call it")
    scope: str = Field("openid profile", description="What is asked of it")
    algorithms: Algorithms = ("RS256",)
    fhir_user: Words = Field(("fhirUser",), description="The claim that names their resource here")
    shown: Words = Field(("name", "preferred_username"), description="The claim with their name, for pages")


class TrustedIssuer(Known):
    """Whose tokens count, how they are verified, for which tenant, and what they may allow at most."""

    audience: Words | None = Field(None, description="What `aud` must name; unset: the FHIR base; []: not compared")

    verify: Literal["jwks", "introspection"] = Field("jwks", description="By its keys, or by asking it (RFC 7662)")
    jwks_uri: Url | None = Field(None, description="Its keys; unset: found in its openid-configuration")
    algorithms: Algorithms = ("RS256",)
    types: Words = Field(("at+jwt", "JWT"), description='Accepted `typ` headers; "" stands for none')
    introspection_endpoint: Url | None = Field(None, description="Unset: found in its openid-configuration")
    cache_seconds: int = Field(60, ge=0, le=300, description="How long an answer about a token may be believed")

    claims: ClaimNames = ClaimNames()
    scope_names: dict[str, str] = Field({}, description="Its own words, each as SMART scopes")
    scopes: str | None = Field(None, description="The most that its tokens may allow; unset: what they say")
    clients: Words | None = Field(None, description="Which of its clients count; unset: all")
    origins: Origins = Field((), description="The pages of its browser apps, which may call FHIR here (CORS)")

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.verify == "introspection" and not (self.client_id and (self.client_secret or self.client_secret_file)):
            raise ValueError("introspection needs client_id, and client_secret or client_secret_file")
        if self.audience == () and self.verify == "jwks":
            raise ValueError("an empty audience is for introspection only")
        return self


def apart(issuers: tuple[Known, ...]) -> tuple[Known, ...]:
    """Refuse issuers that cannot be told apart: a token must mean one tenant, and a tenant one provider.

    Raises:
        ValueError: two have the same issuer, and audiences that one token could name both; or the same tenant.
    """
    for at, one in enumerate(issuers):
        for other in issuers[:at]:
            _check_apart(one, other)
    return issuers


def _check_apart(one: Known, other: Known) -> None:
    if isinstance(one, TrustedIssuer) and isinstance(other, TrustedIssuer):
        told = one.audience and other.audience and not set(one.audience) & set(other.audience)
        if one.issuer == other.issuer and not (told and one.verify == other.verify):
            raise ValueError("an issuer is there twice, with audiences that are not told apart")
    elif one.tenant == other.tenant:
        raise ValueError("a tenant has two; keep one")
