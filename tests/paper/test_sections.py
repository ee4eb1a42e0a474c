"""Every measurement against its definition, computed a second time here: one image at a time, every formula by hand.

Then defects are planted (FGSM that descends, clips, or looks at the wrong label, dropout left on, shuffled labels, a
slip of sign in a formula), and a table says which quantity or predicate of which claim has to notice.
"""

import itertools
import json
import math
import sys
from functools import cache

import numpy as np
import pytest
from tiny import GivenLab, measure, measured, on_strict_device, tiny_mnist, use

from tinyadv import attacks, metrics, models
from tinyadv.backend import generator, noise
from tinyadv.datasets import MNIST, Split
from tinyadv.layers import parameters
from tinyadv.ops import softplus
from tinyadv.paper import audit
from tinyadv.paper import lab as laboratory
from tinyadv.paper.claims import claims
from tinyadv.paper.measure import MEASURES, appendix, cifar10, common, mp_dbm, section2, section3, section5, section8
from tinyadv.paper.results import Result, check, pixels
from tinyadv.paper.results_file import from_json, to_json

EPS = 0.25
IMAGES, FIRST = 200, 40  # test images; PGD sees the first ones
OF_OTHER_DATA = {"fig1-imagenet", "fgsm-conv-maxout"}  # which the tests don't have: see test_figure1, test_cifar10
OF_CIFAR = {"rubbish-conv", "rubbish-skew-conv", "fooling-step", "fig5-fooling"}  # measured in noise alone
OF_RUBBISH = {claim for claim in MEASURES if claim.startswith("rubbish")} | OF_CIFAR


def world(monkeypatch, claim, **options):
    """A lab for a claim: in float64, so that rounding decides nothing; rubbish comes in float32."""
    dtype = options.pop("dtype", "float32" if claim in OF_RUBBISH else "float64")
    train, validation, test = tiny_mnist(dtype=dtype)
    use(monkeypatch, MNIST(train, validation, Split(test.x[-IMAGES:], test.y[-IMAGES:])))
    for module, few in (
        (audit, {"FIRST": FIRST, "FEW": 10, "FEWEST": 2}),
        (appendix, {"SAMPLES": 500, "MOVED": 40, "STEPS": 8}),
        (cifar10, {"RUBBISH": 100, "A_CLASS": 12, "A_DIGIT": 40, "FEW": 6, "TRIED": 24, "SHOWN": 9}),
        (section2, {"IMAGES": 12, "TRIES": 2, "ITERATIONS": 4}),
        (section8, {"TRACED": 8}),
        (mp_dbm, {"FIRST": 30, "ROUNDS": (2, 3, 5)}),
    ):
        for name, n in few.items():
            monkeypatch.setattr(module, name, n)
    monkeypatch.setattr(section2, "perf_counter", itertools.count().__next__)  # a clock that ticks when it is read
    return GivenLab(dtype=dtype, **options)


# ---------------------------------------------------------------------------------------------------------
# The definitions, by hand: outputs, probabilities and input gradients of one image


