"""Networks, models and modules of one's own, by the names that the command line is given."""

from __future__ import annotations

import importlib
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

from .models import embedded, embedded_names, load
from .owned import parameters
from .storage import StorageError, load_arrays


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
    except (Exception, SystemExit) as error:  # it is not our code, and anything may be wrong with it
        raise ValueError(f"{option} {name} cannot be imported: {reason(error)}") from error


def reason(error: BaseException) -> str:
    """What an error says, and where in one's own code it was raised."""
    said, place = f"{type(error).__name__}: {error}", traceback.extract_tb(error.__traceback__)[-1]
    return said if place.filename == __file__ else f"{said} ({place.filename}, line {place.lineno})"


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


def read_networks(given: list[str], models: Sequence[str] = ()) -> dict[str, Any]:
    """Networks by the names of their files, or by the names of those that travel with the package.

    A file goes by its name without folder and ending; where two have the same, by the path that was given.

    A file with a model of one's own is read into what one of `models` makes, the first that it fits: "mine:make" is the
    function make of a module mine, called without arguments.

    Raises
    ------
    StorageError
        If a file is missing, damaged or not a network's, or holds another model than any of `models` makes.
    ValueError
        If a file holds a model of one's own, and `models` has none, or one that is no function, or makes no model.
    """
    found: dict[str, Any] = {}
    makes = [function("--model", model) for model in models]
    for text in given:
        stem = Path(text).stem
        name = text if is_embedded(text) or stem in found or stem in given else stem
        found[name] = embedded(text) if is_embedded(text) else _read(text, makes)
    return found


def check_images(given: list[str], x: Any) -> None:
    """ValueError where pixels, x `(N, D)` within [0, 1], are meant for the package's network of whitened images."""
    if any(is_embedded(text) and text == "conv-maxout" for text in given) and x.min() >= 0 and x.max() <= 1:
        raise ValueError(
            "conv-maxout takes whitened images, those of datasets.cifar10(whitened=True); got pixels from 0 to 1"
        )


def in_precision_of(network: Any, x: Any) -> Any:
    """x `(N, D)` in the dtype of the network's parameters; the same array if it has that, or there are none."""
    weights = parameters(network)
    return x.astype(weights[0].dtype, copy=False) if weights else x


def check_units(eps: float, x: Any) -> None:
    """ValueError for an eps above 1 where x are pixels from 0 to 1: it was meant for those from 0 to 255."""
    if eps > 1 and x.min() >= 0 and x.max() <= 1:
        raise ValueError(f"eps is in units of pixels, which run from 0 to 1: at most 1, got {eps:g}")


def outputs_of(name: str, network: Any, x: Any) -> Any:
    """What a network gives for the first of the images x `(N, D)`; ValueError, with its name, where it takes others."""
    try:
        return network(in_precision_of(network, x[:1]))
    except (ValueError, TypeError, IndexError) as error:
        raise ValueError(f"{name} does not take images of {x.shape[1]} numbers each: {error}") from error


def is_embedded(text: str) -> bool:
    """Whether a network of the package is meant: a file of its name comes first."""
    return text in embedded_names() and not Path(text).exists()


def _read(path: str, makes: Sequence[Callable[[], Any]]) -> Any:
    if "description" not in load_arrays(path)[1]:
        return load(path)
    if not makes:
        raise ValueError(f"{path} holds a model of one's own: wanted --model MODULE:FUNCTION, which makes such a model")
    *others, last = makes
    for make in others:
        with suppress(StorageError):
            return load(path, into=_made(make))
    return load(path, into=_made(last))


def _made(make: Callable[[], Any]) -> Any:
    try:
        model = make()
    except (Exception, SystemExit) as error:
        raise ValueError(f"--model: {_name(make)}() cannot make a model: {reason(error)}") from error
    if model is None:
        raise ValueError(f"--model: {_name(make)}() gives None: wanted a model, does it lack a return?")
    return model


def _name(function: Callable[..., Any]) -> str:
    return getattr(function, "__name__", repr(function))
