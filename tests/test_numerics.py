"""Numbers: none missing where mathematics has one, float32 beside float64, and what a result may not depend on.

Bounds are derived, not fitted: `error_bounds` counts the roundings of every operation and carries them to the result.
They hold for any order of sums, so one bound serves precision, batch sizes, threads, and platforms. The last part has
a table of all tricks for stability, each with a test that is shown to fail once the naive formula is in its place.

    pytest tests/test_numerics.py -n0 -m slow -s

draws thousands of random networks instead of dozens, and prints how many numbers were compared.
"""

import itertools
import json
import math
import os
import subprocess
import sys
from collections import Counter

import cases
import numpy as np
import pytest
from error_bounds import bound, representable, same_side
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tinyadv import attacks, datasets, layers, losses, metrics, models, ops, optim
from tinyadv.backend import generator
from tinyadv.layers import parameters
from tinyadv.tensor import Tensor, grad

D, K = 6, 3
BUILDERS = {
    "softmax": ("softmax_regression", {"scale": 0.5}),
    "logistic": ("logistic_regression", {"scale": 0.5}),
    "maxout": ("maxout_network", {"units": 4, "pieces": 2, "scale": 0.5}),
    "maxout-sigmoid": ("maxout_network", {"units": 4, "pieces": 3, "depth": 1, "top": "sigmoid", "scale": 0.5}),
    "sigmoid-units": ("saturating_network", {"units": 4, "scale": 0.5}),
    "rust-units": ("saturating_network", {"unit": "rust", "units": 4, "scale": 0.5}),
    "rust-squared-units": ("saturating_network", {"unit": "rust-squared", "units": 4, "scale": 0.5}),
    "rbf": ("rbf_network", {"beta": 0.5}),
    "rbf-true-class": ("rbf_network", {"beta": 0.5, "full": True, "top": "rbf-true-class"}),
    "rbf-squared": ("rbf_network", {"beta": 0.5, "top": "rbf-squared"}),
    "deep-rbf": ("deep_rbf_network", {"units": 4, "depth": 2, "beta": 0.4, "hidden_beta": 0.6}),
    "deep-rbf-softmax": ("deep_rbf_network", {"units": 4, "beta": 0.4, "top": "softmax"}),
    "quadratic": ("quadratic_network", {"units": 4, "inhibition": 0.3, "scale": 0.9}),
    "quadratic-sigmoid": ("quadratic_network", {"units": 4, "top": "sigmoid", "scale": 0.9}),
    "mp-dbm": ("mp_dbm", {"units": [4, 3], "iterations": 4}),
}
EXTREMES = [0.0, 1e-45, 1e-38, 1e-30, 1e-8, 1e-3, 1.0, 30.0, 1e3, 1e10, 1e20, 1e30]
# what overflows on the way to a result that does not is no error here: the results are looked at
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


def network(name, seed=0, dtype="float32", factor=1.0):
    """A network whose parameters, in float32 times `factor`, are the same numbers in either dtype."""
    builder, arguments = BUILDERS[name]
    classes = {} if name == "logistic" else {"classes": K}
    model = models.build(builder, {"inputs": D, **classes, **arguments}, generator(seed, "weights"))
    for p in parameters(model):
        p.data = (p.data * np.float32(factor)).astype(dtype)
    return model


def images(n, seed=0, size=1.0):
    """Of both signs, up to `size`, in float32."""
    return ((generator(seed, "images").random((n, D)) * 2 - 0.7) * size).astype("float32")


def labels(model, n):
    y = np.arange(n) % K
    return np.where(y == 0, -1, 1) if model.top == "logistic" else y


def results(model, x, y):
    """Outputs, J, and the input gradient, as Tensors that remember how they were computed."""
    X = Tensor(x)
    z = model(X)
    J = model.loss(z, y)
    (g,) = grad(J, [X], cotangent=float(len(x)), create_graph=True)
    return {"z": z, "J": J, "g": g}


def test_the_builders_are_all_there():
    elsewhere = {"conv_maxout_network"}  # its inputs are images: test_images has its operations in float32
    assert {builder for builder, _ in BUILDERS.values()} == set(models._BUILDERS) - elsewhere
    assert {network(name).top for name in BUILDERS} == set(models._TOPS)


# ---------------------------------------------------------------------------------------------------------
# float32 beside float64


