"""Arrays and their libraries: which one an array belongs to, devices, random numbers, and who may import what."""

import ast
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import strict
from placed import host

import tinyadv
from tinyadv import attacks, losses, models
from tinyadv.backend import (
    DeviceError,
    array_module,
    as_array,
    bernoulli,
    check_device,
    full_like,
    generator,
    keep_mask,
    sharing_memory,
    sparse_normal,
    sums,
    to_device,
)

PACKAGE = Path(tinyadv.__file__).parent


# ---------------------------------------------------------------------------------------------------------
# Which library


def test_an_array_says_which_library_it_belongs_to(xp):
    assert array_module(xp.asarray(np.ones(3))) is xp
    assert array_module(xp.asarray(np.ones(3)).sum()) is xp


@pytest.mark.parametrize("x", [1, 2.5, np.float32(1), np.ones(2)], ids=repr)
def test_numbers_belong_to_numpy(x):
    assert array_module(x) is np


def test_arrays_stay_as_they_are_and_numbers_become_arrays(xp):
    x = xp.asarray(np.ones(3))
    assert as_array(x) is x
    assert isinstance(as_array([1.0, 2.0]), np.ndarray)
    assert as_array(2.5).shape == ()


def test_full_like(xp):
    x = xp.asarray(np.zeros((2, 3), dtype="float32"))
    for values in (1.5, np.full((2, 3), 1.5), xp.asarray(np.full((2, 3), 1.5))):
        y = full_like(x, values)
        assert array_module(y) is xp
        assert y.dtype == "float32"
        assert host(y).tolist() == np.full((2, 3), 1.5).tolist()


def test_arrays_that_share_memory_are_found(xp):
    x = xp.asarray(np.ones((4, 3)))
    rows, column, apart = x[:2], x[:, 1], xp.asarray(np.ones(3))
    assert sharing_memory({"column": column, "apart": apart, "none": x[:0]}) is None
    assert sharing_memory({"column": column, "apart": apart, "rows": rows}) in [("rows", "column"), ("column", "rows")]


# ---------------------------------------------------------------------------------------------------------
# The stub itself: what CuPy refuses, strict refuses


@pytest.mark.parametrize(
    "misuse",
    [
        np.asarray,
        np.exp,
        np.sum,
        lambda a: np.ones(3) + a,
        lambda a: a + np.ones(3),
        lambda a: a * np.array(2.0),
        lambda a: np.array(2.0) * a,
        lambda a: a @ np.ones(3),
        lambda a: a < np.ones(3),
        lambda a: a == np.ones(3),
        lambda a: a.__iadd__(np.ones(3)),
        lambda a: np.ones(3).__iadd__(a),
        list,
        lambda a: max(*a),
        lambda a: a[np.array([0, 1])],
        lambda a: a[np.array([True, False, True])],
        lambda a: a[[0, 1]],
        lambda a: a.__setitem__(0, np.array(1.0)),
        lambda a: strict.where(np.array([True, False, True]), a, 0.0),
        lambda a: strict.maximum(a, np.zeros(3)),
        lambda a: strict.concatenate([a, np.ones(3)]),
        lambda a: np.concatenate([np.ones(3), a]),
        lambda a: np.zeros(3).__setitem__(slice(None), a),
    ],
)
def test_strict_refuses(misuse):
    with pytest.raises(TypeError):
        misuse(strict.asarray(np.ones(3)))


