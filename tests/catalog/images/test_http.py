"""Tests for http.py and guarded_connection.py against a server that misbehaves on purpose.

The server is on 127.0.0.1, which is not public: tests that fetch from it allow it by setting.
"""

import gzip
import socket
import ssl
import time
import zlib

import pytest

from catalog.images.addresses import parse_networks
from catalog.images.http import fetch_http
from catalog.images.image import ImageConfig, ImageUnavailable
from catalog.records import RecordError

HERE = parse_networks("127.0.0.0/8")
BODY = bytes(range(256)) * 40


def config(**options):
    return ImageConfig(**{"allow": HERE, "read_timeout_s": 5, "connect_timeout_s": 5} | options)


def fetch(web, path, *, resolve=None, **options):
    return fetch_http(web.url(path), config(**options), **({"resolve": resolve} if resolve else {}))


def reason(url, *, temporary=False, resolve=None, **options):
    with pytest.raises(RecordError) as caught:
        fetch_http(url, config(**options), **({"resolve": resolve} if resolve else {}))
    assert caught.value.stage == "media"
    assert isinstance(caught.value, ImageUnavailable) is temporary, caught.value
    return str(caught.value)


def test_the_body_comes_back_as_it_was(web, answer):
    web.routes["/a%20b.png?size=2"] = answer(BODY)
    assert fetch(web, "/a b.png?size=2") == BODY


def test_a_request_carries_nothing_of_ours(web, answer, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    web.routes["/a"] = answer(BODY, "Set-Cookie: a=b")
    fetch(web, "/a")
    fetch(web, "/a")
    heads = [head.lower() for head in web.requests]
    assert f"host: 127.0.0.1:{web.port}\r\n" in heads[1]
    assert not any(name in heads[1] for name in ("cookie", "authorization", "referer"))
    assert heads[0] == heads[1]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_followed(web, answer, status):
    web.routes["/a"] = answer(b"", "Location: b?x=1", status=status)
    web.routes["/b?x=1"] = answer(BODY)
    assert fetch(web, "/a") == BODY


def test_the_number_of_redirects_is_limited_and_includes_its_bound(web, answer):
    web.routes["/end"] = answer(BODY)
    for left in (1, 2, 3):
        to = "/end" if left == 1 else f"/{left - 1}"
        web.routes[f"/{left}"] = answer(b"", f"Location: {to}", status=302)
    assert fetch(web, "/3") == BODY
    assert "may redirect 2 times, got more" in reason(web.url("/3"), max_redirects=2)
    web.routes["/loop"] = answer(b"", "Location: /loop", status=302)
    assert "got more" in reason(web.url("/loop"))


def test_the_body_of_a_redirect_is_not_read(web, answer):
    web.routes["/a"] = answer(b"", "Location: /b", "Content-Length: 999999999", status=302)
    web.routes["/b"] = answer(BODY)
    assert fetch(web, "/a") == BODY


@pytest.mark.parametrize(
    "location",
    ["file:///etc/passwd", "ftp://h/a", "data:,x", "s3://b/a", "gopher://127.0.0.1:1/x"],
)
def test_a_redirect_must_stay_with_http(web, answer, location):
    web.routes["/a"] = answer(b"", f"Location: {location}", status=302)
    assert "must stay with http" in reason(web.url("/a"))


def test_a_redirect_to_nowhere_is_refused(web, answer):
    web.routes["/a"] = answer(b"", status=302)
    assert "no Location" in reason(web.url("/a"))
    web.routes["/b"] = answer(b"", "Location: http://[::1", status=302)
    assert "must lead to a URL" in reason(web.url("/b"))


@pytest.mark.parametrize(
    "target",
    [
        "http://10.0.0.1/",
        "http://169.254.169.254/latest/meta-data/",
        "http://[::1]:{port}/",
        "http://[::ffff:10.0.0.1]/",
        "//192.168.0.1/x",
        "http://0/",
    ],
)
def test_every_redirect_is_judged_like_the_first_address(web, answer, target):
    location = target.format(port=web.port)
    web.routes["/a"] = answer(b"", f"Location: {location}", status=302)
    assert "must lead to a public address" in reason(web.url("/a"))


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1",
        "0x7f.1",
        "0177.0.0.1",
        "2130706433",
        "0",
        "localhost",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::]",
        "１２７.0.0.1",  # noqa: RUF001 (full-width digits become digits on the way to the resolver)
    ],
)
def test_this_machine_is_not_reached_by_any_spelling(web, answer, host):
    web.routes["/a"] = answer(BODY)
    assert "must lead to a public address" in reason(web.url("/a", host), allow=())
    assert web.requests == []


