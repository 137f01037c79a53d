"""Webhooks, against real servers: what they send, whom they believe, and how long they wait."""

from __future__ import annotations

import hashlib
import hmac
import json
import socket
import ssl
import subprocess
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from integration.receivers import web_server
from jsonschema import Draft202012Validator
from unit.test_sink_messages import SCHEMA
from wait import wait_until

from taskman_cli import __version__
from taskman_cli.core.sinks import TEMPLATES, SinkDefinition
from taskman_cli.sinks.addresses import is_private
from taskman_cli.sinks.base import DeliveryFailed
from taskman_cli.sinks.secrets import Secrets
from taskman_cli.sinks.surroundings import Surroundings
from taskman_cli.sinks.testing import ODD, check, check_failure, check_network, message
from taskman_cli.sinks.types import Guarded, make
from taskman_cli.sinks.webhook import Webhook
from taskman_cli.trust import Trust

if TYPE_CHECKING:
    from collections.abc import Iterator

    from taskman_cli.sinks.base import Sink

TOKEN = "hunter2-and-more"
AROUND = Surroundings(environ={"TOKEN": TOKEN}, trust=Trust(is_checked=False))


def webhook(url: Any, *, format: str = "", **settings: Any) -> SinkDefinition:
    return SinkDefinition("ops", "webhook", format=format, settings={"url": url, **settings})


def sink(url: Any, **settings: Any) -> Sink:
    return make(webhook(url, **settings), AROUND)


def failure(definition: SinkDefinition, timeout_s: float = 5.0) -> DeliveryFailed:
    with pytest.raises(DeliveryFailed) as caught:
        make(definition, AROUND).deliver(message(), timeout_s)
    return caught.value


def test_a_message_is_posted_as_signed_json_with_a_key() -> None:
    with web_server() as web:
        hook = sink(f"{web.url}/hook?a=b%20c", secret={"env": "TOKEN"}, headers={"X-A": "b"})
        answer = hook.deliver(message(), 5.0)
    (got,) = web.got
    assert answer == "HTTP 200 OK: taken"
    assert (got.method, got.path) == ("POST", "/hook?a=b%20c")
    assert got.headers["Content-Type"] == "application/json"
    assert got.headers["User-Agent"] == f"taskman/{__version__}"
    assert got.headers["Idempotency-Key"] == "default/0123456789abcdef/4711"
    assert got.headers["X-A"] == "b"
    digest = hmac.new(TOKEN.encode(), got.body, hashlib.sha256).hexdigest()
    assert got.headers["Taskman-Signature"] == f"sha256={digest}"
    document = json.loads(got.body)
    Draft202012Validator(SCHEMA).validate(document)
    assert document["reports"][0]["detail"] == "exit 3"


@pytest.mark.parametrize("format_", ["json", "text", *TEMPLATES])
def test_it_stands_the_suite_in_each_format(format_: str) -> None:
    extra = {"routing_key": {"env": "TOKEN"}} if format_ == "pagerduty" else {}
    with web_server() as web:
        check(
            webhook(f"{web.url}/{TOKEN}", format=format_, secret={"env": "TOKEN"}, **extra),
            surroundings=AROUND,
            secrets=[TOKEN],
        )
    keys = [got.headers["Idempotency-Key"] for got in web.got]
    assert set(keys) == {key for key in keys if keys.count(key) % 2 == 0}


def test_it_stands_the_suite_of_servers_in_trouble() -> None:
    check_network(
        lambda host, port: webhook(
            f"http://{host}:{port}/{TOKEN}", headers={"Authorization": {"env": "TOKEN"}}
        ),
        surroundings=AROUND,
        secrets=[TOKEN],
    )


# Of a connection that is reset as TLS begins, the standard library lets its end go without closing it.
@pytest.mark.filterwarnings("ignore:unclosed <ssl.SSLSocket:ResourceWarning")
def test_it_stands_servers_that_do_not_speak_tls() -> None:
    check_network(lambda host, port: webhook(f"https://{host}:{port}/"), surroundings=AROUND)


