"""Files: whole or not at all, their contents checked, and nothing in them that runs."""

import contextlib
import errno
import io
import json
import os
import pickle
import stat
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from tinyadv import storage
from tinyadv.storage import StorageError, load_arrays, locked, save_arrays, write_atomically

ABOUT = {"log": [{"epoch": 1, "loss": 0.1 + 0.2}], "name": "größer", "none": None}


@pytest.fixture
def arrays(rng):
    return {
        "layers.0.W": rng.normal(size=(4, 3)).astype("float32"),
        "best/b": rng.normal(size=5),
        "empty": np.zeros((0, 3), dtype="float32"),
        "scalar": np.array(2.5),
        "transposed": np.asfortranarray(rng.normal(size=(3, 2))),
        "part": np.arange(10)[::2],
    }


@pytest.fixture
def path(tmp_path):
    return tmp_path / "file"


def names(folder):
    return sorted(p.name for p in folder.iterdir())


# ---------------------------------------------------------------------------------------------------------
# Writing


def test_a_lock_is_held_by_one_at_a_time_and_let_go_when_its_holder_is_killed(path):
    program = (
        "import pathlib, sys, time, tinyadv.storage as storage\n"
        "with storage.locked(pathlib.Path(sys.argv[1])): print(1, flush=True); time.sleep(60)"
    )
    first = subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE)
    with first, storage_thread(path) as (waiting, inside):
        first.stdout.readline()
        with locked(path.with_name("other")):
            pass  # the library is imported now: the thread takes no time for that
        waiting.start()
        assert not inside.wait(1)
        first.kill()
        assert inside.wait(10)


@contextlib.contextmanager
def storage_thread(path):
    """A thread that waits for a lock, not yet started, and what is set when it holds it."""
    inside = threading.Event()

    def hold():
        with locked(path):
            inside.set()

    thread = threading.Thread(target=hold)
    yield thread, inside
    thread.join(10)


@pytest.mark.parametrize("content", [b"\x00\xff bytes", "text, größer\n", ""])
def test_what_is_written_is_what_is_there(path, content):
    for _ in range(2):  # new, then replaced
        write_atomically(str(path), content)
        assert path.read_bytes() == (content if isinstance(content, bytes) else content.encode())
        assert names(path.parent) == [path.name]


def test_folders_on_the_way_are_made(tmp_path):
    write_atomically(tmp_path / "a" / "b" / "file", "x")
    assert (tmp_path / "a" / "b" / "file").read_text() == "x"


