"""What an object owns: its parameters, its other arrays, and a description of the rest as plain data.

The one idea: a layer or a model is any Python object, so it is searched: attributes, slots, lists, dicts, and whatever
these hold, each object once. A Tensor is a parameter, which training changes; an array is state, as running means are,
which is saved beside the parameters; everything else (sizes, names, functions) describes the object, which tells
whether two are alike. Readers may skip all but `named_parameters`.
"""

from __future__ import annotations

import gc
import os
import sys
from collections import deque
from collections.abc import Iterator, KeysView, Set, ValuesView
from enum import Enum
from functools import partial
from hashlib import sha256
from io import IOBase
from itertools import chain
from math import isfinite
from pathlib import Path, PurePath
from types import (
    BuiltinFunctionType,
    CodeType,
    FunctionType,
    MappingProxyType,
    MemberDescriptorType,
    MethodType,
    ModuleType,
)
from typing import Any, TypeAlias

from .backend import Array, Generator, as_array, is_array, is_array_type, once_a_type, to_device, ufunc
from .tensor import Op, Tensor, raw

_PLAIN = (bool, int, float, complex, str, bytes, type(None))
_PLAIN_TYPES = frozenset(_PLAIN)
# What a name says all about: nothing in it is searched. What a path keeps in it changes when it is looked at.
_NAMED = (ModuleType, type, Enum, Op, BuiltinFunctionType, ufunc, PurePath)
_CONSTANT = (tuple, FunctionType, partial, MappingProxyType)  # what cannot be given other arrays
_SEALED = (Set, KeysView, ValuesView, Iterator)  # without an order, or used up by looking
# What `functools.wraps` copies from a function: it computes nothing, and later versions of Python copy more of it.
_COPIED = {"__module__", "__name__", "__qualname__", "__doc__", "__annotations__", "__annotate__", "__type_params__"}


Held: TypeAlias = tuple[str, Any, Any, Any]  # path, value, and where it is: holder, and the name or number there


def walk(owner: Any, plain: bool = True) -> list[Held]:
    """All that `owner` holds, directly or not, depth first, in the order in which it was set.

    What is met a second time (a shared layer, `self.parent`) is given again, but not searched again. Without `plain`,
    numbers and texts are left out: this is asked at every step of a training.

    Raises
    ------
    TypeError
        If something cannot be searched for parameters: a set, which has no order; an iterator, which looking uses up.
    """
    found, seen = list[Held](), {id(owner)}
    todo = [("", owner, _members(owner, ""))]
    while todo:
        path, holder, members = todo[-1]
        for name, value in members:
            kind = type(value)
            if kind in _PLAIN_TYPES and not plain:
                continue
            here = f"{path}{name}"
            found.append((here, value, holder, name))
            if kind is Tensor:
                continue
            if not _is_searched(kind):
                if is_array_type(kind) and value.dtype.kind == "O":
                    raise _unsearchable(here, "an array of objects")
            elif id(value) not in seen:
                seen.add(id(value))
                todo.append((f"{here}.", value, _members(value, here)))
                break
        else:
            todo.pop()
    return found


@once_a_type
def _is_searched(kind: type) -> bool:
    """Whether values of a type are searched: no plain data, arrays or Tensors, nor what a name says all about."""
    return not issubclass(kind, (*_PLAIN, *_NAMED, Tensor, Generator)) and not is_array_type(kind)


def _members(value: Any, path: str) -> Iterator[tuple[Any, Any]]:
    """What `value` itself holds, by name or by number."""
    kind = type(value)
    if _has_attributes_only(kind):
        return iter(value.__dict__.items())
    if kind is list or kind is tuple:
        return enumerate(value)
    if kind is dict:
        return iter(value.items())
    return chain(_contents(value, path), getattr(value, "__dict__", {}).items(), _declared(value))


@once_a_type
def _has_attributes_only(kind: type) -> bool:
    special = (list, tuple, deque, dict, MappingProxyType, FunctionType, partial, MethodType, *_SEALED)
    return bool(kind.__dictoffset__) and not (issubclass(kind, special) or _slots(kind) or _class_parameters(kind))


