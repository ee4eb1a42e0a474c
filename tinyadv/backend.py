"""Arrays: which library one belongs to, moving it between CPU and GPU, and random numbers.

The one idea: nobody sets a backend, the array itself is asked. `array_module(x)` is `numpy` for a NumPy
array and `cupy` for a CuPy array, so the same line of code runs on both, even side by side in one process.
Outside of `bench` this is the package's only file that imports numpy at large, and the only one that ever imports cupy.
"""

from __future__ import annotations

import ctypes
import sys
import zlib
from collections.abc import Callable, Iterator
from functools import cache
from itertools import pairwise
from operator import index
from types import ModuleType
from typing import Any, TypeAlias, TypeVar

import numpy as np

from .array_type import Array as Array

Generator: TypeAlias = np.random.Generator
ufunc = np.ufunc  # np.exp, for one: what its name says all about
T = TypeVar("T")


def _keep_freed_memory() -> None:
    """Have glibc keep the memory of large temporaries instead of giving each back to the system at once.

    Given back, it is mapped and zeroed anew for the next temporary, which costs a third of a training step, and of the
    published network of CIFAR-10 half of one. Elsewhere than on glibc nothing happens.
    """
    M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    if mallopt(M_MMAP_THRESHOLD, 1 << 30) or mallopt(M_MMAP_THRESHOLD, 1 << 25):  # older ones take at most 32 MiB
        mallopt(M_TRIM_THRESHOLD, (1 << 31) - 1)  # more than a step of CIFAR-10's network frees: it takes 1.5 GiB


_keep_freed_memory()


class DeviceError(RuntimeError):
    """A device was asked for that this machine or this installation does not have."""


def array_module(x: Array) -> ModuleType:
    """The library that `x` belongs to: `numpy`, or the module that defines the type of `x` (`cupy`).

    Python numbers belong to NumPy. Nothing is imported: an array of a library can only exist once that
    library has been imported.
    """
    if isinstance(x, (np.ndarray, np.generic, int, float)):
        return np
    return sys.modules[type(x).__module__.partition(".")[0]]


def once_a_type(function: Callable[[type], T]) -> Callable[[type], T]:
    """`function` of types, each result kept: for what is asked again and again in every step of a training."""
    return cache(function)


def is_array(x: Any) -> bool:
    """Whether `x` is a NumPy or a CuPy array; what merely looks like one, as a column of pandas does, is none."""
    return is_array_type(type(x))


@once_a_type
def is_listing(kind: type) -> bool:
    """Whether objects of a type hold numbers and are no arrays: lists, and columns of pandas, which go by labels."""
    is_table = hasattr(kind, "__array__") and hasattr(kind, "__iter__") and not is_array_type(kind)
    return issubclass(kind, (list, tuple)) or is_table


@once_a_type
def is_array_type(kind: type) -> bool:
    """Whether objects of a type are arrays: whether it is the `ndarray` of its library."""
    library = sys.modules.get(kind.__module__.partition(".")[0])
    array = getattr(library, "ndarray", np.ndarray)
    return issubclass(kind, np.ndarray) or (isinstance(array, type) and issubclass(kind, array))


def as_array(x: Any) -> Array:
    """`x` itself if it is an array of any library, else a NumPy array of it: of numbers, of lists, of pandas."""
    return x if is_array_type(type(x)) else np.asarray(x)


def conversion(x: Array, dtype: Any = "float32") -> str:
    """What makes of x what networks take, as an error says it: whole numbers may be pixels of 0 to 255."""
    divided = ", divided by 255 if they are pixels of 0 to 255" if x.dtype.kind in "iu" else ""
    return f".astype('{dtype}'){divided}"


def as_floats(x: Any) -> Array:
    """`as_array(x)`, or TypeError unless it holds floating point numbers: nothing else has gradients."""
    a = as_array(x)
    if a.dtype.kind == "f" and a.dtype.isnative:
        return a
    raise TypeError(f"a Tensor wants native floating point numbers, got {a.dtype}: try {conversion(a)}")