@pytest.mark.parametrize("failing", ["fsync", "replace", "chmod"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(path, monkeypatch, failing, error):
    path.write_text("old")

    def fail(*_):
        raise error

    monkeypatch.setattr(os, failing, fail)
    with pytest.raises(type(error)):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert names(path.parent) == [path.name]


def test_an_interruption_after_the_last_step_is_not_another_error(path, monkeypatch):
    """Ctrl-C may come when the new file has its name already: there is nothing to remove then."""
    replace = os.replace

    def replace_and_interrupt(source, target):
        replace(source, target)
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", replace_and_interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_atomically(path, "new")
    assert path.read_text() == "new"
    assert names(path.parent) == [path.name]


def test_a_writer_removes_what_killed_writers_of_the_same_file_left(tmp_path):
    path = tmp_path / "file[1]*"
    program = (
        "import os, signal, sys, tinyadv.storage as storage\n"
        "os.fsync = lambda file: os.kill(os.getpid(), signal.SIGKILL)\n"
        "storage.write_atomically(sys.argv[1], 'half')"
    )
    for _ in range(2):  # the second removes what the first left
        subprocess.run([sys.executable, "-c", program, str(path)], check=False)
        (left,) = names(tmp_path)
        assert left.endswith(".part")
    other = tmp_path / left.replace("file[1]*", "file1x")  # matches the name if it is taken for a pattern
    other.touch()
    write_atomically(path, "whole")
    assert names(tmp_path) == sorted([other.name, path.name])


def test_the_new_file_is_whole_before_it_takes_the_old_one_s_place(path, monkeypatch):
    path.write_text("old")
    replace, seen = os.replace, []

    def watching(source, target):
        seen.append((Path(source).read_text(), Path(target).read_text(), os.path.dirname(source)))
        replace(source, target)

    monkeypatch.setattr(os, "replace", watching)
    write_atomically(path, "new" * 10_000)
    assert seen == [("new" * 10_000, "old", str(path.parent))]
    assert path.read_text() == "new" * 10_000


def test_a_folder_in_the_file_s_place_is_an_error_of_the_system(tmp_path):
    with pytest.raises(OSError, match=tmp_path.name):
        write_atomically(tmp_path, "x")
    assert names(tmp_path.parent).count(tmp_path.name) == 1
    assert not [n for n in names(tmp_path.parent) if n.endswith(".part")]


# ---------------------------------------------------------------------------------------------------------
# Places that are no plain file, modes, and errors that name the file

posix = pytest.mark.skipif(os.name != "posix", reason="modes, devices and pipes of POSIX")


@pytest.fixture
def umask(request):
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def mode(path):
    return stat.S_IMODE(path.stat().st_mode)


@posix
@pytest.mark.parametrize("umask", [0o022, 0o077, 0o002], indirect=True, ids=oct)
def test_a_new_file_has_the_mode_that_the_umask_leaves(path, umask):
    write_atomically(path, "grades")
    assert mode(path) == 0o666 & ~umask


@posix
@pytest.mark.parametrize("umask", [0o022, 0o077], indirect=True, ids=oct)
@pytest.mark.parametrize("kept", [0o600, 0o640, 0o666, 0o755])
def test_a_file_that_is_replaced_keeps_its_mode(path, umask, kept):
    path.write_text("old")
    path.chmod(kept)
    write_atomically(path, "new")
    assert (path.read_text(), mode(path)) == ("new", kept)


@posix
def test_nobody_can_look_at_a_private_file_while_it_is_written(path, monkeypatch):
    path.touch()
    path.chmod(0o600)
    seen, fsync = [], os.fsync

    def look(file):
        seen.append(stat.S_IMODE(os.fstat(file).st_mode))
        fsync(file)

    monkeypatch.setattr(os, "fsync", look)
    write_atomically(path, "grades")
    assert seen == [0o600]


@posix
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root gives files away")
def test_a_file_that_root_replaces_keeps_its_owner(path):
    path.touch()
    os.chown(path, 12345, 23456)
    write_atomically(path, "new")
    assert (path.stat().st_uid, path.stat().st_gid) == (12345, 23456)


@posix
def test_a_file_that_must_not_be_written_is_not_replaced(path, monkeypatch):
    path.write_text("old")
    monkeypatch.setattr(os, "access", lambda path, how: how != os.W_OK)  # root may write anywhere
    with pytest.raises(PermissionError, match="file"):
        write_atomically(path, "new")
    assert (path.read_text(), names(path.parent)) == ("old", ["file"])


def test_a_file_that_another_process_removes_meanwhile_is_written_anew(path, monkeypatch):
    path.write_text("old")
    access = os.access

    def after_removal(asked, how):
        path.unlink()
        return access(asked, how)

    monkeypatch.setattr(os, "access", after_removal)
    write_atomically(path, "new")
    assert (path.read_text(), names(path.parent)) == ("new", ["file"])


@pytest.mark.parametrize("there", [True, False])
def test_a_link_is_followed_and_stays_a_link(tmp_path, there):
    target = tmp_path / "elsewhere" / "target"
    if there:
        target.parent.mkdir()
        target.write_text("old")
    (tmp_path / "second").symlink_to(target)
    (tmp_path / "first").symlink_to("second")
    write_atomically(tmp_path / "first", "new")
    assert target.read_text() == "new"
    assert (tmp_path / "first").is_symlink()
    assert (tmp_path / "second").is_symlink()
    assert names(target.parent) == ["target"]


def test_a_link_to_itself_is_an_error_that_names_it(path):
    path.symlink_to(path)
    with pytest.raises(OSError, match="file"):
        write_atomically(path, "new")
    assert path.is_symlink()


@posix
def test_a_pipe_gets_the_content_and_stays_a_pipe(path):
    os.mkfifo(path)
    got = []
    reader = threading.Thread(target=lambda: got.append(path.read_text()))
    reader.start()
    write_atomically(path, "through the pipe")
    reader.join(10)
    assert got == ["through the pipe"]
    assert path.is_fifo()
    assert names(path.parent) == ["file"]


@posix
def test_a_device_is_written_to_and_never_replaced(tmp_path):
    """As root a file could take the place of the device; a link to it is none the less the device."""
    (tmp_path / "null").symlink_to(os.devnull)
    before = os.stat(os.devnull)
    write_atomically(tmp_path / "null", "nothing")
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)
    assert os.path.samestat(before, os.stat(os.devnull))
    assert (tmp_path / "null").is_symlink()


@posix
@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="only root makes devices")
def test_a_device_s_own_name_is_written_to(path):
    try:
        os.mknod(path, 0o600 | stat.S_IFCHR, os.stat(os.devnull).st_rdev)
        path.open("wb").close()
    except OSError as error:
        pytest.skip(f"no devices here: {error}")
    write_atomically(path, "nothing")
    assert path.is_char_device()
    assert names(path.parent) == ["file"]


