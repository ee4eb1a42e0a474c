"""The data sets: what they promise about their arrays, and that no damaged file passes for the real one."""

from __future__ import annotations

import copy
import gzip
import lzma
import pickle
import shutil
import threading
import tracemalloc
import zipfile
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tinyadv import datasets
from tinyadv.datasets import CIFAR10, MNIST, MNIST_FILES, MNIST_FOLDER, DataError, IdxFile, Split, mnist, pair
from tinyadv.machine import can_start_threads
from tinyadv.preprocessing import Whitening

LABELS = "t10k-labels-idx1-ubyte"  # the smallest of the four: it stands for all where a file is damaged
in_one_folder = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


# --- the arrays -----------------------------------------------------------------------------------------------


def test_shapes_dtypes_and_layout():
    train, validation, test = mnist()
    for split, n in ((train, 50_000), (validation, 10_000), (test, 10_000), (mnist().full_train, 60_000)):
        assert isinstance(split, Split)
        assert split.x.shape == (n, 784)
        assert split.x.dtype == np.float32
        assert split.y.shape == (n,)
        assert split.y.dtype == np.int64
        assert split.x.flags.c_contiguous
        assert split.y.flags.c_contiguous
        assert split.x.min() == 0
        assert split.x.max() == 1


def test_it_is_mnist():
    """Facts published about MNIST, independent of our hashes: digits in order, class counts, mean and deviation."""
    full, test = mnist().full_train, mnist().test
    assert full.y[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert test.y[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
    assert np.bincount(full.y).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.bincount(test.y).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    assert full.x.mean(dtype=np.float64) == pytest.approx(0.1307, abs=5e-5)
    assert full.x.std(dtype=np.float64) == pytest.approx(0.3081, abs=5e-5)


def test_images_are_upright_and_white_on_black():
    """A one is higher than wide, and a seven has more ink in its upper half than below; borders are dark."""
    images = mnist().test.x.reshape(-1, 28, 28)
    one, seven = (images[mnist().test.y == digit].mean(axis=0) for digit in (1, 7))
    assert (one.sum(axis=1) > 0.5).sum() > (one.sum(axis=0) > 0.5).sum()
    assert seven[:14].sum() > seven[14:].sum()
    assert images[:, [0, -1]].mean() < 0.001


def test_validation_is_the_last_10_000_of_the_training_file():
    data = mnist()
    stored = datasets.read_idx("train-labels-idx1-ubyte", MNIST_FOLDER, MNIST_FILES["train-labels-idx1-ubyte"])
    np.testing.assert_array_equal(data.train.y, stored[:50_000])
    np.testing.assert_array_equal(data.validation.y, stored[50_000:])
    np.testing.assert_array_equal(data.full_train.y, stored)


def test_images_belong_to_their_labels():
    """The nearest class mean is right for 82 % of the test images (a published baseline); shuffled: 10 %."""
    train, _, test = mnist()
    means = np.stack([train.x[train.y == digit].mean(axis=0) for digit in range(10)])
    nearest = (test.x @ means.T - (means**2).sum(axis=1) / 2).argmax(axis=1)
    assert (nearest == test.y).mean() > 0.8


def test_pixels_are_exactly_k_over_255_in_float32():
    raw = datasets.read_idx("t10k-images-idx3-ubyte", MNIST_FOLDER, MNIST_FILES["t10k-images-idx3-ubyte"])
    table = np.arange(256, dtype=np.float32) / np.float32(255)
    np.testing.assert_array_equal(mnist().test.x, table[raw.reshape(10_000, 784)])
    for k, value in enumerate(table):  # and these are the float32 nearest to the rational number k/255
        below, above = (Fraction(float(np.nextafter(value, np.float32(end)))) for end in (-1, 2))
        distance = abs(Fraction(float(value)) - Fraction(k, 255))
        assert distance < min(abs(below - Fraction(k, 255)), abs(above - Fraction(k, 255)))


def test_loaded_once_and_safe_from_edits():
    assert mnist() is mnist()
    for split in (*mnist(), mnist().full_train):
        for array in split:
            with pytest.raises(ValueError, match="read-only"):
                array[0] = 0
            with pytest.raises(ValueError, match="WRITEABLE"):
                array[:1].flags.writeable = True


def test_threads_that_ask_at_the_same_time_get_one_data_set(monkeypatch):
    reads, read_idx, together = [], datasets.read_idx, threading.Barrier(4)

    def read(name, folder, file):
        reads.append(name)
        return read_idx(name, folder, file)

    def ask():
        together.wait(30)
        return mnist()

    monkeypatch.setattr(datasets, "read_idx", read)
    datasets._mnist.cache_clear()
    with ThreadPoolExecutor(4) as pool:
        first, *others = (future.result() for future in [pool.submit(ask) for _ in range(4)])
    assert all(other is first for other in others)
    assert sorted(reads) == sorted(MNIST_FILES)


def test_where_no_thread_can_be_started_the_data_are_the_same(monkeypatch):
    """As in a browser, by WebAssembly."""

    def refuse(thread):
        raise RuntimeError("can't start new thread")

    can_start_threads.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", refuse)
        alone = datasets._mnist.__wrapped__()
    can_start_threads.cache_clear()
    for ours, usual in zip(alone, mnist(), strict=True):
        np.testing.assert_array_equal(ours.x, usual.x)
        np.testing.assert_array_equal(ours.y, usual.y)


# --- full_train -----------------------------------------------------------------------------------------------


def test_full_train_copies_nothing():
    data = mnist()
    for whole, first, last in zip(data.full_train, data.train, data.validation, strict=True):
        assert whole.ctypes.data == first.ctypes.data
        assert np.shares_memory(whole[50_000:], last)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda data: pickle.loads(pickle.dumps(data))])
