"""Networks, models and modules of one's own, by the names that the command line is given."""

from __future__ import annotations

import importlib
import re
import sys
import traceback
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


def read_networks(given: list[str]) -> dict[str, Any]:
    """Networks by the names of their files, by the names of those that travel with the package, or by a function.

    A file goes by its name without folder and ending; where two have the same, by the path that was given. "mine:make"
    is the function make of a module mine, called without arguments: it gives a trained model of any kind.

    Raises
    ------
    StorageError
        If a file is missing, damaged or not a network's.
    ValueError
        If a file holds a model of one's own, which only its own code can make; if there is no such module or function,
        or what it gives cannot be called.
    """
    found: dict[str, Any] = {}
    for text in given:
        stem = Path(text).stem
        if is_embedded(text):
            found[text] = embedded(text)
        elif _is_function(text):
            found[text] = _made(text)
        else:
            found[text if stem in found or stem in given else stem] = _read(text)
    return found


def _is_function(text: str) -> bool:
    return re.fullmatch(r"[\w.]+:\w+", text) is not None and not Path(text).exists()


def _made(text: str) -> Any:
    module, _, name = text.partition(":")
    make = getattr(imported("NETWORK", module), name, None)
    if not callable(make):
        raise ValueError(f"NETWORK {text}: the module {module} has no function {name!r}")
    try:
        model = make()
    except StorageError:
        raise
    except (Exception, SystemExit) as error:
        raise ValueError(f"NETWORK {text}: {name}() cannot make a model: {reason(error)}") from error
    if _is_of_torch(model):
        raise ValueError(
            f"NETWORK {text}: {name}() gives a network of PyTorch, wanted TorchModel(net.eval(), shape=...) of "
            "tinyadv.torch_model"
        )
    if not callable(model):
        hint = ", does it lack a return?" if model is None else ""
        raise ValueError(f"NETWORK {text}: {name}() gives a {type(model).__name__}, wanted a model{hint}")
    return model


def _is_of_torch(model: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(model, torch.nn.Module)


def _read(path: str) -> Any:
    if "description" in load_arrays(path)[1]:
        raise ValueError(
            f"{path} holds the numbers of a model of one's own, which its own code makes: wanted MODULE:FUNCTION, as "
            f"mine:make for a function make() in mine.py that returns load({path!r}, into=...)"
        )
    return load(path)


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
