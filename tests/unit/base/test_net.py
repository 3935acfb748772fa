from __future__ import annotations

import socket
import time

import pytest
import requests
from base_servers import certificate_for, dripping, says, server, silent

from fhir_bridge import net
from fhir_bridge.errors import BusinessRule

PUBLIC = [
    "https://8.8.8.8/jwks.json",
    "https://8.8.8.8:443/jwks.json?x=1#part",
    "https://1.1.1.1",
    "https://[2606:4700:4700::1111]/jwks",
    "https://[2606:4700:4700::1111]:443/jwks",
    "HTTPS://9.9.9.9/",
]
REFUSED = {
    "what is not https": [
        "http://8.8.8.8/",
        "http://8.8.8.8:443/",
        "ftp://8.8.8.8/",
        "file:///etc/passwd",
        "gopher://8.8.8.8/",
        "data:text/plain,x",
        "javascript:alert(1)",
        "//8.8.8.8/",
        "8.8.8.8/jwks",
        "https:8.8.8.8",
        "https:///jwks",
        "https://",
        "",
    ],
    "other ports": [
        "https://8.8.8.8:80/",
        "https://8.8.8.8:8443/",
        "https://8.8.8.8:22/",
        "https://8.8.8.8:0/",
        "https://8.8.8.8:99999/",
        "https://8.8.8.8:-1/",
        "https://8.8.8.8:https/",
    ],
    "user parts": [
        "https://8.8.8.8@127.0.0.1/",
        "https://user@8.8.8.8/",
        "https://user:password@8.8.8.8/",
        "https://:password@8.8.8.8/",
        "https://@8.8.8.8/",
        "https://8.8.8.8\\@127.0.0.1/",
        "https://127.0.0.1#@8.8.8.8/",
        "https://8.8.8.8%40127.0.0.1/",
    ],
    "what parsers disagree about": [
        "https://8.8.8.8/a b",
        " https://8.8.8.8/",
        "https://8.8.8.8/\r\nX-Injected: yes",
        "https://8.8.8.8\t/",
        "https://8.8.8.8/\x00",
        "https:\\\\8.8.8.8\\",
        "https://8\uff0e8.8.8/",
        "https://127\u30020\u30020\u30021/",
        "https://[::1",
        "https://[8.8.8.8]/",
        "https://[zz::1]/",
        f"https://{'a' * 64}.example/",
    ],
    "loopback in every notation": [
        "https://127.0.0.1/",
        "https://127.0.0.1:443/",
        "https://127.255.255.254/",
        "https://127.1/",
        "https://127.0.1/",
        "https://2130706433/",
        "https://017700000001/",
        "https://0177.0.0.1/",
        "https://0x7f000001/",
        "https://0x7f.0.0.1/",
        "https://0x7f.1/",
        "https://localhost/",
        "https://LOCALHOST/",
        "https://[::1]/",
        "https://[0:0:0:0:0:0:0:1]/",
        "https://[::]/",
    ],
    "private and shared networks": [
        "https://10.0.0.1/",
        "https://10.255.255.255/",
        "https://172.16.0.1/",
        "https://172.31.255.255/",
        "https://192.168.0.1/",
        "https://3232235521/",
        "https://0300.0250.0.1/",
        "https://100.64.0.1/",
        "https://100.127.255.255/",
        "https://[fc00::1]/",
        "https://[fd12:3456:789a::1]/",
        "https://[fec0::1]/",
    ],
    "link-local, where clouds keep their credentials": [
        "https://169.254.169.254/latest/meta-data/",
        "https://169.254.0.1/",
        "https://2852039166/",
        "https://0xa9fea9fe/",
        "https://0251.0376.0251.0376/",
        "https://[fe80::1]/",
        "https://[fe80::1%25lo]/",
        "https://[fd00:ec2::254]/",
    ],
    "addresses that carry another": [
        "https://[::ffff:127.0.0.1]/",
        "https://[::ffff:7f00:1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://[::ffff:169.254.169.254]/",
        "https://[::ffff:8.8.8.8]/",
        "https://[::127.0.0.1]/",
        "https://[::ffff:0:127.0.0.1]/",
        "https://[64:ff9b::127.0.0.1]/",
        "https://[64:ff9b::169.254.169.254]/",
        "https://[64:ff9b::8.8.8.8]/",
        "https://[64:ff9b:1::10.0.0.1]/",
        "https://[2002:7f00:1::]/",
        "https://[2002:a9fe:a9fe::1]/",
        "https://[2001:0:4136:e378:8000:63bf:80ff:fffe]/",
    ],
    "addresses that are nobody's": [
        "https://0.0.0.0/",
        "https://0/",
        "https://0.1.2.3/",
        "https://255.255.255.255/",
        "https://240.0.0.1/",
        "https://224.0.0.1/",
        "https://239.255.255.250/",
        "https://192.0.0.8/",
        "https://192.0.2.1/",
        "https://192.88.99.1/",
        "https://198.18.0.1/",
        "https://198.51.100.1/",
        "https://203.0.113.1/",
        "https://[ff02::1]/",
        "https://[2001:db8::1]/",
        "https://[3fff::1]/",
        "https://[100::1]/",
        "https://[5f00::1]/",
    ],
}