def test_full_train_of_a_copy(copied):
    """A copy (in a worker process, say) no longer has the common array: the parts are joined anew."""
    small = Split(np.arange(12.0, dtype=np.float32).reshape(6, 2), np.arange(6))
    data = copied(MNIST(Split(small.x[:4], small.y[:4]), Split(small.x[4:], small.y[4:]), small))
    np.testing.assert_array_equal(data.full_train.x, small.x)
    np.testing.assert_array_equal(data.full_train.y, small.y)


slices = st.builds(slice, *[st.none() | st.integers(-9, 9)] * 2, st.sampled_from([None, 1, 2, -1]))


@given(st.integers(0, 8), slices, slices)
def test_full_train_is_train_then_validation_however_they_were_cut(n, first, last):
    x = np.arange(3.0 * n, dtype=np.float32).reshape(n, 3)
    y = np.arange(n)
    data = MNIST(Split(x[first], y[first]), Split(x[last], y[last]), Split(x, y))
    np.testing.assert_array_equal(data.full_train.x, np.concatenate([x[first], x[last]]))
    np.testing.assert_array_equal(data.full_train.y, np.concatenate([y[first], y[last]]))


# --- pair -----------------------------------------------------------------------------------------------------


def test_three_versus_seven():
    threes_and_sevens = pair(mnist().test, 3, 7)
    assert threes_and_sevens.x.shape == (1010 + 1028, 784)
    assert threes_and_sevens.x.dtype == np.float32
    assert threes_and_sevens.y.dtype == np.float32
    assert (threes_and_sevens.y == 1).sum() == 1010
    assert (threes_and_sevens.y == -1).sum() == 1028


@given(st.lists(st.integers(0, 4), max_size=20), st.integers(0, 4), st.integers(0, 4))
def test_pair_keeps_order_and_signs(labels, positive, negative):
    y = np.array(labels, dtype=np.int64)
    split = Split(np.arange(2.0 * len(y), dtype=np.float32).reshape(-1, 2), y)
    if positive == negative or not {positive, negative} <= set(labels):
        with pytest.raises(ValueError, match=f"pair: wanted .* received {positive}|{negative}"):
            pair(split, positive, negative)
        return
    kept = pair(split, positive, negative)
    rows = [i for i, label in enumerate(labels) if label in (positive, negative)]
    np.testing.assert_array_equal(kept.x, split.x[rows])
    assert kept.y.tolist() == [1 if labels[i] == positive else -1 for i in rows]
    assert not np.shares_memory(kept.x, split.x)


def test_pair_names_the_label_that_is_missing():
    with pytest.raises(ValueError, match="received 10, which does not"):
        pair(mnist().test, 3, 10)
    with pytest.raises(ValueError, match="two different labels, received 3 twice"):
        pair(mnist().test, 3, 3)