def _contents(value: Any, path: str) -> Iterator[tuple[Any, Any]]:
    """What a container contains, or a function refers to."""
    if isinstance(value, list | tuple | deque):
        yield from enumerate(value)
    elif isinstance(value, dict | MappingProxyType):
        yield from value.items()
    elif isinstance(value, FunctionType):
        yield from _free_variables(value)
    elif isinstance(value, partial):
        yield from (("func", value.func), ("args", value.args), ("keywords", value.keywords))
    elif isinstance(value, MethodType):
        yield from (("self", value.__self__), ("function", value.__func__))
    elif _is_sealed(value):
        raise _unsearchable(path or "what was given", f"a {type(value).__name__}")


def _is_sealed(value: Any) -> bool:
    """Whether parameters may be in `value` that cannot be reached by a name or a number that stays."""
    if isinstance(value, Set):
        return not all(isinstance(v, _PLAIN) for v in value)
    if isinstance(value, _SEALED):
        return not isinstance(value, IOBase)  # an open file gives lines
    if type(value).__dictoffset__ or _slots(type(value)):
        return False
    held = gc.get_referents(value)  # of an object written in C, what it keeps, or the list in which it does
    inner = gc.get_referents(*(each for each in held if isinstance(each, list | tuple | dict)))
    return any(isinstance(each, Tensor) for each in (*held, *inner))


def _unsearchable(path: str, what: str) -> TypeError:
    return TypeError(f"{path} is {what}, which cannot be searched for parameters: keep them in a list or a dict")


def _declared(value: Any) -> Iterator[tuple[str, Any]]:
    """What stands in slots, and Tensors that stand in the class."""
    for name in _slots(type(value)):
        if hasattr(value, name):  # a slot may be empty
            yield name, getattr(value, name)
    for name in _class_parameters(type(value)):
        yield name, getattr(value, name)


def _free_variables(function: FunctionType) -> Iterator[tuple[str, Any]]:
    """The variables around a function that it uses, and its defaults."""
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield name, cell.cell_contents
        except ValueError:  # not set yet
            continue
    defaults = function.__defaults__ or ()
    names = function.__code__.co_varnames[: function.__code__.co_argcount]
    yield from zip(names[len(names) - len(defaults) :], defaults, strict=True)
    yield from (function.__kwdefaults__ or {}).items()


@once_a_type
def _slots(kind: type) -> tuple[str, ...]:
    """Names of the slots that Python classes declare."""
    declared = [base for base in kind.__mro__ if "__slots__" in vars(base)]
    return tuple(n for base in declared for n, value in vars(base).items() if isinstance(value, MemberDescriptorType))


@once_a_type
def _class_parameters(kind: type) -> tuple[str, ...]:
    """Names of Tensors that stand in a class instead of in its objects."""
    return tuple({n: None for base in kind.__mro__ for n, value in vars(base).items() if isinstance(value, Tensor)})


# ---------------------------------------------------------------------------------------------------------
# Parameters


def depends_on(t: Tensor, others: list[Tensor]) -> bool:
    """Whether a Tensor was computed from one of the others."""
    ids = set(map(id, others))
    todo, seen = [t], {id(t)}
    while todo:
        for arg in todo.pop().args:
            if id(arg) in ids:
                return True
            if isinstance(arg, Tensor) and id(arg) not in seen:
                seen.add(id(arg))
                todo.append(arg)
    return False


def named_parameters(owner: Any) -> dict[str, Tensor]:
    """All Tensors that a network, a layer or any object owns, by the path that leads to each, as "layers.0.W".

    Attributes, slots, lists, tuples, dicts and what they hold are searched, in the order in which they were set. Each
    parameter is there once: a shared one by the first way that leads there.

    Raises
    ------
    TypeError
        If something cannot be searched (see `walk`), or a Tensor is the result of an operation on others that are no
        parameters: an update would not change these.
    ValueError
        If two have the same name, as below the keys 1 and "1" of a dict.
    """
    found: dict[str, Tensor] = {}
    ids: set[int] = set()
    for path, value, _, _ in walk(owner, plain=False):
        if not isinstance(value, Tensor) or id(value) in ids:
            continue
        ids.add(id(value))
        if value.op is not None:
            _check_uses_parameters(path, value, owner)
        elif path in found:
            raise ValueError(f"two parameters have the name {path}")
        else:
            found[path] = value
    return found


def _check_uses_parameters(path: str, t: Tensor, owner: Any) -> None:
    """TypeError unless a Tensor was computed from a parameter, as activations are that a layer keeps to look at."""
    leaves = [value for _, value, _, _ in walk(owner, plain=False) if isinstance(value, Tensor) and value.op is None]
    if not depends_on(t, leaves):
        raise TypeError(
            f"{path} is computed by {t.op}, from Tensors that are no parameters: "
            "a parameter is made from an array, Tensor(0.1 * array)"
        )


