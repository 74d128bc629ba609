"""The settings of a router: which place wins, what is refused, and what may be shown."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from router.config import Config, SourceConfig, describe, load
from router.errors import ConfigError
from router.options import merge_options

Load = Callable[..., Config]

DOCUMENTED = """
database = "sqlite:///router.db"
plugins_dir = ["handlers"]

[sources.wa]
adapter = "whatsapp"
app_secrets = ["env:WA_SECRET"]
verify_token = "env:WA_TOKEN"

[sources.coreapp]
adapter = "whatsapp"
verification = "basic"
users = [{ username = "coreapp", password = "file:secrets/coreapp" }]
channel = "+5215512345678"

[subscriptions.crm]
start = "now"
order = "subject"
concurrency = 32
rate = 200
timeout = "30s"
retry = { first = "5s", factor = 2, cap = "1h", attempts = 50, give_up_after = "24h", jitter = true }
on_dead = "release"
replay = "allow"
lanes = 1

[plugins.crm]
url = "https://crm.internal"
"""  # noqa: E501  a table within a line cannot be broken


@pytest.fixture
def read(tmp_path: Path) -> Load:
    """Load a `router.toml` of the given text from a fresh working directory."""

    def load_text(
        text: str | None = None,
        *,
        environ: Mapping[str, str] | None = None,
        **overrides: object,
    ) -> Config:
        if text is not None:
            (tmp_path / "router.toml").write_text(text, "utf-8")
        return load(None, environ=environ or {}, working=tmp_path, overrides=overrides)

    return load_text


def test_runs_on_defaults_without_a_file(read: Load, tmp_path: Path) -> None:
    """Without a file everything has its default, and there are no sources."""
    config = read()
    assert config.file is None
    assert config.folder == tmp_path
    assert config.database == "sqlite:///router.db"
    assert (config.schema, config.table_prefix, config.listen) == (None, "", None)
    assert config.plugins_dir == ()
    assert config.max_body == 4 * 1024 * 1024
    assert config.dedupe == 30 * 86_400
    assert (config.sources, config.subscriptions, config.plugins) == ({}, {}, {})
    assert set(config.origins.values()) == {"default"}


def test_reads_what_the_documentation_shows(read: Load, tmp_path: Path) -> None:
    """The example that the documentation gives is valid, word for word."""
    config = read(DOCUMENTED)
    assert config.file == tmp_path / "router.toml"
    assert config.plugins_dir == (tmp_path / "handlers",)
    assert config.sources["wa"] == SourceConfig(
        adapter="whatsapp",
        settings={"app_secrets": ["env:WA_SECRET"], "verify_token": "env:WA_TOKEN"},
        folder=tmp_path,
    )
    assert config.sources["coreapp"].settings["users"] == [
        {"username": "coreapp", "password": "file:secrets/coreapp"}
    ]
    options = merge_options({}, config.subscriptions["crm"], where="")
    assert (options.rate, options.timeout, options.replay) == (200, 30, "allow")
    assert config.plugins == {"crm": {"url": "https://crm.internal"}}


def test_flag_beats_variable_beats_file_beats_default(read: Load) -> None:
    """Each place overrules the next weaker one, setting by setting."""
    text = 'database = "sqlite:///file.db"\nmax_body = "1MiB"\ndedupe = "40d"'
    environ = {"ROUTER_DATABASE": "sqlite:///variable.db", "ROUTER_MAX_BODY": "2MiB"}
    config = read(text, environ=environ, database="sqlite:///flag.db")
    assert config.database == "sqlite:///flag.db"
    assert config.max_body == 2 * 1024 * 1024
    assert config.dedupe == 40 * 86_400
    assert config.origins == {
        "database": "--database",
        "schema": "default",
        "table_prefix": "default",
        "listen": "default",
        "plugins_dir": "default",
        "max_body": "ROUTER_MAX_BODY",
        "dedupe": str(config.file),
        "http.allow": "default",
    }


def test_a_wrong_value_that_is_overruled_does_no_harm(read: Load) -> None:
    """Only the value that is used has to be right: a flag can stand in for a broken one."""
    assert read("max_body = 'huge'", max_body=5).max_body == 5


def test_ignores_variables_that_name_no_setting(read: Load) -> None:
    """Other variables belong to options of commands, or to somebody else."""
    assert read(environ={"ROUTER_PORT": "80", "ROUTER_NONSENSE": "x"}).origins == read().origins


def test_counts_paths_from_where_they_are_named(tmp_path: Path) -> None:
    """A file's paths count from the file, all others from the working directory."""
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf" / "prod.toml").write_text(
        'database = "sqlite:///log.db"\nplugins_dir = ["a", "/opt/b"]\n[sources.wa]\nadapter = "w"'
    )
    file = Path("conf/prod.toml")
    variable = {"ROUTER_PLUGINS_DIR": os.pathsep.join(["c", "d"])}
    named = load(file, environ={}, working=tmp_path, overrides={})
    assert named.plugins_dir == (tmp_path / "conf" / "a", Path("/opt/b"))
    assert named.folder == named.sources["wa"].folder == tmp_path / "conf"
    assert named.database == "sqlite:///log.db"
    environment = load(file, environ=variable, working=tmp_path, overrides={})
    assert environment.plugins_dir == (tmp_path / "c", tmp_path / "d")
    flags = load(file, environ=variable, working=tmp_path, overrides={"plugins_dir": ("e",)})
    assert flags.plugins_dir == (tmp_path / "e",)


