"""L-BFGS of section 2: what is minimised, how c is searched for, what counts as success, and the predicate."""

import sys
from itertools import count
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.optimize import minimize
from tiny import TINY, GivenLab, tiny_mnist, use

from tinyadv import metrics
from tinyadv.layers import parameters
from tinyadv.paper.claims import claims
from tinyadv.paper.draw import drawings
from tinyadv.paper.measure import MEASURES, section2
from tinyadv.paper.results import Result, check, pixels
from tinyadv.paper.results_file import to_json
from tinyadv.paper.run import plan

CLAIM, MAXOUT = "lbfgs-baseline", ("maxout_network", "clean", "softmax")


@pytest.fixture
def lab(monkeypatch):
    """A lab, four images, and a clock that ticks once whenever it is read."""
    use(monkeypatch, tiny_mnist(dtype="float64"))
    monkeypatch.setattr(section2, "IMAGES", 4)
    monkeypatch.setattr(section2, "perf_counter", count().__next__)
    return GivenLab()


def measured(lab, seed=0):
    return MEASURES[CLAIM](lab, TINY, seed)


def z_by_hand(network, x):
    """The maxout network's logits of one image, layer by layer."""
    W1, b1, W2, b2, W, b = (p.data for p in parameters(network))
    for V, c in ((W1, b1), (W2, b2)):
        x = np.array([V[k] @ x + c.reshape(V.shape[:2])[k] for k in range(len(V))]).max(axis=0)
    return W @ x + b


def test_it_measures_what_the_registry_names_outside_the_quick_profile(lab):
    m = measured(lab)
    check(Result(CLAIM, "tiny", "cpu", [0], [m]))
    assert m.values.keys() == {q.name for q in claims()[CLAIM].quantities}
    assert not MEASURES[CLAIM].quick


def test_what_it_reports_is_what_it_found(lab, monkeypatch):
    found, given = [], section2.lbfgs

    def recording(minimise, model, x, target):
        calls = count()

        def counting(f, start, **options):
            return minimise(lambda v: (next(calls), f(v))[1], start, **options)

        result = given(counting, model, x, target)
        found.append((x[0], target, result.x_adv))
        assert result.gradients == next(calls)  # one input gradient for each value of the objective
        return result

    monkeypatch.setattr(section2, "lbfgs", recording)
    m, network = measured(lab), lab.given[MAXOUT]
    test, hits = lab.data.test, [x_adv for _, _, x_adv in found if x_adv is not None]
    assert len(found) == 4
    for x, target, x_adv in found:
        row = next(i for i, image in enumerate(test.x) if (image == x).all())
        assert target not in (test.y[row], z_by_hand(network, x).argmax())
        if x_adv is not None:
            assert x_adv.min() >= 0
            assert x_adv.max() <= 1
            assert z_by_hand(network, x_adv).argmax() == target
    assert m.values["success"] == len(hits) / 4
    assert m.intervals["success"] == metrics.wilson(len(hits), 4)
    sizes = [np.linalg.norm(x_adv - x) for x, _, x_adv in found if x_adv is not None]
    assert m.values["l2"] == pytest.approx(np.mean(sizes))
    assert m.values["l2_fgsm"] <= 0.25 * 28
    assert m.values["seconds_ratio"] == 1  # of a clock that ticks when it is read, once for either


def test_it_finds_examples_that_are_much_closer_than_a_random_search_does(lab):
    """On softmax regression the closest image of a class lies at the margin over the difference of weights."""
    network = lab.given["softmax_regression", "clean", None]
    x = lab.data.test.x[:1] * 0.2 + 0.4  # far from the bounds of the box
    said = int(network(x).argmax())
    target = (said + 1) % 10
    found = section2.lbfgs(minimize, network, x, target)
    assert metrics.predict(network, found.x_adv[None]) == target
    W, b = (p.data for p in parameters(network))
    # no point beyond all the planes z_target = z_k is closer than to the farthest of them
    nearest = max((W[k] - W[target]) @ x[0] + b[k] - b[target] for k in range(10) if k != target)
    farthest = max(
        ((W[k] - W[target]) @ x[0] + b[k] - b[target]) / np.linalg.norm(W[k] - W[target])
        for k in range(10)
        if k != target
    )
    assert nearest > 0
    assert farthest <= np.linalg.norm(found.x_adv - x[0]) < 3 * farthest


def scripted(outcomes, network, x, target, seen):
    """A minimiser that ends at the target's image or at x, as `outcomes` say, and notes which c it was given."""
    goal = next(image for image in tiny_mnist(dtype="float64").train.x if network(image[None]).argmax() == target)
    steps = iter(outcomes)

    def minimise(f, start, *, jac, method, bounds, options):
        assert (jac, method, set(bounds)) == (True, "L-BFGS-B", {(0.0, 1.0)})
        assert (start == x[0]).all()
        J = float(network.loss(network(goal[None]), np.array([target])))
        value, _ = f(goal)
        seen.append((value - J) / ((goal - x[0]) ** 2).sum())
        return SimpleNamespace(x=goal if next(steps) else start)

    return minimise


