"""The engine: a `Tensor` remembers how an array was computed, `grad` walks that memory backwards.

The one idea: an operation (`Op`) called on arrays is plain array code and records nothing; called on a Tensor it
runs the same code on the arrays inside and returns a Tensor that remembers the operation and its arguments. Each
operation carries one formula per argument, `(g, y, *args) -> dL/darg` with g = dL/dy. The formulas are written in
operations too: on arrays they give the gradient, on Tensors a gradient that can be differentiated again.
"""
# ruff: noqa: E731  (the operators of a Tensor are a table of lambdas)

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from functools import update_wrapper
from itertools import count
from operator import attrgetter
from typing import Any, NoReturn, TypeAlias

from .backend import Array, as_floats, full_like, is_listing

Value: TypeAlias = "Array | Tensor"  # what operations take
Alike: TypeAlias = Any  # and what they give: an array for arrays, a Tensor for a Tensor
Formula: TypeAlias = Callable[..., Alike]  # (g, y, *args) -> dL/darg
Operator: TypeAlias = Callable[["Tensor", Any], "Tensor"]
Method: TypeAlias = Callable[..., "Tensor"]

_births = count()


def _operators(name: str, sign: str) -> tuple[Operator, Operator, Operator]:
    """The operation `name` as a + b, b + a and a += b of a Tensor a."""

    def forward(a: Tensor, b: Any) -> Any:
        return getattr(ops, name)(a, _like(a, b))

    def swapped(a: Tensor, b: Any) -> Any:
        return getattr(ops, name)(_like(a, b), a)

    def in_place(a: Tensor, b: Any) -> Any:
        if a.op is None:
            raise TypeError(
                f"W {sign} step, for a W that was not computed, would keep every step in memory: "
                f"W.data {sign} step changes its numbers, W = W {sign[:-1]} step makes a new Tensor that remembers W"
            )
        return NotImplemented  # so Python takes a = a + b

    return forward, swapped, in_place


def _like(a: Tensor, b: Any) -> Any:
    """b; a list, or a column of a table, becomes an array like a."""
    return full_like(a._data, b) if is_listing(type(b)) and not isinstance(b, Tensor) else b


def _in_one(lengths: tuple[Any, ...]) -> tuple[int, ...]:
    """(2, 3) of `reshape(2, 3)`, `reshape((2, 3))` or `reshape([2, 3])`."""
    return tuple(lengths[0]) if len(lengths) == 1 and isinstance(lengths[0], (tuple, list)) else lengths


class Tensor:
    """An array, and how it was computed.

    `data` is a NumPy or a CuPy array of any shape, not copied, or numbers that NumPy turns into one. TypeError if it is
    a Tensor already, or holds anything but floating point numbers: nothing else has gradients.

    A Tensor keeps everything it was computed from alive. So log `J.item()`, not J, and update a parameter by
    `W.data -= step`, which changes the array that was given; `W -= step` raises. `grad` raises where `data` was set
    after it had been used; it can't notice changes inside the array, such as `W.data[0] = 1`, so take the gradients
    first.
    """

    __slots__ = ("__weakref__", "_data", "args", "birth", "op", "settings")
    __array_priority__ = 1e6  # makes `array + tensor` ask the Tensor

    def __init__(self, data: Any, op: Op | None = None, args: Sequence[Any] = (), settings: Any = None) -> None:
        self._data: Array = as_floats(data) if op is None else data
        self.op, self.args, self.settings = op, args, settings or {}
        self.birth = next(_births)  # arguments are always older than what is computed from them

    @property
    def data(self) -> Array:
        """The array; where the Tensor was not computed, it may be set."""
        return self._data

    @data.setter
    def data(self, data: Any) -> None:
        if self.op is not None:
            raise TypeError(f"the data of a Tensor that remembers {self.op} cannot be set: Tensor(...) makes a new one")
        self._data, self.birth = as_floats(data), next(_births)  # younger than what was computed from the old data

    shape, ndim = property(attrgetter("_data.shape")), property(attrgetter("_data.ndim"))
    size, dtype = property(attrgetter("_data.size")), property(attrgetter("_data.dtype"))

    def item(self) -> float:
        """The number in a Tensor of size 1, to print or to log; what is computed from it has no gradient."""
        number: float = self._data.item()
        return number

    def __repr__(self) -> str:
        return f"Tensor({self._data}, dtype={self.dtype}{f', from {self.op}' if self.op else ''})"

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec else repr(self)

    # The operators and array methods are the operations of the same meaning.
    __add__, __radd__, __iadd__ = _operators("add", "+=")
    __sub__, __rsub__, __isub__ = _operators("subtract", "-=")
    __mul__, __rmul__, __imul__ = _operators("multiply", "*=")
    __truediv__, __rtruediv__, __itruediv__ = _operators("divide", "/=")
    __pow__, __rpow__, __ipow__ = _operators("power", "**=")
    __matmul__, __rmatmul__, __imatmul__ = _operators("matmul", "@=")
    __neg__, __abs__ = lambda a: ops.negative(a), lambda a: ops.absolute(a)
    __getitem__ = lambda a, key: ops.take(a, key)
    __iter__ = lambda a: (ops.take(a, i) for i in range(len(a._data)))
    sum: Method = lambda a, axis=None, keepdims=False: ops.reduce_sum(a, axis, keepdims)
    mean: Method = lambda a, axis=None, keepdims=False: ops.reduce_mean(a, axis, keepdims)
    max: Method = lambda a, axis=None, keepdims=False: ops.reduce_max(a, axis, keepdims)
    reshape: Method = lambda a, *shape: ops.reshape(a, _in_one(shape))
    transpose: Method = lambda a, *axes: ops.transpose(a, _in_one(axes) if axes else None)
    T = property(lambda a: ops.transpose(a))

    # Comparisons give plain arrays of truth values: masks are locally constant.
    __lt__, __le__ = lambda a, b: a._data < raw(b), lambda a, b: a._data <= raw(b)
    __gt__, __ge__ = lambda a, b: a._data > raw(b), lambda a, b: a._data >= raw(b)
    __eq__, __ne__ = lambda a, b: a._data == raw(b), lambda a, b: a._data != raw(b)  # type: ignore[attr-defined]
    __hash__ = object.__hash__
    __len__, __bool__ = lambda a: len(a._data), lambda a: bool(a._data)

    # What is computed past the engine would silently lose its gradient: it raises.
    def _refuse(self, *_: Any, **__: Any) -> NoReturn:
        raise TypeError("a Tensor is not an array: use an operation of tinyadv.ops, or the Tensor's .data")

    __array__ = __array_function__ = _refuse

    def __float__(self) -> float:  # also what math.sqrt(t) and "%.3f" % t ask
        self._check_leaf("float()", "J.item() reads the number, operations of tinyadv.ops compute with it")
        return self.item()

    def __int__(self) -> int:
        return int(float(self))

    def __reduce_ex__(self, protocol: Any) -> Any:  # what copy and pickle ask
        self._check_leaf("a copy", "use the Tensor itself, or a copy of its .data")
        return super().__reduce_ex__(protocol)

    def __setstate__(self, state: Any) -> None:
        for part in filter(None, state):  # attributes of a subclass, slots
            for name, value in part.items():
                setattr(self, name, value)
        self.birth = next(_births)  # another process counts births anew

    def _check_leaf(self, what: str, instead: str) -> None:
        if self.op is not None:
            raise TypeError(f"{what} of a Tensor that remembers {self.op} would cut its gradient: {instead}")


