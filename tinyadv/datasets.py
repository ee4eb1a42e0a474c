"""The data sets: MNIST, which travels inside the package, CIFAR-10, which `data_scripts/cifar10.py` fetches, and yours.

Everything in tinyadv takes arrays: x float32 `(N, D)`, pixels from 0 to 1, and labels y, integers `(N,)` from 0, or -1
and 1 of two classes. Where they come from does not matter; `idx` and `npz` read them from files.

The one idea: nothing is believed before it is checked. MNIST's and CIFAR-10's files must have the length and the
SHA-256 pinned below; anything else is one `DataError` that names the file, what was wanted, what was found and the
repair. Only `mnist`, `pair` and `cifar10` matter for the lessons; a hurried reader may skip the rest.
"""

from __future__ import annotations

import gzip
import lzma
import os
import sys
import threading
import zlib
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from functools import cache, cached_property
from hashlib import sha256
from math import prod
from pathlib import Path
from shlex import quote
from typing import Any, NamedTuple

from numpy import concatenate, divide, dtype, float32, frombuffer, full, int64, isfinite, load, ndarray, uint8
from numpy.typing import NDArray

from .machine import thread_pool
from .preprocessing import BIAS, SCALE, Whitening, fit_whitening
from .storage import StorageError, load_arrays, locked, save_arrays


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
    """Images `x`, float32 (N, D), in [0, 1] unless whitened, and their labels `y` (N,): int64, of `pair` float32."""

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
    with _loading:  # threads that ask at the same time wait; `cache` alone would let each of them load it
        return _mnist()


_loading = threading.Lock()


@cache
def _mnist() -> MNIST:
    with thread_pool(2) as pool:
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


# --- One's own files --------------------------------------------------------------------------------------------

IDX_TYPES = {8: "u1", 9: "i1", 11: ">i2", 12: ">i4", 13: ">f4", 14: ">f8"}  # by the third byte of a file


def idx(path: str | os.PathLike[str]) -> NDArray[Any]:
    """Read any file in LeCun's idx format, as MNIST and its relatives come: plain, or packed by gzip or xz.

    Returns
    -------
    array of the shape and type that the file states, in this machine's byte order

        x = datasets.idx("train-images-idx3-ubyte.gz").reshape(-1, 784).astype("float32") / 255
        y = datasets.idx("train-labels-idx1-ubyte.gz")

    Raises
    ------
    DataError
        If the file is missing, damaged, or none of this format; it says what was wanted and found.
    """
    try:
        with open(path, "rb") as plain:
            start = plain.read(6)
        opened: Any = lzma.open if start == b"\xfd7zXZ\0" else gzip.open if start[:2] == b"\x1f\x8b" else open
        with opened(path, "rb") as file:
            return _idx_content(file)
    except (OSError, EOFError, lzma.LZMAError, zlib.error, DataError, MemoryError, OverflowError) as error:
        found = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise DataError(f"{path}: wanted an idx file, plain or packed by gzip or xz; found: {found}") from None


def _idx_content(file: Any) -> NDArray[Any]:
    start = file.read(4)
    if len(start) < 4 or start[:2] != b"\0\0" or start[2] not in IDX_TYPES:
        raise DataError(f"a file that starts with {start.hex(' ') or 'nothing'}, wanted 00 00, a type, a rank")
    lengths = file.read(4 * start[3])
    if len(lengths) < 4 * start[3]:
        raise DataError(f"{len(lengths)} bytes of lengths, where the rank {start[3]} has {4 * start[3]}")
    shape = tuple(int.from_bytes(lengths[i : i + 4], "big") for i in range(0, len(lengths), 4))
    stored = dtype(IDX_TYPES[start[2]])
    size = prod(shape) * stored.itemsize
    content = file.read(size + 1)
    if len(content) != size:
        more = " or more" if len(content) > size else ""
        raise DataError(f"{len(content):,} bytes{more} of content, where the shape {str(shape)[:200]} has {size:,}")
    return frombuffer(content, stored).reshape(shape).astype(stored.newbyteorder("="))


