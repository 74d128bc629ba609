"""Outgoing requests: each way in which one fails is told with what to do, and without a secret."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme

from router.errors import ConfigError, Refused, RouterError
from router.outgoing import Outgoing, is_here, require_https
from router.testing.certificates import Made, make_certificate
from router.tls import ServerTls, trust, trust_also
from tests.hosted import Parrot, hosted


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A certificate that only its own CA vouches for."""
    return make_certificate(tmp_path_factory.mktemp("made"), "127.0.0.1")


def as_certificate(made: Made) -> ServerTls:
    """What a server proves itself with."""
    return ServerTls(certfile=made.certfile, keyfile=made.keyfile)


@contextmanager
def answering(first: bytes | None) -> Iterator[str]:
    """Somebody who takes a connection and says this, or nothing until the block ends."""
    ended = threading.Event()

    def serve() -> None:
        connection, _ = listening.accept()
        with connection:
            if first is None:
                ended.wait()
                return
            with suppress(OSError):  # who understands nothing hangs up
                connection.recv(1)
                connection.sendall(first)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65_536):
                    pass

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield f"127.0.0.1:{listening.getsockname()[1]}"
        finally:
            ended.set()
            thread.join()


@pytest.mark.parametrize(
    "url",
    [
        *("", "coreapp", "coreapp:9090", "https://", "ftp://a", "https://a:b", "https://a b"),
        *("https://[bad", "https://[bad]", "https://h:99999", "https://h:0", "https://h\n"),
    ],
)
def test_a_url_is_written_in_full(url: str) -> None:
    """What is no URL of a host is refused, and shown one that is."""
    with pytest.raises(
        ConfigError, match=r"the callback .* is no URL: .*https://host.example:9090"
    ):
        require_https(url, what="the callback", allow_http=True)


@pytest.mark.parametrize(
    "url",
    ["https://a_b.example:8443/x", "https://[::1]:9", "https://ü.example", "https://u:p@1.1.1.1"],
)
def test_a_url_in_full_is_taken(url: str) -> None:
    """Names, addresses and ports of all kinds are."""
    assert require_https(url, what="the callback", allow_http=False).host


def test_a_url_without_a_scheme_hides_its_credentials() -> None:
    """Who has forgotten the scheme is told without the password."""
    with pytest.raises(ConfigError, match=r"'\*\*\*@router/a' is no URL"):
        require_https("me:hunter2@router/a", what="the callback", allow_http=False)


def test_https_is_demanded() -> None:
    """HTTP is refused with the reason, unless it is allowed; no credentials are repeated."""
    url = "http://me:hunter2@router/webhooks/core/hunter3"

    with pytest.raises(ConfigError, match=r"is not HTTPS.*--allow-http") as refused:
        require_https(url, what="the callback", allow_http=False)

    assert "hunter" not in str(refused.value)
    assert require_https(url, what="the callback", allow_http=True).host == "router"
    assert require_https("https://router", what="the callback", allow_http=False).host == "router"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:8000", True),
        ("https://localhost/x", True),
        ("http://[::1]:1", True),
        ("https://router.example", False),
        ("https://a:b", False),
    ],
)
def test_this_machine_is_known(url: str, expected: bool) -> None:  # noqa: FBT001 - a parameter
    """Loopback addresses are this machine, whatever else there is not."""
    assert is_here(url) is expected


def test_what_is_asked_arrives(made: Made) -> None:
    """Over trusted TLS, all that was asked arrives as it is, and any answer comes back."""
    parrot = Parrot()
    parrot.say({"found": True}, 418)
    with hosted(parrot, certificate=as_certificate(made)) as url:
        api = Outgoing(url=url, what="the API", trusted=trust(made.ca), headers={"x-one": "1"})
        answer = api.ask("PATCH", "/v1/x?y=z", json={"a": [None]}, headers={"x-two": "2"})
        plain = api.ask("POST", "/v1", body=b"text", headers={"content-type": "text/plain"})

    method, path, headers, body = parrot.asked[0]
    assert (method, path, body) == ("PATCH", "/v1/x?y=z", b'{"a":[null]}')
    assert (headers["x-one"], headers["x-two"]) == ("1", "2")
    assert headers["content-type"] == "application/json"
    assert (answer.status_code, api.read(answer)) == (418, {"found": True})
    assert (parrot.asked[1][2]["content-type"], parrot.asked[1][3]) == ("text/plain", b"text")
    assert plain.status_code == 418


def test_credentials_of_the_url_are_sent_as_basic() -> None:
    """A URL with a user asks as one: who is given a URL alone can do no more."""
    parrot = Parrot()
    with hosted(parrot) as url:
        address = url.replace("//", "//core:a%2Fb%20c@")
        Outgoing(url=f"{address}/hook", what="the callback").ask("POST", "", body=b"{}")

    assert parrot.asked[0][2]["authorization"] == "Basic Y29yZTphL2IgYw=="
    assert parrot.asked[0][1] == "/hook"