def parameters(owner: Any) -> list[Tensor]:
    """The Tensors of `named_parameters`: what to hand to `grad` and to an optimiser."""
    return list(named_parameters(owner).values())


def incoming_axes(owner: Any) -> dict[str, tuple[int, ...]]:
    """Along which axes a unit's incoming weights lie, for the parameters whose layer says so; all others have rows.

    A layer says so by an attribute `incoming_axes`, by the names of its own parameters: `{"W": 0}` for W
    `(inputs, units)`, `{"W": (0, 1, 2)}` for kernels `(height, width, channels, units)`. Max-norm is what asks.

    Raises
    ------
    ValueError
        If `incoming_axes` names something that the layer does not have, or an axis that the parameter does not have.
    """
    held = [(path, value) for path, value, _, _ in walk(owner, plain=False)]
    tensors = {path: value for path, value in held if isinstance(value, Tensor)}
    along: dict[int, tuple[int, ...]] = {}  # of a Tensor, under whichever names it is kept
    for path, layer in [("", owner), *((f"{path}.", value) for path, value in held)]:
        if isinstance(layer, _NAMED) or not isinstance(axes := getattr(layer, "incoming_axes", None), dict):
            continue
        for name, a in axes.items():
            if (W := tensors.get(f"{path}{name}")) is not None:
                along[id(W)] = _axes_of(W, f"{path}{name}", (a,) if isinstance(a, int) else tuple(a))
            elif not hasattr(layer, name.partition(".")[0]):
                raise ValueError(f"incoming_axes of a {type(layer).__name__} names {name!r}, which it does not have")
    return {name: along[id(p)] for name, p in named_parameters(owner).items() if id(p) in along}


def _axes_of(W: Tensor, path: str, axes: tuple[int, ...]) -> tuple[int, ...]:
    if not all(-W.ndim <= a < W.ndim for a in axes):
        raise ValueError(f"incoming_axes of {path}, of shape {W.shape}, are some of its axes; got {axes}")
    return tuple(a % W.ndim for a in axes)


# ---------------------------------------------------------------------------------------------------------
# State: arrays that are no parameters


def named_state(owner: Any) -> dict[str, Array]:
    """Arrays that a network, a layer or any object keeps beside its parameters, by path: running means, for instance.

    Arrays that a function or a tuple holds are constants: they belong to the description. ValueError if two arrays, or
    an array and a parameter, have the same name.
    """
    found: dict[str, Array] = {}
    ids: set[int] = set()
    names: list[str] = []
    for path, value, holder, _ in walk(owner, plain=False):
        if is_array(value) and id(value) not in ids and not isinstance(holder, _CONSTANT):
            ids.add(id(value))
            names.append(path)
            found[path] = value
        elif isinstance(value, Tensor) and value.op is None:
            names.append(path)
    if twice := [name for name in found if names.count(name) > 1]:
        raise ValueError(f"two arrays or parameters have the name {twice[0]}")
    return found


def set_state(owner: Any, arrays: dict[str, Array]) -> None:
    """Put arrays in the place of those of `named_state`, by path, wherever an object holds them; or where None is."""
    new = {id(array): arrays[path] for path, array in named_state(owner).items() if path in arrays}
    for path, value, holder, name in walk(owner):
        array = arrays.get(path) if value is None else new.get(id(value)) if is_array(value) else None
        if array is None or isinstance(holder, _CONSTANT):
            continue
        if isinstance(holder, list | dict | deque):
            holder[name] = array
        else:
            object.__setattr__(holder, name, array)  # also of a frozen dataclass


def empty_places(owner: Any) -> set[str]:
    """Paths where there is None: there arrays may come that are made at the first call, as running means can be."""
    return {path for path, value, holder, _ in walk(owner) if value is None and not isinstance(holder, _CONSTANT)}


def moving_numbers(owner: Any) -> dict[str, Any]:
    """What a checkpoint cannot keep if training changes it: numbers, and how far random generators are, by path.

    Of arrays, that they are arrays: one of no axes easily becomes a number.
    """
    found: dict[str, Any] = {}
    for path, value, holder, _ in walk(owner):
        if isinstance(holder, _CONSTANT):
            continue
        if isinstance(value, Generator):
            found[path] = f"generator {value.bit_generator.state}"
        elif is_array(value):
            found[path] = "array"
        elif getattr(value, "ndim", None) == 0 and not isinstance(value, Tensor):
            found[path] = value.item()
        elif isinstance(value, int | float) and not isinstance(value, bool | Enum):
            found[path] = value
    return found