@pytest.mark.parametrize(
    ("outcomes", "cs"),
    [
        ([1, 1, 1, 1, 1], [0.1, 0.4, 1.6, 6.4, 25.6]),
        ([0, 0, 0, 0, 0], [0.1, 0.1 / 4, 0.1 / 16, 0.1 / 64, 0.1 / 256]),
        ([1, 0, 0, 1, 1], [0.1, 0.4, 0.2, 0.1, 0.1 * 2**0.5]),
        ([0, 1, 0, 1, 0], [0.1, 0.025, 0.05, 0.05 / 2**0.5, 0.05 / 2**0.5 * 2**0.25]),
    ],
)
def test_c_grows_after_a_success_shrinks_after_a_failure_and_closes_in(lab, outcomes, cs):
    network, x, seen = lab.given[MAXOUT], lab.data.test.x[:1], []
    target = (int(network(x).argmax()) + 1) % 10
    found = section2.lbfgs(scripted(outcomes, network, x, target, seen), network, x, target)
    assert seen == pytest.approx(cs)
    assert (found.x_adv is not None) == any(outcomes)
    assert found.gradients == 5


def test_of_several_successes_the_closest_is_kept(lab):
    network, x = lab.given[MAXOUT], lab.data.test.x[:1]
    said = int(network(x).argmax())
    goals = [image for image in tiny_mnist(dtype="float64").train.x if network(image[None]).argmax() != said]
    target = int(network(goals[0][None]).argmax())
    goals = [image for image in goals if network(image[None]).argmax() == target][:5]
    assert len(goals) == 5
    sizes = [np.linalg.norm(goal - x[0]) for goal in goals]
    for order in (np.argsort(sizes), np.argsort(sizes)[::-1]):
        ends = iter(order)
        found = section2.lbfgs(
            lambda f, start, ends=ends, **_: SimpleNamespace(x=goals[next(ends)]), network, x, target
        )
        assert (found.x_adv == goals[np.argmin(sizes)]).all()


def test_what_is_minimised_has_the_gradient_that_is_given(lab):
    network, x = lab.given[MAXOUT], lab.data.test.x[:1]
    v, point = np.random.default_rng(0).normal(size=(2, 784)) / 28
    point = np.abs(point)

    def minimise(f, start, **_):
        h = 1e-6
        measured = (f(point + h * v)[0] - f(point - h * v)[0]) / (2 * h)
        assert f(point)[1] @ v == pytest.approx(measured, rel=1e-5)
        return SimpleNamespace(x=start)

    assert section2.lbfgs(minimise, network, x, 3).x_adv is None or network(x).argmax() == 3


@pytest.mark.parametrize(
    ("x_adv", "gradients", "seconds", "holds"),
    [(1, 10, 10, True), (None, 10, 10, False), (1, 9, 10, False), (1, 10, 9, False)],
)
def test_each_part_of_the_predicate_can_fail(lab, monkeypatch, x_adv, gradients, seconds, holds):
    def lbfgs(minimise, model, x, target):
        return section2.Found(x_adv and x[0], gradients, seconds)

    monkeypatch.setattr(section2, "lbfgs", lbfgs)
    m = measured(lab)
    assert m.holds is holds
    assert np.isnan(m.values["l2"]) == (x_adv is None)
    assert to_json(Result(CLAIM, "tiny", "cpu", [0], [m]))


def test_nineteen_of_twenty_have_to_be_found_and_fgsm_s_length_is_that_of_all(lab, monkeypatch):
    monkeypatch.setattr(section2, "IMAGES", 20)
    lengths = set()
    for misses, holds in ((0, True), (1, True), (2, False)):
        found = iter([False] * misses + [True] * (20 - misses))

        def lbfgs(minimise, model, x, target, found=found):
            return section2.Found(x[0] if next(found) else None, 10, 10.0)

        monkeypatch.setattr(section2, "lbfgs", lbfgs)
        m = measured(lab)
        assert m.values["success"] == (20 - misses) / 20
        assert m.holds is holds
        lengths.add(m.values["l2_fgsm"])
    assert len(lengths) == 1  # whatever L-BFGS finds
    assert lengths.pop() > 0


def test_another_seed_takes_other_images(lab):
    assert measured(lab, 0).details["clean"] != measured(lab, 1).details["clean"]


def test_the_figure_shows_the_images(lab):
    from matplotlib.figure import Figure as Canvas

    details = measured(lab).details
    drawings()[CLAIM].draw(canvas := Canvas(), details)
    n = len(details["label"])
    assert n > 1
    for row, kind in enumerate(("clean", "lbfgs", "fgsm")):
        for k in range(n):
            axes = canvas.axes[row * n + k]
            assert np.array_equal(axes.get_images()[0].get_array().ravel(), pixels(details[kind][k]))
            said = (str(details["label"][k]), f"says {details['target'][k]}", "")[row]
            assert axes.get_title() == said
    drawings()[CLAIM].draw(Canvas(), {**details, "label": [], "target": [], "clean": [], "lbfgs": [], "fgsm": []})


def test_without_scipy_it_is_left_out_and_says_what_to_install(monkeypatch, tmp_path):
    assert MEASURES[CLAIM].missing() == ""
    monkeypatch.setattr(section2, "find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"^lbfgs-baseline: .*pip install 'tinyadv\[scipy\]'"):
        plan([CLAIM], "quick", None, "cpu", tmp_path / "out")
    assert CLAIM not in plan([], "lesson", None, "cpu", tmp_path / "out").ids


def test_scipy_is_not_imported_before_it_is_needed():
    import subprocess

    program = "import sys, tinyadv.paper.measure.section2; sys.exit('scipy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
