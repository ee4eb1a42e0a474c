"""How the paper's claims are measured: for each a function from trained networks to numbers.

A function is marked in its section's module with `@measures(claim, networks)`, where `networks` names the recipes that
it needs; it gets them trained, by these names: `function(lab, seed, naive=..., longer=...) -> Measurement`. All of them
are put into `MEASURES` here.
"""

from __future__ import annotations

from ..fingerprint import measuring
from . import (
    appendix,
    cifar10,
    figure1,
    mp_dbm,
    section2,
    section3,
    section4,
    section5,
    section6,
    section6_controls,
    section7,
    section8,
    section9,
)
from .common import Measure, Networks, collected, measures

__all__ = ["MEASURES", "Measure", "Networks", "collected", "measures", "measuring"]

MEASURES: dict[str, Measure] = collected(
    section2,
    section3,
    section4,
    figure1,
    section5,
    section6,
    section6_controls,
    section7,
    section8,
    section9,
    mp_dbm,
    appendix,
    cifar10,
)