@pytest.mark.parametrize(
    ("status", "is_final"),
    [
        (400, True), (401, False), (403, False), (404, False), (408, False), (410, False), (413, True),
        (422, True), (425, False), (429, False), (500, False), (503, False), (303, False), (304, False),
    ],
)  # fmt: skip
def test_a_status_that_is_no_success_is_a_failure(status: int, is_final: bool) -> None:
    with web_server((status, {}, b"")) as web:
        error = failure(webhook(web.url))
    assert error.is_final == is_final
    assert error.is_down == (status in (408, 425, 429, 502, 503, 504))
    assert str(error).startswith(f"HTTP {status} ")


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"Retry-After": "120"}, 120.0),
        ({"Retry-After": "99999999"}, 86400.0),
        ({"Retry-After": "Wed, 21 Oct 2099 07:28:00 GMT"}, 86400.0),
        ({"Retry-After": "Wed, 21 Oct 1999 07:28:00 GMT"}, 0.0),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "-5"}, None),
        ({}, None),
    ],
)
def test_the_other_side_may_ask_for_a_pause(headers: dict[str, str], expected: float | None) -> None:
    with web_server((503, headers, b"")) as web:
        assert failure(webhook(web.url)).retry_after_s == expected


def test_what_the_other_side_answers_has_no_secret_and_no_control_character() -> None:
    echo = f"cannot POST /{TOKEN}\x1b[31m\r\n\xff".encode("latin-1")
    with web_server((500, {}, echo)) as web:
        error = failure(webhook(f"{web.url}/{TOKEN}"))
    assert str(error) == "HTTP 500 Internal Server Error: cannot POST ***\\x1b[31m \ufffd"


def test_a_secret_url_never_shows_even_if_it_is_wrong() -> None:
    around = Surroundings(environ={"URL": f"nonsense://{TOKEN}"}, trust=Trust(is_checked=False))
    error = check_failure(webhook({"env": "URL"}), surroundings=around, secrets=[TOKEN])
    assert str(error).startswith("url: not a URL of a web server")
    assert error.is_down


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_followed_with_the_same_body(status: int) -> None:
    with web_server() as there, web_server((status, {"Location": f"{there.url}/there"}, b"")) as web:
        sink(web.url, secret={"env": "TOKEN"}, headers={"Authorization": {"env": "TOKEN"}}).deliver(
            message(), 5.0
        )
    (first,), (second,) = web.got, there.got
    assert second.path == "/there"
    assert second.body == first.body
    assert second.headers["Taskman-Signature"] == first.headers["Taskman-Signature"]
    # It is a secret between us and the first.
    assert first.headers["Authorization"] == TOKEN
    assert "Authorization" not in second.headers


def test_a_redirect_on_the_same_server_keeps_the_headers() -> None:
    with web_server((307, {"Location": "/b"}, b""), (200, {}, b"")) as web:
        sink(f"{web.url}/a", headers={"Authorization": {"env": "TOKEN"}}).deliver(message(), 5.0)
    assert [(got.path, got.headers["Authorization"]) for got in web.got] == [("/a", TOKEN), ("/b", TOKEN)]


def test_redirects_have_an_end() -> None:
    with web_server((307, {"Location": "/again"}, b"")) as web:
        assert str(failure(webhook(web.url))) == "more than 3 redirects"
        assert len(web.got) == 4
        assert str(failure(webhook(web.url, max_redirects=0))) == "more than 0 redirects"


@pytest.mark.parametrize("location", ["file:///etc/passwd", "http://[", "//", "http://a:b@c/"])
def test_a_redirect_to_what_is_no_web_server_is_refused(location: str) -> None:
    with web_server((307, {"Location": location}, b"")) as web:
        assert "redirect" in str(failure(webhook(web.url))) or "connection" in str(failure(webhook(web.url)))