@pytest.mark.parametrize("url", PUBLIC)
def test_a_url_on_the_public_internet_may_be_fetched(url):
    assert net.public_https(url) == url


@pytest.mark.parametrize(("why", "url"), [(why, url) for why, urls in REFUSED.items() for url in urls])
def test_a_url_that_could_reach_inside_is_refused(why, url):
    with pytest.raises(BusinessRule) as refused:
        net.public_https(url, at="Media.content.url")

    assert refused.value.status == 422, why
    assert refused.value.at == "Media.content.url"
    assert url == "" or url not in refused.value.text


def test_the_table_of_refused_urls_is_long_enough_to_mean_something():
    assert len({url for urls in REFUSED.values() for url in urls}) >= 60


@pytest.mark.parametrize("url", ["http://127.0.0.1:8080/jwks", "http://localhost/", "https://10.0.0.1:8443/"])
def test_development_may_name_private_addresses_and_plain_http(url):
    assert net.public_https(url, allow_private=True) == url


@pytest.mark.parametrize("url", ["ftp://127.0.0.1/", "http://user@127.0.0.1/", "http://127.0.0.1/a b", "http://"])
def test_development_still_refuses_what_is_no_plain_web_address(url):
    with pytest.raises(BusinessRule):
        net.public_https(url, allow_private=True)


def resolving(monkeypatch, *answers):
    """A name server that tells each asker the next of `answers`, and the last one for ever."""
    left, asked = list(answers), []
    real = socket.getaddrinfo

    def getaddrinfo(host, port, *args, **options):
        if not str(host).endswith(".test"):
            return real(host, port, *args, **options)
        asked.append(host)
        addresses = left.pop(0) if len(left) > 1 else left[0]
        return [found for address in addresses for found in real(address, port, *args, **options)]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked


def test_a_name_is_refused_when_one_of_its_addresses_is_private(monkeypatch):
    resolving(monkeypatch, ["8.8.8.8", "10.0.0.1"])

    with pytest.raises(BusinessRule, match="public internet"):
        net.public_https("https://keys.test/")


def test_a_name_that_means_another_address_a_moment_later_is_reached_where_it_was_judged(monkeypatch):
    with server(says(b"good")) as good, server(says(b"trap"), host="127.0.0.2", port=good.port) as trap:
        asked = resolving(monkeypatch, ["127.0.0.1"], ["127.0.0.2"])

        answer = net.fetch(f"http://keys.test:{good.port}/", limit=10, seconds=5, allow_private=True)

    assert answer.body == b"good"
    assert asked == ["keys.test"]
    assert trap.connections == 0


def test_a_private_address_is_never_connected_to_when_a_stranger_names_it():
    with server(says(b"secret")) as trap:
        for url in (f"http://127.0.0.1:{trap.port}/", f"https://127.0.0.1:{trap.port}/", "https://localhost/"):
            with pytest.raises(BusinessRule):
                net.fetch(url, limit=10, seconds=5)

    assert trap.connections == 0


def test_the_next_address_of_a_name_is_tried_when_the_first_is_dead(monkeypatch):
    with server(says(b"here")) as good:
        resolving(monkeypatch, ["127.0.0.9", "127.0.0.1"])

        answer = net.fetch(f"http://keys.test:{good.port}/", limit=10, seconds=5, allow_private=True)

    assert answer.body == b"here"


def test_an_answer_comes_with_status_headers_and_body():
    with server(says(b"{}", status="404 Not Found", headers="Cache-Control: max-age=60\r\n")) as keys:
        answer = net.fetch(
            f"http://127.0.0.1:{keys.port}/set/jwks.json?of=us#part",
            limit=2,
            seconds=5,
            accept="application/json",
            allow_private=True,
        )

    assert (answer.status, answer.headers["cache-control"], answer.body) == (404, "max-age=60", b"{}")
    assert keys.heads[0].splitlines()[:3] == [
        "GET /set/jwks.json?of=us HTTP/1.1",
        f"Host: 127.0.0.1:{keys.port}",
        "Accept: application/json",
    ]


def test_a_url_without_a_path_asks_for_the_root():
    with server(says(b"")) as keys:
        net.fetch(f"http://127.0.0.1:{keys.port}?of=us", limit=0, seconds=5, allow_private=True)

    assert keys.heads[0].startswith("GET /?of=us HTTP/1.1\r\n")


