"""Numbers as text: ours with its interval, and the paper's as it is in print."""

from __future__ import annotations

import math

from ..claims import Quantity
from ..results import Interval

_SHARE = Quantity("", "", None, None, "percent")


def format_value(quantity: Quantity, value: float | None, interval: Interval | None = None) -> str:
    """A measured number with its interval, "99.9 % [99.8, 99.9]"; "—" where there is none.

    Shares have as many decimals as the paper's value, and at least one; at least two below 2 %; and up to three where
    one that is not quite 0 or 100 % would read so. What of a share's interval over seeds lies outside 0 to 100 % is cut
    off.
    """
    if value is None or not math.isfinite(value):
        return "—"
    if quantity.format == "number":
        return digits(value) + (f" [{digits(interval[0])}, {digits(interval[1])}]" if interval else "")
    decimals = max(2 if abs(value) < 0.02 else 1, _decimals(quantity.paper or 0.0))
    shares = (interval or ()) if abs(value) in (0, 1) else (value,)
    while decimals < 3 and any(_rounded_away(share, decimals) for share in shares):
        decimals += 1
    text = f"{100 * value:z.{decimals}f} %"
    if interval:
        low, high = interval
        if quantity.format == "percent":
            low, high = max(0.0, low), min(1.0, high)
        text += f" [{100 * low:z.{decimals}f}, {100 * high:z.{decimals}f}]"
    return text


def format_share(value: float | None, interval: Interval | None = None) -> str:
    """As `format_value`, of a share that the paper does not give."""
    return format_value(_SHARE, value, interval)


def format_paper(quantity: Quantity) -> str:
    """The paper's value of a quantity as it is in print; "—" where it has none."""
    if quantity.paper is None:
        return "—"
    if quantity.format == "number":
        return f"{quantity.paper:g}"
    return f"{100 * quantity.paper:.{_decimals(quantity.paper)}f} %"


def _rounded_away(share: float, decimals: int) -> bool:
    """Whether a share that is not quite 0 or 100 % reads so with so many decimals."""
    return abs(share) not in (0, 1) and round(100 * abs(share), decimals) in (0, 100)


def digits(number: float) -> str:
    """Four digits, or all of those before the point."""
    return f"{number:z,.0f}" if 9999.5 <= abs(number) < 1e9 else f"{number:z.4g}"


def _decimals(share: float) -> int:
    """How many decimals, up to 3, the share has in percent."""
    return next((d for d in range(3) if abs(round(100 * share, d) - 100 * share) < 1e-9), 3)