# --- embedded files: size, damage -----------------------------------------------------------------------------


def test_embedded_files_stay_small():
    assert sum(path.stat().st_size for path in MNIST_FOLDER.glob("*.xz")) < 9.3e6


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with its own copy of the labels file, to be damaged."""
    shutil.copy(MNIST_FOLDER / f"{LABELS}.xz", tmp_path)
    return tmp_path


def message_for(folder: Path, damaged: bytes, file: IdxFile = MNIST_FILES[LABELS]) -> str:
    """Write `damaged` in place of the labels file, read it, and return the error, having checked its frame."""
    path = folder / f"{LABELS}.xz"
    path.write_bytes(damaged)
    with pytest.raises(DataError) as caught:
        datasets.read_idx(LABELS, folder, file)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{path}: wanted an xz-compressed idx file of shape {file.shape}; found: ")
    assert f"run: python data_scripts/mnist.py --out {folder}" in message
    return message


def test_the_undamaged_copy_passes(folder):
    assert np.bincount(datasets.read_idx(LABELS, folder, MNIST_FILES[LABELS])).sum() == 10_000


@in_one_folder
@given(st.integers(min_value=0), st.integers(1, 255))
def test_any_changed_byte_is_found(folder, where, flip):
    data = bytearray((MNIST_FOLDER / f"{LABELS}.xz").read_bytes())
    data[where % len(data)] ^= flip
    message_for(folder, bytes(data))


@in_one_folder
@given(st.integers(min_value=0))
def test_any_truncation_is_found(folder, length):
    data = (MNIST_FOLDER / f"{LABELS}.xz").read_bytes()
    message = message_for(folder, data[: length % len(data)])
    assert "ended before the end-of-stream marker" in message


def test_missing(folder):
    (folder / f"{LABELS}.xz").unlink()
    with pytest.raises(DataError, match=r"t10k-labels-idx1-ubyte\.xz: wanted .* No such file .* To repair it"):
        datasets.read_idx(LABELS, folder, MNIST_FILES[LABELS])


def test_a_folder_in_its_place(folder):
    (folder / f"{LABELS}.xz").unlink()
    (folder / f"{LABELS}.xz").mkdir()
    with pytest.raises(DataError, match=r"found: .*directory"):
        datasets.read_idx(LABELS, folder, MNIST_FILES[LABELS])


def test_not_xz(folder):
    assert "format not supported" in message_for(folder, b"<html>404</html>")


def test_well_formed_files_with_other_content(folder):
    file = MNIST_FILES[LABELS]
    content = lzma.decompress((MNIST_FOLDER / f"{LABELS}.xz").read_bytes())
    changed = content[:-1] + bytes([content[-1] ^ 1])
    images = MNIST_FILES["t10k-images-idx3-ubyte"].header
    digest = sha256(changed).hexdigest()
    assert f"SHA-256 {digest}, wanted {file.sha256}" in message_for(folder, lzma.compress(changed))
    assert "found: 10,007 bytes, wanted 10,008." in message_for(folder, lzma.compress(content[:-1]))
    assert "found: 10,009 bytes or more, wanted 10,008." in message_for(folder, lzma.compress(content + b"!!!"))
    assert "a header of 00 00 08 03 00 00 27 10, wanted 00 00 08 01 00 00 27 10." in message_for(
        folder, lzma.compress(images)
    )
    assert "a header of 00 00 08, wanted" in message_for(folder, lzma.compress(b"\0\0\x08"))
    assert "a header of no bytes, wanted" in message_for(folder, lzma.compress(b""))


def test_a_decompression_bomb_is_not_unpacked(folder):
    bomb = lzma.compress(MNIST_FILES[LABELS].header + bytes(30_000_000), preset=0)
    assert len(bomb) < 10_000
    tracemalloc.start()
    try:
        message = message_for(folder, bomb)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
    assert "found: 10,009 bytes or more, wanted 10,008." in message


def test_mnist_reports_the_damage_and_recovers(folder, monkeypatch):
    """The whole way: `mnist()` itself raises, doesn't remember the failure, and reads the repaired files."""
    monkeypatch.setattr(datasets, "MNIST_FOLDER", folder)
    fresh = datasets._mnist.__wrapped__
    with pytest.raises(DataError, match=r"train-images-idx3-ubyte\.xz: wanted .* No such file"):
        fresh()
    for name in MNIST_FILES:
        (folder / f"{name}.xz").unlink(missing_ok=True)
        (folder / f"{name}.xz").symlink_to(MNIST_FOLDER / f"{name}.xz")
    np.testing.assert_array_equal(fresh().test.y, mnist().test.y)


