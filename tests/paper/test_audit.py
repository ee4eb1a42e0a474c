"""The audit: every attack by hand, the order of attacks, and gradients that are masked on purpose."""

import json
import math
from copy import deepcopy

import numpy as np
import pytest
from test_sections import EPS, ByHand
from tiny import networks, tiny_mnist

from tinyadv import attacks, losses, metrics, models
from tinyadv.attacks import fgsm, input_gradient
from tinyadv.backend import generator, noise
from tinyadv.layers import parameters
from tinyadv.paper import attacking, audit
from tinyadv.paper.audit import Audit, by_differences
from tinyadv.tensor import Tensor, raw

NAIVE, TRAINED, SOFTMAX = (
    ("maxout_network", "clean", "softmax"),
    ("maxout_network", "adversarial", "softmax"),
    ("softmax_regression", "clean", None),
)
IMAGES = 60


@pytest.fixture
def small(monkeypatch):
    for name, n in (("FIRST", 30), ("FEW", 8), ("FEWEST", 4)):
        monkeypatch.setattr(audit, name, n)
    x, y = tiny_mnist(dtype="float64").test
    return x[-IMAGES:], y[-IMAGES:]


def of(kind):
    return networks()[kind]


def wrong(hand, images, labels):
    return [hand.says(x) != label for x, label in zip(images, labels, strict=False)]


def by_hand_pgd(hand, x, y, steps, stream):
    followed = []
    for point, at, label in zip(x + noise(generator(7, stream), x, EPS), x, y, strict=False):
        for _ in range(steps):
            step = point + 2.5 * EPS / steps * np.sign(hand.gradient(point, label))
            point = np.minimum(np.maximum(step, at - EPS), at + EPS)
        followed.append(point)
    return followed


# ---------------------------------------------------------------------------------------------------------
# The attacks


def test_every_attack_is_what_its_name_says(small):
    x, y = small
    before = x.copy()
    brought = {"c": fgsm(of(SOFTMAX), x, y, EPS)}
    found = audit.audit({"a": of(NAIVE), "b": of(TRAINED)}, x, y, 7, examples=brought)
    assert np.array_equal(x, before)
    hand, others = ByHand(of(TRAINED)), {"a": ByHand(of(NAIVE)), "c": ByHand(of(SOFTMAX))}
    expected = {
        "clean": x,
        "fgsm": [hand.fgsm(p, label) for p, label in zip(x, y, strict=True)],
        "predicted": [hand.fgsm(p, hand.says(p)) for p in x[:30]],
        "noise": x + EPS * np.sign(noise(generator(7, "noise"), x, 1.0)),
        "brought:c": [others["c"].fgsm(p, label) for p, label in zip(x, y, strict=True)],
        "brought:a": [others["a"].fgsm(p, label) for p, label in zip(x, y, strict=True)],
        "pgd-20": by_hand_pgd(hand, x[:30], y, 20, "pgd"),
        "pgd-100": by_hand_pgd(hand, x[:8], y, 100, "pgd 100"),
    }
    assert set(found.wrong) == {"a", "b"}  # whose examples alone are brought is not audited
    *others_than_differences, last = found.wrong["b"]
    assert others_than_differences == list(expected)
    for name, images in expected.items():
        assert found.wrong["b"][name].tolist() == wrong(hand, images, y), name
    assert last == "differences"
    assert len(found.wrong["b"][last]) == 4
    shares = [found.error("b", name) for name in found.wrong["b"]]
    assert 0 < min(shares) < max(shares)
    assert found.zero_gradients["b"] == np.mean(input_gradient(of(TRAINED), x, y) == 0)


def test_the_expensive_attacks_take_their_steps_on_their_samples(small, monkeypatch):
    taken = []
    monkeypatch.setattr(audit, "pgd", lambda model, x, y, eps, steps, rng: taken.append((len(x), eps, steps)) or x)
    x, y = small
    found = audit.audit({"a": of(NAIVE)}, x, y, 7)
    assert taken == [(30, 0.25, 20), (8, 0.25, 100)]
    assert [len(found.wrong["a"][name]) for name in (audit.PGD_20, audit.PGD_100, audit.DIFFERENCES)] == [30, 8, 4]
    assert (audit.STEP, len(found.wrong["a"]["fgsm"])) == (0.01, IMAGES)


