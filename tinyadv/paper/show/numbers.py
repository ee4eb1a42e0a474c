"""Numbers as text: ours with its interval, and the paper's as it is in print."""

from __future__ import annotations

import math

from ..claims import Quantity
from ..results import Interval


def format_value(quantity: Quantity, value: float | None, interval: Interval | None = None) -> str:
    """A measured number with its interval, "99.9 % [99.8, 99.9]"; "—" where there is none.

    Shares have as many decimals as the paper's value, and at least one; at least two below 2 %. What of a share's
    interval over seeds lies outside 0 to 100 % is cut off.
    """
    if value is None or not math.isfinite(value):
        return "—"
    if quantity.format == "number":
        return _digits(value) + (f" [{_digits(interval[0])}, {_digits(interval[1])}]" if interval else "")
    decimals = max(2 if abs(value) < 0.02 else 1, _decimals(quantity.paper or 0.0))
    text = f"{100 * value:.{decimals}f} %"
    if interval:
        low, high = interval
        if quantity.format == "percent":
            low, high = max(0.0, low), min(1.0, high)
        text += f" [{100 * low:.{decimals}f}, {100 * high:.{decimals}f}]"
    return text


def format_paper(quantity: Quantity) -> str:
    """The paper's value of a quantity as it is in print; "—" where it has none."""
    if quantity.paper is None:
        return "—"
    if quantity.format == "number":
        return f"{quantity.paper:g}"
    return f"{100 * quantity.paper:.{_decimals(quantity.paper)}f} %"


def _digits(number: float) -> str:
    """Four digits, or all of those before the point."""
    return f"{number:,.0f}" if 1e4 <= abs(number) < 1e9 else f"{number:.4g}"


def _decimals(share: float) -> int:
    """How many decimals, up to 3, the share has in percent."""
    return next((d for d in range(3) if abs(round(100 * share, d) - 100 * share) < 1e-9), 3)
