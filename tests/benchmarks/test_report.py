"""What a benchmark says of its figures is never more than they show."""

import pytest

from benchmarks.report import UNKNOWN, Report, describe_figure, describe_ratio, judge


def test_a_ratio_on_one_side_of_what_is_wanted_is_judged() -> None:
    """All pairs above the least that is wanted meet it; all below miss it."""
    assert describe_ratio("mine / theirs", [3.1, 3.5, 3.2], wanted=3.0) == (
        "mine / theirs: 3.20 (pairs from 3.10 to 3.50); wanted at least 3: met"
    )
    assert describe_ratio("mine / theirs", [2.1, 2.5, 2.2], wanted=3.0).endswith(": missed")


def test_a_ratio_on_both_sides_of_what_is_wanted_is_not_judged() -> None:
    """A median that meets what is wanted says nothing, if some pairs do not."""
    said = describe_ratio("mine / theirs", [2.9, 3.5, 3.2], wanted=3.0)
    assert said.endswith(f"wanted at least 3: {UNKNOWN}")


def test_pairs_that_disagree_do_not_tell_which_is_the_greater() -> None:
    """That is said where there are ratios above 1 and below."""
    assert UNKNOWN in describe_ratio("mine / theirs", [0.9, 1.1, 1.2])
    assert UNKNOWN not in describe_ratio("mine / theirs", [1.05, 1.1, 1.2])


@pytest.mark.parametrize(
    ("values", "said"), [([10.0, 50.0], "met"), ([50.1, 60.0], "missed"), ([49.0, 51.0], UNKNOWN)]
)
def test_the_most_that_is_wanted_includes_itself(values: list[float], said: str) -> None:
    """A figure at its bound is within it."""
    assert judge(values, 50.0, at_most=True) == said


def test_a_figure_without_a_bound_is_only_told() -> None:
    """Its median comes with the lowest and the highest."""
    assert describe_figure("rate", [1.0, 4.0, 2.0]) == "rate: 2.00 (runs from 1.00 to 4.00)"


def test_a_report_is_a_table_with_sentences_beneath() -> None:
    """The first column is to the left, figures are to the right."""
    report = Report([{"name": "a", "rate": 1_234.5}, {"name": "bc", "rate": 2}], ["So it is."])
    assert report.render().splitlines() == [
        "name   rate",
        "a     1,234",
        "bc        2",
        "So it is.",
    ]