def test_strict_computes_like_numpy_and_never_falls_out_of_itself():
    a = np.arange(6.0).reshape(2, 3)
    s = strict.asarray(a)
    pairs = [
        (s + 1, a + 1),
        (2.0 / (s + 1.0), 2.0 / (a + 1.0)),
        (np.float32(2) * s, np.float32(2) * a),
        (s @ s.T, a @ a.T),
        (s.sum(), a.sum()),
        (s[0, 1], a[0, 1]),
        (s[:, ::2], a[:, ::2]),
        (s[None, ..., 0], a[None, ..., 0]),
        (s.max(axis=0), a.max(axis=0)),
        (-s, -a),
        (abs(s - 2.0), abs(a - 2.0)),
        (~(s > 2.0), ~(a > 2.0)),
        (strict.where(s > 2.0, s, 0.0), np.where(a > 2.0, a, 0.0)),
        (strict.concatenate([s, s]), np.concatenate([a, a])),
    ]
    for ours, theirs in pairs:
        assert isinstance(ours, strict.ndarray)
        assert ours.dtype == theirs.dtype
        assert np.array_equal(ours.get(), theirs)
    f = s.get().astype("float32")
    for value, dtype in ((float(np.finfo("float32").max), "float64"), (3e38, "float32"), (-np.inf, "float32")):
        assert strict.maximum(strict.asarray(f), value).dtype == dtype  # as CuPy 13 has it
    s[0] = 5.0
    assert a[0, 0] == 0.0  # strict has its own memory, as a device has
    s += 1.0
    assert s.get()[0].tolist() == [6, 6, 6]


# ---------------------------------------------------------------------------------------------------------
# Devices


def test_the_cpu_is_always_there(xp):
    x = np.ones(3)
    assert to_device(x, "cpu") is x
    check_device("cpu")
    assert isinstance(to_device(xp.asarray(x), "cpu"), np.ndarray)


@pytest.mark.parametrize("device", ["gpu", "CUDA", "", "cuda:1", "tpu", None])
def test_an_unknown_device_raises(device):
    for call in (lambda: to_device(np.ones(3), device), lambda: check_device(device)):
        with pytest.raises(ValueError, match=rf"unknown device {device!r}: wanted 'cpu' or 'cuda'"):
            call()


class _Runtime:
    class CUDARuntimeError(RuntimeError):
        pass

    def __init__(self, devices):
        self.devices = devices

    def getDeviceCount(self):
        if self.devices is None:
            raise self.CUDARuntimeError("cudaErrorInsufficientDriver: CUDA driver version is insufficient")
        return self.devices


def fake_cupy(monkeypatch, devices):
    """A module named cupy: strict, with a runtime that finds so many GPUs, or None for no driver."""
    module = SimpleNamespace(cuda=SimpleNamespace(runtime=_Runtime(devices)), asarray=strict.asarray)
    monkeypatch.setitem(sys.modules, "cupy", module)


def test_cuda_without_cupy_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)  # import cupy fails
    for call in (lambda: to_device(np.ones(3), "cuda"), lambda: check_device("cuda")):
        with pytest.raises(DeviceError, match=r"needs CuPy, which is not installed: pip install 'tinyadv\[cuda12\]'"):
            call()


def test_cuda_without_a_gpu_says_so(monkeypatch):
    fake_cupy(monkeypatch, devices=0)
    with pytest.raises(DeviceError, match="needs an NVIDIA GPU; CuPy finds none"):
        check_device("cuda")
    fake_cupy(monkeypatch, devices=None)
    with pytest.raises(DeviceError, match="needs an NVIDIA GPU and its driver; CuPy reports: cudaErrorInsufficient"):
        check_device("cuda")


def test_cuda_without_its_libraries_says_so_before_any_work(monkeypatch):
    fake_cupy(monkeypatch, devices=1)

    def without_nvrtc(a, b):
        raise RuntimeError("CuPy failed to load libnvrtc.so.12")

    monkeypatch.setattr(strict.ndarray, "__mul__", without_nvrtc)
    with pytest.raises(DeviceError, match=r"needs CUDA's libraries.*'tinyadv\[cuda12\]'.*failed to load libnvrtc"):
        check_device("cuda")


def test_cuda_with_a_gpu_moves_there_and_back(monkeypatch):
    fake_cupy(monkeypatch, devices=1)
    check_device("cuda")
    there = to_device(np.arange(3.0), "cuda")
    assert isinstance(there, strict.ndarray)
    assert to_device(there, "cuda") is there
    assert to_device(there, "cpu").tolist() == [0, 1, 2]