def test_a_template_of_ones_own_is_used(tmp_path: Path) -> None:
    file = tmp_path / "mine.toml"
    file.write_text('text = "{job}: {detail}"\n[headers]\nX-Job = "{job}"\n')
    with web_server() as web:
        sink(web.url, template=str(file)).deliver(message(), 5.0)
        assert (web.got[0].body, web.got[0].headers["X-Job"]) == (b"backup: exit 3", "backup")
        file.write_text("text = '{nonsense}'")
        assert str(failure(webhook(web.url, template=str(file)))).startswith(
            f"template: {file}: {{nonsense}} is not a value"
        )


# --- whom it connects to ---


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.1.2.3", "0.0.0.0", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254",
        "100.100.100.200", "224.0.0.1", "255.255.255.255", "240.0.0.1", "::1", "::", "fe80::1%eth0",
        "fd00:ec2::254",
        "fc00::1", "ff02::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:a9fe:a9fe", "2002:7f00:1::",
        "2002:a9fe:a9fe::1", "64:ff9b::7f00:1", "64:ff9b::a9fe:a9fe", "64:ff9b:1::1", "::7f00:1", "fec0::1",
        "2001:0:4136:e378:8000:63bf:80ff:fffe", "2001:db8::1", "192.0.2.1", "198.18.0.1",
    ],
)  # fmt: skip
def test_private_addresses_are_known_however_they_are_written(address: str) -> None:
    assert is_private(address)


@pytest.mark.parametrize(
    "address", ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101"]
)
def test_public_addresses_are_allowed(address: str) -> None:
    assert not is_private(address)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "2130706433", "0x7f.1", "0", "127.1"]
)
def test_a_private_address_is_refused_where_it_is_not_allowed(host: str) -> None:
    with web_server() as web:
        error = failure(webhook(f"http://{host}:{web.port}/", allow_private=False))
    assert web.got == []
    assert "allow_private = false refuses" in str(error) or "not known" in str(error)


def guarded(url: str, look_up: Any, **settings: Any) -> Sink:
    secrets = Secrets(AROUND)
    return Guarded(Webhook(webhook(url, **settings), secrets, look_up=look_up), secrets)


def test_a_name_that_changes_between_check_and_use_gains_nothing() -> None:
    asked: list[str] = []

    def look_up(host: str, port: int) -> list[Any]:
        asked.append(host)
        address = "192.0.2.9" if len(asked) == 1 else "127.0.0.1"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    with web_server() as web:
        rebinding = guarded(f"http://rebind.example.org:{web.port}/", look_up, allow_private=False)
        for _ in range(3):
            with pytest.raises(DeliveryFailed):
                rebinding.deliver(message(), 0.5)
    assert web.got == []
    # It is looked up once a delivery: what is checked is what is connected to.
    assert asked == ["rebind.example.org"] * 3


def test_a_redirect_to_a_private_address_is_refused_too(monkeypatch: pytest.MonkeyPatch) -> None:
    from taskman_cli.sinks import addresses

    def look_up(host: str, port: int) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port))]

    with web_server() as inner, web_server((307, {"Location": f"{inner.url}/secret"}, b"")) as web:
        # The first server plays one on the internet; only real addresses are looked at afterwards.
        looked: list[str] = []

        def looks_public(address: str) -> bool:
            looked.append(address)
            return len(looked) > 1 and is_private(address)

        monkeypatch.setattr(addresses, "is_private", looks_public)
        with pytest.raises(DeliveryFailed, match="allow_private = false refuses"):
            guarded(f"http://public.example.org:{web.port}/", look_up, allow_private=False).deliver(
                message(), 5.0
            )
    assert len(web.got) == 1
    assert inner.got == []


def test_a_name_server_that_hangs_ends_with_the_time_to_connect() -> None:
    stop = threading.Event()

    def look_up(host: str, port: int) -> list[Any]:
        stop.wait()
        return []

    hanging = guarded("http://example.org/", look_up, connect_timeout_ns=200_000_000)
    for _ in range(3):
        with pytest.raises(DeliveryFailed, match=r"example\.org: the name server does not answer"):
            hanging.deliver(message(), 30.0)
    # No thread is made while the last one hangs.
    assert sum(thread.name == "taskman-patience" for thread in threading.enumerate()) == 1
    stop.set()


