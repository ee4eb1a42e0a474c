"""Rebuild the MNIST files embedded in tinyadv: fetch the four canonical idx files, verify, compress, replace.

The one idea: mirrors and folders are not trusted. Gzip wrappers differ from mirror to mirror, so what is pinned
(in `tinyadv.datasets`) is the SHA-256 of the uncompressed content, and nothing is written before all four files
have passed. `--help` lists the options; README.md in this folder gives source and licence.
"""

from __future__ import annotations

import gzip
import io
import lzma
import os
import sys
import zlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from typing import Any

from download import Script, fetched

from tinyadv.datasets import MNIST_FILES, MNIST_FOLDER, DataError, IdxFile, check_idx, read_idx

MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "https://azureopendatastorage.blob.core.windows.net/mnist/",
    "http://yann.lecun.com/exdb/mnist/",  # the original; often closed to programs
)
# One literal-context bit more than usual and no position bits: pixels are bytes, not aligned words. The
# dictionary holds a whole file. No stronger check than CRC32 is needed: the content's SHA-256 is pinned.
XZ: dict[str, Any] = {
    "format": lzma.FORMAT_XZ,
    "check": lzma.CHECK_CRC32,
    "filters": [
        {
            "id": lzma.FILTER_LZMA2,
            "preset": 9 | lzma.PRESET_EXTREME,
            "dict_size": 48 << 20,
            "lc": 4,
            "lp": 0,
            "pb": 0,
        }
    ],
}


# --- one uncompressed, verified file: from a folder, or from the first mirror that has it ---------------------


def unpacked(data: bytes, file: IdxFile) -> bytes:
    """Return the verified content of an idx file that comes raw or gzipped (told by content, not by name).

    At most one byte more than expected is ever decompressed. Raises DataError for anything but `file`.
    """
    if data[:2] == b"\x1f\x8b":
        try:
            data = gzip.GzipFile(fileobj=io.BytesIO(data)).read(file.size + 1)
        except (OSError, EOFError, zlib.error) as error:
            raise DataError(f"a damaged gzip file: {error}") from None
    check_idx(data, file)
    return data


def limit(file: IdxFile) -> int:
    """Bytes worth reading: the raw file or a gzip that didn't shrink it, which is a little longer; no more."""
    return file.size + file.size // 100 + 1024


def from_folder(folder: Path, name: str, file: IdxFile) -> bytes:
    """Read `folder/name` or `folder/name.gz`, whichever is there, and verify it; DataError names the file."""
    path = next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)
    if path is None:
        raise DataError(f"{folder}: expected a file {name} or {name}.gz in it, found neither")
    try:
        with path.open("rb") as stream:
            return unpacked(stream.read(limit(file)), file)
    except (OSError, DataError) as error:
        raise DataError(f"{path}: expected the canonical MNIST file; found: {error}") from None


def from_mirrors(mirrors: Sequence[str], name: str, file: IdxFile, attempts: int = 3, pause: float = 1.0) -> bytes:
    """Download `name.gz` from the first of `mirrors` that serves the right content; DataError if none does."""
    urls = [f"{mirror.rstrip('/')}/{name}.gz" for mirror in mirrors]
    failure = (
        f"{name}: no mirror served the canonical file. Get the four files elsewhere and pass their folder: --from DIR."
    )
    return fetched(urls, limit(file), lambda data: unpacked(data, file), failure, attempts=attempts, pause=pause)


# --- all four files -------------------------------------------------------------------------------------------


def rebuild(fetch: Callable[[str, IdxFile], bytes], out: Path, files: Mapping[str, IdxFile] = MNIST_FILES) -> None:
    """Fetch all `files`, then compress all, then replace `out/NAME.xz`: a failure leaves `out` as it was."""
    for killed in out.glob(".rebuild-*"):  # a rebuild that was killed left it
        rmtree(killed)
    raw = {name: fetch(name, file) for name, file in files.items()}
    print("all files verified; compressing them takes about a minute", file=sys.stderr)
    with ThreadPoolExecutor(2) as pool:  # lzma releases the GIL
        packed = dict(zip(raw, pool.map(lambda data: lzma.compress(data, **XZ), raw.values()), strict=True))
    temporary = Path(mkdtemp(dir=out, prefix=".rebuild-"))
    try:
        for name, data in packed.items():
            (temporary / f"{name}.xz").write_bytes(data)
            read_idx(name, temporary, files[name])
        for name, data in packed.items():
            os.replace(temporary / f"{name}.xz", out / f"{name}.xz")
            print(f"{out / name}.xz: {len(raw[name]):,} -> {len(data):,} bytes")
    finally:  # by a TemporaryDirectory, where `out` can't be written any more, it ends in a RecursionError
        rmtree(temporary, ignore_errors=True)


def check(out: Path, files: Mapping[str, IdxFile] = MNIST_FILES) -> None:
    """Verify the embedded files in `out`; raises DataError at the first that isn't right."""
    for name, file in files.items():
        read_idx(name, out, file)
        print(f"{out / name}.xz: ok, content {file.sha256}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; returns the exit code: 0, or 2 after one line that says what is wrong."""
    return Script(
        "mnist.py",
        "Rebuild or verify the MNIST files embedded in tinyadv.",
        MNIST_FOLDER,
        check=check,
        from_servers=lambda mirrors, out: rebuild(partial(from_mirrors, mirrors or MIRRORS), out),
        from_path=lambda folder, out: rebuild(partial(from_folder, folder), out),
        path="a folder with the idx files, raw or .gz",
        mirror="download from here instead",
    ).run(argv)


if __name__ == "__main__":
    sys.exit(main())
