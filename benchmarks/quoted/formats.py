"""How numbers and tables are printed in a page: the one place that rounds."""

from collections.abc import Iterable, Sequence
from typing import Any


def number(value: float | None, digits: int = 0) -> str:
    """A number with so many digits after the point, thousands apart; '-' for None."""
    return "-" if value is None else f"{value:,.{digits}f}"


def estimate(found: dict[str, Any] | None, digits: int) -> str:
    """A mean with its standard error, which one seed has not."""
    if found is None:
        return "-"
    return _with_error(number(found["mean"], digits), found["standard_error"], digits)


def difference(found: dict[str, Any], digits: int) -> str:
    """A signed mean difference with its standard error."""
    if found["ties"] == found["n"]:
        return "the same in every seed"
    return _with_error(f"{found['mean']:+.{digits}f}", found["standard_error"], digits)


def interval(found: dict[str, Any], digits: int) -> str:
    """The 95 % interval of a difference."""
    low, high = found["interval_95_low"], found["interval_95_high"]
    return "-" if low is None else f"{low:+.{digits}f} to {high:+.{digits}f}"


def probability(value: float | None) -> str:
    """A p value."""
    if value is None:
        return "-"
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def equation(printed: str) -> str:
    """A p value as 'p = 0.035' or 'p < 0.001'."""
    return f"p {printed}" if printed.startswith("<") else f"p = {printed}"


def span(values: Iterable[float], digits: int = 0) -> str:
    """The least and the most of some numbers, as '6 to 14'."""
    printed = sorted({number(value, digits) for value in values}, key=_parsed)
    return printed[0] if len(printed) == 1 else f"{printed[0]} to {printed[-1]}"


def exponent(values: Iterable[float]) -> str:
    """The least and the most of some small numbers, as '2.4e-2 to 4.0e-2'."""
    values = list(values)
    least, most = _short(min(values)), _short(max(values))
    return least if least == most else f"{least} to {most}"


def _short(value: float) -> str:
    mantissa, power = f"{value:.1e}".split("e")
    return f"{mantissa}e{int(power)}"


def _parsed(printed: str) -> float:
    return float(printed.replace(",", ""))


def _with_error(mean: str, standard_error: float | None, digits: int) -> str:
    return mean if standard_error is None else f"{mean} ± {number(standard_error, digits)}"


def table(heading: str, rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; `heading` has ' | ' between its cells."""
    columns = heading.split(" | ")
    printed = [f"| {' | '.join(cells)} |".replace("  |", " |") for cells in (columns, *rows)]
    return "\n".join([printed[0], "|" + "---|" * len(columns), *printed[1:]])