WRITE = "import sys; from tinyadv.storage import write_atomically; write_atomically(sys.argv[1], 'größer\\n')"


def said(target, stdout, code=WRITE, **options):
    environment = {**os.environ, "PYTHONIOENCODING": "cp437"}
    return subprocess.run(
        [sys.executable, "-c", code, str(target)], stdout=stdout, stderr=subprocess.PIPE, env=environment, **options
    )


@posix
@pytest.mark.parametrize("target", ["-", "/dev/stdout", "/dev/fd/1", "link"])
@pytest.mark.parametrize("onto", ["pipe", "file"])
def test_standard_output_gets_the_bytes_in_turn_with_what_is_printed(tmp_path, target, onto):
    (tmp_path / "link").symlink_to("/dev/stdout")
    code = f"print('before'); {WRITE}; print('after')"
    with open(tmp_path / "out", "wb") as file:
        done = said(target, subprocess.PIPE if onto == "pipe" else file, code, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, b"")
    content = done.stdout if onto == "pipe" else (tmp_path / "out").read_bytes()
    assert content == "before\ngrößer\nafter\n".encode()
    assert names(tmp_path) == ["link", "out"]


@posix
def test_a_descriptor_that_a_shell_opened_is_written_to(tmp_path):
    """`--json >(jq .)` and `3>file ... --json /dev/fd/3`."""
    with open(tmp_path / "out", "wb") as file:
        file.write(b"before ")
        file.flush()
        done = said(f"/dev/fd/{file.fileno()}", subprocess.DEVNULL, pass_fds=[file.fileno()])
        file.write(b"after")
    assert (done.returncode, done.stderr) == (0, b"")
    assert (tmp_path / "out").read_bytes() == "before größer\nafter".encode()


def test_a_notebook_s_standard_output_gets_text(monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.StringIO())  # which takes no bytes
    write_atomically("-", "größer")
    assert sys.stdout.getvalue() == "größer"


@pytest.mark.parametrize("failing", ["open", "fsync", "replace"])
def test_a_full_disk_names_the_file(path, monkeypatch, failing):
    real = getattr(os, failing)

    def full(target, *others):
        if failing != "open" or ".part" in str(target):
            raise OSError(28, "No space left on device")
        return real(target, *others)

    monkeypatch.setattr(os, failing, full)
    with pytest.raises(OSError, match="No space left") as caught:
        save_arrays(path, {}, ABOUT)
    assert (caught.value.errno, caught.value.filename) == (28, str(path))
    assert names(path.parent) == []


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="only Linux has a disk that is always full")
def test_a_device_that_is_full_is_named(tmp_path):
    with pytest.raises(OSError, match="No space left on device: '/dev/full'"):
        write_atomically("/dev/full", "x")


# ---------------------------------------------------------------------------------------------------------
# Whole folders


def tree(folder):
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*")}


def two_files(folder):
    (folder / "deep").mkdir(parents=True)
    (folder / "deep" / "one").write_text("1")
    (folder / "two").write_text("2")


