"""Files: whole or not at all, their contents checked, and nothing in them that runs."""

import contextlib
import json
import os
import pickle
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

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
    pytest.importorskip("fcntl", reason="no file locks on this system")
    program = (
        "import pathlib, sys, time, tinyadv.storage as storage\n"
        "with storage.locked(pathlib.Path(sys.argv[1])): print(1, flush=True); time.sleep(60)"
    )
    first = subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE)
    with first, storage_thread(path) as (waiting, inside):
        first.stdout.readline()
        waiting.start()
        assert not inside.wait(0.3)
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
