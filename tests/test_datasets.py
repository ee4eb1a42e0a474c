"""MNIST: what `mnist()` promises about its arrays, and that no damaged file passes for the real one."""

from __future__ import annotations

import copy
import lzma
import pickle
import shutil
import tracemalloc
from fractions import Fraction
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tinyadv import datasets
from tinyadv.datasets import MNIST, MNIST_FILES, MNIST_FOLDER, DataError, IdxFile, Split, mnist, pair

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
    fresh = mnist.__wrapped__
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