def test_a_redirect_is_answered_as_it_is_and_not_followed():
    with server(says(b"trap")) as trap:
        away = says(b"", status="302 Found", headers=f"Location: http://127.0.0.1:{trap.port}/\r\n")
        with server(away) as keys:
            answer = net.fetch(f"http://127.0.0.1:{keys.port}/", limit=10, seconds=5, allow_private=True)

    assert answer.status == 302
    assert trap.connections == 0


def test_an_answer_over_the_limit_is_refused_without_being_read_to_its_end():
    with (
        server(says(b"x" * 1_000_000)) as keys,
        pytest.raises(BusinessRule, match="more than is read"),
    ):
        net.fetch(f"http://127.0.0.1:{keys.port}/", limit=1000, seconds=5, allow_private=True)


SLOW = {
    "says nothing": silent,
    "drips its head": dripping(b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * 500),
    "drips its body": dripping(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n" + b"x" * 500),
}


@pytest.mark.parametrize("how", SLOW)
def test_a_slow_server_is_left_at_the_deadline_for_the_whole(how):
    with server(SLOW[how]) as keys:
        began = time.monotonic()
        with pytest.raises(BusinessRule, match="in time"):
            net.fetch(f"http://127.0.0.1:{keys.port}/", limit=1000, seconds=0.4, allow_private=True)

    assert time.monotonic() - began < 3


def test_a_deadline_that_has_passed_opens_no_connection():
    with server(says(b"")) as keys, pytest.raises(BusinessRule, match="in time"):
        net.fetch(f"http://127.0.0.1:{keys.port}/", limit=10, seconds=0, allow_private=True)

    assert keys.connections == 0


@pytest.mark.parametrize("nonsense", [b"", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 abc\r\n\r\n", b"HTTP/9 200 x\r\n\r\n"])
def test_what_is_not_http_is_no_answer(nonsense):
    with server(lambda connection, _stop: connection.sendall(nonsense)) as keys, pytest.raises(BusinessRule):
        net.fetch(f"http://127.0.0.1:{keys.port}/", limit=10, seconds=5, allow_private=True)


def test_tls_asks_for_the_name_and_connects_to_the_judged_address(monkeypatch, tmp_path):
    tls, trusted = certificate_for("keys.test", tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    resolving(monkeypatch, ["127.0.0.1"])
    names = []
    tls.sni_callback = lambda _socket, name, _context: names.append(name)
    with server(says(b"over tls"), tls=tls) as keys:
        answer = net.fetch(f"https://keys.test:{keys.port}/", limit=10, seconds=5, allow_private=True)

    assert answer.body == b"over tls"
    assert names == ["keys.test"]


def test_a_certificate_of_another_name_is_no_answer(monkeypatch, tmp_path):
    tls, trusted = certificate_for("other.test", tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(trusted))
    resolving(monkeypatch, ["127.0.0.1"])
    with server(says(b"wrong"), tls=tls) as keys, pytest.raises(BusinessRule):
        net.fetch(f"https://keys.test:{keys.port}/", limit=10, seconds=5, allow_private=True)

    assert keys.heads == []


def test_a_certificate_nobody_vouches_for_is_no_answer(monkeypatch, tmp_path):
    tls, _ = certificate_for("keys.test", tmp_path)
    resolving(monkeypatch, ["127.0.0.1"])
    with server(says(b"wrong"), tls=tls) as keys, pytest.raises(BusinessRule):
        net.fetch(f"https://keys.test:{keys.port}/", limit=10, seconds=5, allow_private=True)


def test_a_session_never_waits_longer_than_it_was_told():
    with server(silent) as quiet, net.session(read_seconds=0.2) as session, pytest.raises(requests.ReadTimeout):
        session.get(f"http://127.0.0.1:{quiet.port}/")


def test_a_request_may_shorten_the_timeout_of_its_session():
    with server(silent) as quiet, net.session(read_seconds=30) as session, pytest.raises(requests.ReadTimeout):
        session.get(f"http://127.0.0.1:{quiet.port}/", timeout=0.2)


def test_a_session_sends_its_headers_and_no_credentials_or_proxies_of_the_machine(monkeypatch, tmp_path):
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password secret\n")
    monkeypatch.setenv("NETRC", str(netrc))
    with server(says(b"trap")) as proxy, server(says(b"direct")) as corti:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
        with net.session(headers={"Tenant-Name": "base"}) as session:
            answer = session.get(f"http://127.0.0.1:{corti.port}/")

    assert answer.text == "direct"
    assert proxy.connections == 0
    assert "Tenant-Name: base" in corti.heads[0]
    assert "Authorization" not in corti.heads[0]
