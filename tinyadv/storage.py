"""Files written whole or not at all, and arrays kept in them with a fingerprint.

Arrays are stored as safetensors: plain data, so that reading a stranger's file runs none of their code. A SHA-256 of
the contents travels with them, and a damaged file is named instead of trusted.
"""

from __future__ import annotations

import errno
import glob
import hashlib
import json
import os
import platform
import re
import secrets
import stat
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any

from .backend import Array

LONGEST = 1 << 25  # characters of JSON: ours have a few million, and what is parsed takes far more memory than text
DEEPEST = 50  # levels of nesting: ours have ten, and deeper ones break whatever walks through them later
WINDOWS = os.name == "nt"
HELD = 2.0  # seconds for which another program may keep a file from us in Windows
ABANDONED = 24 * 3600.0  # seconds after which a file that is still being written there is nobody's
JUNCTION = 0xA0000003  # how Windows marks a folder that is a way to another one


class StorageError(RuntimeError):
    """A file is missing, damaged, or not what it was taken for."""


def write_atomically(path: str | os.PathLike[str], content: bytes | str) -> None:
    """Write `content` to `path` so that at every moment the file is the old one or the new one, whole.

    A link is followed. A file that is replaced hands down its mode and owner; a new one has the mode that the umask
    leaves. A device or a pipe cannot be replaced: it is written to. `-` and `/dev/stdout` are standard output.

    Raises
    ------
    OSError
        If the file cannot be written; the error names `path`.
    """
    data = content.encode() if isinstance(content, str) else content
    with naming(path):
        number = descriptor(path)
        if number is not None:
            _write_through(number, data)
            return
        try:
            there = os.stat(path)
        except FileNotFoundError:
            there = None  # also where a link leads nowhere yet
        if there is None or stat.S_ISREG(there.st_mode) or stat.S_ISDIR(there.st_mode):
            _replace(Path(os.path.realpath(path)), data, there)
        else:
            with open(path, "wb") as file:
                file.write(data)


def _replace(path: Path, data: bytes, there: os.stat_result | None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if there is not None and not os.access(path, os.W_OK) and os.path.exists(path):  # nor removed by another process
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))  # Windows says so itself
    remove_leftovers(path.parent, f".{glob.escape(path.name)}.*.part")
    temporary = path.with_name(f".{path.name}.{_writer()}.{secrets.token_hex(4)}.part")
    mode = 0o666 if there is None else 0o600  # what the old file's mode keeps from others is kept from them throughout
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), mode)
    try:
        with open(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if there is not None:
            with suppress(AttributeError, PermissionError):  # Windows has no owners; only root gives files away
                os.chown(temporary, there.st_uid, there.st_gid)
            os.chmod(temporary, stat.S_IMODE(there.st_mode))
        patiently(os.replace, temporary, path)
    except BaseException:
        with suppress(OSError):  # Ctrl-C may come when it has its name already; a scanner may hold it
            os.unlink(temporary)
        raise


def patiently(change: Callable[..., object], *args: object) -> None:
    """Replace, move or remove a file; in Windows try again while it is refused, for at most HELD seconds.

    There a file that any program has open stays where it is, and a virus scanner opens every new file for a moment.
    """
    until = time.monotonic() + (HELD if WINDOWS else 0.0)
    while True:
        try:
            change(*args)
            return
        except PermissionError:
            if time.monotonic() >= until:
                raise
            time.sleep(0.02)


STANDARD_OUTPUT = 1
_DESCRIPTORS = {"-": 1, "/dev/stdout": 1, "/dev/stderr": 2}


def descriptor(path: str | os.PathLike[str]) -> int | None:
    """The file descriptor that a path means: 1 for `-` and `/dev/stdout`, N for `/dev/fd/N`; None for a file's path.

    Where it is open on a file, replacing that file would take it away from whoever opened it.
    """
    path = os.fspath(path)
    for _ in range(40):  # a link to a link; the system does not follow more of them either
        if path == "-" or (path in _DESCRIPTORS and os.path.lexists(path)):
            return _DESCRIPTORS[path]
        if found := re.fullmatch(rf"(?:/dev|/proc/(?:self|thread-self|{os.getpid()}))/fd/([0-9]+)", path):
            return None if WINDOWS else int(found[1])
        if not os.path.islink(path):
            break
        path = os.path.join(os.path.dirname(path), os.readlink(path))
    return None


def _write_through(number: int, data: bytes) -> None:
    """Write bytes to an open descriptor; to standard output in turn with what is printed."""
    if number == STANDARD_OUTPUT and sys.stdout is not None:
        sys.stdout.flush()
        buffer = getattr(sys.stdout, "buffer", None)  # UTF-8 there too, whatever a terminal's encoding is
        if buffer is None:  # in a notebook
            sys.stdout.write(data.decode(errors="replace"))
        else:
            buffer.write(data)
        sys.stdout.flush()
        return
    with open(os.dup(number), "wb") as file:
        file.write(data)


@contextmanager
def naming(path: str | os.PathLike[str]) -> Iterator[None]:
    """An OSError that is raised inside names `path`: that of a full disk has no name, others a temporary file's."""
    try:
        yield
    except OSError as error:
        if error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, os.fspath(path)) from error


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


