"""Tests of the proofs of origin that most providers share."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.errors import Unverified
from router.sources import Request, Signed
from router.verification import (
    Basic,
    Bearer,
    HmacSha256,
    PathSecret,
    Unsigned,
    Verification,
    matches,
)

BODY = b'{"messages": []}'
HEADER = "x-signature"

EACH: list[Verification] = [
    HmacSha256(("first", "second"), header=HEADER, prefix="sha256="),
    Basic((("ana", "pass:word"), ("beto", "pässword"))),
    Bearer(("first", "second")),
    PathSecret(("first", "second")),
]


def request_of(signed: Signed, body: bytes = BODY) -> Request:
    """Return the request that a sender makes of ``signed``."""
    return Request(headers=signed.headers, secret=signed.secret, body=body)


def authorization(value: str) -> Request:
    """Return a request with that header."""
    return Request(headers={"authorization": value}, body=BODY)


@pytest.mark.parametrize("verification", [*EACH, Unsigned()])
def test_sign(verification: Verification) -> None:
    """What is signed is verified."""
    verification.verify(request_of(verification.sign(BODY)))


@pytest.mark.parametrize("verification", EACH)
def test_nothing_given(verification: Verification) -> None:
    """A request without the proof is refused."""
    with pytest.raises(Unverified):
        verification.verify(Request(body=BODY))


@pytest.mark.parametrize("verification", EACH)
def test_shown(verification: Verification) -> None:
    """Printing a verification shows no secret."""
    assert not any(secret in f"{verification!r}{verification}" for secret in ("first", "word"))


def test_unsigned() -> None:
    """Where nothing is asked, anybody is let in."""
    Unsigned().verify(Request())


def test_hmac_known_digest() -> None:
    """The digest is that of RFC 4231, test case 2, in lower-case hexadecimal behind the prefix."""
    signed = HmacSha256(("Jefe",), header=HEADER, prefix="v1=").sign(
        b"what do ya want for nothing?"
    )
    digest = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    assert signed.headers == {HEADER: f"v1={digest}"}


@pytest.mark.parametrize("wrong", ["", "sha256=", "sha256=0", "ä", "sha256=ä", "\ud800"])
def test_hmac_wrong(wrong: str) -> None:
    """A wrong signature is refused, one that is not ASCII too, and by no other error."""
    with pytest.raises(Unverified):
        EACH[0].verify(Request(headers={HEADER: wrong}, body=BODY))


@given(body=st.binary(), other=st.binary())
def test_hmac_body(body: bytes, other: bytes) -> None:
    """A signature holds for the very bytes that were signed and for no others."""
    request = request_of(EACH[0].sign(body), other)
    if body == other:
        EACH[0].verify(request)
    else:
        with pytest.raises(Unverified):
            EACH[0].verify(request)


@pytest.mark.parametrize("secret", ["first", "second", "third"])
def test_hmac_rotation(secret: str) -> None:
    """Each of several secrets is accepted, and no other."""
    request = request_of(HmacSha256((secret,), header=HEADER, prefix="sha256=").sign(BODY))
    if secret == "third":
        with pytest.raises(Unverified):
            EACH[0].verify(request)
    else:
        EACH[0].verify(request)


@pytest.mark.parametrize(
    "value",
    [
        "Basic YW5hOnBhc3M6d29yZA==",  # ana, pass:word
        "basic YW5hOnBhc3M6d29yZA==",
        "BASIC  YW5hOnBhc3M6d29yZA== ",
        "Basic YmV0bzpww6Rzc3dvcmQ=",  # beto, pässword
    ],
)
def test_basic(value: str) -> None:
    """Each user is let in, however the scheme is written."""
    EACH[1].verify(authorization(value))


@pytest.mark.parametrize(
    "value",
    [
        "Basic",
        "Basic ",
        "Basic YW5hOnDDpHNzd29yZA==",  # ana with beto's password
        "Basic YW5hOg==",  # ana, no password
        "Bearer YW5hOnBhc3M6d29yZA==",
        "YW5hOnBhc3M6d29yZA==",
        "Basic ana:pass:word",
        "Basic ä",
    ],
)
def test_basic_wrong(value: str) -> None:
    """Nobody else is."""
    with pytest.raises(Unverified):
        EACH[1].verify(authorization(value))


@pytest.mark.parametrize("value", ["Bearer first", "bearer second", "BEARER  first"])
def test_bearer(value: str) -> None:
    """Each token is accepted, however the scheme is written."""
    EACH[2].verify(authorization(value))


@pytest.mark.parametrize("value", ["Bearer", "Bearer First", "Bearer firs", "first", "Basic first"])
def test_bearer_wrong(value: str) -> None:
    """No other is."""
    with pytest.raises(Unverified):
        EACH[2].verify(authorization(value))


def test_path() -> None:
    """Each of the secrets opens the path, and nothing else does."""
    for secret in ("first", "second"):
        EACH[3].verify(Request(secret=secret))
    for secret in ("", "third", "ä", "\udcff"):
        with pytest.raises(Unverified):
            EACH[3].verify(Request(secret=secret))


@given(given=st.text(st.characters()), known=st.lists(st.text()))
def test_matches(given: str, known: list[str]) -> None:
    """A text matches the very texts that are known, whatever characters it holds."""
    assert matches(given, known) == (given in known)
    assert all(matches(one, known) for one in known)