# --- the idx format -------------------------------------------------------------------------------------------

shapes = st.lists(st.integers(0, 5), min_size=1, max_size=3).map(tuple)


@given(shapes, st.randoms(use_true_random=False))
def test_idx_round_trip(shape, random):
    values = np.array([random.randrange(256) for _ in range(int(np.prod(shape)))], dtype=np.uint8).reshape(shape)
    raw = IdxFile(shape, "").header + values.tobytes()
    file = IdxFile(shape, sha256(raw).hexdigest())
    assert file.size == len(raw)
    np.testing.assert_array_equal(datasets.check_idx(raw, file), values)
    for other in (raw + b"\0", raw[:-1], bytes([raw[0] ^ 1]) + raw[1:], raw[:-1] + bytes([raw[-1] ^ 128])):
        with pytest.raises(DataError, match="wanted"):
            datasets.check_idx(other, file)


def test_idx_header_is_lecuns():
    """The first bytes as the format's page gives them: magic 2051 and 2049, then the big-endian lengths."""
    assert MNIST_FILES["train-images-idx3-ubyte"].header == np.array([2051, 60_000, 28, 28], ">i4").tobytes()
    assert MNIST_FILES["t10k-labels-idx1-ubyte"].header == np.array([2049, 10_000], ">i4").tobytes()


IDX_EXAMPLES = {
    "bytes": (8, np.arange(6, dtype="u1")),
    "signed bytes": (9, np.arange(-3, 3, dtype="i1")),
    "shorts": (11, np.arange(-3, 3, dtype=">i2")),
    "integers": (12, np.array([-300_000, -1, 0, 1, 255, 300_000], dtype=">i4")),
    "floats": (13, np.linspace(0, 1, 6, dtype=">f4")),
    "doubles": (14, np.linspace(0, 1, 6, dtype=">f8")),
}


def idx_content(kind, values):
    return bytes([0, 0, kind, values.ndim]) + np.array(values.shape, ">i4").tobytes() + values.tobytes()


@pytest.mark.parametrize("opened", [open, gzip.open, lzma.open])
@pytest.mark.parametrize(("kind", "values"), IDX_EXAMPLES.values(), ids=IDX_EXAMPLES)
def test_any_idx_file_is_read_however_it_is_packed(kind, values, opened, tmp_path):
    for n, array in enumerate((values, values.reshape(1, 2, 3), values[:0])):
        with opened(tmp_path / f"file{n}", "wb") as file:  # what it is called does not matter
            file.write(idx_content(kind, array))
        read = datasets.idx(tmp_path / f"file{n}")
        np.testing.assert_array_equal(read, array)
        assert read.dtype == array.dtype.newbyteorder("=")
        assert read.dtype.isnative
        assert read.flags.writeable  # one's own


def test_mnist_s_own_files_are_idx_files():
    np.testing.assert_array_equal(datasets.idx(MNIST_FOLDER / "t10k-labels-idx1-ubyte.xz"), mnist().test.y)


RAW_IDX = idx_content(12, np.arange(24, dtype=">i4").reshape(2, 3, 4))


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "starts with nothing"),
        (b"\0\0\x08", "starts with 00 00 08, wanted"),
        (b"hello world", "starts with 68 65 6c 6c, wanted 00 00, a type, a rank"),
        (b"\0\0\x07\x01\0\0\0\0", "starts with 00 00 07 01"),
        (b"\0\0\x08\xff", "0 bytes of lengths, where the rank 255 has 1020"),
        (RAW_IDX[:-1], r"95 bytes of content, where the shape \(2, 3, 4\) has 96"),
        (RAW_IDX + b"!", "97 bytes or more of content"),
        (b"\0\0\x08\x04" + b"\xff" * 16, "."),  # a shape beyond all memory
        (gzip.compress(RAW_IDX)[:-9], "ended before"),
        (gzip.compress(RAW_IDX)[:20], "ended before"),
        (b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + b"\xff" * 20, "."),
        (lzma.compress(RAW_IDX)[:-9], "ended before"),
        (lzma.compress(RAW_IDX[:-1]), "95 bytes of content"),
        (gzip.compress(b"hello world"), "starts with 68 65"),
    ],
    ids=lambda value: "file" if isinstance(value, bytes) else value,  # gzip writes the time: no name for a test
)
def test_what_is_no_idx_file_is_named(content, found, tmp_path):
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(DataError, match=rf"file: wanted an idx file, plain or packed by gzip or xz; found: .*{found}"):
        datasets.idx(tmp_path / "file")