def held_results(owner: Any) -> dict[str, Tensor]:
    """Tensors that were computed, as activations that a layer keeps to look at, by path."""
    found = ((path, value) for path, value, _, _ in walk(owner, plain=False))
    return {path: value for path, value in found if isinstance(value, Tensor) and value.op is not None}


# ---------------------------------------------------------------------------------------------------------
# A description


def describe(owner: Any, contents: bool = False) -> dict[str, Any]:
    """What an object is, as plain data: by path, numbers and texts, names of classes and functions, shapes of arrays.

    A function is its name, its defaults and the variables around it; a `lambda`, which has no name, its code too. The
    code differs between versions of Python: what others shall load has functions with names. Constants, arrays that a
    function or a tuple holds, stand there by the SHA-256 of their contents. Not in it: what a function finds in its
    module, what stands in a class (see `constants`), and the text of a function or a class that has a name.

    Parameters
    ----------
    contents : bool
        Whether all arrays stand there by the SHA-256 of their contents, parameters and state too.

    Raises
    ------
    TypeError
        With `contents`, for what has no contents that can be looked at: an open file, a lock.
    """
    first: dict[int, str] = {}
    found = {"": _label(owner, "", contents)}
    for path, value, holder, _ in walk(owner):
        if not _COPIED.isdisjoint(path.split(".")):
            continue
        if isinstance(value, _PLAIN):
            found[path] = _label(value, path, contents)
        elif id(value) in first:
            found[path] = f"the same as {first[id(value)]}"
        else:
            first[id(value)] = path
            found[path] = _label(value, path, contents or (is_array(value) and isinstance(holder, _CONSTANT)))
    return found


def _label(value: Any, path: str, contents: bool) -> Any:
    """One value as plain data, without what it holds."""
    if type(value) in (bool, int, str, type(None)):
        return value
    if isinstance(value, Tensor) and value.op is not None:
        return None  # activations that a layer keeps to look at: nothing, to a description
    if isinstance(value, float):
        return float(value) if isfinite(value) else repr(float(value))
    if isinstance(value, ModuleType):
        return value.__name__
    if isinstance(value, type):
        return f"{_module(value)}.{value.__qualname__}"
    if hasattr(value, "dtype") and hasattr(value, "shape"):  # a Tensor, an array, or a column of pandas
        array = as_array(raw(value))
        if array.ndim == 0 and not isinstance(value, Tensor) and not is_array(value):
            return array.item()  # a number of NumPy's
        text = f"{'parameter' if isinstance(value, Tensor) else 'array'} {tuple(array.shape)}"
        return f"{text}, {array.dtype}, SHA-256 {digest(array)}" if contents else text
    if isinstance(value, Generator):
        return f"generator {value.bit_generator.state}" if contents else "generator"
    if isinstance(value, FunctionType):
        name = f"{_module(value)}.{value.__qualname__}"
        return f"{name} {_code(value)}" if value.__name__ == "<lambda>" and not _is_pythons(value) else name
    if isinstance(value, BuiltinFunctionType) and not isinstance(value.__self__, ModuleType | None):
        if contents and not isinstance(value.__self__, type):
            raise _unidentified(path, f"the method {value.__name__} of a {type(value.__self__).__name__}")
        return value.__qualname__
    if isinstance(value, Op) and not _is_ours(value):
        return f"{_module(value)}.{value.forward.__qualname__}"
    if isinstance(value, ufunc):
        return f"ufunc {value.__name__}"
    if isinstance(value, Enum | Op | BuiltinFunctionType | bytes | complex | int | str | range | slice):
        return repr(value)
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Set):
        return f"{type(value).__name__} {sorted(map(repr, value))}"
    if contents and not _has_contents(value):
        raise _unidentified(path, f"a {type(value).__name__}")
    return type(value).__qualname__


def _is_ours(value: Any) -> bool:
    """Whether a function, a class or an operation is of this package, whose versions are told apart otherwise."""
    return str(value.__module__).partition(".")[0] == __name__.partition(".")[0]


