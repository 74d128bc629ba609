"""Callback URLs, and the requests that are written for them."""

import ssl
from pathlib import Path

import pytest

from router.errors import RouterError
from router.testing.certificates import make_certificate
from router.testing.coreapp.endpoint import make_context, read_url
from router.testing.coreapp.routes import make_route


def test_a_request_is_a_whole_one() -> None:
    """It has the target with its query, the host with its port, and the length of its body."""
    endpoint = read_url("http://shop.example:8080/a%20b?c=d", headers={"x-made-up": "1"})

    assert (endpoint.host, endpoint.port, endpoint.is_tls) == ("shop.example", 8080, False)
    assert endpoint.write_request(b"{}") == (
        b"POST /a%20b?c=d HTTP/1.1\r\n"
        b"host: shop.example:8080\r\n"
        b"user-agent: router-simulate\r\n"
        b"content-type: application/json\r\n"
        b"x-made-up: 1\r\n"
        b"content-length: 2\r\n\r\n{}"
    )


def test_the_port_follows_from_the_scheme() -> None:
    """Without a port it is 443 for HTTPS; without a path, the root."""
    endpoint = read_url("https://[::1]")

    assert (endpoint.host, endpoint.port, endpoint.is_tls) == ("::1", 443, True)
    assert endpoint.head.startswith(b"POST / HTTP/1.1\r\nhost: [::1]\r\n")


@pytest.mark.parametrize(
    "url", ["ftp://me:pass@a/b", "http://me:pass@a b/", "http://me:pass@a:b/c", "http://me:pass@/é"]
)
def test_an_error_keeps_a_password(url: str) -> None:
    """What is no URL is refused without repeating the credentials in it."""
    with pytest.raises(RouterError, match="is no URL") as caught:
        read_url(url)

    assert "pass" not in str(caught.value)


def test_authorities_are_trusted_beside_the_systems(tmp_path: Path) -> None:
    """A CA need not say what its key is for, as that of a Coreapp does not."""
    pem = make_certificate(tmp_path).ca.read_text()
    context = make_context(pem)

    assert ssl.PEM_cert_to_DER_cert(pem) in context.get_ca_certs(binary_form=True)
    assert not context.verify_flags & ssl.VERIFY_X509_STRICT
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


def test_authorities_that_cannot_be_read_lead_nowhere() -> None:
    """Nothing is sent, and the reason is on record."""
    route = make_route("https://a", "no PEM", {}, allows_http=False)

    assert route.endpoint is None
    assert "no certificate that can be read" in route.reason
