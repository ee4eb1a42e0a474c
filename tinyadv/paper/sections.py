"""Which sections of the paper are measured and drawn: one list, for the modules in `measure` and those in `draw`.

A function is marked as the one that measures, or draws, a claim where it is written; `collected` finds the marks.
"""

from __future__ import annotations

from importlib import import_module
from inspect import isfunction
from types import ModuleType
from typing import Any

SECTIONS = (
    "section2",
    "section3",
    "section4",
    "figure1",
    "section5",
    "section6",
    "section6_controls",
    "section7",
    "section8",
    "section9",
    "mp_dbm",
    "appendix",
    "cifar10",
)


def modules(package: str) -> list[ModuleType]:
    """The sections' modules in a package: "tinyadv.paper.measure" or "tinyadv.paper.draw"."""
    return [import_module(f"{package}.{name}") for name in SECTIONS]


def collected(mark: str, *modules: ModuleType) -> dict[str, Any]:
    """By claim, what functions of these modules are marked with: "measures" or "draws".

    Raises
    ------
    ValueError
        If two functions measure, or draw, the same claim.
    """
    found = dict[str, Any]()
    for module in modules:
        for function in filter(isfunction, vars(module).values()):
            for marked in function.__dict__.get(mark, ()):
                if found.setdefault(marked.claim, marked) is not marked:
                    raise ValueError(
                        f"one function {mark} a claim, but two are for {marked.claim}: "
                        f"{function.__name__} in {module.__name__} is the second"
                    )
    return found