def sharing_memory(arrays: dict[str, Array]) -> tuple[str, str] | None:
    """Names of two arrays whose memory overlaps, from the first byte to the last; None if no two do.

    Two columns of one array count too, although they share no entry.
    """
    ends = sorted((*_byte_bounds(a), name) for name, a in arrays.items() if a.size)
    for (_, end, name), (start, _, other) in pairwise(ends):
        if start < end:
            return name, other
    return None


def _byte_bounds(a: Array) -> tuple[int, int]:
    """Where an array begins and ends in memory; addresses on a GPU are others than all on the CPU."""
    library: ModuleType = np.lib.array_utils if array_module(a) is np else array_module(a)
    start, end = library.byte_bounds(a)
    return start, end


def full_like(x: Array, values: Any) -> Array:
    """`values` (an array of the library of `x`, or a number) with the dtype of `x`; a Python number fills its shape."""
    xp = array_module(x)
    if isinstance(values, (int, float)):
        return xp.full(x.shape, values, dtype=x.dtype)
    return xp.asarray(values, dtype=x.dtype)


def to_device(x: Array, device: str) -> Any:
    """`x` on `device`, "cpu" or "cuda"; the same object if it is there already.

    On a GPU CuPy takes float32 numbers below 1.2e-38 for 0, which NumPy does not: the gradient of a very sure network
    may be 0 there alone.

    Raises
    ------
    ValueError
        If `device` is neither "cpu" nor "cuda".
    DeviceError
        If `device` is "cuda" and CuPy is not installed, or finds no GPU.
    """
    if device == "cpu":
        return x if array_module(x) is np else x.get()  # type: ignore[attr-defined]  # CuPy's
    return _cupy(device).asarray(x)


def check_device(device: str) -> None:
    """Raise what `to_device` would raise for `device`, before any work is done; DeviceError too if it can't compute."""
    if device == "cpu":
        return
    cupy = _cupy(device)
    try:
        a = cupy.asarray([1.0, 2.0])
        float((a * a) @ a)
    except Exception as error:  # a library is missing, or does not know this GPU: each has errors of its own
        raise DeviceError(
            "device 'cuda' has a GPU, but CuPy cannot compute on it: besides the driver it needs CUDA's libraries, "
            f"which CuPy 14 brings with 'tinyadv[cuda12]' or 'tinyadv[cuda13]'; CuPy reports: {error}"
        ) from error


def gpus() -> str:
    """CuPy's version, CUDA's, and the GPUs' names, in words; DeviceError as of `check_device("cuda")`."""
    check_device("cuda")
    cupy = _cupy("cuda")
    runtime = cupy.cuda.runtime
    names = [runtime.getDeviceProperties(i)["name"].decode() for i in range(runtime.getDeviceCount())]
    return f"CuPy {cupy.__version__}, CUDA {runtime.runtimeGetVersion()}: {', '.join(names)}"


def _cupy(device: str) -> ModuleType:
    if device != "cuda":
        raise ValueError(f"unknown device {device!r}: wanted 'cpu' or 'cuda'")
    try:
        import cupy
    except ImportError as error:
        raise DeviceError(
            "device 'cuda' needs CuPy, which is not installed: pip install 'tinyadv[cuda12]' or 'tinyadv[cuda13]'"
        ) from error
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise DeviceError(f"device 'cuda' needs an NVIDIA GPU and its driver; CuPy reports: {error}") from error
    if count == 0:
        raise DeviceError("device 'cuda' needs an NVIDIA GPU; CuPy finds none")
    module: ModuleType = cupy
    return module


def zeros(shape: int | tuple[int, ...]) -> Array:
    """float32 zeros, on the CPU."""
    return np.zeros(shape, dtype=np.float32)