def test_an_unknown_certificate_is_told(made: Made, tmp_path: Path) -> None:
    """Its CA must be named; another one does not help, the right one beside others does."""
    other = make_certificate(tmp_path / "other").ca
    with hosted(Parrot(), certificate=as_certificate(made)) as url:
        for trusted in (None, trust(other)):
            with pytest.raises(RouterError, match=r"is not trusted \(.+\): .*--cacert FILE"):
                Outgoing(url=url, what="the API", trusted=trusted).ask("GET", "/")
        beside = trust_also(made.ca.read_text("ascii"))
        assert Outgoing(url=url, what="the API", trusted=beside).ask("GET", "/").is_success


def test_a_certificate_for_another_name_is_told(tmp_path: Path) -> None:
    """That it is for another is said, and no other CA is asked for."""
    made = make_certificate(tmp_path, "coreapp.internal")
    with (
        hosted(Parrot(), certificate=as_certificate(made)) as url,
        pytest.raises(RouterError, match=r"is for another name: .*127\.0\.0\.1"),
    ):
        Outgoing(url=url, what="the API", trusted=trust(made.ca)).ask("GET", "/")


def test_an_expired_certificate_is_told(tmp_path: Path) -> None:
    """It is to be renewed, and no other CA is asked for."""
    ca = trustme.CA()
    issued = ca.issue_cert("127.0.0.1", not_after=datetime(2020, 1, 1, tzinfo=UTC))
    both, authority = tmp_path / "both.pem", tmp_path / "ca.pem"
    issued.private_key_and_cert_chain_pem.write_to_path(both)
    ca.cert_pem.write_to_path(authority)
    with (
        hosted(Parrot(), certificate=ServerTls(certfile=both)) as url,
        pytest.raises(RouterError, match=r"has expired: renew it there"),
    ):
        Outgoing(url=url, what="the API", trusted=trust(authority)).ask("GET", "/")


def test_https_where_there_is_none_is_told() -> None:
    """Plain HTTP at the port is named as what it perhaps is."""
    with (
        answering(b"HTTP/1.1 400 Bad Request\r\n\r\n") as place,
        pytest.raises(RouterError, match=r"does not speak TLS"),
    ):
        Outgoing(url=f"https://{place}", what="the API").ask("GET", "/")


def test_http_where_there_is_https_is_told(made: Made) -> None:
    """A server that hangs up on HTTP is asked about HTTPS."""
    with (
        hosted(Parrot(), certificate=as_certificate(made)) as url,
        pytest.raises(RouterError, match=r"does it take HTTPS alone\?"),
    ):
        Outgoing(url=url.replace("https", "http"), what="the API").ask("GET", "/")


def test_nobody_at_home_is_told() -> None:
    """Where nothing listens, host and port are in question."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]

    with pytest.raises(RouterError, match=rf"nothing answers at .*:{port} .*check host and port"):
        Outgoing(url=f"https://127.0.0.1:{port}", what="the API").ask("GET", "/")


@pytest.mark.parametrize(
    ("method", "advice"), [("GET", "try again"), ("PATCH", "look whether it was done")]
)
def test_silence_is_told(method: str, advice: str) -> None:
    """After a time-out it is said what is unknown: whether a change was made."""
    with answering(None) as place:
        api = Outgoing(url=f"http://{place}", what="the API", timeout=0.05)
        with pytest.raises(RouterError, match=rf"gave no answer within 0.05 s: {advice}"):
            api.ask(method, "/")


def test_no_redirection_is_followed() -> None:
    """Credentials do not travel to where somebody's answer points."""
    parrot = Parrot()
    parrot.say_text("", 302, location="/elsewhere")
    with hosted(parrot) as url:
        assert Outgoing(url=url, what="the API").ask("GET", "/").status_code == 302

    assert len(parrot.asked) == 1


def test_html_is_no_answer() -> None:
    """A page where JSON was due raises doubts about the address."""
    parrot = Parrot()
    parrot.say_text("<html>Welcome")
    with hosted(parrot) as url:
        api = Outgoing(url=url, what="the API")
        answer = api.ask("GET", "/")

    with pytest.raises(RouterError, match=r"answered 200 with text/html instead of JSON"):
        api.read(answer)
    assert api.read_errors(answer) == {}


def test_no_secret_is_repeated() -> None:
    """What an answer quotes of our secrets is hidden, and control characters are not printed."""
    parrot = Parrot()
    parrot.say({}, 400)
    with hosted(parrot) as url:
        api = Outgoing(url=url, what="the API", secrets=("hunter2", ""))
        refused = api.refuse(api.ask("GET", "/"), said="no \x1b[31mhunter2", advice="stop")

    assert isinstance(refused, Refused)
    assert refused.status == 400
    assert str(refused).endswith("answered 400 Bad Request (no  [31m***): stop")
    assert "hunter2" not in repr(api)
    assert len(api.clean("x" * 10_000)) < 1_000