def test_a_missing_idx_file_and_a_folder_are_named(tmp_path):
    with pytest.raises(DataError, match=r"none: .*; found: No such file or directory"):
        datasets.idx(tmp_path / "none")
    with pytest.raises(DataError, match=r"found: Is a directory"):
        datasets.idx(tmp_path)


# --- .npz files of one's own ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.zeros((3, 16))}, "found: 'y is not a file in the archive'"),
        ({"x": np.zeros((3, 16)), "y": np.zeros(2, int)}, r"found float64 \(3, 16\) and int64 \(2,\)"),
        ({"x": np.zeros(3), "y": np.zeros(3, int)}, r"found float64 \(3,\)"),
        ({"x": np.zeros((3, 2, 2)), "y": np.zeros(3, int)}, r"found float64 \(3, 2, 2\)"),
        ({"x": np.zeros((0, 16)), "y": np.zeros(0, int)}, r"found float64 \(0, 16\)"),
        ({"x": np.zeros((3, 16)), "y": np.full(3, 0.5)}, "found other numbers among them"),
        ({"x": np.zeros((3, 16)), "y": np.full(3, np.nan)}, "found other numbers among them"),
        ({"x": np.full((3, 16), np.inf), "y": np.zeros(3, int)}, "found other numbers among them"),
        ({"x": np.zeros((3, 16)), "y": np.array(["a", "b", "c"])}, "found a y of <U1: number the classes from 0"),
        ({"x": np.eye(3, 16, dtype="u1"), "y": np.zeros(3, int)}, "found none above 1: wanted x.astype"),
        ({"x": np.zeros((3, 16), int), "y": np.zeros(3, int)}, r"found int64 \(3, 16\)"),  # pixels of what size?
        ({"x": np.array([["a"]]), "y": np.zeros(1, int)}, "found <U1"),
        ({"x": np.array([[None]]), "y": np.zeros(1, int)}, "found: Object arrays cannot be loaded"),
    ],
)
def test_other_files_are_named(tmp_path, arrays, message):
    np.savez(tmp_path / "data.npz", **arrays)
    with pytest.raises(DataError, match=rf"data\.npz: .*{message}"):
        datasets.npz(tmp_path / "data.npz")


@pytest.mark.parametrize("content", [b"PK nothing", b"", b"\x93NUMPY\x01\x00"])
def test_a_file_that_is_no_npz_is_named(tmp_path, content):
    (tmp_path / "data.npz").write_bytes(content)
    with pytest.raises(DataError, match=r"data\.npz: wanted an \.npz"):
        datasets.npz(tmp_path / "data.npz")


def test_members_that_are_no_arrays_are_named(tmp_path):
    with zipfile.ZipFile(tmp_path / "data.npz", "w") as file:
        file.writestr("x", "nothing")
        file.writestr("y", "nothing")
    with pytest.raises(DataError, match="found: members that are no arrays"):
        datasets.npz(tmp_path / "data.npz")


def test_a_missing_npz_and_a_folder_are_named(tmp_path):
    with pytest.raises(DataError, match=r"none\.npz does not exist; wanted an \.npz"):
        datasets.npz(tmp_path / "none.npz")
    with pytest.raises(DataError, match=r"wanted an \.npz"):
        datasets.npz(tmp_path)