def compared(name, seed, n, size, factor, counts):
    """Compares an output, J, and an entry of the gradient with float64, each against its own bound."""
    x = images(n, seed, size)
    found = {}
    for dtype in ("float32", "float64"):
        model = network(name, seed, dtype, factor)
        found[dtype] = results(model, x.astype(dtype), labels(model, n))
    pick = np.random.default_rng(seed)
    for key, exact in found["float64"].items():
        ours = found["float32"][key]
        assert ours.dtype == "float32"
        if not representable(exact, "float32"):
            counts["not representable"] += 1
            continue
        assert np.isfinite(ours.data).all(), (name, key)
        if key == "g" and not same_side(ours, exact):  # another winner: at a kink there are two gradients
            counts["at a kink"] += 1
            continue
        place = tuple(int(pick.integers(s)) for s in exact.shape)
        one = exact[place] if place else exact
        difference = abs(float(np.asarray(ours.data)[place]) - float(one.data))
        assert difference <= bound(one, "float32"), (name, key, float(one.data))
        counts["compared"] += 1


drawn = given(
    name=st.sampled_from(sorted(BUILDERS)),
    seed=st.integers(0, 9999),
    n=st.sampled_from([1, 2, 3, 5, 17]),
    size=st.sampled_from(EXTREMES),
    factor=st.sampled_from([1e-30, 1e-3, 1.0, 30.0, 1e3, 1e30]),
)


