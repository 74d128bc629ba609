"""Tests of the WhatsApp source: its settings, its proofs of origin, its challenge, its hook."""

from pathlib import Path
from typing import cast

import pluggy
import pytest

from router import hookspecs
from router.errors import ConfigError, Unverified
from router.plugins import whatsapp
from router.plugins.whatsapp import WhatsApp, WhatsAppAdapter
from router.secrets import Secret
from router.sources import Request, Source
from tests import samples

BODY = samples.as_body(samples.onprem_text())
USER = {"username": "coreapp", "password": "p:ässword"}

WAYS: list[dict[str, object]] = [
    {"app_secrets": ["one"]},
    {"app_secrets": ["one", "two"], "verification": "signature"},
    {"users": [USER], "verification": "basic"},
    {"tokens": ["t0ken"], "verification": "bearer"},
    {"secrets": ["s3cret"], "verification": "path"},
    {"verification": "none"},
]


def make(**settings: object) -> Source:
    """Return the source that ``[sources.wa]`` with these settings gives."""
    return WhatsAppAdapter().make_source("wa", settings)


def signed(source: Source, body: bytes = BODY) -> Request:
    """Return ``body`` as a sender would send it to ``source``."""
    proof = source.sign(body)
    return Request(headers=proof.headers, secret=proof.secret, body=body)


def challenge(**query: str) -> Request:
    """Return the request by which Meta asks for the challenge back."""
    asked = {"mode": "subscribe", "verify_token": "let-me-in", "challenge": "1158201444"}
    return Request(query={f"hub.{key}": text for key, text in (asked | query).items() if text})


# Proof of origin


@pytest.mark.parametrize("settings", WAYS)
def test_sign_and_verify(settings: dict[str, object]) -> None:
    """What the source signs, it accepts."""
    source = make(**settings)
    source.verify(signed(source))


@pytest.mark.parametrize("settings", WAYS[:-1])
def test_unsigned(settings: dict[str, object]) -> None:
    """A request without any proof is refused by every source but one that asks for none."""
    with pytest.raises(Unverified):
        make(**settings).verify(Request(body=BODY))


def test_header_of_meta() -> None:
    """The signature is the one that Meta sends: its header, its prefix, over the raw bytes."""
    digest = "980982c450a83a8cc008471d50209578dca7774f91e76685fbd86ef504350624"
    body = b'{"name": "\\u00e4"}'
    source = make(app_secrets=["one"])
    source.verify(Request(headers={"x-hub-signature-256": f"sha256={digest}"}, body=body))
    for wrong in (digest, f"sha256={digest}0", f"sha1={digest}", "sha256=", "ä"):
        with pytest.raises(Unverified):
            source.verify(Request(headers={"x-hub-signature-256": wrong}, body=body))


def test_other_bytes() -> None:
    """A signature holds for these bytes only, not for others that mean the same JSON."""
    source = make(app_secrets=["one"])
    headers = source.sign(b'{"name": "\\u00e4"}').headers
    with pytest.raises(Unverified):
        source.verify(Request(headers=headers, body='{"name": "ä"}'.encode()))


def test_rotation() -> None:
    """While two secrets are configured, both the old and the new one are accepted."""
    both = make(app_secrets=["new", "old"])
    both.verify(signed(make(app_secrets=["old"])))
    both.verify(signed(make(app_secrets=["new"])))
    with pytest.raises(Unverified):
        both.verify(signed(make(app_secrets=["older"])))


# Settings


def test_secrets_are_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Secrets come from the environment, from files beside the settings, or as they stand."""
    monkeypatch.setenv("WA_SECRET", "from the environment")
    (tmp_path / "secret").write_text("from a file\n")
    settings = {"app_secrets": ["env:WA_SECRET", "file:secret", "plain"]}
    source = WhatsAppAdapter().make_source("wa", settings, folder=tmp_path)
    for secret in ("from the environment", "from a file", "plain"):
        source.verify(signed(make(app_secrets=[secret])))


def test_missing_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret that is not there stops the source, and the message says whose it is."""
    monkeypatch.delenv("WA_SECRET", raising=False)
    with pytest.raises(ConfigError, match=r"\[sources.wa\].app_secrets: .*env:WA_SECRET"):
        make(app_secrets=["env:WA_SECRET"])
    with pytest.raises(ConfigError, match=r"\[sources.wa\].verify_token: .*env:WA_SECRET"):
        make(app_secrets=["x"], verify_token="env:WA_SECRET")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"app_secret": ["x"]}, "app_secret is unknown: did you mean app_secrets"),
        ({"app_secrets": "x"}, "app_secrets must be a list of secrets"),
        ({"app_secrets": [1]}, "app_secrets must be a list of secrets"),
        ({"app_secrets": {"x": "y"}}, "app_secrets must be a list of secrets"),
        ({"app_secrets": [""]}, "app_secrets: the secret .* is empty"),
        ({"app_secrets": ["x"], "verify_token": ""}, "verify_token: the secret .* is empty"),
        ({"app_secrets": ["x"], "verify_token": 7}, "verify_token must be a secret"),
        ({"app_secrets": ["x"], "verify_token": None}, "verify_token must be a secret"),
        ({"app_secrets": ["x"], "channel": 52}, "channel must be a text"),
        (
            {"app_secrets": ["x"], "channel": "x" * 513},
            "channel must be a text of at most 512 bytes",
        ),
        (
            {"app_secrets": ["x"], "channel": "5\x002"},
            "channel must be a text of at most 512 bytes",
        ),
        ({"verification": "magic"}, 'verification must be "signature", "basic"'),
        ({"verification": "signature"}, "app_secrets is missing or empty"),
        ({"verification": "signature", "app_secrets": []}, "app_secrets is missing or empty"),
        ({"verification": "basic"}, "users is missing or empty"),
        ({"verification": "bearer", "tokens": []}, "tokens is missing or empty"),
        ({"verification": "path"}, "secrets is missing or empty"),
        ({"users": [USER]}, 'users is only looked at with verification = "basic"'),
        ({"tokens": ["x"], "app_secrets": ["y"]}, "tokens is only looked at"),
        ({"verification": "none", "app_secrets": ["y"]}, "app_secrets is only looked at"),
        ({"verification": "basic", "users": USER}, "users must be a list"),
        ({"verification": "basic", "users": [{"username": "x"}]}, "users must .*`password`"),
        ({"verification": "basic", "users": [{"password": "x"}]}, "users must .*`username`"),
        ({"verification": "basic", "users": [USER | {"realm": "x"}]}, "users must .*`realm`"),
        ({"verification": "bearer", "tokens": ["tokén"]}, "tokens may only hold visible ASCII"),
        ({"verification": "path", "secrets": ["a/b"]}, "secrets may only hold A-Z"),
        ({"verification": "path", "secrets": [".."]}, "secrets may only hold A-Z"),
    ],
)
def test_refused_settings(settings: dict[str, object], message: str) -> None:
    """A setting that is unknown, of the wrong kind or without its partner is named."""
    with pytest.raises(ConfigError, match=r"^\[sources\.wa\]\." + message):
        make(**settings)


