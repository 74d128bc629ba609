"""What a benchmark found: a table and sentences, for people or for machines."""

from collections.abc import Sequence
from math import ceil
from statistics import median

import msgspec

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


def describe_ratio(name: str, ratios: Sequence[float]) -> str:
    """Return the median of the pairs' ratios with the lowest and the highest."""
    spread = f"pairs from {min(ratios):.2f} to {max(ratios):.2f}"
    return f"{name}: {median(ratios):.2f} ({spread})"


def _write(figure: Figure) -> str:
    if isinstance(figure, str):
        return figure
    if isinstance(figure, int) or figure >= 1000:
        return f"{figure:,.0f}"
    return f"{figure:.1f}" if figure >= 10 else f"{figure:.2f}"
