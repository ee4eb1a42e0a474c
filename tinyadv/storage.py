"""Files written whole or not at all, and arrays kept in them with a fingerprint.

Arrays are stored as safetensors: plain data, so that reading a stranger's file runs none of their code. A SHA-256 of
the contents travels with them, and a damaged file is named instead of trusted.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
import platform
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

from .backend import Array

LONGEST = 1 << 25  # characters of JSON: ours have a few million, and what is parsed takes far more memory than text
DEEPEST = 50  # levels of nesting: ours have ten, and deeper ones break whatever walks through them later


class StorageError(RuntimeError):
    """A file is missing, damaged, or not what it was taken for."""


def write_atomically(path: str | os.PathLike[str], content: bytes | str) -> None:
    """Write `content` to `path` so that at every moment the file is the old one or the new one, whole."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path.parent, f".{glob.escape(path.name)}.*.part")
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.{_writer()}.", suffix=".part")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        with suppress(FileNotFoundError):  # Ctrl-C may come when it has its name already
            os.unlink(temporary)
        raise


@contextmanager
def temporary_folder(parent: Path | None = None, prefix: str = "tinyadv-") -> Iterator[Path]:
    """A folder for as long as the block runs; what cannot be removed in the end stays, and is no error.

    Python's own answers some of what may go wrong there, as a folder above that cannot be written any more, with a
    RecursionError.
    """
    folder = tempfile.mkdtemp(prefix=prefix, dir=parent)
    try:
        yield Path(folder)
    finally:
        remove_folder(folder)


def remove_folder(folder: str) -> None:
    """Remove a folder, however deep it is and whatever rights the folders in it have: what is in them moves up.

    What cannot be removed stays, and is no error.
    """

    def is_folder(entry: os.DirEntry[str]) -> bool:
        if there := entry.is_dir(follow_symlinks=False):
            os.chmod(entry.path, 0o700)
        return there

    names = count()
    with suppress(OSError):
        while entries := [*os.scandir(folder)]:
            for entry in entries:
                if not is_folder(entry):
                    os.unlink(entry.path)
                    continue
                for inner in [*os.scandir(entry.path)]:
                    is_folder(inner)
                    os.rename(inner.path, os.path.join(folder, f".{next(names)}"))
                os.rmdir(entry.path)
        os.rmdir(folder)


def remove_leftovers(folder: Path, pattern: str = "**/.*.part") -> None:
    """Remove, from `folder` and those below, the parts of files whose writers were killed; no one ever reads them.

    Only those of this machine's processes, and only where the system can tell whether a process is alive.
    """
    host, _, _ = _writer().partition("+")
    for path in folder.glob(pattern) if os.name == "posix" else ():
        part = re.fullmatch(rf"\..*\.{host}\+([0-9]+)\.[^.]*\.part", path.name, re.DOTALL)
        if part and not _alive(int(part[1])):
            path.unlink(missing_ok=True)


def _writer() -> str:
    """This process, as it stands in the name of a file that it is writing: HOST+PID."""
    return f"{re.sub('[^A-Za-z0-9-]', '-', platform.node())}+{os.getpid()}"


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass  # another user's; or no number of a process at all, and no reason to remove anything
    with suppress(OSError):  # a killed process is still listed until its parent asks after it
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    return True


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Wait until no other process holds `path`, hold it inside; the system lets go of it when a process dies.

    Where the system or the file system has no such locks, there is none.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "ab") as file:
        with suppress(ImportError, OSError):
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def save_arrays(path: str | os.PathLike[str], arrays: dict[str, Array], about: dict[str, Any]) -> None:
    """Write NumPy arrays and a JSON-like description to `path`, atomically."""
    from safetensors.numpy import save

    arrays = {name: a.copy(order="C") for name, a in arrays.items()}
    text = json.dumps(about, sort_keys=True)
    write_atomically(path, _in_order(save(arrays, {"about": text, "sha256": _fingerprint(arrays, text)})))


def _in_order(content: bytes) -> bytes:
    """A safetensors file with its header sorted, which its writer shuffles: equal arrays should make equal files."""
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8:start]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)  # what follows is aligned
    return len(header).to_bytes(8, "little") + header + content[start:]


def load_arrays(path: str | os.PathLike[str]) -> tuple[dict[str, Array], dict[str, Any]]:
    """The arrays and the description that `save_arrays` wrote to `path`.

    Raises
    ------
    StorageError
        If the file is missing, unreadable, not of this kind, or not what was written.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(os.fspath(path), framework="numpy") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            metadata = file.metadata() or {}
    except FileNotFoundError as error:
        raise StorageError(f"{path} does not exist") from error
    except (SafetensorError, OSError, ValueError, TypeError, AttributeError, MemoryError) as error:
        raise StorageError(f"{path} is not a readable safetensors file: {str(error)[:500]}") from error
    if not {"about", "sha256"} <= metadata.keys():
        raise StorageError(f"{path} is a safetensors file, but was not written by tinyadv")
    if _fingerprint(arrays, metadata["about"]) != metadata["sha256"]:
        raise StorageError(f"{path} is damaged: its contents do not match their SHA-256")
    return arrays, _described(metadata["about"], path)


def _described(text: str, path: object) -> dict[str, Any]:
    """The description as a table; a fingerprint that fits does not say that `save_arrays` made it."""
    try:
        about = parse_json(text)
    except ValueError as error:
        raise StorageError(f"{path} has a description that cannot be read: {error}") from error
    if not isinstance(about, dict):
        raise StorageError(f"{path} has a description that is a {type(about).__name__}, wanted a table")
    return about


def parse_json(text: str | bytes, **options: Any) -> Any:
    """What a JSON text says; options are those of `json.loads`.

    Raises
    ------
    ValueError
        If it is not JSON, or so long or so deeply nested that it cannot be meant well.
    """
    if len(text) > LONGEST:
        raise ValueError(f"{len(text):,} characters of JSON: wanted at most {LONGEST:,}")
    try:
        value = json.loads(text, **options)
    except RecursionError:
        value = None
    else:
        if _is_flat(value, DEEPEST):
            return value
    raise ValueError(f"JSON that is nested deeply: wanted at most {DEEPEST} levels")


def _is_flat(value: Any, levels: int) -> bool:
    if not isinstance(value, dict | list):
        return True
    entries = value.values() if isinstance(value, dict) else value
    return levels > 0 and all(_is_flat(entry, levels - 1) for entry in entries)


def _fingerprint(arrays: dict[str, Array], text: str) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        a = arrays[name]
        digest.update(f"{name}:{a.dtype}:{a.shape};".encode())
        digest.update(a.data)
    return digest.hexdigest()