def npz(path: str | os.PathLike[str]) -> Split:
    """Read images and labels of one's own: an .npz with arrays x `(N, D)` and y `(N,)`, as `numpy.savez` writes it.

    Returns
    -------
    Split
        `x` float32; bytes are divided by 255, so that they run from 0 to 1 as the pixels of `mnist` do. `y` int64.

    Raises
    ------
    DataError
        If the file is missing, damaged, or holds anything else; it says what was wanted and found.
    """
    wanted = "an .npz with x (N, D), finite floating point numbers or bytes, and y (N,), whole numbers"
    try:
        with load(path, allow_pickle=False) as file:
            x, y = file["x"], file["y"]
        if isinstance(x, bytes) or isinstance(y, bytes):
            raise ValueError("members that are no arrays")
    except FileNotFoundError:
        raise DataError(f"{path} does not exist; wanted {wanted}") from None
    except Exception as error:  # what a hostile file may raise has no end
        raise DataError(f"{path}: wanted {wanted}; found: {str(error)[:200] or type(error).__name__}") from None
    if x.ndim != 2 or not x.size or y.shape != x.shape[:1] or (x.dtype.kind != "f" and x.dtype != "u1"):
        raise DataError(f"{path}: wanted {wanted}; found {x.dtype} {x.shape} and {y.dtype} {y.shape}")
    if y.dtype.kind not in "iuf":
        raise DataError(f"{path}: wanted {wanted}; found a y of {y.dtype}: number the classes from 0")
    if x.dtype == "u1" and x.max() == 1:
        raise DataError(f"{path}: bytes are pixels from 0 to 255, found none above 1: wanted x.astype('float32')")
    numbers = isfinite(x).all() and isfinite(y).all()
    if not numbers or float(abs(x).max()) > 3e38 or not (y == y.astype(int64)).all():
        raise DataError(f"{path}: wanted {wanted}; found other numbers among them")
    return Split(x.astype(float32) / (255 if x.dtype == "u1" else 1), y.astype(int64))


# --- CIFAR-10 ---------------------------------------------------------------------------------------------------

CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
CIFAR10_RECORD = 1 + 3 * 32 * 32  # bytes an image takes in the authors' binary files: its label, then its pixels
CIFAR10_BATCHES = {  # the authors' files of 10,000 records each, and the SHA-256 of each
    "data_batch_1.bin": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
    "data_batch_2.bin": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
    "data_batch_3.bin": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
    "data_batch_4.bin": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
    "data_batch_5.bin": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
    "test_batch.bin": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
}


def data_folder() -> Path:
    """Where the data scripts put what they fetch: what TINYADV_DATA names, else .tinyadv in the user's home."""
    return Path(os.environ.get("TINYADV_DATA") or Path.home() / ".tinyadv")


class CIFAR10:
    """CIFAR-10's two parts, each made when it is first asked for.

    Attributes
    ----------
    train, test : Split
        The 50,000 training images and the 10,000 test images, in the authors' order. In each, `x` is float32
        (N, 3072): 1024 red values, row by row of the 32 by 32 image, then green and blue ones. They run from 0 to 1,
        exactly k/255 for the stored byte k, or are whitened. `y` is int64 (N,), numbers of `CIFAR10_CLASSES`. The
        arrays are read-only, because all callers share them.
    whitening : Whitening or None
        What whitened them, with the way back to pixels; None for raw pixels.
    """

    def __init__(self, records: NDArray[uint8], training: int, whitening: Whitening | None = None) -> None:
        self._records, self._training, self.whitening = records, training, whitening

    @cached_property
    def train(self) -> Split:
        return self._split(self._records[: self._training])

    @cached_property
    def test(self) -> Split:
        return self._split(self._records[self._training :])

    def _split(self, records: NDArray[uint8]) -> Split:
        x: Any = _pixels(records)
        if self.whitening:
            x = self.whitening(x)
        y = records[:, 0].astype(int64)
        x.flags.writeable = y.flags.writeable = False
        return Split(x, y)


