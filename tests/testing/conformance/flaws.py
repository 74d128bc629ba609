"""Flaws that adapters have, each named for the case that must find it."""

import json
from collections.abc import Callable, Iterator, Mapping
from hashlib import sha256

import msgspec

from router.errors import Unreadable, Unverified
from router.events import Draft
from router.sources import Request, Signed
from tests.testing.conformance.toy import (
    HEADER,
    KEY,
    SETTINGS,
    Json,
    Ways,
    check_settings,
    digest,
    sign,
    split,
    verify,
)


def _before(look: Callable[[bytes], object]) -> Ways:
    """Look at the body first in a way that some bodies do not survive."""

    def flawed(body: bytes) -> list[Draft]:
        look(body)
        return split(body)

    return Ways(split=flawed)


def _each(read: Callable[[Json, Draft], Draft]) -> Ways:
    """Read the items of a sound body once more, in a way that some do not survive."""

    def flawed(body: bytes) -> list[Draft]:
        drafts = split(body)
        if drafts[0].path == "$":
            return drafts
        items = json.loads(body)["items"]
        return [read(item, draft) for item, draft in zip(items, drafts, strict=True)]

    return Ways(split=flawed)


def _each_looking(look: Callable[[Json], object]) -> Ways:
    """Look at each item in a way that some do not survive."""

    def read(item: Json, draft: Draft) -> Draft:
        look(item)
        return draft

    return _each(read)


def _all(change: Callable[[list[Draft], bytes], list[Draft]]) -> Ways:
    return Ways(split=lambda body: change(split(body), body))


def _with(draft: Draft, **changes: object) -> Draft:
    return msgspec.structs.replace(draft, **changes)


def _nothing_if_unreadable(body: bytes) -> list[Draft]:
    try:
        return split(body)
    except Unreadable:
        return []


def _first_value(body: bytes) -> list[Draft]:
    try:
        data, _ = json.JSONDecoder().raw_decode(body.decode())
    except (ValueError, RecursionError) as error:
        raise Unreadable(str(error)) from error
    return split(json.dumps(data).encode())


def _refuse_twins(body: bytes) -> None:
    def hook(pairs: list[tuple[str, object]]) -> Json:
        if len({key for key, _ in pairs}) < len(pairs):
            raise KeyError("twins")
        return dict(pairs)

    try:
        json.loads(body, object_pairs_hook=hook)
    except (ValueError, RecursionError):
        return


def _decode_plainly(body: bytes) -> None:
    try:
        json.loads(body)
    except ValueError as error:
        raise Unreadable(str(error)) from error


def _text_of(item: object, key: str) -> str:
    value = item.get(key) if isinstance(item, dict) else None
    return value if isinstance(value, str) else ""


def _passing(key: str, allowed: Callable[[str], bool]) -> Ways:
    """Take a text for the conversation as it comes, if it is of the flaw's kind."""
    return _each(
        lambda item, draft: (
            _with(draft, conversation=text) if allowed(text := _text_of(item, key)) else draft
        )
    )


def _verify_first(look: Callable[[Request, str], bool]) -> Ways:
    """Accept what ``look`` finds good enough, before it is verified as it should be."""

    def flawed(request: Request, secret: str) -> None:
        if not look(request, secret):
            verify(request, secret)

    return Ways(verify=flawed)


def _tell(request: Request, secret: str) -> None:
    try:
        verify(request, secret)
    except Unverified:
        raise Unverified(f"{digest(request.body, secret)} was expected") from None


def _signing_less(body: bytes, secret: str) -> Signed:
    return sign(body[:20], secret)


def _verifying_less(request: Request, secret: str) -> None:
    verify(msgspec.structs.replace(request, body=request.body[:20]), secret)


def _take_any(settings: Mapping[str, object]) -> None:
    check_settings({key: str(value) for key, value in settings.items()})


def _ignore_unknown(settings: Mapping[str, object]) -> None:
    check_settings({key: value for key, value in settings.items() if key in SETTINGS})


def _ask_nothing(settings: Mapping[str, object]) -> None:
    check_settings({"secret": "", **settings})


def _by_when(_item: Json, draft: Draft) -> Draft:
    return _with(draft, natural_key=("item", draft.conversation))


def _all_or_nothing(drafts: list[Draft], _body: bytes) -> list[Draft]:
    malformed = Draft(path="$", type="other", subtype="malformed")
    return [malformed] if any(one.subtype == "malformed" for one in drafts) else drafts


def find_flaws() -> Iterator[tuple[str, Ways]]:
    """Yield each flaw, with the name of the case that must find it."""
    yield "empty", _before(lambda body: body.strip()[0])
    yield "no-json", _before(lambda body: body.index(b'"'))
    yield "no-utf8", _before(lambda body: body.decode())
    yield "cut-short", Ways(split=_nothing_if_unreadable)
    yield "trailing-data", Ways(split=_first_value)
    yield "deep-nesting", _before(_decode_plainly)
    yield "bare-values", _all(lambda drafts, body: json.loads(body)["items"] and drafts)
    yield "numbers", _each_looking(lambda item: float(str(item.get("at", 0))).as_integer_ratio())
    yield "nul", _passing("who", lambda text: "\0" in text)
    yield "surrogates", _passing("who", lambda text: "\ud83e" in text)
    yield "long-texts", _passing("who", lambda text: len(text) > 10_000)
    yield "duplicate-keys", _before(_refuse_twins)
    yield "wrong-kinds", _each_looking(lambda item: [*item["who"], *item.get("id", "")])  # type: ignore[misc]
    yield "missing-places", _each_looking(lambda item: item["who"])
    yield "noise", _before(lambda body: body.decode("ascii"))
    yield "samples-recognised", _each(lambda _, draft: _with(draft, subtype="unrecognised"))
    yield "samples-sound", _each(lambda _, draft: _with(draft, path="$.items[99]"))
    yield "samples-deterministic", Ways(is_remembered=True)
    yield "keys-distinct", _each(_by_when)
    yield (
        "keys-stable",
        _all(
            lambda drafts, body: [
                _with(draft, natural_key=(draft.path, sha256(body).hexdigest())) for draft in drafts
            ]
        ),
    )
    yield "order", _all(lambda drafts, _: drafts[::-1])
    yield "siblings", _all(_all_or_nothing)
    yield "adapter-split", Ways(plain_split=lambda body: split(body)[:1])
    yield "signed", Ways(sign=lambda body, secret: sign(body.decode().encode(), secret))
    yield "unsigned", _verify_first(lambda request, _: not request.headers)
    yield "missing-proof", _verify_first(lambda request, _: KEY not in request.headers)
    yield (
        "wrong-proof",
        _verify_first(
            lambda request, secret: (
                request.headers.get(HEADER, "")[:9] == digest(request.body, secret)[:9]
            )
        ),
    )
    yield (
        "strange-proof",
        _verify_first(lambda request, _: bytes.fromhex(request.headers.get(HEADER, "")) == b"?"),
    )
    yield "changed-body", Ways(sign=_signing_less, verify=_verifying_less)
    yield "silence", Ways(verify=_tell)
    yield "challenge", Ways(challenge=lambda request, _: request.query.get("hub.challenge", ""))
    yield "unknown-setting", Ways(check_settings=_ignore_unknown)
    yield "wrong-setting", Ways(check_settings=_take_any)
    yield (
        "open-by-default",
        Ways(
            check_settings=_ask_nothing,
            verify=lambda request, secret: verify(request, secret) if secret else None,
        ),
    )
    yield "version", Ways(version="1.0")
    yield "name", Ways(name="toy")
