"""Modules of one's own, as an option of the command line names them."""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Callable
from types import ModuleType
from typing import Any


def imported(option: str, name: str) -> ModuleType:
    """The module `name`, which `option` asks for: in the folder in which the command was given, or installed.

    Raises
    ------
    ValueError
        If it is no module's name, or cannot be imported; says why, and where in its code.
    """
    if name.endswith(".py"):
        raise ValueError(f"{option} {name}: wanted the name of a module, my.claims for my/claims.py; got a file's")
    if "" not in sys.path:
        sys.path.insert(0, "")  # the folder in which the command was given
    try:
        return importlib.import_module(name)
    except (ImportError, SyntaxError) as error:
        raise ValueError(f"{option} {name} cannot be imported: {error}") from error
    except Exception as error:  # it is not our code, and anything may be wrong with it
        place = traceback.extract_tb(error.__traceback__)[-1]
        said = f"{type(error).__name__}: {error} ({place.filename}, line {place.lineno})"
        raise ValueError(f"{option} {name} cannot be imported: {said}") from error


def function(option: str, text: str) -> Callable[..., Any]:
    """The function that `text` names as "module:function", which `option` asks for.

    Raises
    ------
    ValueError
        If `text` has another form, or there is no such module or no such function in it.
    """
    module, _, name = text.partition(":")
    if not module or not name:
        raise ValueError(f"{option}: wanted MODULE:FUNCTION, as mine:make for make() in mine.py; got {text!r}")
    found = getattr(imported(option, module), name, None)
    if not callable(found):
        raise ValueError(f"{option} {text}: the module {module} has no function {name!r}")
    return found
