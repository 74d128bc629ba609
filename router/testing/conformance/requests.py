"""What is promised of requests: those that prove their origin pass, and no others."""

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from itertools import chain

import msgspec

from router.errors import Unverified
from router.sources import Request, Source
from router.testing.conformance.given import Broken, Given, require, show, verify

Check = Callable[[Given], None]

ANY = (b"", b"{}", b"\xff\0\xfe", b"x" * 10_000)
STRANGE = (
    "",
    " ",
    "x",
    "é",
    "\0",
    "\ud83e",
    "sha256=",
    "Basic",
    "Bearer ",
    "Basic !",
    "0" * 10_000,
)
LEAKS = 8  # characters of a secret or a signature that are no coincidence


def _sign(source: Source, body: bytes) -> Request:
    try:
        signed = source.sign(body)
    except Exception as error:
        raise Broken(f"sign() raised {error!r} for {show(body)}") from error
    return Request(headers=dict(signed.headers), secret=signed.secret, body=body)


def _bodies(given: Given) -> Iterator[bytes]:
    return chain(given.samples, ANY)


def _are_accepted(given: Given) -> None:
    source = given.make_source()
    for body in _bodies(given):
        request = _sign(source, body)
        require_lower(request)
        why = verify(source, request)
        require(why is None, f"verify() refuses what sign() has signed, {show(body)}: {why}")


def require_lower(request: Request) -> None:
    """Go on if headers are named as the router names them when it asks."""
    names = [name for name in request.headers if name != name.lower()]
    require(not names, f"sign() names headers in upper case, {names}: they are asked for in lower")


def _need_proof(given: Given) -> None:
    source = given.make_source()
    for body in _bodies(given):
        _refuse(source, Request(body=body), "a request that proves nothing")


def _need_every_part(given: Given) -> None:
    source = given.make_source()
    for body in given.samples:
        for part, request in _without_parts(_sign(source, body)):
            _refuse(source, request, f"a request without its {part}")


def _without_parts(request: Request) -> Iterator[tuple[str, Request]]:
    for name in request.headers:
        left = {key: value for key, value in request.headers.items() if key != name}
        yield f"header {name}", msgspec.structs.replace(request, headers=left)
    if request.secret:
        yield "secret", msgspec.structs.replace(request, secret="")


def _need_every_part_right(given: Given) -> None:
    source = given.make_source()
    for body in given.samples:
        for part, request in _with_other(_sign(source, body), _alter):
            _refuse(source, request, f"a request with another {part}")


def _survive_strange_ones(given: Given) -> None:
    source = given.make_source()
    for body in given.samples:
        for strange in STRANGE:
            for part, request in _with_other(_sign(source, body), partial(_become, strange)):
                _refuse(source, request, f"a request with {strange[:20]!r} as its {part}")


def _become(strange: str, _value: str) -> str:
    return strange


def _alter(value: str) -> str:
    """Return ``value`` with its last character replaced."""
    return value[:-1] + ("0" if value[-1:] != "0" else "1")


def _with_other(request: Request, change: Callable[[str], str]) -> Iterator[tuple[str, Request]]:
    for name, value in request.headers.items():
        headers = {**request.headers, name: change(value)}
        yield f"header {name}", msgspec.structs.replace(request, headers=headers)
    if request.secret:
        yield "secret", msgspec.structs.replace(request, secret=change(request.secret))


def _are_about_their_body(given: Given) -> None:
    """Who signs bodies at all signs each byte of them."""
    source = given.make_source()
    if source.sign(b"one") == source.sign(b"other"):
        return  # it goes by a password, which says nothing of the body
    for body in given.samples:
        signed = _sign(source, body)
        for other in (body + b" ", body[:-1], body[::-1] + b"x", b""):
            changed = msgspec.structs.replace(signed, body=other)
            _refuse(source, changed, "a body that was changed after it was signed")


def _tell_nothing(given: Given) -> None:
    source = given.make_source()
    for body in given.samples:
        signed = _sign(source, body)
        requests = [Request(body=body), *(one for _, one in _with_other(signed, _alter))]
        for request in requests:
            why = verify(source, request) or ""
            for value in [*signed.headers.values(), signed.secret, *_secrets(given.settings)]:
                is_told = len(value) >= LEAKS and (value in why or value[:-1] in why)
                require(not is_told, "a refusal tells a stranger what would have been accepted")


def _secrets(value: object) -> Iterator[str]:
    """Yield each long text of the settings; short ones are words, such as the way to verify."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _secrets(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _secrets(inner)


def _do_not_challenge(given: Given) -> None:
    source = given.make_source()
    asked = {"hub.mode": "subscribe", "hub.challenge": "1234", "hub.verify_token": "wrong"}
    left_out = ({key: asked[key] for key in asked if key != gone} for gone in asked)
    for query in ({}, asked, {**asked, "hub.verify_token": ""}, {"x": "\0é"}, *left_out):
        try:
            answer = source.answer_challenge(Request(query=query))
        except Unverified:
            continue
        except Exception as error:
            said = f"answer_challenge() raised {error!r} for {query}: Unverified is due"
            raise Broken(said) from error
        raise Broken(f"answer_challenge() told {answer!r} to somebody who knows no token")


def _refuse(source: Source, request: Request, what: str) -> None:
    told = f"verify() accepts {what}, of the body {show(request.body)}"
    require(verify(source, request) is not None, told)


CHECKS: Mapping[str, tuple[str, Check]] = {
    "signed": ("what sign() has signed is accepted, whatever the body", _are_accepted),
    "unsigned": ("a request that proves nothing is refused", _need_proof),
    "missing-proof": ("a request that lacks a header or secret is refused", _need_every_part),
    "wrong-proof": ("a request with one wrong character is refused", _need_every_part_right),
    "strange-proof": ("strange headers are refused, without another error", _survive_strange_ones),
    "changed-body": ("a signature holds for one body alone", _are_about_their_body),
    "silence": ("a refusal tells no secret, and no signature", _tell_nothing),
    "challenge": ("a challenge without the token is refused", _do_not_challenge),
}
