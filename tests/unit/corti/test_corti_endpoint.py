import pytest

from fhir_bridge.corti.endpoint import Endpoint, endpoint_of, with_token
from fhir_bridge.errors import BadSetting

EU = endpoint_of("eu", "base")
LOCAL = endpoint_of("eu", "base", "http://127.0.0.1:9000", "http://127.0.0.1:9000/")
BUILT = "wss://api.eu.corti.app/audio-bridge/v2/interactions/i1/streams?tenant-name=base"
BUILT_LOCAL = "ws://127.0.0.1:9000/audio-bridge/v2/interactions/i1/streams?tenant-name=base"


def test_an_environment_names_both_origins():
    assert endpoint_of("beta-eu", "copiloteu") == Endpoint(
        "https://api.beta-eu.corti.app", "https://auth.beta-eu.corti.app", "copiloteu"
    )
    assert EU.token_url == "https://auth.eu.corti.app/realms/base/protocol/openid-connect/token"


def test_given_origins_win_and_lose_their_slash():
    assert Endpoint("http://127.0.0.1:9000", "http://127.0.0.1:9000", "base") == LOCAL


@pytest.mark.parametrize(
    "url",
    [
        "https://api.eu.corti.app/v2",
        "ftp://x",
        "api.eu.corti.app",
        "https://",
        "https://u@x",
        "https://x:y",
        "http://[",
    ],
)
def test_a_url_that_is_no_origin_names_its_setting(url):
    with pytest.raises(BadSetting) as refused:
        endpoint_of("eu", "base", api_url=url)
    assert refused.value.at == "FHIR_BRIDGE_CORTI_API_URL"
    with pytest.raises(BadSetting) as refused:
        endpoint_of("eu", "base", auth_url=url)
    assert refused.value.at == "FHIR_BRIDGE_CORTI_AUTH_URL"


@pytest.mark.parametrize("name", ["", "eu/..", "e u", "eu\r\nX: y", "evil.example/#"])
def test_names_that_could_lead_elsewhere_are_refused(name):
    with pytest.raises(BadSetting):
        endpoint_of(name, "base")
    with pytest.raises(BadSetting):
        endpoint_of("eu", name)


@pytest.mark.parametrize(
    "offered",
    [
        "wss://api.eu.corti.app/audio-bridge/v2/interactions/i1/streams",
        "wss://api.eu.corti.app/audio-bridge/v2/interactions/i1/streams?tenant-name=base",
        "wss://api.eu.corti.app/audio-bridge/v2/interactions/i1/streams?tenant-name=base&token=old#x",
        None,
        "",
        "wss://evil.example/?x=corti.app",
        "wss://evilcorti.app/",
        "wss://api.eu.corti.app.evil.example/",
        "wss://user@api.eu.corti.app/",
        "wss://api.eu.corti.app:8443/",
        "wss://api.eu.corti.app:port/",
        "ws://api.eu.corti.app/",
        "https://api.eu.corti.app/",
        "wss://[",
    ],
)
def test_the_token_goes_to_corti_only_whatever_url_is_offered(offered):
    assert EU.stream_url("i1", offered) == BUILT


def test_another_host_of_corti_is_followed():
    assert EU.stream_url("i1", "wss://ws.us.corti.app/s?a=b%20c") == "wss://ws.us.corti.app/s?a=b%20c&tenant-name=base"


def test_a_local_corti_is_spoken_to_without_tls_only_where_the_api_is():
    assert LOCAL.stream_url("i1") == BUILT_LOCAL
    assert LOCAL.stream_url("i1", "ws://127.0.0.1:9000/own?tenant-name=t") == "ws://127.0.0.1:9000/own?tenant-name=t"
    assert LOCAL.stream_url("i1", "ws://127.0.0.1:9001/own") == BUILT_LOCAL
    assert LOCAL.stream_url("i1", "ws://x.corti.app/own") == BUILT_LOCAL
    assert LOCAL.stream_url("i1", "wss://x.corti.app/own") == "wss://x.corti.app/own?tenant-name=base"


def test_the_token_is_added_with_an_encoded_space():
    assert with_token(BUILT, "a.b+c") == f"{BUILT}&token=Bearer%20a.b%2Bc"