def test_sums_are_right_where_gradients_share_memory():
    """The gradients of parameters that are only added to each other, for one, are the same array."""
    g, h, rows = np.ones(3), np.full(3, 2.0), np.ones((3, 2))
    assert [s.tolist() for s in sums([g, g], [h, 3 * h])] == [[3, 3, 3], [7, 7, 7]]
    assert [s.tolist() for s in sums([g, h], [h, g])] == [[3, 3, 3], [3, 3, 3]]
    assert [s.tolist() for s in sums([rows[:2], rows[1:]], [np.ones((2, 2))] * 2)] == [[[2, 2]] * 2] * 2


# ---------------------------------------------------------------------------------------------------------
# Random numbers


def draws(rng, n=1000):
    return rng.random(n)


def test_a_generator_repeats_itself():
    assert np.array_equal(draws(generator(7, "masks")), draws(generator(7, "masks")))


def test_streams_and_seeds_are_independent():
    streams = [draws(generator(seed, name)) for seed in (0, 1, 2**40) for name in ("", "masks", "order", "weights")]
    correlations = np.corrcoef(streams) - np.eye(len(streams))
    assert np.abs(correlations).max() < 0.13  # 4 standard errors of 1000 draws


def test_a_new_consumer_does_not_move_the_others():
    before = draws(generator(3, "weights"))
    draws(generator(3, "something new"))
    assert np.array_equal(before, draws(generator(3, "weights")))


def test_the_streams_stay_what_they_are():
    """Pinned: published numbers depend on these."""
    assert generator(0, "masks").integers(0, 1000, 4).tolist() == [965, 587, 435, 873]


def test_the_masks_stay_what_they_are(xp):
    """Pinned too: one sequence on the CPU, and one that every other library shares, so that strict stands for CuPy."""
    mask = keep_mask(generator(0, "masks"), xp.asarray(np.ones(16, dtype="float32")), 0.5, 1.0)
    cpu = [0, 0, 0, 0, 0, 1, 0, 0, 1, 1, 0, 1, 0, 1, 0, 1]
    device = [0, 0, 1, 0, 0, 0, 1, 1, 0, 0, 1, 1, 1, 0, 0, 1]
    assert host(mask).tolist() == (cpu if xp is np else device)


def mask_of(xp, shape, keep, scale=1.0, dtype="float32", seed=0, order="C"):
    x = xp.asarray(np.ones(shape, dtype=dtype, order=order))
    return keep_mask(generator(seed, "masks"), x, keep, scale)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("keep", "scale"), [(0.5, 2.0), (0.8, 1.0), (0.5, 1.0)])
def test_a_mask_is_zero_or_the_scale(xp, dtype, keep, scale):
    mask = mask_of(xp, (40, 30), keep, scale, dtype)
    assert array_module(mask) is xp
    assert mask.shape == (40, 30)
    assert mask.dtype == dtype
    assert set(np.unique(host(mask)).tolist()) == {0.0, scale}


@pytest.mark.parametrize("keep", [0.0, 1.0])
def test_keeping_nothing_or_everything(xp, keep):
    assert (host(mask_of(xp, (100, 7), keep, 1.0)) == keep).all()


@pytest.mark.parametrize("keep", [0.1, 0.5, 0.8, 0.999])
def test_the_rate_is_as_asked_and_entries_are_independent(xp, keep):
    kept = host(mask_of(xp, (400, 500), keep)) != 0
    n = kept.size
    sigma = np.sqrt(keep * (1 - keep))
    assert abs(kept.mean() - keep) < 4 * sigma / np.sqrt(n)
    centred = kept.ravel() - keep
    for lag in (1, 2, 3, 4, 5, 8, 16, 500):  # neighbours, those from one 64-bit word, and whole rows
        assert abs((centred[lag:] * centred[:-lag]).mean()) < 4.5 * sigma**2 / np.sqrt(n - lag), lag
    rows, columns = kept.mean(axis=1), kept.mean(axis=0)
    assert abs(rows.std() / (sigma / np.sqrt(500)) - 1) < 0.15
    assert abs(columns.std() / (sigma / np.sqrt(400)) - 1) < 0.15


