"""Metrics against literal loops, Wilson's interval against SciPy, and what they refuse."""

import math
import subprocess
import sys

import numpy as np
import pytest
from placed import place
from scipy import stats

from tinyadv import metrics, models, ops
from tinyadv.attacks import input_gradient
from tinyadv.backend import generator, to_device
from tinyadv.layers import Linear, parameters
from tinyadv.tensor import raw

N, D, K = 30, 6, 4


def maxout(top="softmax"):
    return models.maxout_network(5, 2, 1, top, D, K, scale=2.0, rng=generator(1, "weights"))


def logistic():
    return models.logistic_regression(D, scale=2.0, rng=generator(1, "weights"))


@pytest.fixture
def x(rng):
    return rng.normal(size=(N, D)).astype("float32")


@pytest.fixture
def y(rng):
    return rng.integers(0, K, N)


class Fixed:
    """A network that gives, of inputs (N, 1), the logits at these numbers."""

    def __init__(self, logits, top=ops.softmax):
        self.logits, self.probabilities = np.asarray(logits, dtype="float32"), top

    def __call__(self, x, rng=None):
        return self.logits[raw(x)[:, 0].astype(int)]


def all_rows(model):
    return np.arange(len(model.logits), dtype="float32")[:, None]


# ---------------------------------------------------------------------------------------------------------
# Error and confidence


@pytest.mark.parametrize("top", ["softmax", "sigmoid"])
def test_an_evaluation_is_what_a_loop_counts(top, x, y):
    model = maxout(top)
    wrong, largest, on_mistakes, on_wrong_labels = 0, [], [], []
    for n in range(N):
        p = model.probabilities(model(x[n : n + 1]))[0]
        largest.append(max(p))
        if np.argmax(p) != y[n]:
            wrong += 1
            on_mistakes.append(max(p))
            on_wrong_labels.append(1 - p[y[n]])
    assert 0 < wrong < N
    found = metrics.evaluate(model, x, y)
    assert (found.n, found.wrong, found.error) == (N, wrong, wrong / N)
    assert found.confidence == pytest.approx(np.mean(largest), rel=1e-5)
    assert found.confidence_on_mistakes == pytest.approx(np.mean(on_mistakes), rel=1e-5)
    assert found.wrong_label_probability == pytest.approx(np.mean(on_wrong_labels), rel=1e-5)
    assert found.wrong_label_probability > found.confidence_on_mistakes or top == "sigmoid"


def test_of_two_classes_the_probability_is_that_of_the_side(x, y):
    model, y = logistic(), np.where(y < 2, -1, 1)
    wrong, largest, on_mistakes, on_wrong_labels = 0, [], [], []
    for n in range(N):
        p = float(model.probabilities(model(x[n : n + 1]))[0])
        largest.append(max(p, 1 - p))
        if (p > 0.5) != (y[n] == 1):
            wrong += 1
            on_mistakes.append(max(p, 1 - p))
            on_wrong_labels.append(1 - p if y[n] == 1 else p)
    assert 0 < wrong < N
    found = metrics.evaluate(model, x, y)
    assert (found.n, found.wrong) == (N, wrong)
    assert found.confidence == pytest.approx(np.mean(largest), rel=1e-5)
    assert found.confidence_on_mistakes == pytest.approx(np.mean(on_mistakes), rel=1e-5)
    assert found.wrong_label_probability == pytest.approx(np.mean(on_wrong_labels), rel=1e-5)


def test_without_mistakes_their_confidence_is_no_number(x):
    for model in (maxout(), logistic()):
        found = metrics.evaluate(model, x, metrics.predict(model, x))
        assert (found.wrong, found.error) == (0, 0.0)
        assert math.isnan(found.confidence_on_mistakes)
        assert math.isnan(found.wrong_label_probability)
        assert 0.5 < found.confidence < 1


def test_predictions_are_the_classes_of_largest_output(x):
    p = metrics.predict(maxout(), x)
    assert p.tolist() == [int(np.argmax(maxout()(x[n : n + 1]))) for n in range(N)]
    assert len(set(p.tolist())) > 1
    signs = metrics.predict(logistic(), x)
    assert signs.dtype.kind == "i"
    assert signs.tolist() == [1 if z > 0 else -1 for z in logistic()(x)]
    assert set(signs.tolist()) == {-1, 1}


def test_of_equal_outputs_the_first_class_is_predicted():
    undecided = models.logistic_regression(D, rng=generator(0))  # all outputs are 0
    assert metrics.predict(undecided, np.ones((3, D), "float32")).tolist() == [-1, -1, -1]
    assert metrics.evaluate(undecided, np.ones((4, D), "float32"), np.array([-1, 1, 1, 1])).wrong == 3
    assert metrics.predict(Fixed([[1, 3, 3]]), np.zeros((1, 1))).tolist() == [1]


