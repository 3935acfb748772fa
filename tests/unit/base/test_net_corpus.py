"""More than three hundred URLs that lead inside by some notation: not one opens a connection (security.md, row E)."""

from __future__ import annotations

import ipaddress
import itertools
import socket

import pytest
from base_servers import says, server

from fhir_bridge import net
from fhir_bridge.errors import BusinessRule

# Where a bridge must not be led: loopback, private, shared (CGNAT), link-local, this host, the cloud's credentials.
INSIDE = (
    "127.0.0.1",
    "127.8.8.8",
    "10.0.0.1",
    "172.16.0.1",
    "172.31.255.254",
    "192.168.1.1",
    "100.64.0.1",
    "100.100.100.200",
    "169.254.169.254",
    "0.0.0.0",  # noqa: S104 - nothing is bound to it
    "192.0.0.192",
    "198.18.0.1",
    "224.0.0.1",
    "255.255.255.255",
)
INSIDE_V6 = ("::1", "::", "fc00::1", "fd00:ec2::254", "fe80::1", "fec0::1", "ff02::1", "2001:db8::1", "3fff::1")


def notations(address: str) -> dict[str, str]:
    """The hosts that some resolver, or some network, takes for an IPv4 address."""
    a, b, c, d = map(int, address.split("."))
    number = int(ipaddress.IPv4Address(address))
    high, low = number >> 16, number & 0xFFFF
    return {
        "dotted": address,
        "with a dot at its end": f"{address}.",
        "decimal": str(number),
        "hexadecimal": hex(number),
        "octal": f"0{number:o}",
        "dotted octal": f"0{a:o}.0{b:o}.0{c:o}.0{d:o}",
        "dotted hexadecimal": f"{a:#x}.{b:#x}.{c:#x}.{d:#x}",
        "mixed": f"{a:#x}.{b}.0{c:o}.{d}",
        "three parts": f"{a}.{b}.{c << 8 | d}",
        "two parts": f"{a}.{b << 16 | c << 8 | d}",
        "padded with zeros": f"{a:04o}.{b:04o}.{c:04o}.{d:04o}",
        "percent-encoded": "".join(f"%{ord(each):02x}" for each in address),
        "full-width digits": address.translate({ord(str(n)): 0xFF10 + n for n in range(10)}),
        "ideographic full stops": address.replace(".", "\u3002"),
        "mapped": f"[::ffff:{address}]",
        "mapped, in hexadecimal": f"[::ffff:{high:x}:{low:x}]",
        "mapped, written out": f"[0:0:0:0:0:ffff:{high:x}:{low:x}]",
        "compatible": f"[::{high:x}:{low:x}]",
        "translated": f"[::ffff:0:{high:x}:{low:x}]",
        "NAT64": f"[64:ff9b::{high:x}:{low:x}]",
        "NAT64 of a site": f"[64:ff9b:1::{high:x}:{low:x}]",
        "6to4": f"[2002:{high:x}:{low:x}::1]",
        "Teredo": f"[2001:0:{high:x}:{low:x}::{0xFFFF ^ high:x}:{0xFFFF ^ low:x}]",
    }


HOSTS = {f"{address}, {how}": host for address in INSIDE for how, host in notations(address).items()} | {
    address: f"[{address}]" for address in INSIDE_V6
}
DISGUISES = (
    "https://8.8.8.8@{host}/",
    "https://8.8.8.8:443@{host}/",
    "https://{host}\\@8.8.8.8/",
    "https://{host}#@8.8.8.8/",
    "https://{host}?@8.8.8.8/",
    "https://user:password@{host}/",
    "https:/\\{host}/",
    "https://{host}:80/",
    "https://{host}:0443/",
    "http://{host}/",
    "//{host}/",
    "https://{host}%00.example.org/",
    "https://{host}\t/",
    " https://{host}/",
)
CORPUS = [f"https://{host}/latest/meta-data/" for host in HOSTS.values()]
CORPUS += [
    url.format(host=host) for url, host in itertools.product(DISGUISES, ("127.0.0.1", "[::1]", "169.254.169.254"))
]
CORPUS += ["https://localhost/", "https://LOCALHOST./", "https://localhost.localdomain/", "https://ip6-localhost/"]