def test_refuses_a_file_that_is_not_there(tmp_path: Path) -> None:
    """A file that is asked for by name has to exist."""
    with pytest.raises(ConfigError, match=r"the file .*/other\.toml does not exist"):
        load(Path("other.toml"), environ={}, working=tmp_path, overrides={})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("databse = 'x'", "databse is unknown: did you mean database? Known are database, "),
        ("[source.wa]", "source is unknown: did you mean sources? Known are "),
        ("database = 3", 'database must be a database URL such as "sqlite:///router.db"'),
        ("database = ''", "database must be a database URL"),
        ("plugins_dir = 'handlers'", 'plugins_dir must be a list of folders such as ["handlers"]'),
        ("plugins_dir = [1]", "plugins_dir must be a list of folders"),
        ("max_body = '4 megabytes'", """max_body must be a size such as "4MiB", or a number of"""),
        ("max_body = 0", "max_body must be a size"),
        ("max_body = -1", "max_body must be a size"),
        ("max_body = 1.5", "max_body must be a size"),
        ("max_body = true", "max_body must be a size"),
        ("dedupe = '29d'", 'dedupe must be a duration of at least "30d", or "forever", not '),
        ("dedupe = 'always'", "dedupe must be a duration of at least"),
        ("dedupe = []", "dedupe must be a duration of at least"),
        ("sources = 3", "sources must be tables, each headed [sources.NAME]"),
        ("[sources]\nadapter = 'w'", "sources.adapter is no table: settings stand beneath "),
        ("[sources.wa]", "[sources.wa] does not name its adapter: write the provider's, for"),
        ("[sources.wa]\nadapter = 3", "[sources.wa] does not name its adapter"),
        ("[sources.'a/b']\nadapter = 'w'", "[sources.a/b]: the name 'a/b' cannot be part of a URL"),
        ("[sources.'..']\nadapter = 'w'", "[sources...]: the name '..' cannot be part of a URL"),
        ("[sources.'']\nadapter = 'w'", "[sources.]: the name '' cannot be part of a URL"),
        ("[sources.'é']\nadapter = 'w'", "[sources.é]: the name 'é' cannot be part of a URL"),
        (f"[sources.{'a' * 101}]\nadapter = 'w'", " cannot be part of a URL"),
        ("subscriptions = ['crm']", "subscriptions must be tables"),
        ("[subscriptions.crm]\nlane = 2", "[subscriptions.crm].lane is unknown: did you mean lane"),
        ("[subscriptions.crm]\nretry.cup = 2", "[subscriptions.crm].retry.cup is unknown: did you"),
        ("[subscriptions.crm]\ntimeout = 'x'", "[subscriptions.crm].timeout must be a duration"),
        ("[plugins]\ncrm = true", "plugins.crm is no table: settings stand beneath [plugins.NAME]"),
    ],
)
def test_names_the_file_and_the_key(read: Load, tmp_path: Path, text: str, message: str) -> None:
    """Whatever is wrong in a file is reported with the file, the key and what is allowed."""
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert str(caught.value).startswith(f"{tmp_path}/router.toml: ")
    assert message in str(caught.value)