def raw(value: Any) -> Any:
    """The array inside a Tensor; anything else as it is."""
    return value._data if isinstance(value, Tensor) else value


class Op:
    """A differentiable operation: a forward on arrays, and a gradient formula for each argument.

    `y = op(*args, **settings)` with a Tensor among `args` gives a Tensor that remembers the call; without one it is
    the forward itself. TypeError for a Tensor among the settings, and for an argument that would give the result
    another dtype than a Tensor has. `op.gradients(...)` sets the formulas, in the order of the arguments. A formula
    computes from g, y and the arguments alone: whatever else it kept would be a constant to the second derivative,
    silently wrong.
    """

    def __init__(self, forward: Callable[..., Array]) -> None:
        update_wrapper(self, forward)
        self.forward = forward
        self.formulas: tuple[Formula | None, ...] = ()

    def __repr__(self) -> str:
        return self.forward.__name__.lstrip("_")

    def __reduce__(self) -> str:  # a copy is the operation itself, and so is what pickle reads
        return self.forward.__qualname__

    def gradients(self, *formulas: Formula | None) -> None:
        self.formulas = formulas

    def __call__(self, *args: Any, **settings: Any) -> Any:
        if settings and any(isinstance(value, Tensor) for value in settings.values()):
            raise TypeError(f"{self}() got a Tensor by keyword: pass it by position, so that it is recorded")
        tensors = [a for a in args if isinstance(a, Tensor)]
        if not tensors:
            return self.forward(*args, **settings)
        y = self.forward(*[a._data if isinstance(a, Tensor) else a for a in args], **settings)
        dtype = getattr(y, "dtype", None)
        for t in tensors:
            if t._data.dtype is not dtype:
                self._check_dtype(y, t.dtype, args)
        return Tensor(y, self, args, settings)

    def _check_dtype(self, y: Any, wanted: Any, args: Sequence[Any]) -> None:
        """Raise where y is no array, or one of the args is the reason that it is not of the dtype `wanted`."""
        if not hasattr(y, "dtype"):
            raise TypeError(f"the forward of {self} gave a {type(y).__name__}, an array is wanted")
        others = [a.dtype for a in args if hasattr(a, "dtype") and (a.dtype == y.dtype or a.dtype.kind in "iu")]
        if y.dtype != wanted and others:
            raise TypeError(
                f"{self} of a Tensor of {wanted} and {others[0]} would give {y.dtype}: "
                f"make both alike, for example by .astype('{wanted}')"
            )

    def dL_darg(self, i: int, arg: Tensor, g: Value, y: Value, args: Sequence[Any], settings: Any) -> Alike:
        """The formula of argument `i`, its result checked to be like the argument."""
        if i >= len(self.formulas) or (formula := self.formulas[i]) is None:
            raise TypeError(f"{self} has no gradient formula for its argument {i}, which was asked for")
        d = formula(g, y, *args, **settings)
        if d.shape != arg._data.shape or d.dtype != arg._data.dtype:
            gave, wanted = f"{d.dtype} of shape {d.shape}", f"{arg.dtype} of shape {arg.shape}"
            raise TypeError(f"the formula of {self} for its argument {i} gave {gave}, the argument is {wanted}")
        return d