@pytest.mark.parametrize("way", ["new", "deep/new", "empty", ".", "link", "old", "dangling"])
def test_a_folder_is_filled_however_it_is_named(tmp_path, monkeypatch, way):
    for name in ("empty", "old", "old/deep"):
        (tmp_path / name).mkdir()
    (tmp_path / "old" / "deep" / "gone").touch()
    (tmp_path / "link").symlink_to("empty")
    (tmp_path / "dangling").symlink_to("not yet")
    place = tmp_path / ("empty" if way == "." else way)
    if way == ".":
        monkeypatch.chdir(place)
    before = place.stat().st_ino if place.exists() else None
    storage.fill_folder(Path(way) if way == "." else place, two_files)
    assert tree(place) == {"deep", "deep/one", "two"}
    assert before in (None, place.stat().st_ino), "the same folder, for whoever is in it"
    assert place.is_symlink() == (way in ("link", "dangling"))
    assert not [name for name in names(tmp_path) if name.startswith(".")]


@pytest.mark.parametrize("at", [1, 2, 3, 4])
def test_a_folder_that_cannot_be_filled_is_as_it_was(tmp_path, monkeypatch, at):
    (tmp_path / "old").mkdir()
    for name in ("a", "two"):
        (tmp_path / "old" / name).write_text("before")
    rename, calls = os.rename, []

    def fail(source, target):
        calls.append(source)
        if len(calls) == at:
            raise OSError(28, "No space left on device")
        rename(source, target)

    monkeypatch.setattr(os, "rename", fail)
    with pytest.raises(OSError, match=r"No space left on device.*old"):
        storage.fill_folder(tmp_path / "old", two_files)
    assert tree(tmp_path / "old") == {"a", "two"}
    assert (tmp_path / "old" / "two").read_text() == "before"


# ---------------------------------------------------------------------------------------------------------
# Locks


def test_a_file_system_without_locks_is_no_error(path, monkeypatch):
    def refuse(*_, **__):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("filelock.FileLock.acquire", refuse)
    with locked(path):
        pass


def test_a_lock_that_cannot_be_made_is_an_error(tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="folder"), locked(tmp_path / "folder"):
        pass


def test_locks_are_the_library_s_and_imported_when_one_is_taken():
    """It has them on Windows too."""
    code = (
        "import sys, pathlib, tempfile, tinyadv.storage as storage\n"
        "assert 'filelock' not in sys.modules\n"
        "with storage.locked(pathlib.Path(tempfile.mkdtemp()) / 'lock'): assert 'filelock' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# ---------------------------------------------------------------------------------------------------------
# Reading back


def test_arrays_and_their_description_come_back_bit_for_bit(path, arrays):
    save_arrays(path, arrays, ABOUT)
    found, about = load_arrays(path)
    assert about == ABOUT
    assert found.keys() == arrays.keys()
    for name, a in arrays.items():
        assert (found[name].dtype, found[name].shape) == (a.dtype, a.shape)
        assert found[name].tobytes() == a.tobytes()
        assert found[name].flags.writeable
    assert names(path.parent) == [path.name]


def test_equal_arrays_make_equal_files(path, arrays):
    contents = set()
    for order in (sorted(arrays), sorted(arrays, reverse=True)) * 10:  # metadata are shuffled each time
        save_arrays(path, {name: arrays[name] for name in order}, ABOUT)
        contents.add(path.read_bytes())
    assert len(contents) == 1
    header = int.from_bytes(path.read_bytes()[:8], "little")
    assert header % 8 == 0  # arrays are aligned for whoever maps them into memory


def test_flipped_bits_are_noticed(path, arrays):
    save_arrays(path, arrays, ABOUT)
    whole = path.read_bytes()
    for i in range(0, len(whole), 3):
        path.write_bytes(whole[:i] + bytes([whole[i] ^ (1 << i % 8)]) + whole[i + 1 :])
        with pytest.raises(StorageError, match="file is"):
            load_arrays(path)


def test_truncations_are_noticed(path, arrays):
    save_arrays(path, arrays, ABOUT)
    whole = path.read_bytes()
    for length in range(0, len(whole), 13):
        path.write_bytes(whole[:length])
        with pytest.raises(StorageError, match="file is not a readable safetensors file"):
            load_arrays(path)


def safetensors(header, data=b""):
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def foreign_metadata():
    tensor = {"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}
    return safetensors({"__metadata__": {"format": "pt"}, **tensor}, bytes(4))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is not a readable safetensors file"),
        (bytes(range(256)) * 4, "is not a readable safetensors file"),
        (b"\x89PNG\r\n\x1a\n" + bytes(64), "is not a readable safetensors file"),
        (safetensors({"a": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}, bytes(4)), "safetensors file"),
        (safetensors({"a": {"dtype": "F32", "shape": [9], "data_offsets": [0, 4]}}, bytes(4)), "is not a readable"),
        (safetensors({}), "was not written by tinyadv"),
        (foreign_metadata(), "was not written by tinyadv"),
        (safetensors({"__metadata__": {"about": "{}", "sha256": "0" * 64}}), "is damaged: .* do not match"),
    ],
)
def test_other_files_are_named(path, content, message):
    path.write_bytes(content)
    with pytest.raises(StorageError, match=message) as info:
        load_arrays(path)
    assert str(path) in str(info.value)


