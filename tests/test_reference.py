"""The pages of commands and settings are those that the code would write today."""

import click
import msgspec
import pytest

from router.cli import router as command
from router.config import DEFAULTS, Config
from router.options import Options, RetryOptions
from router.plugins.forward.target import Settings as ForwardSettings
from router.plugins.whatsapp.settings import Settings as WhatsAppSettings
from tests import cli_page, settings_page
from tests.docstrings import read_attributes


def test_the_page_of_commands_is_up_to_date() -> None:
    """`python -m tests.cli_page > docs/reference/cli.md` writes it anew."""
    assert cli_page.PAGE.read_text("utf-8") == cli_page.render()


def test_the_page_of_settings_is_up_to_date() -> None:
    """`python -m tests.settings_page > docs/reference/settings.md` writes it anew."""
    assert settings_page.PAGE.read_text("utf-8") == settings_page.render()


def test_every_command_has_a_place() -> None:
    """What may follow `router` is a heading, or the beginning of one; each says what it is for."""
    text = cli_page.PAGE.read_text("utf-8")
    lines = text.splitlines()
    headings = [line.removeprefix("## ") for line in lines if line.startswith("## ")]

    assert {heading.split()[1] for heading in headings} == set(command.commands)
    assert len(set(headings)) == len(headings)
    for heading in headings:
        found: click.Command = command
        for word in heading.split()[1:]:
            assert isinstance(found, click.Group)
            found = found.commands[word]
        assert not isinstance(found, click.Group)
        assert found.help, heading


@pytest.mark.parametrize(
    ("documented", "names"),
    [
        (Config, [key.replace(".", "_") for key in DEFAULTS]),
        (Options, Options.__struct_fields__),
        (RetryOptions, RetryOptions.__struct_fields__),
        (WhatsAppSettings, list(WhatsAppSettings.__annotations__)),
        (ForwardSettings, [field.name for field in msgspec.structs.fields(ForwardSettings)]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_every_setting_is_explained(documented: type, names: list[str]) -> None:
    """Each key has its words in the docstring that the page is written from."""
    told = read_attributes(documented)

    assert [name for name in names if not told.get(name)] == []
