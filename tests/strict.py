"""A stand-in for CuPy where there is no GPU: an array library on NumPy that refuses what CuPy refuses.

Implicit conversion to NumPy, arithmetic with NumPy arrays, iteration, indexing by NumPy arrays, and functions of
NumPy called on it raise; reductions give 0-d arrays of this library, not scalars. Code that runs on it never leaves
the library of the array that it was given. `array_module` finds this module by the type's `__module__`.
"""

import operator

import numpy as np

uint8, uint16, uint32, uint64 = np.uint8, np.uint16, np.uint32, np.uint64
bool_, int32, int64 = np.bool_, np.int32, np.int64
float32, float64 = np.float32, np.float64
NUMBERS = (bool, int, float, np.generic)
looks = []  # an entry for each time that a program looked at numbers: it would have waited for a GPU


class ndarray:  # noqa: N801  (as CuPy names it)
    """`values`, a NumPy array, behind an interface as narrow as what tinyadv needs of CuPy."""

    __array_ufunc__ = None  # NumPy's operators ask this class; its functions raise
    __array_priority__ = 100

    def __init__(self, values):
        self._values = np.asarray(values)

    def __array__(self, *_, **__):
        raise TypeError("Implicit conversion to a NumPy array is not allowed. Please use `.get()`")

    def __array_function__(self, function, *_):
        raise TypeError(f"numpy.{function.__name__} got an array of strict")

    def __iter__(self):
        raise TypeError("iteration over an array of strict")

    def get(self):
        """A NumPy copy: the one way out."""
        looks.append(self.shape)
        return self._values.copy()

    shape = property(lambda a: a._values.shape)
    ndim = property(lambda a: a._values.ndim)
    size = property(lambda a: a._values.size)
    dtype = property(lambda a: a._values.dtype)
    flags = property(lambda a: a._values.flags)
    T = property(lambda a: ndarray(a._values.T))

    @property
    def base(self):
        """What owns the memory; for an owner too, unlike CuPy's None, since wrappers come and go."""
        return self._values if self._values.base is None else self._values.base

    def __repr__(self):
        return f"strict.{self._values!r}"

    def __getitem__(self, key):
        return ndarray(self._values[_key(key)])

    def __setitem__(self, key, value):
        self._values[_key(key)] = _inner(value)

    def item(self):
        """The one number: a way out too."""
        return self.get().item()

    __len__, __bool__ = (lambda a: len(a._values)), (lambda a: bool(a.get()))
    __int__, __float__ = (lambda a: int(a.get())), (lambda a: float(a.get()))


def _inner(value):
    """The NumPy array inside an array of this library; numbers as they are; all else refused."""
    if isinstance(value, ndarray):
        return value._values
    if isinstance(value, float) and np.min_scalar_type(value) == "float64":
        return np.float64(value)  # CuPy 13 turns float32 into float64 beside a float beyond 3.4e38, NumPy does not
    if isinstance(value, NUMBERS):
        return value
    raise TypeError(f"Unsupported type {type(value)}")


def _key(key):
    if isinstance(key, tuple):
        return tuple(map(_key, key))
    return key if key is None or key is Ellipsis or isinstance(key, (int, slice)) else _inner(key)


def _defers(value):
    """Whether `value` is a foreign class that wants its own operators asked, as CuPy's own test goes."""
    if isinstance(value, ndarray):
        return False
    if hasattr(value, "__array_ufunc__"):
        return value.__array_ufunc__ is None
    return getattr(value, "__array_priority__", 0) > ndarray.__array_priority__


def _operators():
    def binary(function, swapped):
        def method(a, b):
            if _defers(b):
                return NotImplemented
            return ndarray(function(_inner(b), a._values) if swapped else function(a._values, _inner(b)))

        return method

    def in_place(function):
        def method(a, b):
            if _defers(b):
                return NotImplemented
            function(a._values, _inner(b))
            return a

        return method

    for name in ("add", "sub", "mul", "truediv", "pow", "matmul", "and", "or", "xor", "rshift", "lshift"):
        function = getattr(operator, f"__{name}__")
        setattr(ndarray, f"__{name}__", binary(function, swapped=False))
        setattr(ndarray, f"__r{name}__", binary(function, swapped=True))
        setattr(ndarray, f"__i{name}__", in_place(getattr(operator, f"__i{name}__")))
    for name in ("lt", "le", "gt", "ge", "eq", "ne"):
        setattr(ndarray, f"__{name}__", binary(getattr(operator, name), swapped=False))
    for name in ("neg", "abs", "invert"):
        function = getattr(operator, name)
        setattr(ndarray, f"__{name}__", lambda a, function=function: ndarray(function(a._values)))
    ndarray.__hash__ = None


def _methods():
    def method(name):
        return lambda a, *args, **kwargs: ndarray(getattr(a._values, name)(*args, **kwargs))

    for name in ("sum", "mean", "std", "max", "min", "argmax", "any", "all", "cumsum"):
        setattr(ndarray, name, method(name))
    for name in ("reshape", "transpose", "astype", "view", "copy", "ravel"):
        setattr(ndarray, name, method(name))
    ndarray.clip = lambda a, low, high: ndarray(a._values.clip(_inner(low), _inner(high)))


def _functions():
    def elementwise(function):
        def call(*args, out=None):
            if out is None:
                return ndarray(function(*map(_inner, args)))
            function(*map(_inner, args), out=_inner(out))
            return out

        return call

    for name in (
        "exp",
        "expm1",
        "log",
        "log1p",
        "sqrt",
        "sign",
        "tanh",
        "cos",
        "sin",
        "logaddexp",
        "maximum",
        "minimum",
        "multiply",
        "where",
        "abs",
    ):
        globals()[name] = elementwise(getattr(np, name))

    def creation(function):
        return lambda *args, **kwargs: ndarray(function(*args, **kwargs))

    for name in ("zeros", "ones", "empty", "full", "eye", "arange"):
        globals()[name] = creation(getattr(np, name))

    def of_array(function):
        return lambda a, *args, **kwargs: ndarray(function(_inner(a), *args, **kwargs))

    for name in (
        "broadcast_to",
        "empty_like",
        "zeros_like",
        "ones_like",
        "ascontiguousarray",
        "argmax",
        "sum",
        "isfinite",
        "isnan",
        "count_nonzero",
        "flatnonzero",
    ):
        globals()[name] = of_array(getattr(np, name))


def asarray(values, dtype=None):
    """Explicit conversion: itself if it is of this library already, else a copy, as to a device."""
    if isinstance(values, ndarray):
        return values if dtype in (None, values.dtype) else values.astype(dtype)
    return ndarray(np.array(values, dtype=dtype))


def byte_bounds(a):
    """Where an array begins and ends in memory."""
    return np.lib.array_utils.byte_bounds(_inner(a))


def asnumpy(values):
    return values.get() if isinstance(values, ndarray) else np.asarray(values)


def concatenate(arrays, axis=0):
    return ndarray(np.concatenate([_inner(a) for a in arrays], axis))


def einsum(subscripts, *operands):
    return ndarray(np.einsum(subscripts, *map(_inner, operands)))


def array_equal(a, b):
    return ndarray(np.array_equal(_inner(a), _inner(b)))


finfo = np.finfo  # of a dtype, not of an array: CuPy hands out NumPy's too


_operators()
_methods()
_functions()