def test_names_the_variable(read: Load) -> None:
    """A wrong value in the environment is reported with its variable."""
    with pytest.raises(ConfigError, match=r"^ROUTER_MAX_BODY: max_body must be a size such as"):
        read(environ={"ROUTER_MAX_BODY": "much"})


def test_a_refused_database_is_not_shown(read: Load) -> None:
    """A database setting may hold a password, so that a message never repeats it."""
    with pytest.raises(ConfigError) as caught:
        read("database = ['postgresql://me:hunter2@db/log']")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "size"),
    [("1", 1), ("'10'", 10), ("'512KiB'", 512 * 1024), ("'8MB'", 8_000_000), ("'1gib'", 1024**3)],
)
def test_reads_sizes(read: Load, text: str, size: int) -> None:
    """A size is a number of bytes, or a number with a unit of thousands or of 1024s."""
    assert read(f"max_body = {text}").max_body == size


@pytest.mark.parametrize(("text", "seconds"), [("30d", 2_592_000.0), ("forever", None)])
def test_reads_the_length_of_memory(read: Load, text: str, seconds: float | None) -> None:
    """Events are remembered for 30 days or longer, or for ever; variables say it the same way."""
    assert read(f"dedupe = '{text}'").dedupe == seconds
    assert read(environ={"ROUTER_DEDUPE": text}).dedupe == seconds


@pytest.mark.parametrize("name", ["wa", "WA-2.mx_1", "-", "a" * 100])
def test_takes_names_that_fit_a_url(read: Load, name: str) -> None:
    """A source may have any name that stands in a URL as it is."""
    assert list(read(f"[sources.'{name}']\nadapter = 'w'").sources) == [name]


def test_resolves_no_secret(read: Load) -> None:
    """References to secrets that do not exist load well: they are resolved where they are used."""
    config = read("database = 'env:NOT_SET'\n[sources.wa]\nadapter = 'w'\ntoken = 'file:missing'")
    assert config.database == "env:NOT_SET"
    assert config.sources["wa"].settings == {"token": "file:missing"}


def test_its_text_holds_no_secret(read: Load) -> None:
    """Settings that end up in a log line or a traceback show nothing."""
    config = read(
        "database = 'postgresql://me:hunter2@db/log'\n"
        "[sources.wa]\nadapter = 'w'\ntoken = 'hunter2'"
    )
    assert "hunter2" not in repr(config) + repr(config.sources)


def test_describes_every_setting_with_its_origin(read: Load) -> None:
    """Each setting is shown by its full key, with its value and where that comes from."""
    config = read(DOCUMENTED, environ={"ROUTER_DEDUPE": "forever"}, max_body="1KiB")
    rows = {key: (value, origin) for key, value, origin in describe(config)}
    file = str(config.file)
    assert rows["database"] == ("sqlite:///router.db", file)
    assert rows["plugins_dir"] == ([str(config.folder / "handlers")], file)
    assert rows["max_body"] == (1024, "--max-body")
    assert rows["dedupe"] == ("forever", "ROUTER_DEDUPE")
    assert rows["sources.wa.adapter"] == ("whatsapp", file)
    assert rows["sources.wa.app_secrets"] == (["env:WA_SECRET"], file)
    assert rows["subscriptions.crm.retry.attempts"] == (50, file)
    assert rows["plugins.crm.url"] == ("https://crm.internal", file)
    assert rows["http.allow"] == ([], "default")
    assert len(rows) == len(describe(config)) == 30


