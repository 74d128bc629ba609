"""The page of settings, written from the code that reads them: `python -m tests.settings_page`."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from router.config import DEFAULTS, Config
from router.layers import name_variable
from router.options import RULES, Options, RetryOptions, Rule, format_duration
from router.plugins.forward.target import Settings as ForwardSettings
from router.plugins.whatsapp.settings import Settings as WhatsAppSettings
from tests.docstrings import read_attributes

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "settings.md"
TOP = """# Settings

A flag of a command goes before a variable `ROUTER_*`, that before `router.toml` in the working
directory (or what `--config FILE` or `ROUTER_CONFIG` names), and that before the default. A key
that is unknown is an error. `env:NAME` and `file:PATH` stand for secrets, and for the URL of the
database. Relative paths count from the file that names them; in flags, variables and URLs of
SQLite from the working directory. `router config show` prints every setting and where it comes
from. Variables that stand for options of commands are on the page of [commands](cli.md);
`ROUTER_LOG_LEVEL` is how much is logged. What is said of None holds where a key is left out. This
page is written from the code that reads the settings.

## At the top of the file
"""
SOURCES = """
## [sources.NAME]

A source receives at `/webhooks/NAME`. `adapter` is the code that knows the provider, and decides
about all other keys. These are those of `adapter = "whatsapp"`:
"""
SUBSCRIPTIONS = """
## [subscriptions.NAME]

How the plugin NAME is delivered to. A plugin may have defaults of its own; a key here goes before
them. Durations are written as "200ms", "30s", "5m", "24h" or "30d".
"""
PLUGINS = """
## [plugins.NAME]

The plugin's own settings, which it declares by the hook [`settings`](hooks.md#settings).
`ROUTER_PLUGINS__NAME__KEY` goes before a key of the file. Plugins that come with the router run
only if they have a table here, which may be empty; any other one is kept from running by `enabled
= false`. These are the keys of `[plugins.forward]`:
"""


def render() -> str:
    """Return the page."""
    parts = (
        TOP,
        *_describe_top(),
        SOURCES,
        *_describe_keys(WhatsAppSettings),
        SUBSCRIPTIONS,
        *_describe_options(RULES, Options()),
        PLUGINS,
        *_describe_keys(ForwardSettings),
    )
    return "\n".join(parts) + "\n"


def _describe_top() -> Iterator[str]:
    told = read_attributes(Config)
    for key, default in DEFAULTS.items():
        table, _, name = key.rpartition(".")
        shown = f"[{table}] {name}" if table else name
        meaning = told[key.replace(".", "_")]
        variable = name_variable(key)
        yield f"- `{shown}` (`{variable}`): {meaning} Default: `{json.dumps(default)}`."


def _describe_keys(documented: type) -> Iterator[str]:
    for key, meaning in read_attributes(documented).items():
        yield f"- `{key}`: {meaning}"


def _describe_options(
    rules: Mapping[str, Rule | Mapping[str, Rule]],
    defaults: Options | RetryOptions,
    *,
    above: str = "",
) -> Iterator[str]:
    told = read_attributes(type(defaults))
    for key, rule in rules.items():
        value = getattr(defaults, key)
        if isinstance(rule, Rule):
            shown = format_duration(value) if rule.duration else value
            default = "none" if value is None else f"`{json.dumps(shown)}`"
            yield f"- `{above}{key}`: {told[key]} It is {rule.allowed}. Default: {default}."
        else:
            yield f"- `{above}{key}`: {told[key]} It is a table:"
            for line in _describe_options(rule, value, above=f"{key}."):
                yield f"  {line}"


if __name__ == "__main__":
    print(render(), end="")  # noqa: T201 - that is what it is for