def fill_folder(folder: Path, write: Callable[[Path], object]) -> None:
    """Have `write` make a new folder, then give what is in it to `folder` in place of what is there: all or nothing.

    A folder that exists stays the same one, because somebody may be working in it; a link to it is followed.

    Raises
    ------
    OSError
        If that cannot be done; the folder is then as it was.
    """
    place = Path(os.path.realpath(folder))
    if not place.exists():
        place.parent.mkdir(parents=True, exist_ok=True)
        with temporary_folder(place.parent, f".{place.name}.") as temporary:
            write(temporary / "new")
            with naming(folder):
                patiently(os.rename, temporary / "new", place)
        return
    with temporary_folder(place, ".tinyadv-") as temporary:
        write(temporary / "new")
        (temporary / "old").mkdir()
        moved: list[tuple[Path, Path]] = []
        try:
            for path in sorted(set(place.iterdir()) - {temporary}):
                _move(path, temporary / "old", moved)
            for path in sorted((temporary / "new").iterdir()):
                _move(path, place, moved)
        except BaseException:
            for before, after in reversed(moved):
                os.rename(after, before)
            raise


def _move(path: Path, folder: Path, moved: list[tuple[Path, Path]]) -> None:
    with naming(folder / path.name):
        patiently(os.rename, path, folder / path.name)
    moved.append((path, folder / path.name))


def remove_folder(folder: str) -> None:
    """Remove a folder, however deep it is and whatever rights the folders in it have: what is in them moves up.

    What cannot be removed stays, and is no error.
    """
    with suppress(OSError):
        patiently(_remove, folder, count())


def _remove(folder: str, names: Iterator[int]) -> None:
    def is_folder(entry: os.DirEntry[str]) -> bool:
        if there := entry.is_dir(follow_symlinks=False) and not is_junction(entry):
            os.chmod(entry.path, 0o700)
        return there

    while entries := [*os.scandir(folder)]:
        for entry in entries:
            if not is_folder(entry):
                if WINDOWS and entry.is_file(follow_symlinks=False):  # there a file's own rights keep it
                    os.chmod(entry.path, 0o600)
                os.unlink(entry.path)
                continue
            for inner in [*os.scandir(entry.path)]:
                is_folder(inner)
                os.rename(inner.path, os.path.join(folder, f".{next(names)}"))
            os.rmdir(entry.path)
    os.rmdir(folder)


def is_junction(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a junction of Windows: it looks like a folder, and what is in it lies elsewhere."""
    return getattr(entry.stat(follow_symlinks=False), "st_reparse_tag", 0) == JUNCTION


def remove_leftovers(folder: Path, pattern: str = "**/.*.part") -> None:
    """Remove, from `folder` and those below, the parts of files whose writers were killed; no one ever reads them.

    Only those of this machine's processes. Windows does not tell whether a process is alive; there they have to be old.
    """
    host, _, _ = _writer().partition("+")
    for path in folder.glob(pattern):
        part = re.fullmatch(rf"\..*\.{host}\+([0-9]+)\.[^.]*\.part", path.name, re.DOTALL)
        if part and (_is_old(path) if WINDOWS else not _alive(int(part[1]))):
            path.unlink(missing_ok=True)


def _is_old(path: Path) -> bool:
    with suppress(OSError):
        return time.time() - path.stat().st_mtime > ABANDONED
    return False


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
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return True


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Wait until no other process holds `path`, hold it inside; the system lets go of it when a process dies.

    Where the file system has no locks, there is none.
    """
    from filelock import FileLock

    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    try:
        lock.acquire()
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.EOPNOTSUPP):
            raise
    try:
        yield
    finally:
        lock.release()


def save_arrays(path: str | os.PathLike[str], arrays: dict[str, Array], about: dict[str, Any]) -> None:
    """Write NumPy arrays and a JSON-like description to `path`, atomically.

    TypeError for a description that JSON cannot hold, OSError if the file cannot be written.
    """
    try:
        from safetensors.numpy import save
    except ImportError:  # its Rust part, in WebAssembly
        from .plain_safetensors import save  # type: ignore[assignment]

    # contiguous, and in this machine's order of bytes
    plain: dict[str, Any] = {name: a.astype(a.dtype.newbyteorder("="), order="C") for name, a in arrays.items()}
    text = json.dumps(about, sort_keys=True, default=_number)
    write_atomically(path, _in_order(save(plain, {"about": text, "sha256": _fingerprint(plain, text)})))


def _number(value: Any) -> Any:
    """A number of NumPy's as one of Python's, which JSON knows; TypeError for anything else."""
    if getattr(value, "shape", None) != () or not hasattr(value, "item"):
        raise TypeError(f"JSON has numbers, texts, lists and tables, got a {type(value).__name__}")
    return value.item()


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
    try:
        from safetensors import SafetensorError, safe_open
    except ImportError:
        from .plain_safetensors import SafetensorError, safe_open  # type: ignore[assignment]

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