def test_no_proxy_is_taken_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    with web_server() as web:
        sink(web.url).deliver(message(), 5.0)
    assert len(web.got) == 1


def test_a_proxy_gets_the_whole_url() -> None:
    with web_server() as proxy:
        sink("http://hook.example.org:8080/a?b=c", proxy=proxy.url).deliver(message(), 5.0)
    (got,) = proxy.got
    assert (got.path, got.headers["Host"]) == ("http://hook.example.org:8080/a?b=c", "hook.example.org:8080")


# --- TLS ---


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("tls")
    command = [
        "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
        "-days", "2",
        "-keyout", str(directory / "key.pem"), "-out", str(directory / "cert.pem"),
        "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost",
    ]  # fmt: skip
    try:
        subprocess.run(command, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    return directory


def server_side(directory: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(directory / "cert.pem", directory / "key.pem")
    return context


def test_a_certificate_that_nobody_vouches_for_is_refused(certificate: Path) -> None:
    with web_server(tls=server_side(certificate)) as web:
        error = failure(webhook(f"https://localhost:{web.port}/"))
        assert "its certificate is not trusted: self" in str(error)
        ca = str(certificate / "cert.pem")
        assert sink(f"https://localhost:{web.port}/", ca=ca).deliver(message(), 5.0) == "HTTP 200 OK: taken"
        error = failure(webhook(f"https://127.0.0.1:{web.port}/", ca=ca))
        assert "its certificate is not trusted: IP address mismatch" in str(error)
    assert len(web.got) == 1


def test_a_redirect_from_encryption_to_none_is_refused(certificate: Path) -> None:
    with (
        web_server() as open_web,
        web_server((307, {"Location": open_web.url}, b""), tls=server_side(certificate)) as web,
    ):
        url = f"https://localhost:{web.port}/"
        error = failure(webhook(url, ca=str(certificate / "cert.pem")))
    assert str(error) == "a redirect to 127.0.0.1 without encryption: not followed"
    assert open_web.got == []


@contextmanager
def tunnelling_proxy(port: int) -> Iterator[int]:
    """Run a proxy that connects to one port, whatever it is asked for."""
    listener = socket.create_server(("127.0.0.1", 0))

    def copy(source: socket.socket, target: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            return

    def serve() -> None:
        client, _ = listener.accept()
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += client.recv(1)
        asked.append(head.split(b"\r\n")[0].decode())
        server = socket.create_connection(("127.0.0.1", port))
        client.sendall(b"HTTP/1.1 200 go on\r\n\r\n")
        back = threading.Thread(target=copy, args=(server, client), daemon=True)
        back.start()
        copy(client, server)
        back.join()
        client.close()
        server.close()

    asked: list[str] = []
    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1]
    finally:
        thread.join(60)
        listener.close()
        assert asked == [f"CONNECT localhost:{port} HTTP/1.1"]


def test_a_proxy_is_a_tunnel_where_there_is_encryption(certificate: Path) -> None:
    with web_server(tls=server_side(certificate)) as web, tunnelling_proxy(web.port) as port:
        answer = sink(
            f"https://localhost:{web.port}/",
            ca=str(certificate / "cert.pem"),
            proxy=f"http://127.0.0.1:{port}",
        ).deliver(message(), 5.0)
    assert answer == "HTTP 200 OK: taken"


def test_each_odd_message_is_json_of_the_schema_on_the_wire() -> None:
    with web_server() as web:
        for odd in ODD.values():
            sink(web.url).deliver(odd, 10.0)
    for got in web.got:
        Draft202012Validator(SCHEMA).validate(json.loads(got.body))


def test_it_leaves_no_descriptor_open() -> None:
    def count() -> int:
        return len([*Path("/proc/self/fd").iterdir()])

    before = count()
    with web_server((500, {}, b"")) as web:
        for _ in range(5):
            failure(webhook(web.url))
    wait_until(lambda: count() <= before, what="the server to close its own, too")