@pytest.mark.parametrize("settings", [{}, {"channel": "+52"}, {"verify_token": "x"}])
def test_no_verification(settings: dict[str, object]) -> None:
    """A source that anybody could send to does not start, and the message says every way out."""
    with pytest.raises(ConfigError) as refused:
        make(**settings)
    for way in ("app_secrets", '"basic"', '"bearer"', '"path"', '"none"', "[sources.wa]"):
        assert way in str(refused.value)


def test_no_secret_in_messages() -> None:
    """A message about a secret does not tell it."""
    for settings in ({"verification": "bearer", "tokens": ["hush ä"]}, {"tokens": ["hush"]}):
        with pytest.raises(ConfigError) as refused:
            make(**settings)
        assert "hush" not in str(refused.value)


def test_made_in_python(tmp_path: Path) -> None:
    """Made without a configuration file, a source takes the same settings, and `Secret`s."""
    (tmp_path / "secret").write_text("one")
    source = WhatsApp("wa", app_secrets=(Secret("file:secret", tmp_path),), channel="+52")
    source.verify(signed(make(app_secrets=["one"])))
    assert source.name == "wa"
    with pytest.raises(ConfigError, match="no verification"):
        WhatsApp("wa")


def test_nothing_shown() -> None:
    """Printing a source shows none of its secrets."""
    source = make(app_secrets=["hush"], verify_token="hush")
    assert "hush" not in f"{source} {source!r}"


# Challenge


def test_challenge() -> None:
    """Who knows the verify token gets its challenge back, verbatim."""
    source = make(app_secrets=["one"], verify_token="let-me-in")
    assert source.answer_challenge(challenge()) == "1158201444"
    assert source.answer_challenge(challenge(challenge=" <b>0</b>")) == " <b>0</b>"


@pytest.mark.parametrize(
    "query",
    [
        {"verify_token": "let-me-out"},
        {"verify_token": "let-me-in "},
        {"verify_token": "lét-mé-ín"},
        {"verify_token": "\ud800"},
        {"verify_token": ""},
        {"mode": "unsubscribe"},
        {"mode": ""},
        {"challenge": ""},
    ],
)
def test_wrong_challenge(query: dict[str, str]) -> None:
    """Who does not know the token, or asks for nothing, is refused without being told it."""
    source = make(app_secrets=["one"], verify_token="let-me-in")
    with pytest.raises(Unverified) as refused:
        source.answer_challenge(challenge(**query))
    assert "let-me" not in str(refused.value)


def test_challenge_without_token() -> None:
    """A source without a verify token answers no challenge, not even one with an empty token."""
    source = make(app_secrets=["one"])
    for query in ({}, {"verify_token": ""}):
        with pytest.raises(Unverified, match="no verify_token"):
            source.answer_challenge(challenge(**query))


# Splitting and the hook


def test_configured_channel() -> None:
    """A source gives its channel to bodies that name none; the bare adapter has none to give."""
    (draft,) = make(verification="none", channel="+5215512345678").split(BODY)
    assert draft.channel == "+5215512345678"
    (bare,) = WhatsAppAdapter().split(BODY)
    assert (bare.channel, bare.path) == ("", draft.path)


def test_hook() -> None:
    """The package is a plugin that offers the adapter under its name."""
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    manager.register(whatsapp)
    manager.check_pending()
    (offered,) = cast("list[dict[str, object]]", manager.hook.sources())
    assert isinstance(offered["whatsapp"], WhatsAppAdapter)