@pytest.mark.parametrize(("keep", "last"), [(0.8, 52428), (0.1, 6553), (0.5, 32767), (1e-5, 0)])
def test_the_rate_is_rounded_to_the_nearest_of_65536(keep, last):
    """Of 65536 equally likely draws those below keep * 65536 = 52428.8, 6553.6, 32768, 0.66 are kept, rounded."""

    class Draws:
        standard_normal = None  # by which a generator is known

        def integers(self, low, high, size, dtype, endpoint):
            return np.array([last, last + 1, last, last + 1], "uint16").view("uint64")

    assert keep_mask(Draws(), np.ones(4, "float32"), keep, 1.0).tolist() == [1, 0, 1, 0]


def test_a_mask_repeats_with_its_seed_and_moves_with_another(xp):
    a, b, c = (host(mask_of(xp, (50, 50), 0.5, seed=seed)) for seed in (1, 1, 2))
    assert np.array_equal(a, b)
    assert 0.4 < (a != c).mean() < 0.6


def test_two_masks_of_one_generator_differ(xp):
    x = xp.asarray(np.ones((50, 50), dtype="float32"))
    rng = generator(0, "masks")
    a, b = (host(keep_mask(rng, x, 0.5, 1.0)) for _ in range(2))
    assert 0.4 < (a != b).mean() < 0.6


@pytest.mark.parametrize("order", ["C", "F"])
def test_a_mask_lies_in_memory_as_its_array_does(xp, order):
    x = xp.asarray(np.ones((20, 31), dtype="float32", order=order))
    assert x.flags.f_contiguous == (order == "F")
    mask = keep_mask(generator(5, "masks"), x, 0.5, 2.0)
    assert mask.flags.f_contiguous == x.flags.f_contiguous
    assert mask.flags.c_contiguous == x.flags.c_contiguous
    in_memory_order = mask_of(xp, (20, 31) if order == "C" else (31, 20), 0.5, 2.0, seed=5)
    assert np.array_equal(host(mask), host(in_memory_order) if order == "C" else host(in_memory_order).T)


@pytest.mark.parametrize("shape", [(1,), (3,), (5, 1), (1, 7), (0, 3), (2, 3, 5)])
def test_masks_of_any_shape(xp, shape):
    mask = host(mask_of(xp, shape, 0.5, 2.0))
    assert mask.shape == shape
    assert set(np.unique(mask).tolist()) <= {0.0, 2.0}


def test_a_mask_leaves_the_array_alone(xp):
    x = xp.asarray(np.full((4, 4), 3.0, dtype="float32"))
    keep_mask(generator(0), x, 0.5, 1.0)
    assert (host(x) == 3.0).all()


def test_black_and_white_with_the_probability_of_each_entry(xp):
    p = np.tile(np.array([0, 0.1, 0.5, 0.9, 1], dtype="float32"), (20_000, 1))
    rng = generator(0)
    first, second = (bernoulli(rng, xp.asarray(p)) for _ in range(2))
    assert array_module(first) is xp
    assert (first.shape, first.dtype) == (p.shape, "float32")
    assert set(np.unique(host(first))) == {0, 1}
    np.testing.assert_allclose(host(first).mean(axis=0), p[0], atol=4 * 0.5 / np.sqrt(len(p)))
    assert (host(first)[:, [0, 4]] == [0, 1]).all()
    assert abs((host(first) != host(second)).mean(axis=0) - 2 * p[0] * (1 - p[0])).max() < 0.015
    assert np.array_equal(host(bernoulli(generator(0), xp.asarray(p))), host(first))