def _is_pythons(value: Any) -> bool:
    """Whether a function or a class is of the standard library: what it finds around it differs between versions."""
    return str(value.__module__).partition(".")[0] in sys.stdlib_module_names


def _module(value: Any) -> str:
    """The module of a function or a class, by the name that others import it by, also where it is run as a script."""
    if value.__module__ != "__main__":
        return str(value.__module__)
    main = sys.modules["__main__"]
    if spec := getattr(main, "__spec__", None):
        return str(spec.name)
    file = getattr(main, "__file__", None)
    return Path(file).stem if file else "__main__"


def constants(owner: Any) -> dict[str, Any]:
    """What the functions and classes of an object, other than this package's and Python's, find around them.

    Numbers, texts, tuples of them, and arrays by the SHA-256 of their contents: those in a function's module that it
    names, and those that stand in a class. `describe` has none of them.
    """
    found: dict[str, Any] = {}
    for path, value in [("", owner), *((path, value) for path, value, _, _ in walk(owner))]:
        if isinstance(value, FunctionType):
            found |= _named_by(value, path)
        elif not isinstance(value, (*_PLAIN, *_NAMED)):
            for kind in type(value).__mro__:
                if _is_ours(kind) or _is_pythons(kind):
                    continue
                for name, member in vars(kind).items():
                    if isinstance(member, FunctionType):
                        found |= _named_by(member, path)
                    elif not name.startswith("__") and _is_constant(member):
                        found[f"{path}.{name}"] = _constant_label(member)
    return found


def _named_by(function: FunctionType, path: str) -> dict[str, Any]:
    """The constants of its module that a function, or one inside it, names."""
    if _is_ours(function) or _is_pythons(function):
        return {}
    codes, found = [function.__code__], dict[str, Any]()
    while codes:
        code = codes.pop()
        codes += [c for c in code.co_consts if isinstance(c, CodeType)]
        for name in code.co_names:
            if name not in function.__globals__ or (name.startswith("__") and name.endswith("__")):
                continue  # `__name__`, `__doc__` and `__file__` are a module's, and often another object's is meant
            if _is_constant(value := function.__globals__[name]):
                found[f"{path}.{name}"] = _constant_label(value)
    return found


def _is_constant(value: Any) -> bool:
    return isinstance(value, _PLAIN) or is_array(value) or (isinstance(value, tuple) and all(map(_is_constant, value)))


def _constant_label(value: Any) -> str:
    return f"SHA-256 {digest(value)}" if is_array(value) else repr(value)


def _unidentified(path: str, what: str) -> TypeError:
    return TypeError(f"{path or 'this'} is {what}, of which nobody can say whether it is the same")


def _has_contents(value: Any) -> bool:
    """Whether all that an object is can be looked at: it is a container, or of a class that is written in Python."""
    if isinstance(value, list | tuple | deque | dict | MappingProxyType | partial | MethodType | IOBase):
        return not isinstance(value, IOBase)
    kind = type(value)
    while kind.__base__ not in (object, None):  # what lies at the bottom of the class decides: it has its own memory
        kind = kind.__base__
    return bool({"__slots__", "__dict__", "__weakref__"} & vars(kind).keys()) or hasattr(value, "__wrapped__")


def _code(function: FunctionType) -> str:
    return sha256(repr(_parts(function.__code__)).encode()).hexdigest()[:12]


def _parts(code: CodeType) -> Any:
    """What a code does: its instructions, constants and names; those of functions inside it too."""
    return code.co_code, [_constant(c) for c in code.co_consts], code.co_names


def _constant(value: Any) -> Any:
    if isinstance(value, CodeType):
        return _parts(value)
    if isinstance(value, frozenset):
        return sorted(map(repr, value))  # its own order is another each time
    return value


def digest(*arrays: Array) -> str:
    """The SHA-256 of arrays: of their types, shapes and contents."""
    total = sha256()
    for array in arrays:
        a = to_device(array, "cpu")
        total.update(f"{a.dtype}:{a.shape};".encode())
        total.update(a.tobytes() if not a.flags.c_contiguous else a.reshape(-1).view("uint8").data)
    return total.hexdigest()


def differences(found: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """In words, what two descriptions say differently; None is like what is not there."""
    return [
        f"{path or 'class'} {str(found.get(path, 'missing'))[:200]}, not {str(wanted.get(path, 'missing'))[:200]}"
        for path in [*wanted, *(path for path in found if path not in wanted)]
        if found.get(path) != wanted.get(path)
    ]