def test_every_library_gives_the_same_evaluation(x, y, xp):
    on_xp = place(maxout(), xp), xp.asarray(x), xp.asarray(y)
    found, expected = metrics.evaluate(*on_xp), metrics.evaluate(maxout(), x, y)
    assert found.wrong == expected.wrong
    assert found.confidence_on_mistakes == pytest.approx(expected.confidence_on_mistakes, rel=1e-5)
    assert to_device(metrics.predict(*on_xp[:2]), "cpu").tolist() == metrics.predict(maxout(), x).tolist()
    assert metrics.zero_gradient_share(*on_xp) == 0.0
    found, expected = metrics.evaluate_rubbish(*on_xp[:2]), metrics.evaluate_rubbish(maxout(), x)
    assert (found.wrong, found.by_class) == (expected.wrong, expected.by_class)
    assert found.confidence_on_mistakes == pytest.approx(expected.confidence_on_mistakes, rel=1e-5)


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ([0], "as many inputs as labels, at least one; got 30 and 1"),
        (np.full(N, K), "labels of 4 classes are 0 to 3, got 4 to 4"),
        (np.full(N, -1), "labels of 4 classes are 0 to 3, got -1 to -1"),
        (np.zeros(N), "got float64 of shape"),
        (np.zeros((N, K + 1)), "got float64 of shape"),
    ],
)
def test_wrong_labels_are_named(x, y, message):
    with pytest.raises(ValueError, match=message):
        metrics.evaluate(maxout(), x, y)


def test_two_class_labels_of_0_and_1_are_named(x):
    with pytest.raises(ValueError, match="labels are -1 or 1, got others, from 0 to 0"):
        metrics.evaluate(logistic(), x, np.zeros(N, dtype=int))


def test_nothing_to_evaluate_is_named(x, y):
    with pytest.raises(ValueError, match="at least one; got 0 and 0"):
        metrics.evaluate(maxout(), x[:0], y[:0])


def test_targets_are_labels_too(x, y):
    assert metrics.evaluate(maxout(), x, np.eye(K)[y]) == metrics.evaluate(maxout(), x, y)


def test_intervals_are_wilson_s_of_the_error_and_standard_errors_of_the_means(x, y):
    model = maxout()
    p = model.probabilities(model(x))
    mistakes = p.argmax(axis=1) != y
    samples = {
        "confidence": p.max(axis=1),
        "confidence_on_mistakes": p.max(axis=1)[mistakes],
        "wrong_label_probability": 1 - p[np.arange(N), y][mistakes],
    }
    found = metrics.evaluate(model, x, y).intervals
    assert found.keys() == {"error", *samples}
    assert found["error"] == metrics.wilson(int(mistakes.sum()), N)
    for name, sample in samples.items():
        expected = stats.norm.interval(0.95, sample.mean(), stats.sem(sample))
        assert found[name] == pytest.approx(expected, rel=1e-5)


def test_a_mean_of_one_or_none_has_no_interval(x):
    model = maxout()
    y = metrics.predict(model, x)
    assert metrics.evaluate(model, x, y).intervals.keys() == {"error", "confidence"}
    y[0] = (y[0] + 1) % K
    found = metrics.evaluate(model, x, y)
    assert found.wrong == 1
    assert found.intervals.keys() == {"error", "confidence"}


# ---------------------------------------------------------------------------------------------------------
# Batches


@pytest.mark.parametrize("size", [1, 7, 29, 30, 31, 1000])
def test_batches_of_any_size_join_to_the_same_rows(x, y, size):
    calls = []

    def function(a, b):
        calls.append(len(a))
        return a * b[:, None]

    assert metrics.in_batches(function, x, y, size=size).tobytes() == (x * y[:, None]).tobytes()
    assert sum(calls) == N
    assert max(calls) <= size


def test_a_batch_is_as_large_as_what_a_network_keeps_allows(rng):
    """A convolution's rows are few at a time; a dense network's a thousand, however large its parameters are."""
    conv = models.conv_maxout_network((48, 128, 128), 240, rng=generator(0))
    assert 100 < metrics.batch_size(conv, np.zeros((5, 3072), "float32")) < 200
    for dense in (models.maxout_network(rng=generator(0)), models.rbf_network(full=True, rng=generator(0))):
        assert metrics.batch_size(dense, np.zeros((5, 784), "float32")) == 1000


def test_a_batch_has_one_row_at_least(rng, monkeypatch):
    monkeypatch.setattr(metrics, "AT_ONCE", 3)
    assert metrics.batch_size(maxout(), rng.normal(size=(5, D)).astype("float32")) == 1


