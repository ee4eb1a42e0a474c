"""MNIST, embedded: the 70,000 images travel inside the package, so every lesson runs offline.

The one idea: nothing is believed before it is checked. Each file must have the header, the length and the
SHA-256 pinned below; anything else is one `DataError` that names the file, what was wanted, what was found and
the repair. Only `mnist` and `pair` matter for the lessons; a hurried reader may skip the rest.
"""

from __future__ import annotations

import lzma
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from hashlib import sha256
from math import prod
from pathlib import Path
from shlex import quote
from typing import Any, NamedTuple

from numpy import concatenate, divide, float32, frombuffer, full, int64, ndarray, uint8
from numpy.typing import NDArray


class DataError(RuntimeError):
    """A data file is missing, damaged, or not the file it should be; the message says how to repair it."""


class IdxFile(NamedTuple):
    """What a file in LeCun's idx format must hold: unsigned bytes of `shape`; `sha256` is of the whole file."""

    shape: tuple[int, ...]
    sha256: str

    @property
    def header(self) -> bytes:
        """Two zeros, the type (8: unsigned bytes), the rank, then each axis' length in 4 bytes, big-endian."""
        return bytes([0, 0, 8, len(self.shape)]) + b"".join(n.to_bytes(4, "big") for n in self.shape)

    @property
    def size(self) -> int:
        """Length of the whole file in bytes."""
        return len(self.header) + prod(self.shape)


MNIST_FOLDER = Path(__file__).parent / "data" / "mnist"
MNIST_FILES = {
    "train-images-idx3-ubyte": IdxFile(
        (60_000, 28, 28), "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db"
    ),
    "train-labels-idx1-ubyte": IdxFile((60_000,), "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5"),
    "t10k-images-idx3-ubyte": IdxFile(
        (10_000, 28, 28), "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7"
    ),
    "t10k-labels-idx1-ubyte": IdxFile((10_000,), "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2"),
}


class Split(NamedTuple):
    """Images `x`, float32 (N, 784) in [0, 1], and their labels `y` (N,): int64, or from `pair` float32."""

    x: NDArray[float32]
    y: NDArray[Any]


class MNIST(NamedTuple):
    """The three parts of MNIST: `train, validation, test = mnist()`."""

    train: Split
    validation: Split
    test: Split

    @property
    def full_train(self) -> Split:
        """`train` followed by `validation`: of `mnist()`, all 60,000 training images, without a copy."""
        return Split(*map(_rejoin, self.train, self.validation))


def _rejoin(a: NDArray[Any], b: NDArray[Any]) -> NDArray[Any]:
    """Return `a` followed by `b`: the array that was cut into these two, if there is one, else a new one."""
    whole = a.base
    if isinstance(whole, ndarray) and whole.shape[:1] == (len(a) + len(b),):
        halves = (whole[: len(a)], whole[len(a) :])
        if all(half.__array_interface__ == c.__array_interface__ for half, c in zip(halves, (a, b), strict=True)):
            return whole  # same address, shape, strides and type
    return concatenate([a, b])


@cache
def mnist() -> MNIST:
    """Load the MNIST handwritten digits, once per process.

    Returns
    -------
    MNIST
        `train` (the first 50,000 training images), `validation` (the last 10,000), `test` (10,000), and
        `full_train` (all 60,000). In each, `x` is float32 (N, 784), 28 rows of 28 pixels from 0 (background)
        to 1 (ink), exactly k/255 for the stored byte k; `y` is int64 (N,), the digits. The arrays are
        read-only, because all callers share them: `.copy()` what you mean to change.

    Raises
    ------
    DataError
        If an embedded file is missing, damaged, or not the canonical one.

    Notes
    -----
    Source: Y. LeCun, C. Cortes, C. J. C. Burges, The MNIST database of handwritten digits; usually given as
    CC BY-SA 3.0. The last 10,000 training images are the validation set of the maxout papers.
    """
    with ThreadPoolExecutor(2) as pool:
        # Decompression and hashing release the GIL. Meanwhile this thread lays out the result, because the
        # first touch of 220 MB of fresh memory can take almost as long as they do.
        stored = {name: pool.submit(read_idx, name, MNIST_FOLDER, file) for name, file in MNIST_FILES.items()}
        sizes = {"train": 60_000, "t10k": 10_000}
        pixels = {part: full((n, 784), 255, dtype=float32) for part, n in sizes.items()}
    parts = []
    for part, x in pixels.items():
        # x = k / 255
        divide(stored[f"{part}-images-idx3-ubyte"].result().reshape(x.shape), x, out=x)
        y = stored[f"{part}-labels-idx1-ubyte"].result().astype(int64)
        x.flags.writeable = y.flags.writeable = False
        parts.append(Split(x, y))
    (x, y), test = parts
    return MNIST(Split(x[:50_000], y[:50_000]), Split(x[50_000:], y[50_000:]), test)


def pair(split: Split, positive: int, negative: int) -> Split:
    """Keep two classes of `split`: the two-class problem of the paper's section 5, there 3 versus 7.

    Returns
    -------
    Split
        New arrays in the order of `split`: `x` (M, D), and `y` float32 (M,), +1 where the label was
        `positive` and -1 where it was `negative`.

    Raises
    ------
    ValueError
        If the two labels are equal, or one of them doesn't occur in `split`.
    """
    if positive == negative:
        raise ValueError(f"pair: wanted two different labels, received {positive!r} twice")
    for label in (positive, negative):
        if not (split.y == label).any():
            raise ValueError(f"pair: wanted labels that occur in the split, received {label!r}, which does not")
    kept = (split.y == positive) | (split.y == negative)
    return Split(split.x[kept], (2 * (split.y[kept] == positive) - 1).astype(float32))


def read_idx(name: str, folder: Path, file: IdxFile) -> NDArray[uint8]:
    """Read `folder/name.xz`: its content as a read-only array of shape `file.shape`.

    Raises
    ------
    DataError
        If the file is missing, damaged, or anything but `file`; the message ends with the repair.
    """
    path = folder / f"{name}.xz"
    try:
        with lzma.open(path) as stream:
            raw = stream.read(file.size + 1)  # one byte more than wanted unmasks any longer file
        return check_idx(raw, file)
    except (OSError, EOFError, lzma.LZMAError, DataError, MemoryError) as error:
        raise DataError(
            f"{path}: wanted an xz-compressed idx file of shape {file.shape}; "
            f"found: {str(error) or type(error).__name__}. "
            "To repair it, reinstall tinyadv, or in its source tree run: "
            f"python data_scripts/mnist.py --out {quote(str(folder))}"
        ) from None


def check_idx(raw: bytes, file: IdxFile) -> NDArray[uint8]:
    """Return the elements of an uncompressed idx file, once `raw` has proved to be `file`.

    Raises
    ------
    DataError
        At the first difference: the header, the length, or the SHA-256. It says what was wanted and found.
    """
    if (header := raw[: len(file.header)]) != file.header:
        raise DataError(f"a header of {header.hex(' ') or 'no bytes'}, wanted {file.header.hex(' ')}")
    if len(raw) != file.size:
        more = " or more" if len(raw) > file.size else ""
        raise DataError(f"{len(raw):,} bytes{more}, wanted {file.size:,}")
    if (digest := sha256(raw).hexdigest()) != file.sha256:
        raise DataError(f"content with SHA-256 {digest}, wanted {file.sha256}")
    return frombuffer(raw, uint8)[len(file.header) :].reshape(file.shape)
