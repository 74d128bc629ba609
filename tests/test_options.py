"""Options of subscriptions: what is allowed, who overrules whom, and how durations are written."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router.errors import ConfigError
from router.options import (
    Options,
    RetryOptions,
    explain_unknown,
    format_duration,
    merge_options,
    parse_duration,
)

CRM = "[subscriptions.crm]"
HUNDRED_YEARS = 36_500 * 86_400.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0.2s", 0.2),
        ("200ms", 0.2),
        ("5m", 300.0),
        ("1h", 3600.0),
        ("24h", 86_400.0),
        ("30d", 2_592_000.0),
        ("0s", 0.0),
        ("36500d", HUNDRED_YEARS),
        (7, 7.0),
        (0.25, 0.25),
    ],
)
def test_reads_durations(text: object, seconds: float) -> None:
    """A duration is a number with a unit, or plain seconds."""
    assert parse_duration(text) == seconds
    assert type(parse_duration(text)) is float


@pytest.mark.parametrize(
    "text",
    [
        *(
            "",
            "5",
            "s",
            "-1s",
            "+1s",
            "1e3s",
            "5 m",
            " 5m",
            "5m\n",
            "1h30m",
            ".5s",
            "5.s",
            "5M",
            "\N{ARABIC-INDIC DIGIT FIVE}m",
        ),
        *("36501d", "9" * 20 + "d", "9" * 2_000_000 + "s", -1, 10**400, HUNDRED_YEARS + 1),
        *(float("nan"), float("inf"), float("-inf"), True, None, [], b"5m"),
    ],
    ids=lambda text: repr(text)[:20],
)
def test_refuses_what_is_no_duration(text: object) -> None:
    """Whatever else it is, the refusal says how a duration is written."""
    with pytest.raises(ValueError, match='is not a duration such as "200ms"'):
        parse_duration(text)


@given(st.floats(min_value=0, max_value=HUNDRED_YEARS))
def test_reads_back_every_duration_that_it_writes(seconds: float) -> None:
    """No duration is changed by writing it down and reading it again."""
    assert parse_duration(format_duration(seconds)) == seconds


@given(
    st.integers(min_value=0, max_value=36_500),
    st.sampled_from([("ms", 0.001), ("s", 1), ("m", 60), ("h", 3600), ("d", 86_400)]),
)
def test_reads_whole_numbers_of_each_unit(count: int, unit: tuple[str, float]) -> None:
    """A whole number of a unit is that many times the unit."""
    name, size = unit
    assert parse_duration(f"{count}{name}") == pytest.approx(count * size)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (2_592_000.0, "30d"),
        (3600, "1h"),
        (90.0, "90s"),
        (600.0, "10m"),
        (0.2, "200ms"),
        (0.0, "0s"),
        (0.00025, "0.00025s"),
    ],
)
def test_writes_durations_in_the_largest_whole_unit(seconds: float, text: str) -> None:
    """A duration is written as a person would write it."""
    assert format_duration(seconds) == text


def test_knows_the_defaults() -> None:
    """Options that nobody sets are the ones that the documentation lists."""
    assert msgspec.to_builtins(merge_options({}, {}, where=CRM)) == {
        "start": "now",
        "order": "subject",
        "concurrency": 32,
        "rate": None,
        "timeout": 30.0,
        "retry": {
            "first": 5.0,
            "factor": 2.0,
            "cap": 3600.0,
            "attempts": 50,
            "give_up_after": 86_400.0,
            "jitter": True,
        },
        "on_dead": "release",
        "replay": None,
        "lanes": None,
        "calls_out": None,
    }
    assert merge_options({}, {}, where=CRM) == Options()


def test_reads_every_option() -> None:
    """Each option can be set, durations as text or as seconds."""
    retry = {"first": "200ms", "factor": 3, "cap": 60, "attempts": 5, "give_up_after": "2h"}
    table = {
        "start": "beginning",
        "order": "none",
        "concurrency": 1,
        "rate": 200,
        "timeout": "1m",
        "retry": {**retry, "jitter": False},
        "on_dead": "hold",
        "replay": "refuse",
        "lanes": 1024,
        "calls_out": "context.http",
    }
    assert merge_options({}, table, where=CRM) == Options(
        start="beginning",
        order="none",
        concurrency=1,
        rate=200.0,
        timeout=60.0,
        retry=RetryOptions(
            first=0.2, factor=3.0, cap=60.0, attempts=5, give_up_after=7200.0, jitter=False
        ),
        on_dead="hold",
        replay="refuse",
        lanes=1024,
        calls_out="context.http",
    )


def test_merges_key_by_key() -> None:
    """What is configured overrules what is declared, within `retry` too, and leaves the rest."""
    declared = {"timeout": "5s", "lanes": 4, "retry": {"first": "1s", "attempts": 3}}
    configured = {"timeout": "10s", "retry": {"attempts": 9, "cap": "1m"}}

    merged = merge_options(declared, configured, where=CRM)

    expected = RetryOptions(first=1.0, attempts=9, cap=60.0)
    assert merged == Options(timeout=10.0, lanes=4, retry=expected)


def test_leaves_its_arguments_alone() -> None:
    """Merging changes neither table: both are used again."""
    declared = {"retry": {"first": "1s"}}
    configured = {"retry": {"cap": "1m"}, "rate": None}

    merge_options(declared, configured, where=CRM)

    assert declared == {"retry": {"first": "1s"}}
    assert configured == {"retry": {"cap": "1m"}, "rate": None}


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"retry": {"atempts": 3}}, ".retry.atempts is unknown: did you mean attempts? Known are "),
        ({"conccurency": 3}, ".conccurency is unknown: did you mean concurrency? Known are "),
        ({"xyz": 3}, ".xyz is unknown; known are calls_out, concurrency, lanes, on_dead, order, "),
        ({7: 3}, ".7 is unknown; known are "),
        ({"retry": 3}, ".retry must be a table of settings, not 3"),
        ({"retry": {"first": "soon"}}, '.retry.first must be a duration such as "200ms"'),
        ({"retry": {"factor": 0.5}}, ".retry.factor must be a number of at least 1, not 0.5"),
        ({"retry": {"factor": float("inf")}}, ".retry.factor must be a number of at least 1"),
        ({"retry": {"attempts": 0}}, ".retry.attempts must be a whole number of at least 1, not 0"),
        ({"retry": {"attempts": 2.0}}, ".retry.attempts must be a whole number of at least 1"),
        ({"retry": {"give_up_after": 0}}, ".retry.give_up_after must be a duration"),
        ({"retry": {"jitter": 1}}, ".retry.jitter must be true or false, not 1"),
        ({"concurrency": 0}, ".concurrency must be a whole number of at least 1, not 0"),
        ({"concurrency": True}, ".concurrency must be a whole number of at least 1, not True"),
        ({"lanes": 0}, ".lanes must be a whole number from 1 to 1024, not 0"),
        ({"lanes": 1025}, ".lanes must be a whole number from 1 to 1024, not 1025"),
        ({"rate": 0}, ".rate must be a number of events a second, more than 0, not 0"),
        ({"rate": "fast"}, ".rate must be a number of events a second, more than 0, not 'fast'"),
        ({"rate": float("nan")}, ".rate must be a number of events a second"),
        ({"rate": 10**400}, ".rate must be a number of events a second"),
        ({"timeout": "0s"}, ".timeout must be a duration such as"),
        ({"timeout": None}, ".timeout must be a duration such as"),
        ({"start": "later"}, """.start must be "now" or "beginning", not 'later'"""),
        ({"order": []}, '.order must be "subject" or "none", not []'),
        ({"on_dead": "drop"}, """.on_dead must be "release" or "hold", not 'drop'"""),
        ({"calls_out": "requests"}, """.calls_out must be "context.http", not 'requests'"""),
        ({"replay": True}, '.replay must be "allow", "skip" or "refuse", not True'),
    ],
)
def test_names_the_key_and_what_it_may_be(table: dict[str, object], message: str) -> None:
    """A refusal names the key from the table's head on, and says what is allowed there."""
    with pytest.raises(ConfigError) as caught:
        merge_options({}, table, where=CRM)
    assert str(caught.value).startswith(CRM + message)