class ByHand:
    """A network's formulas for one image x `(784,)`, written out."""

    def __init__(self, network):
        self.top, self.parameters = network.top, [p.data for p in parameters(network)]

    def outputs(self, x):
        if self.top == "logistic":
            W, b = self.parameters
            return W[0] @ x + b[0]
        if self.top == "softmax":
            for i in range(0, len(self.parameters) - 2, 2):
                x = self.pieces(i, x).max(axis=0)
            W, b = self.parameters[-2:]
            return W @ x + b
        mu, log_beta = self.parameters
        return np.array([-sum(np.exp(log_beta[k]) * (x - mu[k]) ** 2) for k in range(10)])

    def pieces(self, i, x):
        W, b = self.parameters[i : i + 2]
        return np.array([W[p] @ x for p in range(len(W))]) + b.reshape(W.shape[:2])

    def probabilities(self, x):
        z = self.outputs(x)
        if self.top == "logistic":
            return 1 / (1 + math.exp(-z))
        if self.top == "softmax":
            return np.exp(z - z.max()) / np.exp(z - z.max()).sum()
        return np.exp(z)

    def gradient(self, x, label):
        """dJ/dx, for the label 0 to 9, or -1 or 1."""
        if self.top == "logistic":
            (w,), _ = self.parameters
            return -label / (1 + math.exp(label * self.outputs(x))) * w
        t, p = np.eye(10)[label], self.probabilities(x)
        if self.top == "softmax":
            hidden = [x]
            for i in range(0, len(self.parameters) - 2, 2):
                hidden.append(self.pieces(i, hidden[-1]).max(axis=0))
            g = self.parameters[-2].T @ (p - t)
            for i in reversed(range(0, len(self.parameters) - 2, 2)):
                winner = self.pieces(i, hidden[i // 2]).argmax(axis=0)
                g = sum(g[u] * self.parameters[i][winner[u], u] for u in range(len(g)))
            return g
        mu, log_beta = self.parameters
        slopes = {"rbf-true-class": -t, "rbf": -t + (1 - t) * p / (1 - p), "rbf-squared": 2 * (p - t) * p}[self.top]
        return sum(slopes[k] * -2 * np.exp(log_beta[k]) * (x - mu[k]) for k in range(10))

    def fgsm(self, x, label, eps=EPS):
        return x + eps * np.sign(self.gradient(x, label))

    def says(self, x):
        z = self.outputs(x)
        return int(z.argmax()) if z.ndim else (1 if z > 0 else -1)

    def report(self, xs, ys):
        """Error, confidences and the probability of wrong labels, counted image by image."""
        wrong, largest, of_wrong, others = 0, [], [], []
        for x, label in zip(xs, ys, strict=True):
            p = self.probabilities(x)
            p = {-1: 1 - p, 1: p} if self.top == "logistic" else dict(enumerate(p))
            largest.append(max(p.values()))
            if self.says(x) != label:
                wrong += 1
                of_wrong.append(largest[-1])
                others.append(1 - p[label])
        return {
            "error": wrong / len(xs),
            "confidence": sum(largest) / len(xs),
            "confidence_on_mistakes": sum(of_wrong) / wrong if wrong else math.nan,
            "wrong_label_probability": sum(others) / wrong if wrong else math.nan,
        }


def under_attack(network, xs, ys):
    """What an FGSM claim reports, by hand; and the attacked images."""
    hand = ByHand(network)
    gradients = [hand.gradient(x, label) for x, label in zip(xs, ys, strict=True)]
    attacked = [x + EPS * np.sign(g) for x, g in zip(xs, gradients, strict=True)]
    clean, after = hand.report(xs, ys), hand.report(attacked, ys)
    clipped = hand.report([np.minimum(np.maximum(x, 0), 1) for x in attacked], ys)
    of_attack = {
        "error": after["error"],
        "confidence_on_mistakes": after["confidence_on_mistakes"],
        "wrong_label_probability": after["wrong_label_probability"],
        "error_clipped": clipped["error"],
        "confidence_on_mistakes_clipped": clipped["confidence_on_mistakes"],
    }
    return {
        **of_attack,
        # in float64, of networks that are not that sure, nothing is rounded away
        **{f"{name}_exact": value for name, value in of_attack.items()},
        "clean_error": clean["error"],
        "clean_confidence": clean["confidence"],
        "certain_share": 0.0,
        "zero_gradient_share": sum((g == 0).sum() for g in gradients) / (784 * len(xs)),
        "weights_l1": float(abs(hand.parameters[0]).sum()),
    }, attacked


def named(claim, values):
    return {q.name: values[q.name] for q in claims()[claim].quantities if q.name in values}


def agree(m, values, within=1e-9):
    assert m.values == {name: pytest.approx(v, rel=within, nan_ok=True) for name, v in values.items()}


def three_or_seven(lab):
    kept = [i for i, label in enumerate(lab.data.test.y) if label in (3, 7)]
    return lab.data.test.x[kept], [1 if lab.data.test.y[i] == 7 else -1 for i in kept]


# ---------------------------------------------------------------------------------------------------------
# All of them


def test_every_claim_is_measured():
    assert MEASURES.keys() == claims().keys()


@pytest.mark.parametrize("claim", sorted(set(MEASURES) - OF_OTHER_DATA))
def test_it_has_what_the_registry_names_and_another_library_gives_the_same(monkeypatch, claim):
    on_cpu = measured(claim, world(monkeypatch, claim, dtype="float32"))
    on_strict_device(monkeypatch)
    there = measured(claim, world(monkeypatch, claim, dtype="float32", device="cuda"))
    agree(there, on_cpu.values, within=1e-5)
    assert there.intervals.keys() == on_cpu.intervals.keys()
    assert there.holds == on_cpu.holds
    details = (to_json(Result(claim, "tiny", "", [0], [m]))["measurements"][0]["details"] for m in (there, on_cpu))
    assert next(details) == next(details)
    result = Result(claim, "tiny", "cpu", [3, 4], [on_cpu, there])
    check(result)
    from_json(to_json(result))  # the details are what JSON can say
    varied = {name for values in on_cpu.variations.values() for name in values} - {"epochs"}
    assert on_cpu.values.keys() | varied == {q.name for q in claims()[claim].quantities}
    assert on_cpu.intervals.keys() <= on_cpu.values.keys()
    assert (on_cpu.holds is None) == (claims()[claim].predicate is None)


# ---------------------------------------------------------------------------------------------------------
# One by one


def test_linear_growth(monkeypatch):
    m = measured("linear-growth", world(monkeypatch, "linear-growth"))
    assert m.holds
    assert m.values["relative_difference"] < 1e-12
    assert m.values["exponent"] == pytest.approx(1, abs=1e-9)
    assert m.values["random_exponent"] == pytest.approx(0.5, abs=0.05)
    assert [row["n"] for row in m.details["rows"]][::8] == [10, 100_000]
    for row in m.details["rows"]:
        n, rng = row["n"], generator(0, f"linear growth {row['n']}")
        w, x = rng.standard_normal(n), rng.random(n)
        w /= sum(abs(w)) / n
        assert row["growth"] == pytest.approx(0.25 * 1.0 * n)  # eps m n, where m is 1
        changes = [w @ (x + rng.choice((-1.0, 1.0), n) * 0.25) - w @ x for _ in range(20)]
        assert row["random"] == pytest.approx(math.sqrt(sum(c**2 for c in changes) / 20))
        assert row["random_excess"] == pytest.approx(max(changes) / row["growth"] - 1)


@pytest.mark.parametrize(
    ("claim", "kind"),
    [
        ("fgsm-softmax", ("softmax_regression", "clean", None)),
        ("fgsm-maxout", ("maxout_network", "clean", "softmax")),
    ],
)
def test_fgsm(monkeypatch, claim, kind):
    lab = world(monkeypatch, claim)
    (x, y), model = lab.data.test, lab.given[kind]
    m, hand = measured(claim, lab), ByHand(model)
    values, attacked = under_attack(model, x, y)
    agree(m, named(claim, values))
    examples = m.details["examples"]
    assert examples["label"] == list(range(10))
    for k in range(10):
        first = next(i for i, label in enumerate(y) if label == k)
        assert pixels(examples["clean"][k]) == pytest.approx(x[first], abs=3e-3)
        assert pixels(examples["attacked"][k]) == pytest.approx(attacked[first], abs=3e-3)
        assert examples["said_clean"][k] == hand.says(x[first])
        assert examples["said_attacked"][k] == hand.says(attacked[first])


def test_logistic_3v7(monkeypatch):
    lab = world(monkeypatch, "logistic-3v7")
    values, _ = under_attack(lab.given["logistic_regression", "clean", None], *three_or_seven(lab))
    agree(measured("logistic-3v7", lab), named("logistic-3v7", values))


def test_logistic_exact(monkeypatch):
    lab = world(monkeypatch, "logistic-exact")
    m = measured("logistic-exact", lab)
    assert m.holds
    assert max(m.values["loss_difference"], m.values["gradient_difference"]) < 1e-12
    robust = lab.given["logistic_regression", "adversarial", None]
    values, _ = under_attack(robust, *three_or_seven(lab))
    assert m.values["adversarially_trained_clean_error"] == values["clean_error"]
    assert m.values["adversarially_trained_error"] == values["error"]
    assert m.intervals.keys() == {"adversarially_trained_clean_error", "adversarially_trained_error"}


def test_figure_2(monkeypatch):
    lab = world(monkeypatch, "fig2-logistic")
    x, y = three_or_seven(lab)
    model = lab.given["logistic_regression", "clean", None]
    m, w = measured("fig2-logistic", lab), parameters(model)[0].data[0]
    assert m.holds
    values, attacked = under_attack(model, x, y)
    sevens, threes = (sum(a for a, b in zip(x, y, strict=True) if b == s) / y.count(s) for s in (1, -1))
    pattern, sign = sevens - threes, np.sign(w)
    values["pattern_cosine"] = (pattern @ sign) / math.sqrt((pattern @ pattern) * (sign @ sign))
    agree(m, named("fig2-logistic", values))
    shown = [i for i, b in enumerate(y) if b == -1][:8] + [i for i, b in enumerate(y) if b == 1][:8]
    assert m.details["w"] == pytest.approx(w, abs=6e-6)
    assert m.details["sign"] == sign.tolist()
    assert np.allclose([pixels(p) for p in m.details["clean"]], x[shown], atol=3e-3)
    assert np.allclose([pixels(p) for p in m.details["attacked"]], [attacked[i] for i in shown], atol=3e-3)


def pair_of_networks(lab):
    return [lab.given["maxout_network", objective, "softmax"] for objective in ("clean", "adversarial")]


def test_adv_train_240(monkeypatch):
    lab = world(monkeypatch, "adv-train-240")
    networks = pair_of_networks(lab)
    naive, trained = (ByHand(network).report(*lab.data.test)["error"] for network in networks)
    m = measured("adv-train-240", lab)
    agree(m, {"naive_error": naive, "adversarially_trained_error": trained})
    assert naive != trained
    assert m.holds == (trained < naive)
    a, b = networks
    assert measure("adv-train-240", lab, naive=b, trained=a, unmasked=a).holds == (naive < trained)
    assert not measure("adv-train-240", lab, naive=a, trained=a, unmasked=b).holds  # as good is not better


def test_adv_robust(monkeypatch):
    lab = world(monkeypatch, "adv-robust-1600")
    (x, y), (naive, trained) = lab.data.test, pair_of_networks(lab)
    m, hand = measured("adv-robust-1600", lab), ByHand(trained)
    values, attacked = under_attack(trained, x, y)
    of_naive, on_naive = under_attack(naive, x, y)
    for end in ("", "_exact"):
        values["naive_error" + end] = of_naive["error"]
        values["transfer_error" + end] = hand.report(on_naive, y)["error"]
    signs = np.sign(noise(generator(0, "noise"), x, 1.0))
    assert set(signs.ravel()) == {-1, 1}
    values["noise_error"] = hand.report(x + EPS * signs, y)["error"]
    values["error_first"] = hand.report(attacked[:FIRST], y[:FIRST])["error"]
    start = x[:FIRST] + noise(generator(0, "pgd"), x[:FIRST], EPS)
    followed = []
    for point, at, label in zip(start, x, y, strict=False):
        for _ in range(20):
            step = point + 2.5 * EPS / 20 * np.sign(hand.gradient(point, label))
            point = np.minimum(np.maximum(step, at - EPS), at + EPS)
        followed.append(point)
    values["pgd_error"] = hand.report(followed, y[:FIRST])["error"]
    fooled = [
        any(hand.says(hand.fgsm(a, b, e)) != b for e in (0.05, 0.1, 0.15, 0.2, 0.25))
        for a, b in zip(x[:FIRST], y, strict=False)
    ]
    values["error_some_size"] = float(np.mean(fooled))
    agree(m, named("adv-robust-1600", values))
    assert m.holds
    assert m.details["eps"] == [0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3]
    for name, by in (("naive", ByHand(naive)), ("trained", hand)):
        curves = ([by.fgsm(a, b, e) for a, b in zip(x[:FIRST], y, strict=False)] for e in (0.05, 0.2))
        assert [m.details["curves"][name][i] for i in (1, 4)] == [
            by.report(images, y[:FIRST])["error"] for images in curves
        ]


@pytest.mark.parametrize(
    ("claim", "kind"),
    [
        ("rubbish-softmax", ("softmax_regression", "clean", None)),
        ("rubbish-maxout-softmax", ("maxout_network", "clean", "softmax")),
        ("rubbish-rbf", ("rbf_network", "clean", "rbf-squared")),
    ],
)
def test_rubbish(monkeypatch, claim, kind):
    lab = world(monkeypatch, claim)
    m, hand = measured(claim, lab, seed=5), ByHand(lab.given[kind])
    claimed, by_class = [], [0] * 10
    for x in generator(5, "rubbish").standard_normal((500, 784), dtype=np.float32):
        p = hand.probabilities(x)
        if (p > 0.5).any():
            claimed.append(float(p.max()))
            by_class[int(p.argmax())] += 1
    values = {
        "error": len(claimed) / 500,
        "confidence_on_mistakes": sum(claimed) / len(claimed) if claimed else math.nan,
        "clean_error": hand.report(*lab.data.test)["error"],
        "weights_l1": abs(hand.parameters[0]).sum(),
    }
    agree(m, named(claim, values), within=1e-5)
    assert m.details["by_class"] == by_class
    assert (claim == "rubbish-rbf") == (not claimed)


def test_rubbish_is_gaussian_and_another_for_another_seed(monkeypatch):
    seen, lab, original = [], world(monkeypatch, "rubbish-softmax"), metrics.evaluate_rubbish
    monkeypatch.setattr(metrics, "evaluate_rubbish", lambda network, x: seen.append(x) or original(network, x))
    for seed in (0, 1, 0):
        measured("rubbish-softmax", lab, seed)
    assert seen[0].shape == (500, 784)
    assert np.array_equal(seen[0], seen[2])
    assert not np.array_equal(seen[0], seen[1])
    assert (seen[0].mean(), seen[0].std()) == pytest.approx((0, 1), abs=0.01)
    assert abs(seen[0]).max() > 4  # not clipped


# ---------------------------------------------------------------------------------------------------------
# Planted defects, and what has to notice them


def instead(module, name, make):
    """A defect: `make(original)` in the place of `module.name`."""
    return lambda patch, make=make: patch.setattr(module, name, make(getattr(module, name)))


def everywhere(name, make, of=attacks):
    """The same in every module that has the function `of.name` under its name."""

    def plant(patch, make=make):
        original = getattr(of, name)
        for module in [m for key, m in sys.modules.items() if key.startswith("tinyadv")]:
            if getattr(module, name, None) is original:
                patch.setattr(module, name, make(original))

    return plant


def with_shuffled_labels(patch):
    original = laboratory.mnist()
    test = Split(original.test.x, np.roll(original.test.y, 1))
    use(patch, MNIST(original.train, original.validation, test))


DEFECTS = {
    "FGSM descends": instead(attacks, "input_gradient", lambda f: lambda *a: -f(*a)),
    "FGSM follows no gradient": instead(attacks, "input_gradient", lambda f: lambda *a: 0 * f(*a)),
    "FGSM moves half as far": instead(attacks, "check_eps", lambda f: lambda eps: eps / 2),
    "FGSM clips": instead(attacks, "_check_clip", lambda f: lambda clip, x: (0.0, 1.0)),
    "FGSM leaves the predicted label": instead(
        attacks, "input_gradient", lambda f: lambda model, x, y: f(model, x, metrics.predict(model, x))
    ),
    "input gradients point down": everywhere("input_gradient", lambda f: lambda *a: -f(*a)),
    "dropout is left on": instead(
        models.Network, "__call__", lambda f: lambda model, x, rng=None, **k: f(model, x, rng or generator(0), **k)
    ),
    "labels are shuffled": with_shuffled_labels,
    "rubbish is clipped": everywhere("gaussian", lambda f: lambda *a: f(*a).clip(0.0, 1.0), of=common),
}


def among(names, *more):
    """By claim, a table of names and others that are to be added to it."""
    return {claim: set().union(*(table.get(claim, ()) for table in (names, *more))) for claim in {*names}.union(*more)}


ATTACKED = {
    "fgsm-softmax": {"error", "confidence_on_mistakes"},
    "fgsm-maxout": {"error", "confidence_on_mistakes"},
    "lbfgs-baseline": {"fgsm_error"},
    "logistic-3v7": {"error"},
    "logistic-exact": {
        "holds", "loss_difference", "gradient_difference", "training_difference", "adversarially_trained_error",
    },
    "fig2-logistic": {"holds", "error"},
    "l1-pessimism": {"details"},
    "adv-train-error": {"training_error_240", "training_error_larger"},
    "adv-robust-1600": {"error", "error_first", "naive_error", "transfer_error", "pgd_error"},
    "adv-transfer": {"error_naive_to_trained", "error_trained_to_naive"},
    "adv-confidence": {"error", "confidence_on_mistakes"},
    "noise-sign": {"error", "confidence_on_mistakes"},
    "noise-uniform": {"error", "confidence_on_mistakes"},
    "through-attack": {f"{kind}_{name}" for kind in ("error", "pgd_error") for name in ("fgsm", "rotation", "scaled")},
    "hidden-additive": {"error_hidden", "error_input"},
    "hidden-rotation": {"error_rotation", "error_input"},
    "hidden-saturating": {"error_hidden_rust", "details"},
    "hidden-last": {"details"},
    "rbf-fgsm": {
        f"{name}{J}" for name in ("error", "confidence_on_mistakes") for J in ("", "_cross_entropy", "_true_class")
    },
    "rbf-deep": {"details"},
    "transfer-agreement": {"agreement_rbf", "agreement_softmax"},
    "transfer-both-wrong": {"agreement_softmax_maxout", "agreement_rbf_maxout", "agreement_rbf_softmax"},
    "transfer-subsets": {"error_same_architecture", "error_other_architecture", "agreement"},
    "universal-direction": {"error_swapped"},
    "mp-dbm": {"error", "confidence_on_mistakes", "details"},
    "ensemble-12": {"error_ensemble", "error_mean_logit", "error_summed_losses", "error_member"},
}  # fmt: skip
OTHERWISE = {  # what looks at input gradients without FGSM
    "rotation-attack": {"holds", "error_softmax", "error_maxout"},
    "fig4-eps-trace": {"correct_share_up", "correct_share_down"},
    "universal-direction": {"holds", "error_common"},
    "fooling-step": {"success_mean", "success_mean_exact", "success_mean_mnist", "success_mean_mnist_sign"},
    "fig5-fooling": {"success_airplane", "success_airplane_exact", "details"},
    "rubbish-training": {"fooled_after_one_step", "fooled_after_steps"},
}
CLEAN = {  # what looks at test images without any attack: networks without dropout
    "fgsm-softmax": {"clean_error"},
    "logistic-3v7": {"clean_error"},
    "logistic-exact": {"adversarially_trained_clean_error"},
    "fig2-logistic": {"clean_error", "pattern_cosine"},
    "l1-pessimism": {"details"},
    "rbf-fgsm": {"clean_error"},
    "rbf-deep": {"details"},
    "rubbish-softmax": {"clean_error"},
    "rubbish-rbf": {"clean_error"},
    "mp-dbm": {"clean_error"},
}
CLEAN_DEEP = {  # networks with dropout
    "fgsm-maxout": {"clean_error"},
    "l1-maxout-stuck": {"error_without_decay", "best_error"},
    "adv-train-240": {"naive_error", "adversarially_trained_error"},
    "maxout-1600-naive": {"clean_error", "clean_error_240"},
    "adv-train-1600": {"clean_error"},
    "adv-robust-1600": {"clean_error", "noise_error"},
    "noise-sign": {"clean_error"},
    "noise-uniform": {"clean_error"},
    "through-attack": {f"clean_error_{name}" for name in ("fgsm", "rotation", "scaled", "naive")},
    "hidden-additive": {f"clean_error_{name}" for name in ("hidden", "input", "naive")},
    "hidden-saturating": {f"clean_error_{name}" for name in ("hidden", "input", "hidden_rust", "input_rust")},
    "hidden-rotation": {"clean_error_rotation", "clean_error_input"},
    "hidden-last": {f"clean_error_{p}{kind}" for p in ("first", "last", "both") for kind in ("", "_rotation")},
    "ensemble-12": {"clean_error"},
    "rubbish-maxout-softmax": {"clean_error"},
    "rubbish-maxout-sigmoid": {"clean_error"},
    "rubbish-training": {"clean_error", "clean_error_without"},
}
RUBBISH = {
    "rubbish-maxout-softmax": {"error", "confidence_on_mistakes"},
    "rubbish-maxout-sigmoid": {"error", "confidence_on_mistakes"},
    "rubbish-skew": {"share_most_frequent"},
    "rubbish-training": {"error", "fooled_after_one_step", "fooled_after_steps"},
    "rubbish-conv": {"error", "confidence_on_mistakes"},
    "rubbish-skew-conv": {"share_most_frequent"},
    "fooling-step": {"success_mean", "success_mean_mnist", "success_mean_mnist_sign"},
    "fig5-fooling": {"details"},
}
SHOWN_TO_OTHERS = {  # a network's examples, or one image's perturbation
    claim: ATTACKED[claim] for claim in ("adv-transfer", "ensemble-12", "universal-direction")
} | {claim: names for claim, names in ATTACKED.items() if claim.startswith("transfer")}
NOTICED = {  # by claim, at least what is named here; and no other claim
    "FGSM descends": among(ATTACKED, {"adv-robust-1600": {"holds"}}),
    "FGSM follows no gradient": ATTACKED,
    "FGSM moves half as far": ATTACKED,
    "FGSM clips": ATTACKED | {"lbfgs-baseline": {"l2_fgsm"}},
    "FGSM leaves the predicted label": among(ATTACKED, {"adv-robust-1600": {"holds"}}),
    "input gradients point down": among(ATTACKED, OTHERWISE, {"adv-robust-1600": {"holds"}}),
    "dropout is left on": among(CLEAN_DEEP, RUBBISH, SHOWN_TO_OTHERS, {
        "fgsm-maxout": {"confidence_on_mistakes", "zero_gradient_share"},
        "rotation-attack": {"error_maxout"},
        "l1-maxout-stuck": {"training_error"},
        "adv-confidence": {"error", "confidence_on_mistakes"},
        "adv-train-error": {"training_error_240", "training_error_larger"},
        "adv-robust-1600": {"confidence_on_mistakes", "zero_gradient_share"},
        "lbfgs-baseline": {"success", "gradients_per_example", "l2", "largest_change"},
        "noise-sign": {"error", "confidence_on_mistakes"},
        "noise-uniform": {"confidence_on_mistakes"},
        "hidden-additive": {"activation_growth", "error_hidden", "error_input"},
        "hidden-rotation": {"error_rotation", "error_input"},
        "hidden-last": {f"training_error_{p}{k}" for p in ("first", "last", "both") for k in ("", "_rotation")},
        "rbf-deep": {"training_error_maxout"},
        "fig4-eps-trace": {"correct_share", "linear_pieces"},
        "fooling-step": {"success_mean_mnist_before"},
    }),
    "labels are shuffled": among(CLEAN, CLEAN_DEEP, SHOWN_TO_OTHERS, {
        "mp-dbm": {"error"},
        "fgsm-softmax": {"error"},
        "fgsm-maxout": {"error"},
        "rotation-attack": {"error_softmax", "error_maxout"},
        "logistic-3v7": {"error"},
        "adv-confidence": {"error"},
        "adv-robust-1600": {"error", "naive_error", "transfer_error"},
        "lbfgs-baseline": {"details"},
        "rbf-fgsm": {"error"},
        "fig4-eps-trace": {"correct_share"},
        "universal-direction": {"error_common", "error_random"},
    }),
    "rubbish is clipped": among(RUBBISH, {"rubbish-softmax": {"error", "confidence_on_mistakes"}}),
}  # fmt: skip


@cache
def undisturbed(claim):
    """A claim's measurement, and the defects that could change it: it called the functions that they replace."""
    reached = {"labels are shuffled"}

    def noting(defect):
        return lambda f: lambda *a, **k: reached.add(defect) or f(*a, **k)

    with pytest.MonkeyPatch.context() as patch:
        lab = world(patch, claim)
        for defect in [name for name in reversed(DEFECTS) if name not in reached]:  # `everywhere` finds originals
            DEFECTS[defect](patch, noting(defect))
        return measured(claim, lab), reached


def noticed(claim, defect):
    """The names of the values that a defect changes, "holds" where it makes the predicate fail, and "details"."""
    right, reached = undisturbed(claim)
    if defect not in reached:
        return set()
    with pytest.MonkeyPatch.context() as patch:
        lab = world(patch, claim)
        DEFECTS[defect](patch)
        wrong = measured(claim, lab)
    names = {name for name, v in wrong.values.items() if v != pytest.approx(right.values[name], rel=1e-6, nan_ok=True)}
    if in_json([right.details, right.variations]) != in_json([wrong.details, wrong.variations]):
        names.add("details")
    return names | ({"holds"} if right.holds and wrong.holds is False else set())


def in_json(details):
    return json.dumps(details, sort_keys=True)


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_planted_defect_is_noticed(defect):
    found, wanted = {claim: noticed(claim, defect) for claim in set(MEASURES) - OF_OTHER_DATA}, NOTICED[defect]
    noticing = {claim for claim, names in found.items() if names}
    said = {claim: sorted(found.get(claim, ())) for claim in noticing ^ wanted.keys()}
    assert noticing == wanted.keys(), f"NOTICED and the measurements disagree; these changed: {said}"
    assert {claim: names - found[claim] for claim, names in wanted.items()} == {claim: set() for claim in wanted}


def test_every_claim_notices_a_defect_but_those_that_show_a_network_no_image_of_the_test_set():
    noticing = {claim for table in NOTICED.values() for claim in table}
    assert set(MEASURES) - OF_OTHER_DATA - noticing == {
        "linear-growth", "adv-stopping", "fig3-filters",
    }  # fmt: skip


# Each part of each predicate can fail by itself: the claim and the part, what is planted


def as_printed(original):
    """The closed form with the slip of sign that it has in print: zeta(y (eps ||w||_1 - z))."""
    return lambda w, b, x, y, eps: softplus(y * (eps * abs(w).sum() - x @ w - b)).mean()


def scaled(of_J, of_gradients):
    """A defect of the adversarial objective: J and its gradients times these factors."""

    def make(original):
        def objective(*arguments, **options):
            J, gradients = original(*arguments, **options)
            return of_J * J, [of_gradients * g for g in gradients]

        return objective

    return instead(section5, "adversarial_objective", make)


class SignsOfTheWeights:
    """A generator whose random signs are those of the normal numbers that it gave before, times a factor."""

    def __init__(self, rng, factor):
        self.rng, self.factor, self.random = rng, factor, rng.random

    def standard_normal(self, n):
        self.signs = np.sign(normal := self.rng.standard_normal(n))
        return normal

    def choice(self, signs, n):
        return self.factor * self.signs


def random_signs_like_the_weights(factor):
    return instead(section3, "generator", lambda f: lambda *a: SignsOfTheWeights(f(*a), factor))


def masked_gradient_and_strong_noise(patch):
    DEFECTS["FGSM follows no gradient"](patch)
    instead(audit, "random_signs", lambda f: lambda *a: 40 * f(*a))(patch)


FAILURES = {
    ("linear-growth", "the growth"): instead(section3, "sign", lambda f: lambda w: f(w) * (w < w.max())),
    ("linear-growth", "the max-norm"): instead(section3, "sign", lambda f: lambda w: w * abs(w).sum() / (w @ w)),
    ("linear-growth", "random signs"): random_signs_like_the_weights(1.001),
    ("logistic-exact", "losses"): instead(section5, "fgsm", lambda f: lambda *a: f(*a) * 0.999),
    ("logistic-exact", "elsewhere"): instead(section5, "_in_the_box", lambda f: lambda *a: (99 * eta for eta in f(*a))),
    ("logistic-exact", "the objective"): scaled(1.01, 1.0),
    ("logistic-exact", "its gradients"): scaled(1.0, 1.01),
    ("logistic-exact", "the sign in print"): instead(section5, "adversarial_logistic_loss", as_printed),
    ("fig2-logistic", "one image"): instead(section5, "attack", lambda f: lambda *a: np.r_[f(*a)[:-1], a[1][-1:]]),
    ("adv-robust-1600", "PGD"): instead(audit, "pgd", lambda f: lambda model, x, *a: x),
    ("adv-robust-1600", "noise"): masked_gradient_and_strong_noise,
}


@pytest.mark.parametrize(("claim", "part"), FAILURES)
def test_each_part_of_a_predicate_can_fail(monkeypatch, claim, part):
    lab = world(monkeypatch, claim)
    assert measured(claim, lab).holds is True
    FAILURES[claim, part](monkeypatch)
    assert measured(claim, lab).holds is False


def test_random_signs_as_good_as_the_weights_do_not_fail_linear_growth(monkeypatch):
    random_signs_like_the_weights(1.0)(monkeypatch)
    assert measured("linear-growth", world(monkeypatch, "linear-growth")).holds