@pytest.mark.slow
def test_images_are_attacked_and_evaluated_in_little_memory():
    """At most 1 GiB for the smaller published network, where 1,000 images at a time take five."""
    code = (
        "import numpy as np; from functools import partial; from tinyadv import attacks, metrics, models; "
        "from tinyadv.backend import generator; from tinyadv.bench.worker import peak_memory; "
        "model = models.conv_maxout_network((48, 128, 128), 240, rng=generator(0)); "
        "x, y = generator(0).standard_normal((200, 3072), dtype='float32'), np.arange(200) % 10; "
        "size = metrics.batch_size(model, x); "
        "x_adv = metrics.in_batches(partial(attacks.fgsm, model, eps=0.1), x, y, size=size); "
        "metrics.evaluate(model, x_adv, y, size); print(peak_memory() or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(done.stdout) < 1024


def test_an_evaluation_goes_through_the_network_in_batches(rng):
    x, sizes, model = rng.normal(size=(2500, D)).astype("float32"), [], maxout()

    class Spy:
        loss, probabilities = model.loss, model.probabilities

        def __call__(self, x, rng=None):
            sizes.append(len(x))
            return model(x, rng=rng)

    y = rng.integers(0, K, 2500)
    assert metrics.evaluate(Spy(), x, y).wrong == (model(x).argmax(axis=1) != y).sum()
    assert sizes == [1000, 1000, 500]


# ---------------------------------------------------------------------------------------------------------
# Rubbish


def test_rubbish_counts_an_input_once_however_many_classes_claim_it():
    sigmoid_of = {2.0: 1 / (1 + math.exp(-2)), 1.0: 1 / (1 + math.exp(-1)), 3.0: 1 / (1 + math.exp(-3))}
    model = Fixed([[2, 1, 3], [-1, -2, -3], [1, 0, -1], [0, 0, 0], [-1, 2, 2]], ops.sigmoid)
    found = metrics.evaluate_rubbish(model, all_rows(model))
    assert (found.n, found.wrong, found.error) == (5, 3, 0.6)  # 1/2 itself claims nothing
    assert found.by_class == (1, 1, 1)
    sample = [sigmoid_of[v] for v in (3.0, 1.0, 2.0)]
    assert found.confidence_on_mistakes == pytest.approx(np.mean(sample))
    assert found.intervals["error"] == metrics.wilson(3, 5)
    assert found.intervals["confidence_on_mistakes"] == pytest.approx(
        stats.norm.interval(0.95, np.mean(sample), stats.sem(sample)), rel=1e-5
    )


def test_rubbish_that_nobody_claims_has_no_confidence():
    model = Fixed([[0, 0, 0], [0.1, 0, 0]])
    found = metrics.evaluate_rubbish(model, all_rows(model))
    assert (found.wrong, found.error, found.by_class) == (0, 0.0, (0, 0, 0))
    assert math.isnan(found.confidence_on_mistakes)
    assert found.intervals == {"error": metrics.wilson(0, 2)}


def test_rubbish_needs_inputs_and_classes(x):
    with pytest.raises(ValueError, match=r"several classes, got p of shape \(30,\)"):
        metrics.evaluate_rubbish(logistic(), x)
    with pytest.raises(ValueError, match="rubbish wants at least one input, got none"):
        metrics.evaluate_rubbish(maxout(), x[:0])


# ---------------------------------------------------------------------------------------------------------
# Zero gradients


def test_the_share_of_zero_gradients_is_what_a_loop_counts(rng):
    x, y = rng.normal(size=(1200, D)).astype("float32"), rng.integers(0, K, 1200)
    model = models.softmax_regression(D, K, scale=1.0, rng=generator(0))
    W = parameters(model)[0].data
    W[:, 2] = 0.0
    x[:100] *= 1e4  # saturated beyond any float32 gradient
    zeros = sum(int((input_gradient(model, x[n : n + 1], y[n : n + 1]) == 0).sum()) for n in range(1200))
    assert 1200 < zeros < 1200 * D / 2
    assert metrics.zero_gradient_share(model, x, y) == pytest.approx(zeros / (1200 * D))


# ---------------------------------------------------------------------------------------------------------
# Wilson's interval


@pytest.mark.parametrize("n", [1, 2, 10, 137, 10_000])
def test_wilson_s_interval_is_scipy_s(n):
    for k in sorted({0, 1, n // 100, n // 3, n // 2, n - 1, n}):
        expected = stats.binomtest(k, n).proportion_ci(method="wilson")
        assert metrics.wilson(k, n) == pytest.approx((expected.low, expected.high), rel=1e-6, abs=1e-12)


def test_wilson_s_interval_for_the_paper_s_network():
    low, high = metrics.wilson(78, 10_000)
    assert (round(100 * low, 2), round(100 * high, 2)) == (0.63, 0.97)


def test_wilson_s_interval_at_another_level():
    expected = stats.binomtest(7, 50).proportion_ci(confidence_level=0.99, method="wilson")
    assert metrics.wilson(7, 50, z=stats.norm.ppf(0.995)) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize(("wrong", "n"), [(-1, 10), (11, 10), (0, 0), (1, 0), (float("nan"), 10)])
def test_wilson_refuses_what_is_no_share(wrong, n):
    with pytest.raises(ValueError, match=f"0 <= wrong <= n and n >= 1, got {wrong} of {n}"):
        metrics.wilson(wrong, n)


# ---------------------------------------------------------------------------------------------------------
# How local filters are


def filters_of(rng):
    w = rng.normal(size=(6, 64)) * (rng.random((6, 64)) < 0.4)
    w[0] = 0
    w[0, 27] = -3.0  # one pixel
    w[1] = 0.5  # all alike
    return w


def test_window_energy_is_that_of_the_best_of_all_windows(rng):
    w = filters_of(rng)
    for window in (1, 3, 8):
        shares = [
            max(
                sum(f[i + a, j + b] ** 2 for a in range(window) for b in range(window))
                for i in range(9 - window)
                for j in range(9 - window)
            )
            / sum(v**2 for v in f.ravel())
            for f in w.reshape(-1, 8, 8)
        ]
        assert metrics.window_energy(w, window) == pytest.approx(shares)
    found = metrics.window_energy(w, 3)
    assert found[:2] == pytest.approx([1, 9 / 64])
    assert metrics.window_energy(-7 * w, 3) == pytest.approx(found)
    assert metrics.window_energy(w.astype("float32"), 3).dtype == np.float64


def test_pixels_used_and_spread(rng):
    w = filters_of(rng)
    used = [sum(v**2 for v in f) ** 2 / sum(v**4 for v in f) for f in w]
    assert metrics.pixels_used(w) == pytest.approx(used)
    assert used[:2] == pytest.approx([1, 64])
    distances = []
    for f in w.reshape(-1, 8, 8):
        e = f**2 / (f**2).sum()
        at = [(e[i, j], i, j) for i in range(8) for j in range(8)]
        row, column = sum(v * i for v, i, _ in at), sum(v * j for v, _, j in at)
        distances.append(math.sqrt(sum(v * ((i - row) ** 2 + (j - column) ** 2) for v, i, j in at)))
    assert metrics.spread(w) == pytest.approx(distances, abs=1e-9)
    assert distances[0] == 0


@pytest.mark.parametrize("shape", [(2, 63), (64,), (2, 8, 8)])
def test_filters_are_those_of_square_images(shape):
    for measure in (metrics.window_energy, metrics.pixels_used, metrics.spread):
        with pytest.raises(ValueError, match=r"shape \(N, side \* side\), got"):
            measure(np.ones(shape))


@pytest.mark.parametrize("window", [0, 9])
def test_a_window_fits_into_the_image(window):
    with pytest.raises(ValueError, match=f"1 to 8 pixels a side on images of 8 by 8, got {window}"):
        metrics.window_energy(np.ones((1, 64)), window)


def test_outputs_that_are_nan_are_named():
    model = models.softmax_regression(4, 3, rng=generator(0))
    parameters(model)[0].data[1] = np.nan
    with pytest.raises(FloatingPointError, match="the network's outputs are NaN for 5 of 5 inputs: has it diverged"):
        metrics.evaluate(model, np.ones((5, 4), "float32"), np.zeros(5, int))


@pytest.mark.parametrize("top", ["softmax", "sigmoid"])
def test_a_single_output_is_refused(top):
    network = models.Network("own", {}, [Linear(4, 1, generator(0))], top)
    x = np.ones((5, 4), "float32")
    with pytest.raises(ValueError, match=r"one output is always the largest, got outputs of shape \(5, 1\)"):
        metrics.predict(network, x)
    with pytest.raises(ValueError, match="one output"):
        metrics.evaluate(network, x, np.ones((5, 1)))


@pytest.mark.parametrize(
    ("targets", "said"),
    [
        ([[1.0, 1.0, 0.0]], "name a class each"),
        ([[1 / 3, 1 / 3, 1 / 3]], "name a class each"),
        ([[1.0, -1.0, -1.0]], "targets are from 0 to 1"),
        ([[255.0, 0.0, 0.0]], "targets are from 0 to 1"),
        ([[np.nan, 0.0, 0.0]], "targets are from 0 to 1"),
    ],
)
def test_targets_that_name_no_class_are_refused(targets, said):
    network = models.Network("own", {}, [Linear(4, 3, generator(0))], "sigmoid")
    with pytest.raises(ValueError, match=said):
        metrics.evaluate(network, np.ones((1, 4), "float32"), np.array(targets))
