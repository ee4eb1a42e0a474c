"""Rebuild the MNIST files embedded in tinyadv: fetch the four canonical idx files, verify, compress, replace.

The one idea: mirrors and folders are not trusted. Gzip wrappers differ from mirror to mirror, so what is pinned
(in `tinyadv.datasets`) is the SHA-256 of the uncompressed content, and nothing is written before all four files
have passed. `--help` lists the options; README.md in this folder gives source and licence.
"""

from __future__ import annotations

import argparse
import gzip
import io
import lzma
import os
import queue
import sys
import threading
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from shutil import rmtree
from tempfile import TemporaryFile, mkdtemp
from typing import Any, NoReturn

from tinyadv.datasets import MNIST_FILES, MNIST_FOLDER, DataError, IdxFile, check_idx, read_idx

MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
    "https://azureopendatastorage.blob.core.windows.net/mnist/",
    "http://yann.lecun.com/exdb/mnist/",  # the original; often closed to programs
)
SILENT = 30.0  # seconds in which a server has to send anything,
SLOW = 600.0  # and in which it has to send all of a file
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


class Bounded(io.BytesIO):
    """A buffer that refuses to grow beyond `most` bytes, whatever a server sends."""

    def __init__(self, most: int) -> None:
        super().__init__()
        self.most = most

    def write(self, data: Any) -> int:
        if self.tell() + len(data) > self.most:
            raise DataError(f"more than {self.most:,} bytes, too many for this file")
        return super().write(data)


class SlowError(DataError):
    """A server would take too long; it is not asked again."""


def as_sent(response: Any, **_: Any) -> None:
    """Have what a server sends not unpacked because it says so: a small answer could unpack to any size."""
    response.raw.headers.pop("Content-Encoding", None)


def downloaded(url: str, most: int) -> bytes:
    """What a server sends, as it is sent, within `SLOW` seconds.

    Raises DataError for more than `most` bytes, SlowError, ImportError if pooch isn't installed, and whatever a
    server's answer makes the libraries raise.
    """
    from pooch import HTTPDownloader

    progress = find_spec("tqdm") is not None
    download = HTTPDownloader(progress, chunk_size=1 << 16, timeout=SILENT, hooks={"response": as_sent})
    answers: queue.SimpleQueue[bytes | BaseException] = queue.SimpleQueue()

    def work() -> None:
        buffer = Bounded(most)
        try:
            download(url, buffer, None)
            answers.put(buffer.getvalue())
        except BaseException as error:
            answers.put(error)

    # a thread of its own: one byte now and then never times out
    threading.Thread(target=work, daemon=True).start()
    try:
        answer = answers.get(timeout=SLOW)
    except queue.Empty:
        raise SlowError(f"not all of it within {SLOW:g} seconds") from None
    if isinstance(answer, BaseException):
        raise answer
    return answer


def from_mirrors(mirrors: Sequence[str], name: str, file: IdxFile, attempts: int = 3, pause: float = 1.0) -> bytes:
    """Download `name.gz` from the first of `mirrors` that serves the right content.

    Each mirror gets `attempts` tries, `pause`, 2 `pause`, ... seconds apart; one that answers HTTP 4xx, or
    is too slow, gets only one. Raises DataError, with the last reason of every mirror, if none serves it or if
    pooch isn't installed.
    """
    reasons = []
    for mirror in mirrors:
        url = f"{mirror.rstrip('/')}/{name}.gz"
        for attempt in range(1, attempts + 1):
            print(f"downloading {url}", file=sys.stderr)
            try:
                return unpacked(downloaded(url, limit(file)), file)
            except ImportError:
                message = "downloading needs pooch: pip install pooch, or pass a local folder: --from DIR"
                raise DataError(message) from None
            except Exception as error:  # of several libraries, and no server's answer may end the search
                reason = "no connection" if "Max retries exceeded" in str(error) else str(error)[:500]
                refused = 400 <= getattr(getattr(error, "response", None), "status_code", 0) < 500
                refused = refused or isinstance(error, SlowError)
            print(f"  {reason}", file=sys.stderr)
            if refused or attempt == attempts:
                break
            time.sleep(pause * 2 ** (attempt - 1))
        reasons.append(f"{url}: {reason}")
    raise DataError(
        f"{name}: no mirror served the canonical file. Get the four files elsewhere and pass their folder: "
        f"--from DIR. Found: {'; '.join(reasons)}"
    )


# --- all four files -------------------------------------------------------------------------------------------


def rebuild(fetch: Callable[[str, IdxFile], bytes], out: Path, files: Mapping[str, IdxFile] = MNIST_FILES) -> None:
    """Fetch all `files`, then compress all, then replace `out/NAME.xz`: a failure leaves `out` as it was."""
    out.mkdir(parents=True, exist_ok=True)
    TemporaryFile(dir=out).close()  # not writable? Say so now, not after a minute's work
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


class OneLineParser(argparse.ArgumentParser):
    """argparse without the usage lines before an error."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see --help)\n")


def parsed(argv: Sequence[str] | None) -> argparse.Namespace:
    """What was typed; where it makes no sense, one line and SystemExit(2)."""
    parser = OneLineParser(prog="mnist.py", description="Rebuild or verify the MNIST files embedded in tinyadv.")
    source = parser.add_mutually_exclusive_group()
    source.add_argument(
        "--from", dest="folder", type=Path, metavar="DIR", help="a folder with the idx files, raw or .gz"
    )
    source.add_argument("--mirror", action="append", metavar="URL", help="download from here instead (repeatable)")
    source.add_argument("--check", action="store_true", help="only verify the files in --out")
    parser.add_argument("--out", type=Path, default=MNIST_FOLDER, metavar="DIR", help="default: %(default)s")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; returns the exit code: 0, or 2 after one line that says what is wrong."""
    try:
        options = parsed(argv)
        if options.check:
            check(options.out)
        elif options.folder is not None:
            rebuild(partial(from_folder, options.folder), options.out)
        else:
            rebuild(partial(from_mirrors, options.mirror or MIRRORS), options.out)
    except DataError as error:
        message = " ".join(str(error).split())
    except OSError as error:  # reading has its own errors, so this is writing
        message = f"--out: wanted a folder that can be written, received {options.out}: {error.strerror}"
    except KeyboardInterrupt:
        message = "interrupted"
    else:
        return 0
    print(f"mnist.py: {message}", file=sys.stderr)
    return 130 if message == "interrupted" else 2


if __name__ == "__main__":
    sys.exit(main())