def test_sparse_weights_have_as_many_entries_a_row_as_asked_anywhere_in_it():
    W = sparse_normal(generator(0), (2000, 50), 15)
    assert W.dtype == "float32"
    assert ((W != 0).sum(axis=1) == 15).all()
    np.testing.assert_allclose((W != 0).mean(axis=0), 0.3, atol=0.05)
    entries = W[W != 0]
    assert abs(entries.mean()) < 0.03
    assert abs(entries.std() - 1) < 0.02
    assert (sparse_normal(generator(0), (4, 3), 15) != 0).all()


# ---------------------------------------------------------------------------------------------------------
# Who imports what

YARDSTICKS = ("bench/",)  # written in plain NumPy so that the package can be measured against it
HOST_SIDE = (
    "datasets.py",
    "gradcheck.py",
    "cli.py",
    "command_line.py",
    "explore.py",
    "gallery.py",
    "photographs.py",
    "plain_safetensors.py",
    "paper/",
    "course/",
)  # may say `from numpy import name`
HEAVY = ("cupy", "matplotlib", "rich", "typer", "scipy", "torch", "pooch", "dask", "pandas")


def imports(path):
    """(module, whether as `from module import ...`, line) of all imports in a file, at any depth."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, False, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module, True, node.lineno


def test_only_the_backend_imports_an_array_library_at_large():
    files = sorted(PACKAGE.rglob("*.py"))
    assert len(files) > 5
    found = []
    for path in files:
        name = path.relative_to(PACKAGE).as_posix()
        if name.startswith(YARDSTICKS):
            continue
        for module, narrow, line in imports(path):
            library = module.partition(".")[0]
            if library == "cupy" and name != "backend.py":
                found.append(f"{name}:{line} imports cupy")
            if library == "numpy" and name != "backend.py" and not (narrow and name.startswith(HOST_SIDE)):
                found.append(f"{name}:{line} imports numpy")
    assert found == []


def test_the_backend_does_import_them():
    """So that the test above looks at what it thinks it looks at."""
    modules = {module for module, _, _ in imports(PACKAGE / "backend.py")}
    assert {"numpy", "cupy"} <= modules


def test_importing_tinyadv_imports_nothing_heavy():
    code = f"import sys, tinyadv; print(*[m for m in {HEAVY} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout.split()) == (0, []), done.stderr


def small():
    return models.softmax_regression(4, 2, rng=tinyadv.backend.generator(0))


@pytest.mark.parametrize(
    "rng", [0, 1.5, np.random.RandomState(0), np.random], ids=["int", "float", "RandomState", "module"]
)
@pytest.mark.parametrize(
    "draw",
    [
        lambda rng: tinyadv.backend.uniform(rng, (2, 2), 1.0),
        lambda rng: tinyadv.backend.noise(rng, np.ones(2, "float32"), 1.0),
        lambda rng: tinyadv.backend.keep_mask(rng, np.ones(2, "float32"), 0.5, 2.0),
        lambda rng: tinyadv.backend.bernoulli(rng, np.ones(2, "float32")),
        lambda rng: models.mp_dbm((4, 4), 2, 9, 3, rng=rng),
        lambda rng: attacks.square(small(), np.ones((2, 4), "float32"), np.array([0, 1]), 0.1, 3, rng=rng),
        lambda rng: losses.noise_objective(small(), np.ones((2, 4), "float32"), np.array([0, 1]), rng),
        lambda rng: losses.rubbish_objective(small(), np.ones((9, 4), "float32"), np.arange(9) % 2, rng, 0.5),
        lambda rng: tinyadv.gradcheck(lambda x: x * x, np.ones(2), rng=rng),
    ],
    ids=["uniform", "noise", "keep_mask", "bernoulli", "mp_dbm", "square", "noise objective", "rubbish", "gradcheck"],
)
def test_what_is_no_generator_raises(draw, rng):
    with pytest.raises(TypeError, match=r"rng is a generator, such as tinyadv\.backend\.generator\(0\); got "):
        draw(rng)


@pytest.mark.parametrize("seed", [None, 1.0, "1", [1, 2]])
def test_a_seed_is_a_whole_number(seed):
    with pytest.raises(TypeError):
        generator(seed)
    assert generator(np.int64(3)).random() == generator(3).random()