def test_examples_that_are_there_are_not_made_again(small, monkeypatch):
    x, y = small
    made = {"a": fgsm(of(NAIVE), x, y, EPS), "b": fgsm(of(TRAINED), x, y, EPS)}
    once = audit.audit({"a": of(NAIVE), "b": of(TRAINED)}, x, y, 7)
    again = audit.audit({"a": of(NAIVE), "b": of(TRAINED)}, x, y, 7, examples=made)
    assert json.dumps(once.table()) == json.dumps(again.table())
    swapped = audit.audit({"a": of(NAIVE), "b": of(TRAINED)}, x, y, 7, examples={"a": made["b"], "b": made["a"]})
    assert swapped.error("a", "fgsm") == once.error("a", "brought:b") != once.error("a", "fgsm")


@pytest.mark.parametrize("kind", [NAIVE, SOFTMAX, ("rbf_network", "clean", "rbf")])
def test_finite_differences_find_the_signs_of_the_gradient(kind):
    x, y = (part[-3:] for part in tiny_mnist(dtype="float64").test)
    hand = ByHand(of(kind))
    found = np.sign(by_differences(of(kind), x, y, EPS, h=1e-7) - x)
    for signs, p, label in zip(found, x, y, strict=True):
        g = hand.gradient(p, label)
        clear = abs(g) > 1e-4 * abs(g).max()  # one-sided differences cannot tell the sign of less
        assert clear.mean() > 0.5
        assert np.array_equal(signs[clear], np.sign(g)[clear])


class Masked(models.Network):
    """A network whose outputs are right, and whose gradients are 0."""

    def __call__(self, x, rng=None):
        z = super().__call__(x, rng)
        return 0.0 * z + raw(z) if isinstance(z, Tensor) else z


def test_finite_differences_see_past_a_masked_gradient():
    (x, y), whole = tiny_mnist(dtype="float32").test, of(SOFTMAX)
    x, y = x[:2], y[:2]
    masked = Masked(whole.builder, whole.arguments, deepcopy(whole).to(dtype="float32").layers, "softmax")
    assert np.array_equal(fgsm(masked, x, y, EPS), x)
    x_adv = by_differences(masked, x, y, EPS, h=1e-6)
    assert np.mean(x_adv == fgsm(deepcopy(whole).to(dtype="float32"), x, y, EPS)) > 0.99
    assert x_adv.dtype == parameters(masked)[0].data.dtype == np.float32  # and the model is as it was


def test_finite_differences_ask_for_no_gradient(monkeypatch, small):
    def refuse(*arguments, **options):
        raise AssertionError("a gradient was asked for")

    monkeypatch.setattr(attacks, "grad", refuse)
    x, y = small
    by_differences(of(SOFTMAX), x[:1], y[:1], EPS)
    with pytest.raises(AssertionError):
        fgsm(of(SOFTMAX), x[:1], y[:1], EPS)


# ---------------------------------------------------------------------------------------------------------
# The order


def found_with(**errors):
    """An audit of one network, in which of 20 (finite differences: 4) images so many were misclassified."""
    keys = ("fgsm", "predicted", "noise", "brought", "pgd20", "pgd100", "differences")
    names = {key: key for key in keys} | {"brought": "brought:another", "pgd20": "pgd-20", "pgd100": "pgd-100"}
    n = {"differences": 4}
    counts = dict.fromkeys(names, 0) | errors
    return Audit({"net": {names[k]: np.arange(n.get(k, 20)) < count for k, count in counts.items()}}, {"net": 0.25})


ORDERLY = {"fgsm": 8, "predicted": 8, "noise": 8, "brought": 8, "pgd20": 8, "pgd100": 8, "differences": 4}


def test_equal_errors_violate_nothing():
    assert found_with(**ORDERLY).violations() == []


@pytest.mark.parametrize(
    ("change", "broken"),
    [
        ({"pgd20": 7}, [("pgd-20", "brought:another", 7, 8), ("pgd-20", "fgsm", 7, 8)]),
        ({"pgd100": 7}, [("pgd-100", "fgsm", 7, 8)]),
        ({"noise": 9}, [("fgsm", "noise", 8, 9)]),
        ({"predicted": 9}, [("fgsm", "predicted", 8, 9)]),
        ({"brought": 9, "pgd20": 9}, [("fgsm", "brought:another", 8, 9)]),
        (
            {"brought": 9, "fgsm": 9, "pgd100": 9},
            [("pgd-20", "brought:another", 8, 9), ("pgd-20", "fgsm", 8, 9)],
        ),
    ],
)
def test_each_place_of_the_order_can_be_violated(change, broken):
    violations = found_with(**ORDERLY | change).violations()
    assert sorted(violations) == [["net", *pair, 20, more / 20, less / 20] for *pair, more, less in broken]