def test_a_missing_file_and_a_folder_are_named(path):
    with pytest.raises(StorageError, match="file does not exist"):
        load_arrays(path)
    path.mkdir()
    with pytest.raises(StorageError, match="file is not a readable safetensors file"):
        load_arrays(path)


def test_a_renamed_array_and_a_changed_description_are_noticed(path, arrays):
    save_arrays(path, arrays, ABOUT)
    whole = path.read_bytes()
    for old, new in ((b"best/b", b"best/c"), (b"0.3000", b"0.2000"), (b"[4,3]", b"[3,4]")):
        assert whole.count(old) >= 1
        path.write_bytes(whole.replace(old, new))
        with pytest.raises(StorageError, match="is damaged: its contents do not match their SHA-256"):
            load_arrays(path)


class Payload:
    """What a pickle would run when it is read."""

    def __reduce__(self):
        return (pytest.fail, ("a file's code was run",))


@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_a_pickle_is_not_run(path, protocol):
    content = pickle.dumps(Payload(), protocol)
    with pytest.raises(pytest.fail.Exception):
        pickle.loads(content)
    path.write_bytes(content)
    with pytest.raises(StorageError, match="is not a readable safetensors file"):
        load_arrays(path)
    np.save(path.with_suffix(".npy"), np.array([Payload()], dtype=object), allow_pickle=True)
    with pytest.raises(StorageError, match="is not a readable safetensors file"):
        load_arrays(path.with_suffix(".npy"))


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells it")
def test_a_killed_writer_whose_parent_has_not_asked_after_it_is_dead(tmp_path):
    child = subprocess.Popen([sys.executable, "-c", ""])
    deadline = time.monotonic() + 20
    while "\nState:\tZ" not in Path(f"/proc/{child.pid}/status").read_text():
        assert time.monotonic() < deadline
        time.sleep(0.01)
    host = storage._writer().rpartition("+")[0]
    dead, ours = (tmp_path / f".a.{host}+{pid}.x.part" for pid in (child.pid, os.getpid()))
    dead.touch()
    ours.touch()
    storage.remove_leftovers(tmp_path)
    assert (dead.exists(), ours.exists()) == (False, True)
    child.wait()


@pytest.mark.parametrize("error", [OSError(30, "Read-only file system"), PermissionError(13, "Permission denied")])
def test_a_temporary_folder_that_cannot_be_removed_is_no_error(error, tmp_path, monkeypatch):
    """A folder above may have become read-only meanwhile."""

    def refused(*_, **__):
        raise error

    with storage.temporary_folder(tmp_path, "one.") as folder:
        (folder / "a" / "b").mkdir(parents=True)
        (folder / "a" / "b" / "c").touch()
    assert list(tmp_path.iterdir()) == []
    with monkeypatch.context() as patch, storage.temporary_folder(tmp_path, "one."):
        for function in ("rmdir", "unlink", "chmod"):
            patch.setattr(os, function, refused)
    (left,) = tmp_path.iterdir()
    assert left.name.startswith("one.")


# ---------------------------------------------------------------------------------------------------------
# Windows, as far as another system can play it


@pytest.fixture
def windows(monkeypatch):
    monkeypatch.setattr(storage, "WINDOWS", True)
    monkeypatch.setattr(storage, "HELD", 0.2)