def test_tells_the_plugin_from_the_file() -> None:
    """A fault in what the plugin declares is not looked for in the file."""
    with pytest.raises(ConfigError) as caught:
        merge_options({"lanes": 0}, {"lanes": 1}, where=CRM)
    assert str(caught.value).startswith("subscription_options() beneath [subscriptions.crm].lanes ")


def test_holds_python_to_the_same_rules() -> None:
    """Options that are made in Python are checked as those of a file are."""
    with pytest.raises(ConfigError, match=r"Options\.lanes must be a whole number from 1 to 1024"):
        Options(lanes=0)
    with pytest.raises(ConfigError, match=r"RetryOptions\.factor must be a number of at least 1"):
        RetryOptions(factor=0.1)
    assert RetryOptions(first="5m") == RetryOptions(first=300.0)  # type: ignore[arg-type]


def test_survives_storage() -> None:
    """Options that are kept as JSON come back the same."""
    options = merge_options({}, {"rate": 3, "retry": {"first": "1ms"}}, where=CRM)
    assert msgspec.json.decode(msgspec.json.encode(options), type=Options) == options


def test_cannot_be_changed() -> None:
    """Options that a running lane holds stay what they were."""
    with pytest.raises(AttributeError):
        Options().lanes = 3  # type: ignore[misc]


def test_explains_names_where_nothing_is_known() -> None:
    """With nothing to choose from, the message says so."""
    assert explain_unknown("crm", []) == "is unknown; known are none"