@pytest.mark.parametrize(
    ("stored", "read"), [("uint8", 51 / 255), ("float32", 51), ("float64", 51), ("float16", 51), (">f4", 51)]
)
def test_bytes_are_pixels_and_other_numbers_stay(tmp_path, stored, read):
    labels = np.array([-1.0, 1.0, 1.0])
    np.savez(tmp_path / "data.npz", x=np.full((3, 16), 51, dtype=stored), y=labels)
    x, y = datasets.npz(tmp_path / "data.npz")
    assert (x == np.float32(read)).all()
    assert (x.dtype, y.dtype, y.tolist()) == (np.float32, np.int64, [-1, 1, 1])


# --- CIFAR-10 ---------------------------------------------------------------------------------------------------


@pytest.fixture
def records(rng):
    """40 invented records: a label, then 3072 pixels."""
    return np.concatenate([rng.integers(0, 10, (40, 1)), rng.integers(0, 256, (40, 3072))], axis=1).astype(np.uint8)


@pytest.fixture
def batches(records, tmp_path):
    """The same as a file of two batches of 20, and their SHA-256."""
    (tmp_path / "cifar10.bin").write_bytes(records.tobytes())
    return {f"batch_{i}": sha256(records[20 * i : 20 * i + 20].tobytes()).hexdigest() for i in range(2)}


def test_cifar10_is_read_as_it_was_written(records, batches, tmp_path):
    read = datasets.read_cifar10(tmp_path / "cifar10.bin", batches, images=20)
    np.testing.assert_array_equal(read, records)
    assert not read.flags.writeable


def test_cifar10_in_two_parts(records):
    data = CIFAR10(records, training=30)
    for part, rows in ((data.train, records[:30]), (data.test, records[30:])):
        assert part.x.dtype == np.float32
        np.testing.assert_array_equal(part.x, rows[:, 1:] / np.float32(255))
        np.testing.assert_array_equal(part.y, rows[:, 0])
        assert part.y.dtype == np.int64
        assert not part.x.flags.writeable
        assert not part.y.flags.writeable
    assert data.test is data.test  # made once
    assert data.whitening is None


BAD_CIFAR10 = {
    "missing": (None, "cifar10.bin does not exist; wanted the 2 batches of CIFAR-10, 122,920 bytes"),
    "cut off": (lambda raw: raw[:-1], "wanted the 2 batches of CIFAR-10, 122,920 bytes; found 122,919"),
    "too long": (lambda raw: raw + b"more", "122,920 bytes; found 122,921"),
    "one pixel": (lambda raw: raw[:-1] + bytes([raw[-1] ^ 1]), "cifar10.bin: batch_1 has SHA-256 .*, wanted"),
    "other order": (lambda raw: raw[61460:] + raw[:61460], "cifar10.bin: batch_0 has SHA-256 .*, wanted"),
}


@pytest.mark.parametrize("kind", BAD_CIFAR10)
def test_what_is_no_cifar10_is_one_line_with_the_command(batches, tmp_path, kind):
    path = tmp_path / "cifar10.bin"
    spoil, found = BAD_CIFAR10[kind]
    raw = path.read_bytes()
    path.unlink()
    if spoil:
        path.write_bytes(spoil(raw))
    with pytest.raises(DataError, match=found) as caught:
        datasets.read_cifar10(path, batches, images=20)
    assert "python data_scripts/cifar10.py" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_folder_in_place_of_the_file(batches, tmp_path):
    with pytest.raises(DataError, match=r"Is a directory.*python data_scripts/cifar10\.py"):
        datasets.read_cifar10(tmp_path, batches, images=20)


def test_the_data_folder_is_the_user_s_unless_named(monkeypatch, tmp_path):
    monkeypatch.setenv("TINYADV_DATA", str(tmp_path))
    assert datasets.data_folder() == tmp_path
    monkeypatch.setenv("TINYADV_DATA", "")
    monkeypatch.setattr(Path, "home", lambda: tmp_path / "home")
    assert datasets.data_folder() == tmp_path / "home" / ".tinyadv"


@pytest.fixture
def fits(monkeypatch):
    """How many images each whitening is fitted to; a whitening of two numbers stands for the real one."""
    counts = []

    def fit(x):
        counts.append(len(x))
        return Whitening(x.mean(axis=0), np.float32(len(counts)) * np.eye(2, dtype=np.float32))

    monkeypatch.setattr(datasets, "fit_whitening", fit)
    return counts