def test_a_name_is_judged_by_its_address_and_resolved_once(web, answer):
    web.routes["/a"] = answer(BODY)
    answers = iter([["127.0.0.1"], ["10.0.0.1"]])  # a name server that changes its mind
    url = web.url("/a", "images.test")
    assert fetch_http(url, config(), resolve=lambda host, port: next(answers)) == BODY
    assert next(answers) == ["10.0.0.1"]
    assert f"Host: images.test:{web.port}" in web.requests[0]


def test_a_name_that_turns_private_after_a_permitted_answer_leads_nowhere(web, answer):
    # Whoever judges one answer and connects by the next reaches the server: it is listening.
    web.routes["/a"] = answer(BODY)
    asked = []

    def rebinding(host, port):
        asked.append(host)
        return ["127.0.0.1"] if len(asked) > 1 else ["127.0.0.2"]

    url, allow = web.url("/a", "rebinding.test"), parse_networks("127.0.0.2/32")
    assert "refused" in reason(url, resolve=rebinding, allow=allow, temporary=True)
    assert asked == ["rebinding.test"]
    assert "must lead to a public" in reason(url, resolve=rebinding, allow=allow)
    assert web.requests == []


@pytest.mark.parametrize("permitted", [("127.0.0.1", "127.0.0.2"), ("127.0.0.2", "127.0.0.1")])
def test_of_several_addresses_the_permitted_are_tried_until_one_answers(web, answer, permitted):
    web.routes["/a"] = answer(BODY)
    found = ["10.9.9.9", *permitted]  # 127.0.0.2 refuses: nobody listens there
    url = web.url("/a", "several.test")
    assert fetch_http(url, config(), resolve=lambda host, port: found) == BODY


def test_a_name_that_does_not_exist_is_unavailable(web):
    def unknown(host, port):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    assert "not resolved" in reason("http://none.test/", resolve=unknown, temporary=True)


def test_nobody_listening_is_unavailable():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}/a"
        assert "must be reached" in reason(url, temporary=True)


@pytest.mark.parametrize(
    ("url", "text"),
    [
        ("http:///a", "must name a host"),
        ("http://", "must name a host"),
        ("http://user:secret@127.0.0.1/", "no user name or password"),
        ("http://127.0.0.1\\@example.com/", "no user name or password"),
        ("http://@127.0.0.1/", "no user name or password"),
        ("http://a b/", "must name a host"),
        ("http://a\\b/", "must name a host"),
        ("http://127.0.0.1:99999/", "must be a URL"),
        ("http://127.0.0.1:x/", "must be a URL"),
        ("http://[::1/", "must be a URL"),
        (f"http://{'a' * 64}.test/", "must be a URL"),
        ("http://a..test/", "must be a URL"),
        ("file:///etc/passwd", "must stay with http"),
    ],
)
def test_addresses_that_are_none_are_refused(url, text):
    assert text in reason(url)
    assert "secret" not in reason(url)


def test_line_breaks_in_an_address_add_no_header(web, answer):
    web.routes["/ax:y"] = answer(BODY)
    assert fetch(web, "/a\r\nx:y") == BODY
    assert "\r\nx:y" not in web.requests[0]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 204, 206, 304])
def test_an_answer_without_an_image_is_final(web, answer, status):
    web.routes["/a"] = answer(b"", status=status)
    assert f"got {status}" in reason(web.url("/a"))


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_passing_trouble_is_told_as_such(web, answer, status):
    web.routes["/a"] = answer(b"", status=status)
    assert f"got {status}" in reason(web.url("/a"), temporary=True)


def test_the_size_limit_includes_its_bound(web, answer):
    web.routes["/a"] = answer(BODY)
    assert fetch(web, "/a", max_bytes=len(BODY)) == BODY
    less = len(BODY) - 1
    assert f"at most {less} bytes" in reason(web.url("/a"), max_bytes=less)


def test_a_body_announced_too_large_is_not_read(web, answer):
    web.routes["/a"] = answer(b"", "Content-Length: 99999999999")
    assert "got 99999999999" in reason(web.url("/a"))