def test_reads_whom_handlers_may_reach(read: Load) -> None:
    """Networks and hosts stand in a table of their own; the variable, with commas, goes before."""
    file = "[http]\nallow = ['10.0.0.0/8', 'orders.internal']"
    assert read().http_allow == ()
    assert read(file).http_allow == ("10.0.0.0/8", "orders.internal")
    environ = {"ROUTER_HTTP_ALLOW": "::1, *.svc.local"}
    config = read(file, environ=environ)
    assert config.http_allow == ("::1", "*.svc.local")
    origins = {key: origin for key, _, origin in describe(config)}
    assert origins["http.allow"] == "ROUTER_HTTP_ALLOW"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("http = 1", r"router.toml: http must be a table, headed \[http\]"),
        ("[http]\nallowed = []", "router.toml: http.allowed is unknown: did you mean allow?"),
        ("[http]\nallow = '*'", "http.allow must be a list of networks and hosts"),
        ("[http]\nallow = [7]", "http.allow must be a list of networks and hosts"),
        ("[http]\nallow = ['10.0.0.1/8']", "'10.0.0.1/8' is neither"),
        ("'http.allow' = ['10.0.0.0/8']", "http.allow is unknown"),
    ],
)
def test_refuses_what_is_neither_a_network_nor_a_host(read: Load, text: str, words: str) -> None:
    """A slip in the list is told with its key, and what may stand there."""
    with pytest.raises(ConfigError, match=words):
        read(text)


def test_reads_where_the_tables_are_and_where_to_listen(read: Load) -> None:
    """Schema and prefix are names; one listens at a URL, at a reference to one, or not at all."""
    config = read("schema = 'crm'\ntable_prefix = 'notify_'\nlisten = 'env:SERVER'")
    place = (config.schema, config.table_prefix, config.listen)
    assert place == ("crm", "notify_", "env:SERVER")
    assert read(environ={"ROUTER_LISTEN": "off", "ROUTER_SCHEMA": ""}).listen == "off"
    for text, words in (("schema = 7", 'a name such as "router"'), ("listen = true", 'or "off"')):
        with pytest.raises(ConfigError, match=words):
            read(text)


def test_the_place_to_listen_is_shown_without_its_password(read: Load) -> None:
    """It may be a URL of the server like the database's own."""
    for text, shown in (
        ("postgresql://me:hunter2@db/log", "postgresql://me:***@db/log"),
        ("off", "off"),
        ("", ""),
    ):
        rows = {key: value for key, value, _ in describe(read(f"listen = '{text}'"))}
        assert rows["listen"] == shown


def test_describes_no_secret(read: Load) -> None:
    """Secrets that stand in the settings themselves are masked wherever they are."""
    config = read(
        "database = 'postgresql://me:hunter2@db/log'\n"
        "[sources.wa]\nadapter = 'w'\napp_secrets = ['hunter2']\n"
        "users = [{ username = 'me', password = 'hunter2' }]\n"
        "[plugins.crm]\nurl = 'https://me:hunter2@crm'\n[plugins.crm.headers]\ntoken = 'hunter2'"
    )
    assert "hunter2" not in str(describe(config))
    assert "me:***@db" in str(describe(config))


def test_a_table_called_secret_is_not_hidden(read: Load) -> None:
    """The names of sources and plugins hide nothing, and empty tables are shown as such."""
    config = read("[sources.secret-app]\nadapter = 'w'\n[plugins.tokens]")
    rows = {key: value for key, value, _ in describe(config)}
    assert rows["sources.secret-app.adapter"] == "w"
    assert rows["plugins.tokens"] == {}
    assert rows["dedupe"] == "30d"