def test_the_whitening_is_fitted_to_training_images_and_kept(records, tmp_path, fits, capsys):
    path = tmp_path / "new" / "whitening.safetensors"
    data = CIFAR10(records[:, :3], training=30)
    first = datasets._kept_whitening(data, path, "these images")
    assert fits == [30]
    np.testing.assert_allclose(first.m, records[:30, 1:3].mean(axis=0) / 255, rtol=1e-5)
    assert f"kept at {path}" in capsys.readouterr().err
    again = datasets._kept_whitening(data, path, "these images")
    assert fits == [30]
    assert capsys.readouterr().err == ""
    np.testing.assert_array_equal(again.m, first.m)
    np.testing.assert_array_equal(again.W, first.W)
    assert again.scale == first.scale


def test_a_whitening_of_other_images_or_constants_or_damaged_is_fitted_anew(records, tmp_path, fits, monkeypatch):
    path = tmp_path / "whitening.safetensors"
    data = CIFAR10(records[:, :3], training=30)
    datasets._kept_whitening(data, path, "these images")
    datasets._kept_whitening(data, path, "others")
    assert len(fits) == 2
    monkeypatch.setattr(datasets, "BIAS", 0.2)
    datasets._kept_whitening(data, path, "others")
    assert len(fits) == 3
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    fourth = datasets._kept_whitening(data, path, "others")
    assert len(fits) == 4
    assert datasets._kept_whitening(data, path, "others").W[0, 0] == fourth.W[0, 0] == 4


def test_a_whitening_that_cannot_be_kept_is_used_all_the_same(records, tmp_path, fits):
    (tmp_path / "file").write_text("no folder")
    data = CIFAR10(records[:, :3], training=30)
    for n in (1, 2):
        assert datasets._kept_whitening(data, tmp_path / "file" / "whitening.safetensors", "images").W[0, 0] == n


@pytest.mark.data
def test_it_is_cifar10():
    """Facts published about CIFAR-10, independent of our hashes: class counts, first labels, means and deviations."""
    try:
        data = datasets.cifar10()
    except DataError as error:
        pytest.skip(str(error))
    train, test = data.train, data.test
    assert train.y[:10].tolist() == [6, 9, 9, 4, 1, 1, 2, 7, 8, 3]
    assert test.y[:10].tolist() == [3, 8, 8, 0, 6, 6, 1, 6, 3, 1]
    assert np.bincount(train.y).tolist() == [5000] * 10
    assert np.bincount(test.y).tolist() == [1000] * 10
    channels = train.x.reshape(-1, 3, 1024)
    assert channels.mean(axis=(0, 2), dtype=np.float64) == pytest.approx([0.4914, 0.4822, 0.4465], abs=5e-5)
    assert channels.std(axis=(0, 2), dtype=np.float64) == pytest.approx([0.2470, 0.2435, 0.2616], abs=5e-5)
    frog = train.x[0].reshape(3, 32, 32)[:, 0, 0] * 255  # the upper left pixel: its red, green and blue
    assert frog.tolist() == [59, 62, 63]


@pytest.mark.data
@pytest.mark.slow
def test_whitened_cifar10():
    """Whitened test images: a standard deviation of about 0.5, as the paper says, and the covariance that ZCA leaves.

    With a bias B the training images' covariance C becomes W C W = I - B W W, where W = (C + B I)^(-1/2).
    """
    try:
        raw, data = datasets.cifar10(), datasets.cifar10(whitened=True)
    except DataError as error:
        pytest.skip(str(error))
    z = data.test.x
    assert z.std() == pytest.approx(0.5, abs=0.05)
    W = data.whitening.W.astype("float64")
    wanted = np.eye(3072)[::31, ::31] - 0.1 * W[::31] @ W[:, ::31]
    assert 0.2 < np.diag(wanted).min() < np.diag(wanted).max() < 0.4
    np.testing.assert_allclose(np.cov(z[:, ::31].T), wanted, atol=0.05)
    before, after = (np.median(abs(np.corrcoef(x[:, ::31].T))) for x in (raw.test.x, z))
    assert before > 0.1
    assert after < 0.015
    np.testing.assert_allclose(data.whitening.undo(z[:50], like=raw.test.x[:50]), raw.test.x[:50], atol=1e-5)