def _pixels(records: NDArray[uint8]) -> NDArray[float32]:
    """The pixels of records, k/255."""
    x = records[:, 1:].astype(float32)
    x /= 255
    return x


def cifar10(whitened: bool = False) -> CIFAR10:
    """Load CIFAR-10, once per process: small photographs of ten kinds of animals and vehicles.

    Parameters
    ----------
    whitened : bool
        After global contrast normalisation to 55 and ZCA whitening with a bias of 0.1, fitted to the training images,
        as the convolutional maxout network sees them. The first call fits the whitening, in about a minute, and keeps
        it in the data folder.

    Raises
    ------
    DataError
        If the file isn't there, or isn't the one that `data_scripts/cifar10.py` makes; the message has the command.

    Notes
    -----
    Source: A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009; its authors state no licence.
    """
    with _loading:
        return _cifar10(data_folder() / "cifar10.bin", whitened)


@cache
def _cifar10(path: Path, whitened: bool) -> CIFAR10:
    data = CIFAR10(read_cifar10(path), training=50_000)
    if whitened:
        fingerprint = sha256("".join(CIFAR10_BATCHES.values()).encode()).hexdigest()
        data.whitening = _kept_whitening(data, path.with_name("cifar10-whitening.safetensors"), fingerprint)
    return data


def _kept_whitening(data: CIFAR10, path: Path, fingerprint: str) -> Whitening:
    """The whitening kept at `path` if it is that of these images, scale and bias; else it is fitted, and kept there.

    One process fits while others wait for it. In a folder that can't be written nothing is kept.
    """
    about = {"images": fingerprint, "scale": SCALE, "bias": BIAS}
    with ExitStack() as stack:
        with suppress(OSError):
            stack.enter_context(locked(path.with_suffix(".lock")))
        with suppress(StorageError):  # not there yet, or damaged: either way it is made again
            arrays, found = load_arrays(path)
            if found == about and arrays.keys() == {"m", "W"}:
                return Whitening(arrays["m"], arrays["W"], SCALE)
        print(f"fitting the whitening of CIFAR-10, about a minute; it will be kept at {path}", file=sys.stderr)
        whitening = fit_whitening(_pixels(data._records[: data._training]))
        with suppress(OSError):
            save_arrays(path, {"m": whitening.m, "W": whitening.W}, about)
    return whitening


def read_cifar10(path: Path, batches: Mapping[str, str] = CIFAR10_BATCHES, images: int = 10_000) -> NDArray[uint8]:
    """Read the file that `data_scripts/cifar10.py` makes: the authors' batches, one after another.

    Returns
    -------
    array (N, 3073), read-only: a record a row, the label first

    Raises
    ------
    DataError
        If the file is missing, of another length, or one of its batches has another SHA-256.
    """
    size = images * CIFAR10_RECORD
    wanted = f"the {len(batches)} batches of CIFAR-10, {size * len(batches):,} bytes"
    command = "To get it, run in tinyadv's source tree: python data_scripts/cifar10.py"
    try:
        with path.open("rb") as file:
            content = file.read(size * len(batches) + 1)
    except FileNotFoundError:
        raise DataError(f"{path} does not exist; wanted {wanted}. {command}") from None
    except OSError as error:
        raise DataError(f"{path}: wanted {wanted}; found: {error}. {command}") from None
    if len(content) != size * len(batches):
        raise DataError(f"{path}: wanted {wanted}; found {len(content):,}. {command}")
    parts = memoryview(content)
    with thread_pool(2) as pool:  # hashing releases the GIL
        digests = pool.map(lambda i: sha256(parts[i * size : (i + 1) * size]).hexdigest(), range(len(batches)))
        for (name, wanted_digest), digest in zip(batches.items(), digests, strict=True):
            if digest != wanted_digest:
                raise DataError(f"{path}: {name} has SHA-256 {digest}, wanted {wanted_digest}. {command}")
    return frombuffer(content, uint8).reshape(-1, CIFAR10_RECORD)
