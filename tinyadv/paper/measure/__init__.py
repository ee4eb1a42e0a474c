"""How the paper's claims are measured: for each a function from trained networks to numbers.

A function is marked in its section's module with `@measures(claim, networks)`, where `networks` names the recipes that
it needs; it gets them trained, by these names: `function(lab, seed, naive=..., longer=...) -> Measurement`. All of them
are put into `MEASURES` here.
"""

from __future__ import annotations

from ..sections import collected, modules
from .common import Measure, Networks, measures

__all__ = ["MEASURES", "Measure", "Networks", "measures"]

MEASURES: dict[str, Measure] = collected("measures", *modules(__name__))