def grad(
    y: Tensor, xs: Collection[Tensor] | Iterator[Tensor], cotangent: Any = None, create_graph: bool = False, *,
    allow_unused: bool = False,
) -> list[Any]:  # fmt: skip
    """The gradients of L = sum(cotangent * y) with respect to each of `xs`: returned, never stored.

    Only the paths that lead from `xs` to `y` are walked: what is not asked for is not computed.

    Parameters
    ----------
    y : Tensor
        What to differentiate: a single number, unless `cotangent` is given.
    xs : list, tuple, generator, ... of Tensors
        With respect to what: inputs, or anything computed on the way to `y`.
    cotangent : Python number, or array or Tensor of the shape of `y`, optional
        g = dL/dy; 1 by default, a number for every entry. A Tensor where the gradient shall be differentiable in it.
    create_graph : bool
        Give Tensors, which can be differentiated again, instead of arrays.
    allow_unused : bool
        Give zeros for an x that `y` does not depend on, instead of raising ValueError.

    Returns
    -------
    list of arrays (Tensors with `create_graph`), each like its x; to read: they may share memory with each other

    Raises
    ------
    TypeError, ValueError
        If y or an x is no Tensor, an operation lacks a formula that matters, shapes do not fit, or the data of a Tensor
        was set after it had been used.
    """
    if isinstance(xs, Tensor) or not hasattr(xs, "__iter__"):
        raise TypeError(f"grad wants a list of Tensors as xs, got one {type(xs).__name__}: grad(y, [x])")
    xs = list(xs)
    for i, t in enumerate((y, *xs)):
        if not isinstance(t, Tensor):
            raise TypeError(f"grad wants a Tensor as {f'xs[{i - 1}]' if i else 'y'}, got {type(t).__name__}")
    if cotangent is None and y.size != 1:
        raise ValueError(f"grad of a y of shape {y.shape} wants a cotangent of that shape, or y to be a single number")
    if not isinstance(cotangent, Tensor):
        cotangent = full_like(y._data, 1.0 if cotangent is None else cotangent)
    if cotangent.shape != y.shape or cotangent.dtype != y.dtype:
        wanted, got = f"{y.dtype} of shape {y.shape}", f"{cotangent.dtype} of shape {cotangent.shape}"
        raise ValueError(f"grad wants a cotangent like y, {wanted}, got {got}")

    asked = {id(x) for x in xs}
    needed, between = set(asked), []  # what lies between xs and y: one sweep finds it, since arguments come first
    for t in history(y):
        if t.op is None or needed.isdisjoint(map(id, t.args)):
            continue
        for a in t.args:
            if isinstance(a, Tensor) and a.birth > t.birth:
                raise ValueError(f"the .data of an argument of {t.op} was set after its use: take the gradients first")
        needed.add(id(t))
        between.append((t.op, t))
    gradients = {id(y): cotangent if create_graph else raw(cotangent)}
    sums = set[int]()  # of whom the gradient is a sum made here, an array that nobody else has: it is added to in place
    for op, t in reversed(between):
        g = gradients[id(t)] if id(t) in asked else gradients.pop(id(t))
        result: Value = t if create_graph else t._data
        args = t.args if create_graph else [a._data if isinstance(a, Tensor) else a for a in t.args]
        for i, a in enumerate(t.args):
            if id(a) in needed:
                d = op.dL_darg(i, a, g, result, args, t.settings)
                if id(a) in sums and not create_graph:
                    gradients[id(a)] += d
                elif id(a) in gradients:
                    gradients[id(a)] = gradients[id(a)] + d
                    sums.add(id(a))
                else:
                    gradients[id(a)] = d
    for i, x in enumerate(xs):
        if id(x) not in gradients:
            if not allow_unused:
                of = f"xs[{i}], of shape {x.shape}"
                raise ValueError(f"y does not depend on {of}: was that very Tensor used to compute it?")
            gradients[id(x)] = full_like(x._data, 0.0)
    found = [gradients[id(x)] for x in xs]
    return [dx if isinstance(dx, Tensor) else Tensor(dx) for dx in found] if create_graph else found


def history(y: Tensor) -> list[Tensor]:
    """`y` and all computed Tensors that it was computed from, oldest first; a loop, so that no depth is too deep."""
    found, todo = {id(y): y}, [y]
    while todo:
        for a in todo.pop().args:
            if isinstance(a, Tensor) and a.op is not None and id(a) not in found:
                found[id(a)] = a
                todo.append(a)
    return sorted(found.values(), key=attrgetter("birth"))


from . import ops  # noqa: E402  (the operations build on this file; the operators above look them up when called)