@pytest.mark.parametrize("head", [b"", b"Transfer-Encoding: chunked\r\n"])
def test_a_body_without_end_is_cut_off_at_the_limit(web, head):
    sent = []

    def endless(connection):
        connection.sendall(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n")
        piece = bytes(10_000)
        while not web.stopping.is_set():
            connection.sendall(b"2710\r\n" + piece + b"\r\n" if head else piece)
            sent.append(len(piece))

    web.routes["/a"] = endless
    assert "at most 100000 bytes" in reason(web.url("/a"), max_bytes=100_000)
    assert sum(sent) < 20_000_000  # what the buffers of the network held, and no more


def test_a_body_shorter_than_announced_is_unavailable(web, answer):
    web.routes["/a"] = answer(BODY, f"Content-Length: {len(BODY) + 1}")
    assert "must be reached" in reason(web.url("/a"), temporary=True)


def test_a_body_longer_than_announced_ends_where_it_was_to(web, answer):
    web.routes["/a"] = answer(BODY, "Content-Length: 100")
    assert fetch(web, "/a") == BODY[:100]


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress])
def test_a_packed_body_is_unpacked_though_nobody_asked(web, answer, pack):
    name = "gzip" if pack is gzip.compress else "deflate"
    web.routes["/a"] = answer(pack(BODY), f"Content-Encoding: {name}")
    assert fetch(web, "/a") == BODY
    assert "accept-encoding: identity" in web.requests[0].lower()


def test_a_packed_bomb_is_cut_off_at_the_limit(web, answer):
    bomb = gzip.compress(bytes(50_000_000))
    assert len(bomb) < 60_000
    web.routes["/a"] = answer(bomb, "Content-Encoding: gzip")
    assert "got 60001" in reason(web.url("/a"), max_bytes=60_000)


@pytest.mark.parametrize(
    ("encoding", "text"), [("br", "got 'br'"), ("gzip, gzip", "gzip, gzip"), ("gzip", "packed")]
)
def test_a_packing_that_is_unknown_or_a_lie_is_refused(web, answer, encoding, text):
    web.routes["/a"] = answer(BODY, f"Content-Encoding: {encoding}")
    assert text in reason(web.url("/a"))


def test_a_silent_server_is_given_up_after_the_read_timeout(web):
    web.routes["/a"] = lambda connection: web.stopping.wait(5)
    started = time.monotonic()
    assert "in time" in reason(web.url("/a"), temporary=True, read_timeout_s=0.2)
    assert 0.2 <= time.monotonic() - started < 5


@pytest.mark.parametrize("start", [b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\n\r\n"])
def test_a_server_that_trickles_is_given_up_after_the_total_time(web, start):
    def trickle(connection):
        connection.sendall(start)
        while not web.stopping.wait(0.02):
            connection.sendall(b"x")

    web.routes["/a"] = trickle
    started = time.monotonic()
    text = reason(web.url("/a"), temporary=True, read_timeout_s=1, total_timeout_s=0.3)
    assert "within 0.3 s" in text or "in time" in text
    assert 0.3 <= time.monotonic() - started < 5


def test_the_total_time_counts_redirects_too(web, answer):
    def slow(connection):
        web.stopping.wait(0.15)
        connection.sendall(answer(b"", "Location: /a", status=302))

    web.routes["/a"] = slow
    options = {"max_redirects": 100, "total_timeout_s": 0.4}
    assert "in time" in reason(web.url("/a"), temporary=True, **options)


@pytest.mark.parametrize(
    "nonsense",
    [
        b"",
        b"\x00\xff\x00\r\n\r\n",
        b"SSH-2.0-x\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 1_000_000,
        b"HTTP/1.1 101 Go\r\nUpgrade: x\r\n\r\n",
    ],
)
def test_answers_that_are_not_http_are_refused(web, nonsense):
    web.routes["/a"] = nonsense
    with pytest.raises(RecordError):
        fetch(web, "/a")


def test_tls_verifies_the_name_and_not_the_address(web, answer, certificate):
    web.ssl_context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    web.ssl_context.load_cert_chain(certificate)
    asked = []
    web.ssl_context.sni_callback = lambda connection, name, context: asked.append(name)
    web.routes["/a"] = answer(BODY)
    trusting = ssl.create_default_context(cafile=str(certificate))

    def over_tls(host, context):
        url, to_here = web.url("/a", host), lambda name, port: ["127.0.0.1"]
        return fetch_http(url, config(), resolve=to_here, ssl_context=context)

    assert over_tls("images.test", trusting) == BODY
    assert asked == ["images.test"]
    with pytest.raises(ImageUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
        over_tls("other.test", trusting)
    with pytest.raises(ImageUnavailable, match="CERTIFICATE_VERIFY_FAILED"):
        over_tls("images.test", None)