def refused_at_first(monkeypatch, function, times):
    """Let a function of `os` fail so many times, as while a virus scanner has the file open."""
    real, left = getattr(os, function), [times]

    def change(*args):
        left[0] -= 1
        if left[0] >= 0:
            raise PermissionError(13, "The process cannot access the file because it is being used by another process")
        real(*args)

    monkeypatch.setattr(os, function, change)


def test_a_file_that_a_scanner_holds_for_a_moment_is_replaced_after_it(path, windows, monkeypatch):
    path.write_text("old")
    refused_at_first(monkeypatch, "replace", 3)
    write_atomically(path, "new")
    assert path.read_text() == "new"
    assert names(path.parent) == [path.name]


def test_a_file_that_stays_open_elsewhere_is_an_error_that_names_it(path, windows, monkeypatch):
    path.write_text("old")
    refused_at_first(monkeypatch, "replace", 10_000)
    with pytest.raises(PermissionError, match=r"used by another process: '.*file'"):
        write_atomically(path, "new")
    assert path.read_text() == "old"
    assert names(path.parent) == [path.name]


def test_other_systems_do_not_wait_for_what_is_forbidden(path, monkeypatch):
    refused_at_first(monkeypatch, "replace", 1)
    with pytest.raises(PermissionError):
        write_atomically(path, "new")


@pytest.mark.parametrize("there", [True, False])
def test_a_folder_is_filled_when_scanners_have_let_go_of_it(tmp_path, windows, monkeypatch, there):
    place = tmp_path / "site"
    if there:
        place.mkdir()
    refused_at_first(monkeypatch, "rename", 2)

    def write(new):
        new.mkdir()
        (new / "page").touch()

    storage.fill_folder(place, write)
    assert names(place) == ["page"]
    assert names(tmp_path) == ["site"]


def test_a_folder_is_removed_when_a_killed_process_has_let_go_of_it(tmp_path, windows, monkeypatch):
    (tmp_path / "work" / "a" / "b").mkdir(parents=True)
    (tmp_path / "work" / "a" / "file").touch()
    refused_at_first(monkeypatch, "rmdir", 2)
    storage.remove_folder(str(tmp_path / "work"))
    assert names(tmp_path) == []


def test_a_file_that_may_only_be_read_is_removed(tmp_path, windows, monkeypatch):
    """Windows refuses that until the file may be written; what git makes in a folder has such files."""
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "file").touch(0o400)
    unlink = os.unlink

    def of_windows(path):
        if not os.stat(path).st_mode & stat.S_IWUSR:
            raise PermissionError(13, "Access is denied")
        unlink(path)

    monkeypatch.setattr(os, "unlink", of_windows)
    storage.remove_folder(str(tmp_path / "work"))
    assert names(tmp_path) == []


def test_what_lies_behind_a_junction_is_not_removed(tmp_path, monkeypatch):
    """A submission may have made one that leads to its teacher's folder."""
    (tmp_path / "work" / "junction").mkdir(parents=True)
    (tmp_path / "work" / "junction" / "a teacher's").touch()
    monkeypatch.setattr(storage, "is_junction", lambda entry: entry.name == "junction")
    storage.remove_folder(str(tmp_path / "work"))
    assert names(tmp_path / "work" / "junction") == ["a teacher's"]


def test_a_junction_is_known_by_its_mark():
    def entry(**found):
        return SimpleNamespace(stat=lambda follow_symlinks: SimpleNamespace(**found))

    assert storage.is_junction(entry(st_mode=0o40777, st_reparse_tag=0xA0000003))
    assert not storage.is_junction(entry(st_mode=0o40777, st_reparse_tag=0))
    assert not storage.is_junction(entry(st_mode=0o40777))


def test_old_parts_are_removed_where_nobody_knows_which_processes_are_alive(tmp_path, windows, monkeypatch):
    monkeypatch.setattr(os, "kill", pytest.fail)  # in Windows it would end the process
    host = storage._writer().rpartition("+")[0]
    old, new = (tmp_path / f".{name}.{host}+1.x.part" for name in ("old", "new"))
    old.touch()
    new.touch()
    os.utime(old, (0, 0))
    storage.remove_leftovers(tmp_path)
    assert names(tmp_path) == [new.name]