@settings(max_examples=60, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@drawn
def test_float32_agrees_with_float64_within_the_rounding_of_each_operation(name, seed, n, size, factor):
    compared(name, seed, n, size, factor, Counter())


@pytest.mark.slow
def test_float32_agrees_with_float64_on_thousands_of_networks():
    counts = Counter()

    @settings(max_examples=2000, deadline=None, suppress_health_check=list(HealthCheck))
    @drawn
    def draw(name, seed, n, size, factor):
        compared(name, seed, n, size, factor, counts)

    draw()
    print(f"\nnumbers in float32 beside float64: {dict(counts)}")
    assert counts["compared"] > 3000


@pytest.mark.parametrize("name", BUILDERS)
@pytest.mark.parametrize("size", [1e-3, 1.0])
def test_the_bound_would_find_an_error(name, size):
    """A cost off by a thousandth is outside; so the bound says more than nothing."""
    model = network(name, dtype="float64")
    J = results(model, images(5, size=size).astype("float64"), labels(model, 5))["J"]
    assert 0 < bound(J, "float32") < 1e-3 * J.item()
    assert 0 < bound(J, "float64") < 1e-8 * bound(J, "float32")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", EXTREMES)
@pytest.mark.parametrize("name", BUILDERS)
def test_nothing_is_nan_at_extreme_pixels(name, size, dtype):
    """Not the outputs, not the probabilities, not J, which may be infinite, no gradient of an input or a parameter."""
    found, exact = {}, {}
    for kind, into in ((dtype, found), ("float64", exact)):
        model, x = network(name, dtype=kind), images(3, size=size).astype(kind)
        y, X = labels(model, 3), Tensor(x)
        z = model(X)
        J = model.loss(z, y)
        into["z"], into["p"], into["J"] = z.data, model.probabilities(z.data), J.data
        unused = name == "mp-dbm"  # the visible biases, where all pixels are given
        into["g"], *of_parameters = grad(J, [X, *parameters(model)], allow_unused=unused)
        into.update(enumerate(of_parameters))
    for key, a in found.items():  # a parameter's gradient may be beyond float32
        assert not np.isnan(a).any() or abs(exact[key]).max() > np.finfo(dtype).max, key
    assert found["p"].min() >= 0
    assert found["p"].max() <= 1 + 4 * np.finfo(dtype).eps
    assert np.isfinite(found["g"]).all()
    model, x = network(name, dtype=dtype), x.astype(dtype)
    for attack in (attacks.fgsm, attacks.pgd, attacks.rotate):
        assert np.isfinite(attack(model, x, y, 0.1)).all()


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("level", [0.0, 1e-45, 1.0, -88.0, 1e4, 1e30, "max", "-max"])
def test_of_equal_logits_every_class_has_the_same_share(level, dtype):
    kind = np.finfo(dtype)
    level = {"max": kind.max, "-max": kind.min}.get(level, level)
    z = Tensor(np.full((4, 10), level, dtype))
    J = losses.softmax_cross_entropy(z, np.arange(4))
    assert abs(J.item() - math.log(10)) <= 30 * kind.eps  # adding 10 ones is exact; log, and the mean
    assert (ops.softmax(z.data) == z.data.dtype.type(0.1)).all()
    (g,) = grad(J, [z], cotangent=4.0)
    np.testing.assert_allclose(g, 0.1 - np.eye(10)[:4], rtol=20 * kind.eps)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_logits_at_both_ends_of_the_numbers_cost_nothing_or_everything(dtype):
    most = np.finfo(dtype).max
    z = np.array([[most, -most, 0.0]], dtype)
    for top in ("softmax", "sigmoid"):
        J = models._TOPS[top][0]
        assert float(J(z, np.array([0]))) == (0.0 if top == "softmax" else pytest.approx(math.log(2)))
        assert float(J(z, np.array([1]))) > most / 2
        Z = Tensor(z)
        for k, target in itertools.product(range(3), range(3)):
            (g,) = grad(J(Z, np.array([target])), [Z])
            assert abs(g).max() <= 1, (top, k)


# ---------------------------------------------------------------------------------------------------------
# Shapes and batches


@pytest.mark.parametrize("name", BUILDERS)
def test_no_examples_have_no_outputs_and_no_cost(name):
    model = network(name)
    z = model(images(0))
    assert z.shape == ((0,) if name == "logistic" else (0, K))
    assert metrics.predict(model, images(0)).shape == (0,)
    assert model.probabilities(z).shape == z.shape
    with pytest.raises(ValueError, match="mean over examples: at least one is wanted, got none"):
        model.loss(z, np.zeros(z.shape[:1], int))


@pytest.mark.parametrize("name", ["softmax", "maxout", "rbf", "quadratic"])
def test_a_huge_batch_gives_each_image_what_it_gets_alone(name):
    n, model, precise = 200_001, network(name), network(name, dtype="float64")
    x = images(n)
    y = labels(model, n)
    z, x_adv = model(x), attacks.fgsm(model, x, y, 0.25)
    for i in (0, 77_777, n - 1):
        exact = results(precise, x[i : i + 1].astype("float64"), y[i : i + 1])
        for k in range(K):
            assert abs(float(z[i, k]) - float(exact["z"].data[0, k])) <= bound(exact["z"][0, k], "float32")
        g = exact["g"].data[0]
        sure = (g == 0) | (abs(g) > [bound(exact["g"][0, d], "float32") for d in range(D)])
        assert (np.sign(x_adv[i] - x[i]) == np.sign(g))[sure].all()
        assert sure.sum() >= D - 1
    J, wide = float(model.loss(z, y)), float(precise.loss(z.astype("float64"), y))
    assert abs(J - wide) <= n * np.finfo("float32").eps * wide  # at most n roundings, in whatever order


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.sampled_from(sorted(BUILDERS)), st.integers(0, 999), st.integers(1, 40), st.integers(1, 41))
def test_the_size_of_a_batch_changes_nothing_but_rounding(name, seed, n, size):
    """A product of other matrices may add in another order: each is within the bound of what float64 gives."""
    model, precise, x = network(name, seed), network(name, seed, "float64"), images(n, seed)
    X = Tensor(x.astype("float64"))
    exact = precise(X)
    place = tuple(int(i) for i in np.random.default_rng(seed).integers(exact.shape))
    allowed = bound(exact[place], "float32")
    for found in (metrics.in_batches(model, x, size=size), model(x)):
        assert abs(float(found[place]) - float(exact[place].data)) <= allowed


ATTACKS = {
    "fgsm": lambda model, x, y: attacks.fgsm(model, x, y, 0.25),
    "pgd": lambda model, x, y: attacks.pgd(model, x, y, 0.25, steps=5),
    "pgd from a random start": lambda model, x, y: attacks.pgd(model, x, y, 0.25, steps=3, rng=generator(0)),
    "rotation": lambda model, x, y: attacks.rotate(model, x, y, 0.3),
}


@pytest.mark.parametrize("attack", ATTACKS)
@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.sampled_from(sorted(BUILDERS)), st.integers(0, 999), st.integers(2, 33), st.sampled_from([0.0, 1.0, 1e18]))
def test_an_image_s_attack_does_not_depend_on_its_batch_mates(attack, name, seed, n, size):
    """Whatever stands in the other rows, zeros or numbers of 1e18: to the last bit."""
    model, x = network(name, seed), images(n, seed)
    y, row = labels(model, n), seed % n
    others = images(n, seed + 1, size)
    others[row] = x[row]
    relabelled = np.roll(y, 1)
    relabelled[row] = y[row]
    alone = ATTACKS[attack](model, x, y)[row]
    assert ATTACKS[attack](model, others, relabelled)[row].tobytes() == alone.tobytes()