def test_attacks_are_compared_on_the_images_that_both_were_tried_on():
    found = found_with(**ORDERLY)
    found.wrong["net"]["pgd-100"] = np.array([True, True, False, True] + [True] * 16)
    assert found.violations() == [["net", "pgd-100", "differences", 4, 0.75, 1.0]]
    found.wrong["net"]["pgd-100"] = np.array([True] * 4 + [False] * 16)  # 20 % of all, but 100 % of the four
    assert [broken for broken in found.violations() if "differences" in broken] == []


@pytest.mark.parametrize(
    ("defect", "named"),
    [
        (lambda g: 0 * g, ["brought:a", "differences"]),
        (lambda g: -g, ["noise", "differences"]),
        (lambda g: np.random.default_rng(0).standard_normal(g.shape), ["brought:a"]),
    ],
    ids=["zero", "backwards", "random"],
)
def test_a_masked_gradient_is_flagged(small, monkeypatch, defect, named):
    x, y = small
    whole = audit.audit({"a": of(NAIVE), "b": of(TRAINED)}, x, y, 7)
    assert whole.violations() == []
    right, hidden = attacks.input_gradient, of(TRAINED)
    monkeypatch.setattr(
        attacks, "input_gradient", lambda model, *a: defect(right(model, *a)) if model is hidden else right(model, *a)
    )
    violations = audit.audit({"a": of(NAIVE), "b": hidden}, x, y, 7).violations()
    assert {weaker for _, _, weaker, *_ in violations} >= set(named)
    assert {network for network, *_ in violations} == {"b"}


def test_a_label_that_leaks_is_flagged(small, monkeypatch):
    """A network that reads the label off a perturbation made with it errs more when the label was a guess."""
    x, y = small

    def leaking(model, x_adv):
        said = metrics_predict(model, x_adv)
        return np.where(np.isin(x_adv[:, 300] - 1000, y), x_adv[:, 300] - 1000, said).astype(int)

    metrics_predict, honest = metrics.predict, audit.fgsm

    def writes_the_label(model, points, labels, eps):
        x_adv = honest(model, points, labels, eps)
        if labels is not y and not np.shares_memory(labels, y):
            return x_adv
        x_adv[:, 300] = 1000 + labels
        return x_adv

    for module in (audit, attacking):
        monkeypatch.setattr(module, "fgsm", writes_the_label)
    monkeypatch.setattr(metrics, "predict", leaking)
    violations = audit.audit({"b": of(TRAINED)}, x, y, 7).violations()
    assert any(pair == ["fgsm", "predicted"] and error == 0 for _, *pair, _, error, _ in violations)


# ---------------------------------------------------------------------------------------------------------
# The table


def test_the_table():
    table = found_with(**ORDERLY | {"noise": 9}).table()
    assert table.keys() == {"columns", "rows", "violations"}
    assert table["columns"] == ["network", "attack", "images", "error", "low", "high"]
    assert table["rows"][0] == ["net", "fgsm", 20, 0.4, *metrics.wilson(8, 20)]
    assert table["rows"][-2] == ["net", "differences", 4, 1.0, *metrics.wilson(4, 4)]
    *zeros, low, high = table["rows"][-1]
    assert zeros == ["net", "zeros", 20, 0.25]
    assert math.isnan(low)
    assert math.isnan(high)
    assert len(table["violations"]) == 1


def test_every_attack_has_a_label_for_people():
    assert [audit.label(name) for name in ("fgsm", "pgd-20", "brought:naive")] == [
        "FGSM", "PGD, 20 steps", "FGSM examples of naive",
    ]  # fmt: skip
    assert len(set(audit.LABELS.values())) == len(audit.LABELS) == 8


def test_the_loss_that_is_differenced_is_that_of_the_label(small):
    x, y = small
    model, (p,) = of(NAIVE), x[:1]
    other = (y[:1] + 1) % 10
    step = by_differences(model, x[:1], other, EPS, h=1e-5) - p
    gains = losses.softmax_cross_entropy(model(p + 1e-4 * step / EPS), other) - losses.softmax_cross_entropy(
        model(x[:1]), other
    )
    assert gains > 0
