"""What a benchmark found: a table and sentences, for people or for machines."""

from collections.abc import Sequence
from math import ceil
from statistics import median

import msgspec

UNKNOWN = "not measurable here"  # what is claimed is smaller than the spread
Figure = str | int | float
Row = dict[str, Figure]


class Report(msgspec.Struct, frozen=True):
    """The outcome of one benchmark.

    Attributes:
        rows: Of a table; all have the same columns, the first of which names the row.
        findings: Sentences that say what the figures mean.
    """

    rows: Sequence[Row]
    findings: Sequence[str]

    def render(self) -> str:
        """Return it as a table with the sentences beneath."""
        titles = list(self.rows[0]) if self.rows else []
        lines = [titles, *([_write(figure) for figure in row.values()] for row in self.rows)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        table = [
            "  ".join(
                text.rjust(width) if at else text.ljust(width)
                for at, (text, width) in enumerate(zip(line, widths, strict=True))
            )
            for line in lines
        ]
        return "\n".join([*table, *self.findings])


def find_quantile(values: Sequence[float], share: float) -> float:
    """Return the smallest of ``values`` that at least a ``share`` of them does not exceed."""
    return sorted(values)[max(0, ceil(share * len(values)) - 1)]


def describe_ratio(
    name: str, ratios: Sequence[float], *, wanted: float | None = None, at_most: bool = False
) -> str:
    """Return what the pairs' ratios are, and what they do not tell; see `describe_figure`.

    Where some of them are above 1 and some below, they do not tell which is the greater.
    """
    said = describe_figure(name, ratios, wanted=wanted, at_most=at_most, each="pairs")
    if min(ratios) < 1 < max(ratios):
        said += f"; which is the greater: {UNKNOWN}"
    return said


def describe_figure(
    name: str,
    values: Sequence[float],
    *,
    wanted: float | None = None,
    at_most: bool = False,
    each: str = "runs",
) -> str:
    """Return the median with the lowest and the highest, and whether it is what is wanted.

    Args:
        name: What is told.
        values: One of each run.
        wanted: The least that it should be.
        at_most: Whether that is the most instead.
        each: What has one value.
    """
    low, high = min(values), max(values)
    said = f"{name}: {median(values):.2f} ({each} from {low:.2f} to {high:.2f})"
    if wanted is None:
        return said
    bound = f"wanted at {'most' if at_most else 'least'} {wanted:g}"
    return f"{said}; {bound}: {judge(values, wanted, at_most=at_most)}"


def judge(values: Sequence[float], wanted: float, *, at_most: bool) -> str:
    """Return whether all of ``values`` are what is wanted, or none, or that they do not tell."""
    met = [value <= wanted if at_most else value >= wanted for value in values]
    if all(met):
        return "met"
    return UNKNOWN if any(met) else "missed"


def _write(figure: Figure) -> str:
    if isinstance(figure, str):
        return figure
    if isinstance(figure, int) or figure >= 1000:
        return f"{figure:,.0f}"
    return f"{figure:.1f}" if figure >= 10 else f"{figure:.2f}"