# ---------------------------------------------------------------------------------------------------------
# Threads, kernels, processes

JOB = """
import hashlib, json, sys
import numpy as np
from tinyadv import attacks, losses, models, optim, training
from tinyadv.backend import generator
from tinyadv.layers import parameters
x, y, *train = np.load(sys.argv[1]).values()
model = models.maxout_network(120, 5, scale=0.05, rng=generator(0, "weights"))
z, g = model(x), attacks.input_gradient(model, x, y)
def digest():
    model = models.maxout_network(40, 2, scale=0.05, rng=generator(0, "weights"))
    optimiser = optim.SGD(parameters(model), max_norm=1.9)
    training.train(model, losses.adversarial_objective, *train, epochs=1, seed=0, optimiser=optimiser)
    arrays = [p.data for p in parameters(model)]
    arrays += [attacks.pgd(model, x, y, 0.25, 3, rng=generator(1)), attacks.rotate(model, x, y, 0.3)]
    return hashlib.sha256(b"".join(a.tobytes() for a in arrays)).hexdigest()
print(json.dumps({"z": z.astype("float64").tolist(), "g": g[:, ::7].astype("float64").tolist(), "bits": digest(),
                  "again": digest()}))
"""


def features():
    """What NumPy's own loops use of this processor beyond the least that it asks for."""
    from numpy._core._multiarray_umath import __cpu_dispatch__, __cpu_features__

    return " ".join(name for name in __cpu_dispatch__ if __cpu_features__[name])