def stacked_identity(n: int, D: int) -> Array:
    """n identity matrices, float32 `(n, D, D)`, on the CPU."""
    return np.repeat(np.eye(D, dtype=np.float32)[None], n, axis=0)


def one_hot(y: Array, x: Array) -> Array:
    """Integer labels `(N,)` as targets `(N, K)` of the library and dtype of x `(N, K)`: 1 at the label, else 0."""
    xp = array_module(x)
    return (xp.arange(x.shape[1])[:, None] == xp.asarray(y)).astype(x.dtype).T


def in_blocks(*arrays: Array, size: int = 1 << 15) -> Iterator[tuple[Array, ...]]:
    """Arrays of one shape, some rows `(..., D)` at a time, as views: work on them stays in the processor's cache.

    On a GPU blocks would be many launches for nothing: there the arrays come whole.
    """
    first = arrays[0]
    if array_module(first) is not np or first.size <= size or not all(a.flags.c_contiguous for a in arrays):
        yield arrays
        return
    rows = [a.reshape(-1, a.shape[-1]) for a in arrays]
    n = max(1, size // first.shape[-1])
    for i in range(0, len(rows[0]), n):
        yield tuple(a[i : i + n] for a in rows)


def slices(like: Array, n: int, each: int, size: int = 1 << 18) -> Iterator[slice]:
    """0 to n in slices of work of `size` entries, if one is `each` entries of work; on a GPU all at once."""
    step = max(1, size // each) if array_module(like) is np else n
    for start in range(0, n, step):
        yield slice(start, min(start + step, n))


def sums(a: list[Array], b: list[Array]) -> list[Array]:
    """a_i + b_i for every i, made in the memory of the a_i, which are used up; copied first where they share it."""
    owners = [x if x.base is None else x.base for x in (*a, *b)]
    if len({id(owner) for owner in owners}) < len(owners):
        a = [x.copy() for x in a]
    for i, x in enumerate(b):
        a[i] += x  # assigned: a gradient without axes may be a NumPy scalar, which += cannot change
    return a


def on_gpu(x: Array) -> bool:
    """Whether `x` is on a GPU: there it is quicker to compute what may not be needed than to wait for an answer."""
    return array_module(x) is not np


def unit_norms(W: Array, axes: tuple[int, ...] | None = None) -> Array:
    """The L2 norms of the rows of W `(..., D)`, or of what lies along `axes`, which stay, at length 1.

    On the CPU without a temporary of the size of W. On a GPU as float64, in which no square of a float32 overflows;
    CuPy's einsum would be thousands of products of two vectors.
    """
    if on_gpu(W):
        wide = W.astype("float64")
        return array_module(W).sqrt((wide * wide).sum(axis=-1 if axes is None else axes, keepdims=True))
    if axes is None:
        return np.sqrt(np.vecdot(W, W))[..., None]
    letters = "abcdefgh"[: W.ndim]
    kept = "".join(letter for i, letter in enumerate(letters) if i not in axes)
    squares = np.einsum(f"{letters},{letters}->{kept}", W, W)
    return squares.reshape([1 if i in axes else n for i, n in enumerate(W.shape)]) ** 0.5


# ---------------------------------------------------------------------------------------------------------
# Random numbers: always from an explicit generator


def generator(seed: int, stream: str = "") -> Generator:
    """A random generator for one consumer ("weights", "masks", "order", ...) under one seed.

    Every stream has its own sequence of numbers, so that adding a consumer does not move the others. One seed always
    gives the same numbers; what is computed from them can differ in its last digits with the number of threads that
    multiply matrices: see `machine.blas_threads`. TypeError for a seed that is no whole number, ValueError for one
    below 0.
    """
    sequence = np.random.SeedSequence(index(seed), spawn_key=(zlib.crc32(stream.encode()),))
    return np.random.Generator(np.random.SFC64(sequence))


def check_generator(rng: Generator) -> Generator:
    """`rng`, or TypeError if it is no generator: a seed, say, or NumPy's old RandomState."""
    if isinstance(rng, (np.random.RandomState, ModuleType)) or not hasattr(rng, "standard_normal"):
        raise TypeError(f"rng is a generator, such as tinyadv.backend.generator(0); got {type(rng).__name__} {rng!r}")
    return rng


def uniform(rng: Generator, shape: tuple[int, ...], scale: float) -> Array:
    """Initial weights: float32, shape `shape`, from U(-scale, scale)."""
    values = check_generator(rng).random(shape, dtype=np.float32)
    values *= 2.0  # in place: a network that is loaded needs no more memory than it and its file
    values -= 1.0
    values *= scale
    return values


def sparse_normal(rng: Generator, shape: tuple[int, int], entries: int) -> Array:
    """Initial weights: float32, shape `(units, inputs)`, `entries` of each row from N(0, 1), the others 0."""
    entries, rng = min(entries, shape[1]), check_generator(rng)
    chosen = rng.random(shape, dtype=np.float32).argpartition(entries - 1, axis=1)[:, :entries]
    values = np.zeros(shape, dtype=np.float32)  # only now: a file's `rng` refuses shapes that are too large
    np.put_along_axis(values, chosen, rng.standard_normal(chosen.shape, dtype=np.float32), axis=1)
    return values


def bernoulli(rng: Generator, p: Array) -> Array:
    """1 with probability p and 0 otherwise, entry by entry: like p `(...)`, whose entries are in [0, 1]."""
    xp, rng = array_module(p), check_generator(rng)
    return (xp.asarray(rng.random(p.shape, dtype=np.float32)) < p).astype(p.dtype)


def noise(rng: Generator, x: Array, eps: float) -> Array:
    """U(-eps, eps) noise of the shape, dtype and library of `x`."""
    values = (check_generator(rng).random(x.shape, dtype=np.float32) * 2.0 - 1.0) * eps
    return array_module(x).asarray(values, dtype=x.dtype)


def keep_mask(rng: Generator, x: Array, keep: float, scale: float) -> Array:
    """A mask for dropout, of the shape, dtype and library of `x`, and of its memory order if it is contiguous.

    Each entry is `scale` with probability `keep` (to the nearest 1/65536) and 0 otherwise, independently.
    The bits come from `rng`; on a GPU `rng` gives one seed and the bits are made there.
    """
    xp, rng = array_module(x), check_generator(rng)
    mask = xp.empty_like(x)
    in_order = mask.flags.c_contiguous or mask.flags.f_contiguous
    if not in_order:  # as of images made of rows: its flat view would be a copy
        mask = xp.empty(x.shape, dtype=x.dtype)
    words = -(-x.size // 4)  # four 16-bit draws from each 64-bit word
    bits = (_random_words(rng, words) if xp is np else _counter_words(rng, words, xp)).view(xp.uint16)
    flat = mask.T.reshape(-1) if mask.flags.f_contiguous else mask.reshape(-1)  # a view, in memory order
    xp.multiply(bits[: x.size] < round(keep * 65536), x.dtype.type(scale), out=flat)
    return mask


def _random_words(rng: Generator, n: int) -> Array:
    return rng.integers(0, 2**64 - 1, size=n, dtype=np.uint64, endpoint=True)


def _counter_words(rng: Generator, n: int, xp: ModuleType) -> Array:
    """`n` random 64-bit words computed where the array lives: SplitMix64 of a counter and one seed.

    Steele, Lea, Flood (2014), "Fast splittable pseudorandom number generators".
    """
    seed = rng.integers(0, 2**64 - 1, dtype=np.uint64, endpoint=True)
    z = xp.arange(1, n + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15) + seed
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        z = (z ^ (z >> np.uint64(shift))) * np.uint64(factor)
    return z ^ (z >> np.uint64(31))