@pytest.fixture
def dialled(monkeypatch):
    """Every address that a connection is opened to; the connection itself is refused."""
    seen = []

    def create_connection(address, *_args, **_options):
        seen.append(address)
        raise OSError("no connection leaves a test")

    monkeypatch.setattr(socket, "create_connection", create_connection)
    return seen


def test_the_corpus_is_large_enough_to_mean_something():
    assert len(set(CORPUS)) >= 300


def test_no_url_of_the_corpus_opens_a_connection(dialled):
    through = []
    for url in CORPUS:
        try:
            net.fetch(url, limit=10, seconds=1)
        except BusinessRule as refused:
            if "answer in time" not in refused.text:
                continue
        through.append(url)
    assert through == []
    assert dialled == []


def test_nor_is_a_form_posted_to_one(dialled):
    for url in CORPUS[::7]:
        with pytest.raises(BusinessRule):
            net.fetch(url, limit=10, seconds=1, form=net.Form({"token": "secret"}))
    assert dialled == []


def test_what_is_public_is_dialled_by_the_address_that_was_judged(dialled):
    """So the silence above is the guard's, and not the test's."""
    with pytest.raises(BusinessRule, match="answer in time"):
        net.fetch("https://8.8.8.8/", limit=10, seconds=1)
    assert dialled == [("8.8.8.8", 443)]


@pytest.mark.parametrize("inside", [*INSIDE, *INSIDE_V6])
def test_a_name_that_resolves_inside_by_its_first_or_second_answer_opens_no_connection(monkeypatch, inside):
    real = socket.getaddrinfo
    for answers in ((inside,), ("8.8.8.8", inside), (inside, "8.8.8.8")):
        monkeypatch.setattr(
            socket,
            "getaddrinfo",
            lambda _host, port, *args, answers=answers, **options: [
                found for each in answers for found in real(each, port, *args, **options)
            ],
        )
        with pytest.raises(BusinessRule, match="public internet"):
            net.fetch("https://rebinding.test/", limit=10, seconds=1)


def test_a_trap_that_listens_is_never_reached_by_any_notation_of_its_address():
    with server(says(b"secret")) as trap:
        for host in notations("127.0.0.1").values():
            for url in (f"http://{host}:{trap.port}/", f"https://{host}:{trap.port}/"):
                with pytest.raises(BusinessRule):
                    net.fetch(url, limit=10, seconds=1)
    assert trap.connections == 0


@pytest.mark.parametrize("status", ["301 Moved Permanently", "302 Found", "303 See Other", "307 x", "308 x"])
def test_a_redirect_inside_is_not_followed(status):
    with server(says(b"secret")) as trap:
        for inside in (f"http://127.0.0.1:{trap.port}/", "http://169.254.169.254/latest/meta-data/", "//[::1]/"):
            away = says(b"", status=status, headers=f"Location: {inside}\r\n")
            with server(away) as keys:
                url = f"http://127.0.0.1:{keys.port}/"
                form = net.Form({"token": "t"})
                answers = [net.fetch(url, limit=10, seconds=5, allow_private=True, form=each) for each in (None, form)]
            assert [str(answer.status) for answer in answers] == [status.split()[0]] * 2
    assert trap.connections == 0


def test_a_form_goes_out_as_one_with_the_authorization_of_its_sender():
    heard = []

    def talk(connection, _stop):
        heard.append(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

    with server(talk) as issuer:
        form = net.Form({"token": "a b&c", "x": "é"}, "Basic eDp5")
        net.fetch(f"http://127.0.0.1:{issuer.port}/introspect?a=1", limit=10, seconds=5, allow_private=True, form=form)
    head, _, body = issuer.heads[0].partition("\r\n\r\n")
    assert head.startswith("POST /introspect?a=1 HTTP/1.1\r\n")
    assert "Authorization: Basic eDp5" in head
    assert body == "token=a+b%26c&x=%C3%A9"
    assert f"Content-Length: {len(body)}" in head
    assert "a b" not in repr(form)
    assert "eDp5" not in repr(form)