VARIANTS = {
    "one thread": {"OPENBLAS_NUM_THREADS": "1"},
    "once more": {"OPENBLAS_NUM_THREADS": "1"},
    "two threads": {"OPENBLAS_NUM_THREADS": "2", "OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2"},
    "BLAS of an old processor": {
        "OPENBLAS_NUM_THREADS": "1",
        "OPENBLAS_CORETYPE": "Nehalem",
    },  # Prescott's crash in NumPy 2.5
    "loops of an old processor": {"OPENBLAS_NUM_THREADS": "1", "NPY_DISABLE_CPU_FEATURES": features()},
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The job in a process of its own for each variant, two at a time."""
    train, _, test = datasets.mnist()
    digits = tmp_path_factory.mktemp("digits") / "digits.npz"  # so that not every process reads all of MNIST
    np.savez(digits, test.x[:64], test.y[:64], train.x[:500], train.y[:500])

    def started(settings):
        command = [sys.executable, "-W", "ignore", "-c", JOB, str(digits)]
        return subprocess.Popen(command, env={**os.environ, **settings}, stdout=subprocess.PIPE)

    found = {}
    for pair in itertools.batched(VARIANTS, 2) if hasattr(itertools, "batched") else [[name] for name in VARIANTS]:
        processes = {name: started(VARIANTS[name]) for name in pair}
        for name, process in processes.items():
            output, _ = process.communicate(timeout=120)
            assert process.returncode == 0
            found[name] = json.loads(output)
    return found


def test_the_same_seed_gives_the_same_bits_in_one_process_and_in_two(runs):
    assert (
        len({bits for name in ("one thread", "once more") for bits in (runs[name]["bits"], runs[name]["again"])}) == 1
    )
    for name in VARIANTS:
        assert runs[name]["bits"] == runs[name]["again"], name


@pytest.fixture(scope="module")
def exact():
    """The job's network in float64, its outputs and gradients as Tensors."""
    x, y = (a[:64] for a in datasets.mnist().test)
    model = models.maxout_network(120, 5, scale=0.05, rng=generator(0, "weights")).to(dtype="float64")
    return results(model, x.astype("float64"), y)


@pytest.mark.parametrize("variant", VARIANTS)
def test_threads_and_platforms_differ_by_rounding_alone(runs, exact, variant):
    """Each is within its bound of float64, so any two are within twice that; the whole arrays, by the largest bound."""
    rng = np.random.default_rng(0)
    for key, scale in (("z", 1), ("g", 7)):
        ours, wide = np.array(runs[variant][key]), exact[key].data[:, ::scale]
        bounds = []
        for _ in range(4):
            n, d = (int(rng.integers(s)) for s in wide.shape)
            bounds.append(bound(exact[key][n, d * scale], "float32"))
            assert abs(ours[n, d] - wide[n, d]) <= bounds[-1]
        assert abs(ours - wide).max() <= 4 * max(bounds)
        assert max(bounds) < 0.01 * abs(wide).max()
        assert abs(ours - wide).max() > 0


# ---------------------------------------------------------------------------------------------------------
# The tricks. Each check passes with the code as it is, and fails with the naive formula in the trick's place.


def close(found, wanted, rtol, atol=0.0):
    np.testing.assert_allclose(np.asarray(found, dtype="float64"), wanted, rtol=rtol, atol=atol)


def f32(*values):
    return np.array(values, dtype="float32")


def slope(f, x):
    X = Tensor(x)
    return grad(f(X), [X], cotangent=1.0)[0]


def check_softplus():
    close(ops.softplus(f32(-20, 0, 100, 1e30)), [math.exp(-20), math.log(2), 100, 1e30], 1e-6)


def check_sigmoid():
    """To the last digit that a denormal number has."""
    close(ops.sigmoid(f32(-95, -20)), [math.exp(-95), math.exp(-20)], 2e-6, 3e-45)


def check_slope_of_sigmoid():
    close(slope(ops.sigmoid, f32(20, -20)), [math.exp(-20)] * 2, 1e-5)


def check_log1mexp():
    close(ops.log1mexp(f32(-1e-10, -0.5, -30)), [math.log(1e-10), math.log(1 - math.exp(-0.5)), -math.exp(-30)], 1e-5)


def check_log1mexp_is_quiet():
    with np.errstate(divide="raise"):
        ops.log1mexp(f32(-1e-20))


def check_slope_of_log1mexp():
    close(slope(ops.log1mexp, np.array([-1e-12])), [-1e12], 1e-9)


def check_log_softmax():
    close(ops.log_softmax(f32([1000, 0], [-1000, -1000])), [[0, -1000], [-math.log(2)] * 2], 1e-6)


def check_softmax():
    close(ops.softmax(f32([1000, 1000], [-1000, -1000])), [[0.5] * 2] * 2, 1e-6)


def check_lowest_log_p():
    assert float(losses.softmax_cross_entropy(f32([3e38, -3e38]), np.array([0]))) == 0
    model = network("rbf")
    assert float(model.loss(model(images(3, size=1e30)), np.arange(3))) == math.inf


def check_slope_of_cross_entropy():
    g = slope(lambda z: ops.softmax_cross_entropy(z, f32([1, 0])), f32([20, 0]))
    close(g, [[-math.exp(-20), math.exp(-20)]], 1e-5)


def check_binary_cross_entropy():
    close(ops.binary_cross_entropy(f32(200, -200, 20), f32(0, 1, 1)), [200, 200, math.exp(-20)], 1e-5)


def check_slope_of_binary_cross_entropy():
    close(slope(lambda z: ops.binary_cross_entropy(z, f32(1, 0)), f32(20, -20)), [-math.exp(-20), math.exp(-20)], 1e-5)


def check_power_at_0_of_0():
    close(slope(lambda a: a ** f32(0, 1, 2), f32(0, 0, 0)), [0, 1, 0], 0)
    close(slope(lambda a: a**0, f32(0)), [0], 0)


def check_power_s_exponent_at_0():
    close(slope(lambda b: ops.power(f32(0, 2), b), f32(2, 2)), [0, 4 * math.log(2)], 1e-6)


def check_slope_of_divide():
    close(slope(lambda b: ops.divide(f32(1e30), b), f32(1e30)), [-1e-30], 1e-6)


def check_rbf_stays_on_the_log_scale():
    """log p = -800: p is 0 even in float64."""
    close(ops.rbf(np.array([[40.0]]), np.array([[0.0]]), np.array([[0.5]])), [[-800]], 1e-12)


def check_rbf_subtracts_first():
    x = f32([1000.1])
    close(ops.rbf(x, f32([1000]), f32([1])), [[-((float(x[0, 0]) - 1000) ** 2)]], 1e-6)


def check_smallest():
    assert float(losses.rbf_cross_entropy(f32([0, -1]), np.array([1]))) == pytest.approx(1 - math.log(1e-7), rel=1e-6)
    assert np.isfinite(slope(lambda z: losses.rbf_cross_entropy(z, np.array([1])), f32([0, -1]))).all()


def check_rust():
    W = f32(*generator(0).random((5, 2, 4)) - 0.5)
    large, limit = (ops.rust(np.full((1, 4), size, "float32"), W, np.zeros(2, "float32")) for size in (1e30, 1e8))
    close(large, limit, 1e-5)  # 1 does not count beside either
    small = ops.rust(np.full((1, 4), 1e-25, "float32"), W, np.zeros(2, "float32"))
    expected = cases.rust_expected(np.full((1, 4), 1e-25), W.astype("float64"), np.zeros(2))
    np.testing.assert_allclose(small, expected, rtol=1e-4)


def check_rust_squared():
    W = f32(*generator(0).random((3, 2, 4)) - 0.5)
    limit, *large = (
        ops.rust_squared(np.full((1, 4), size, "float32"), W, np.zeros(6, "float32"), 2)
        for size in (1e6, 1e18, 1.5e19, 3e19, 1e30)
    )
    for h in large:
        close(h, limit, 1e-5)  # 1 does not count beside any


def check_squares():
    for name in ("deep-rbf", "quadratic"):
        model, x = network(name), images(3, size=1e30)
        theta = parameters(model)
        assert all(np.isfinite(g).all() for g in grad(model.loss(model(Tensor(x)), np.arange(3)), theta))


def check_unit_scales():
    v = f32([3, 4], [3e-30, 4e-30], [3e30, 4e30])
    u, length, _ = attacks.unit(v)
    close(u, [[0.6, 0.8]] * 3, 1e-6)
    close(length, [[5], [5e-30], [5e30]], 1e-6)


def check_unit_at_0():
    close(attacks.unit(f32([0, 0], [3, 4]))[0], [[0, 0], [0.6, 0.8]], 1e-6)
    assert np.isfinite(slope(lambda v: attacks.unit(v)[0], f32([0, 0]))).all()


def check_rotation_without_a_plane():
    x = generator(0).random((4, 784), dtype="float32")
    assert attacks.rotated(x, x / 7, 0.5).tobytes() == x.tobytes()


def check_rotation_in_a_thin_plane():
    x = generator(0).random((8, 784), dtype="float32")
    g = x + f32(*(1e-3 * (generator(1).random((8, 784)) - 0.5)))
    lengths = [np.linalg.norm(v.astype("float64"), axis=1) for v in (attacks.rotated(x, g, 0.5), x)]
    close(lengths[0] / lengths[1], 1, 8 * float(np.finfo("float32").eps))


def check_gradient_without_the_batch():
    """Gradients of 1e-43: over a batch of 1000, a mean's would be 0."""
    model = models.softmax_regression(D, K, rng=generator(0))
    W = parameters(model)[0].data
    W[...] = [[100.0] + [1.0] * 5, [0.0] + [-1.0] * 5, [0.0] + [0.5] * 5]
    x = np.tile(f32([1, 0, 0, 0, 0, 0]), (1000, 1))
    assert (attacks.fgsm(model, x, np.zeros(1000, int), 0.25) != x)[:, 1:].all()


def check_attack_differentiated_at_a_tiny_gradient():
    """The network is sure before the attack, whose gradient is 1e-39, and not after it."""
    model = models.softmax_regression(D, K, rng=generator(0))
    W = parameters(model)[0].data
    W[...] = (generator(0).random((K, D)) - 0.5) * 18
    W[0] = 40.0
    x = np.full((2, D), 0.4, "float32")
    settings = {"attack": "scaled-gradient", "eps": 0.5}
    _, gradients = losses.through_attack_objective(model, x, np.zeros(2, int), None, **settings)
    assert all(np.isfinite(g).all() for g in gradients)


def check_rate():
    assert optim.Schedule(decay=2.0, floor=1e-6).at(10_000, 1)[0] == 1e-6


def check_short_rows():
    W = f32([0, 0], [0.3, 0.4], [30, 40])
    optim.project_rows(W, 1.0)
    close(W, [[0, 0], [0.3, 0.4], [0.6, 0.8]], 1e-6)


def check_long_rows():
    W = f32([3e30, 4e30], [0.3, 0.4], [30, 40])
    optim.project_rows(W, 1.0)
    close(W, [[0.6, 0.8], [0.3, 0.4], [0.6, 0.8]], 1e-6)


def check_spread():
    """One pixel, and next to nothing beside it: a variance of 0, up to rounding to either side."""
    filters = np.zeros((200, 28, 28))
    for k in range(200):
        i = 1 + k % 25
        filters[k, i, i] = 1.0
        filters[k, i, i + 1] = filters[k, i + 1, i] = 1e-8 * (1 + k / 100)
    found = metrics.spread(filters.reshape(200, -1))
    assert np.isfinite(found).all()
    assert found.max() < 1e-6


def check_energy():
    filters = f32(*(generator(0).random((2, 16)) * 1e-30))
    close(metrics.pixels_used(filters), metrics.pixels_used(filters.astype("float64")), 1e-12)


def check_wilson():
    for n in range(1, 300):
        for wrong in (0, n):
            low, high = metrics.wilson(wrong, n)
            assert 0 <= low <= wrong / n <= high <= 1


def naive_unit(scaled, guarded):
    """v / ||v||, either with squares of v as it is, or without a thought of 0."""

    def unit(v, least=0.0):
        largest = abs(ops.raw(v)).max(axis=-1, keepdims=True)
        is_long = largest > least
        s = np.where(is_long, largest, 1.0).astype(v.dtype) if scaled and guarded else largest if scaled else 1.0
        v = v / s
        squares = (v * v).sum(axis=-1, keepdims=True)
        norm = ops.sqrt(ops.where(is_long, squares, 1.0) if guarded else squares)
        return v / norm, s * norm, is_long

    return unit


def naive_spread(filters):
    e, side = metrics._energy(filters)
    at = np.arange(side) * 1.0
    parts = (e.sum(axis=2), e.sum(axis=1))
    return sum((p * at * at).sum(axis=1) - (p * at).sum(axis=1) ** 2 for p in parts) ** 0.5


def naive_energy(filters):
    side = math.isqrt(filters.shape[-1])
    e = filters.reshape(-1, side, side) ** 2
    return e / e.sum(axis=(1, 2), keepdims=True), side


def naive_wilson(wrong, n, z=1.959964):
    p = wrong / n
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return centre - half, centre + half


def naive_input_gradient(model, x, y):
    X = Tensor(x)
    return grad(model.loss(model(X), y), [X])[0]


def naive_rate(self, update, epoch):
    return max(self.floor, self.learning_rate / self.decay**update), 0.0


def project_all_rows(W, max_norm):
    W *= (max_norm / np.sqrt((W * W).sum(axis=-1)))[..., None]


def project_squares(W, max_norm):
    W *= (max_norm / np.maximum(np.sqrt((W * W).sum(axis=-1)), max_norm))[..., None]


def orthogonal_once():
    """The second call, which takes away what rounding left, does nothing."""
    right, calls = attacks._orthogonal, itertools.cycle([True, False])
    return lambda v, x_hat: right(v, x_hat) if next(calls) else v


def through(op, i, formula):
    """`formula` in place of the i-th of an operation's formulas."""
    return op, "formulas", tuple(formula if j == i else f for j, f in enumerate(op.formulas))


def naive_rbf(x, mu, beta):
    return -((x * x) @ beta.T - 2 * x @ (beta * mu).T + (beta * mu * mu).sum(axis=1))


def naive_bce(z, t):
    p = 1 / (1 + np.exp(-z))
    return -t * np.log(p) - (1 - t) * np.log(1 - p)


# What is left out: column sums as a product, work in blocks, sums in place, masks from 16 bits and the memory order of
# gradients are there for speed, and any order of a sum keeps the bounds above. Python numbers that keep float32 are
# tested by dtype.
_log1mexp, _unit, _rbf_forward = ops.log1mexp.forward, attacks.unit, ops.rbf.forward
TRICKS = {
    # trick: (its check, what is replaced, the naive formula)
    "softplus without overflow": (check_softplus, (ops.softplus, "forward", lambda x: np.log(1 + np.exp(x)))),
    "sigmoid from softplus": (check_sigmoid, (ops.sigmoid, "forward", lambda x: 1 / (1 + np.exp(-x)))),
    "slope of the sigmoid without 1 - y": (
        check_slope_of_sigmoid,
        through(ops.sigmoid, 0, lambda g, y, x: g * y * (1.0 - y)),
    ),
    "log(1 - e^x) without cancellation": (check_log1mexp, (ops.log1mexp, "forward", lambda x: np.log(1 - np.exp(x)))),
    "log(1 - e^x) near 0 by expm1": (check_log1mexp, (ops.log1mexp, "forward", lambda x: np.log1p(-np.exp(x)))),
    "log(1 - e^x) far from 0 by log1p": (check_log1mexp, (ops.log1mexp, "forward", lambda x: np.log(-np.expm1(x)))),
    "log(1 - e^x): the branch not taken is harmless": (
        check_log1mexp_is_quiet,
        (ops.log1mexp, "forward", lambda x: np.where(x > -0.7, np.log(-np.expm1(x)), np.log1p(-np.exp(x)))),
    ),
    "slope of log(1 - e^x) from its value": (
        check_slope_of_log1mexp,
        through(ops.log1mexp, 0, lambda g, y, x: -g * ops.exp(x) / (1.0 - ops.exp(x))),
    ),
    "log softmax shifted by the maximum": (
        check_log_softmax,
        (ops.log_softmax, "forward", lambda z: z - np.log(np.exp(z).sum(axis=-1, keepdims=True))),
    ),
    "softmax shifted by the maximum": (
        check_softmax,
        (ops.softmax, "forward", lambda z: np.exp(z) / np.exp(z).sum(axis=-1, keepdims=True)),
    ),
    "log p not below all numbers": (check_lowest_log_p, (ops, "_not_below_all", lambda log_p: log_p)),
    "p - t without cancellation": (check_slope_of_cross_entropy, (ops, "_difference", lambda p, t: p - t)),
    "binary cross-entropy from softplus": (
        check_binary_cross_entropy,
        (ops.binary_cross_entropy, "forward", naive_bce),
    ),
    "sigmoid - t without cancellation": (
        check_slope_of_binary_cross_entropy,
        through(ops.binary_cross_entropy, 0, lambda g, y, z, t: g * (ops.sigmoid(z) - t)),
    ),
    "slope of a^b at a = b = 0": (check_power_at_0_of_0, (ops, "_less_one", lambda b, a: b - 1)),
    "slope of a^b in b at a = 0": (check_power_s_exponent_at_0, (ops, "_log_or_zero", ops.log)),
    "slope of a / b without b^2": (
        check_slope_of_divide,
        through(ops.divide, 1, lambda g, y, a, b: ops.sum_to(-g * a / (b * b), b.shape)),
    ),
    "RBF units on the log scale": (
        check_rbf_stays_on_the_log_scale,
        (ops.rbf, "forward", lambda *a: np.log(np.exp(_rbf_forward(*a)))),
    ),
    "RBF units subtract before they square": (check_rbf_subtracts_first, (ops.rbf, "forward", naive_rbf)),
    "SMALLEST: log(1 - p) at a centre": (check_smallest, (losses, "SMALLEST", 0.0)),
    "Rust units scale before they square": (
        check_rust,
        (ops, "_length", lambda parts: ops.sqrt(sum(part * part for part in parts))),
    ),
    "squared Rust units scale before they square": (
        check_rust_squared,
        (ops, "_scale", lambda z: np.ones_like(z[:, :1])),
    ),
    "squares of inputs stay finite": (
        check_squares,
        (layers, "_squares_times", lambda x, beta: (x * x) @ ops.transpose(beta)),
    ),
    "unit vectors scale before they square": (check_unit_scales, (attacks, "unit", naive_unit(False, True))),
    "unit vectors of 0": (check_unit_at_0, (attacks, "unit", naive_unit(True, False))),
    "no plane between parallel vectors": (
        check_rotation_without_a_plane,
        (attacks, "unit", lambda v, least=0.0: _unit(v, 0.0)),
    ),
    "orthogonal, once more": (check_rotation_in_a_thin_plane, (attacks, "_orthogonal", orthogonal_once())),
    "an input gradient without 1 / N": (
        check_gradient_without_the_batch,
        (attacks, "input_gradient", naive_input_gradient),
    ),
    "LEAST_GRADIENT: directions that are differentiated": (
        check_attack_differentiated_at_a_tiny_gradient,
        (losses, "LEAST_GRADIENT", 0.0),
    ),
    "a rate that underflows": (check_rate, (optim.Schedule, "at", naive_rate)),
    "max-norm leaves short rows": (check_short_rows, (optim, "project_rows", project_all_rows)),
    "max-norm of rows whose squares overflow": (check_long_rows, (optim, "project_rows", project_squares)),
    "a spread not below 0": (check_spread, (metrics, "spread", naive_spread)),
    "energies in float64": (check_energy, (metrics, "_energy", naive_energy)),
    "Wilson's interval within 0 and 1": (check_wilson, (metrics, "wilson", naive_wilson)),
}


@pytest.mark.parametrize("trick", TRICKS)
def test_each_trick_is_there(trick):
    TRICKS[trick][0]()


@pytest.mark.parametrize("trick", TRICKS)
def test_without_the_trick_its_check_fails(trick, monkeypatch):
    check, (owner, name, naive) = TRICKS[trick]
    monkeypatch.setattr(owner, name, naive)
    with pytest.raises((AssertionError, ArithmeticError)):
        check()
