"""Transfer with its denominators, lines through an image piece by piece, one direction for many images."""

import json
import math

import numpy as np
import pytest
from matplotlib.figure import Figure as Canvas
from test_sections import ByHand
from tiny import TINY, GivenLab, made_sure, measure, measured, rounded_fgsm, tiny_mnist, use

from tinyadv import models
from tinyadv.backend import generator, noise
from tinyadv.datasets import MNIST, Split
from tinyadv.layers import parameters
from tinyadv.metrics import Evaluation, wilson
from tinyadv.paper import recipes
from tinyadv.paper.draw import BLUE, GREEN, drawings
from tinyadv.paper.draw.section8 import SHOWN
from tinyadv.paper.measure import section8
from tinyadv.paper.measure.section8 import pieces_along
from tinyadv.paper.results import Result
from tinyadv.paper.results_file import from_json, to_json
from tinyadv.paper.rounding import Rounded

EPS, IMAGES = 0.25, 80
MAXOUT, SOFTMAX, RBF = (
    ("maxout_network", "clean", "softmax"),
    ("softmax_regression", "clean", None),
    ("rbf_network", "clean", "rbf-squared"),
)


def world(patch):
    train, validation, test = tiny_mnist(dtype="float64")
    use(patch, MNIST(train, validation, Split(test.x[-IMAGES:], test.y[-IMAGES:])))
    patch.setattr(section8, "TRACED", 5)
    return GivenLab()


def saved(claim, m):
    result = Result(claim, "tiny", "cpu", [0], [m])
    return from_json(json.loads(json.dumps(to_json(result), allow_nan=False)))


def drawn(claim, details):
    drawings()[claim].draw(canvas := Canvas(), details)
    canvas.draw_without_rendering()
    return canvas


# ---------------------------------------------------------------------------------------------------------
# Agreement


def said_by_hand(lab, eps=EPS, clip=False):
    x, y = lab.data.test
    hands = {name: ByHand(lab.given[kind]) for name, kind in (("maxout", MAXOUT), ("softmax", SOFTMAX), ("rbf", RBF))}
    made = [hands["maxout"].fgsm(a, b, eps) for a, b in zip(x, y, strict=True)]
    made = [np.minimum(np.maximum(a, 0), 1) for a in made] if clip else made
    return {name: [hand.says(a) for a in made] for name, hand in hands.items()}, y


def test_agreement_counts_all_mistakes_of_the_maxout_network(monkeypatch):
    lab = world(monkeypatch)
    m = measured("transfer-agreement", lab)
    for found, (said, y) in (
        (m.values, said_by_hand(lab)),
        (m.variations["clipped"], said_by_hand(lab, clip=True)),
        (m.variations["eps:0.15"], said_by_hand(lab, 0.15)),
    ):
        wrong = [i for i in range(IMAGES) if said["maxout"][i] != y[i]]
        assert 0 < len(wrong) < IMAGES
        for k in ("rbf", "softmax"):
            agreed = sum(said[k][i] == said["maxout"][i] for i in wrong)
            assert found[f"agreement_{k}"] == pytest.approx(agreed / len(wrong))
            if found is m.values:
                assert m.intervals[f"agreement_{k}"] == wilson(agreed, len(wrong))
        for k in ("maxout", "softmax", "rbf"):
            assert found[f"error_{k}"] == sum(a != b for a, b in zip(said[k], y, strict=True)) / IMAGES
        names = [f"agreement_{k}" for k in ("rbf", "softmax")] + [f"error_{k}" for k in ("maxout", "softmax", "rbf")]
        for name in names:  # in float64, of networks that are not that sure
            assert found[name + "_exact"] == found[name]
        beside = {"error_of_softmax_s", "agreement_of_softmax_s"} if found is m.values else set()
        assert found.keys() == {name + end for name in names for end in ("", "_exact")} | beside
    softmax, maxout, (x, y) = ByHand(lab.given[SOFTMAX]), ByHand(lab.given[MAXOUT]), lab.data.test
    made = [softmax.fgsm(a, b) for a, b in zip(x, y, strict=True)]
    wrong = [(maxout.says(a), softmax.says(a)) for a, b in zip(made, y, strict=True) if maxout.says(a) != b]
    assert m.values["error_of_softmax_s"] == len(wrong) / IMAGES
    assert m.values["agreement_of_softmax_s"] == pytest.approx(np.mean([a == b for a, b in wrong]))


def test_agreement_under_the_rounded_gradient_and_of_a_longer_trained_network(monkeypatch):
    train, validation, test = tiny_mnist()
    use(monkeypatch, MNIST(train, validation, Split(test.x[-IMAGES:], test.y[-IMAGES:])))
    lab = GivenLab(dtype="float32")
    maxout, softmax, rbf = (lab.given[kind] for kind in (MAXOUT, SOFTMAX, RBF))
    longer = GivenLab(dtype="float32").given[MAXOUT]
    for network in (maxout, longer):
        made_sure(network, 40.0)
    parameters(longer)[-1].data += np.arange(10, dtype="float32")  # another one
    networks = {"maxout": maxout, "softmax": softmax, "rbf": rbf, "rbf_true_class": rbf}
    m = measure("transfer-agreement", lab, **networks, longer=longer)
    x, y = lab.data.test
    exact = section8.attack(longer, x, y)
    assert (exact != rounded_fgsm(longer, x, y)).any(axis=1).sum() > 3, "some are sure enough for the two to differ"
    for found, end, network, made in (
        (m.values, "", maxout, rounded_fgsm(maxout, x, y)),
        (m.values, "_exact", maxout, section8.attack(maxout, x, y)),
        (m.variations["longer"], "", longer, rounded_fgsm(longer, x, y)),
        (m.variations["longer"], "_exact", longer, exact),
        (m.variations["eps:0.15"], "", maxout, rounded_fgsm(maxout, x, y, 0.15)),
        (m.variations["clipped"], "", maxout, rounded_fgsm(maxout, x, y).clip(0, 1)),
    ):
        said = [n(made).argmax(axis=1) for n in (network, softmax, rbf)]
        wrong = said[0] != y
        wanted = {f"error_{k}": (s != y).mean() for k, s in zip(("maxout", "softmax", "rbf"), said, strict=True)}
        wanted |= {f"agreement_{k}": (said[i] == said[0])[wrong].mean() for k, i in (("softmax", 1), ("rbf", 2))}
        assert {name: found[name + end] for name in wanted} == pytest.approx(wanted)
    assert m.variations["longer"]["epochs"] == 2
    assert m.values["error_maxout"] != m.values["error_maxout_exact"]


def test_agreement_where_both_err_counts_these_alone(monkeypatch):
    lab = world(monkeypatch)
    m, (said, y) = measured("transfer-both-wrong", lab), said_by_hand(lab)
    sizes = set()
    for a, b in (("softmax", "maxout"), ("rbf", "maxout"), ("rbf", "softmax")):
        both = [i for i in range(IMAGES) if said[a][i] != y[i] and said[b][i] != y[i]]
        agreed = sum(said[a][i] == said[b][i] for i in both)
        assert m.values[f"agreement_{a}_{b}"] == pytest.approx(agreed / len(both))
        assert m.intervals[f"agreement_{a}_{b}"] == wilson(agreed, len(both))
        sizes.add(len(both))
    assert len(sizes) > 1  # the denominators differ
    softmax, rbf, x = ByHand(lab.given[SOFTMAX]), ByHand(lab.given[RBF]), lab.data.test.x
    made = [softmax.fgsm(a, b) for a, b in zip(x, y, strict=True)]
    pairs = [(softmax.says(a), rbf.says(a), b) for a, b in zip(made, y, strict=True)]
    both = [a == b for a, b, label in pairs if label not in (a, b)]
    assert m.values["agreement_rbf_softmax_own"] == pytest.approx(np.mean(both))
    assert m.values["agreement_rbf_softmax_own"] != m.values["agreement_rbf_softmax"]


def test_without_a_mistake_there_is_no_agreement(monkeypatch):
    lab = world(monkeypatch)
    y = lab.data.test.y
    monkeypatch.setattr(section8, "predict", lambda model, x: y)
    m = measured("transfer-agreement", lab)
    assert all(math.isnan(m.values[f"agreement_{name}"]) for name in ("rbf", "softmax"))
    assert m.intervals.keys() == {"error_of_softmax_s"}


# ---------------------------------------------------------------------------------------------------------
# Halves


def eight(lab):
    return [lab.given[kind] for kind in (SOFTMAX, SOFTMAX, MAXOUT, ("maxout_network", "adversarial", "softmax"))] * 2


def in_halves(networks):
    """Eight networks by the names of the four architectures."""
    return {kind: networks[2 * i : 2 * i + 2] for i, kind in enumerate(recipes.HALVES_OF)}


def test_the_matrices_of_transfer(monkeypatch):
    lab, (x, y) = world(monkeypatch), tiny_mnist(dtype="float64").test
    networks = eight(lab)
    m = measure("transfer-subsets", lab, 3, **in_halves(networks))
    x, y = lab.data.test
    signs = np.sign(noise(generator(3, "random signs"), x, 1.0))
    error, agreement = np.zeros((8, 8)), np.zeros((8, 8))
    hands = [ByHand(network) for network in networks[:4]]
    for i in range(4):
        made = [hands[i].fgsm(a, b) for a, b in zip(x, y, strict=True)]
        said = np.array([[hand.says(a) for a in made] for hand in hands])
        for j in range(4):
            both = (said[i] != y) & (said[j] != y)
            error[i::4, j::4], agreement[i::4, j::4] = (said[j] != y).mean(), (said[i] == said[j])[both].mean()
    assert m.details["error"] == pytest.approx(error)
    assert m.details["agreement"] == pytest.approx(agreement)
    random = [np.mean([hand.says(a) for a in x + EPS * signs] != y) for hand in hands]
    assert m.details["random_error"] == pytest.approx(random * 2)
    halves, diagonal = np.kron(np.eye(4), np.ones((2, 2))), np.eye(8)
    wanted = {
        "error_same_architecture": error[(halves - diagonal) == 1].mean(),
        "error_other_architecture": error[halves == 0].mean(),
        "agreement": agreement[diagonal == 0].mean(),
    }
    # in float64, of networks that are not that sure, either gradient gives the same
    assert m.values == pytest.approx({name + end: v for name, v in wanted.items() for end in ("", "_exact")})
    assert m.details["names"][:3] == ["softmax/0", "softmax/1", "maxout/0"]


def test_examples_follow_the_software_s_gradient_and_the_exact_one_stands_beside(monkeypatch):
    lab, either = world(monkeypatch), iter(range(16))
    exact = {id(network) for network in eight(lab)}
    seen = []
    monkeypatch.setattr(section8, "attack", lambda m, x, y: seen.append(id(m) in exact) or x + 0.1 * (next(either) < 8))
    m = measure("transfer-subsets", lab, **in_halves(eight(lab)))
    assert seen == 8 * [False] + 8 * [True]
    assert m.values["error_other_architecture"] != m.values["error_other_architecture_exact"]


@pytest.mark.parametrize(
    ("wrong", "same", "random", "holds"),
    [
        ((500, 1000), (300, 450), (100, 1000), True),
        ((105, 1000), (90, 100), (100, 1000), False),  # hardly more than random signs
        ((500, 1000), (60, 450), (100, 1000), False),  # as often as by chance
        ((500, 1000), (0, 0), (100, 1000), False),  # never wrong together
    ],
)
def test_each_pair_needs_more_than_random_signs_and_chance(wrong, same, random, holds):
    assert section8._pair(0, 1, wrong, same, random)["holds"] is holds


def test_a_network_that_nothing_transfers_to_fails_the_claim_and_is_named(monkeypatch):
    lab = world(monkeypatch)
    y = lab.data.test.y
    networks = eight(lab)
    right = models.softmax_regression(rng=generator(0))  # stands for one that is always right
    original = section8.predict
    monkeypatch.setattr(section8, "predict", lambda model, x: y if model is right else original(model, x))
    monkeypatch.setattr(
        section8, "attack", lambda m, x, y: x if right in (m, getattr(m, "network", m)) else section8_attack(m, x, y)
    )
    m = measure("transfer-subsets", lab, **in_halves([*networks[:7], right]))
    assert m.holds is False
    assert {7} < {i for pair in m.details["failing"] for i in pair}
    canvas = drawn("transfer-subsets", saved("transfer-subsets", m).measurements[0].details)  # NaN and all
    assert len(canvas.axes) == 2


section8_attack = section8.attack


def test_the_figure_of_the_matrices(monkeypatch):
    m = measure("transfer-subsets", world(monkeypatch), **in_halves(eight(world(monkeypatch))))
    details = saved("transfer-subsets", m).measurements[0].details
    left, right = drawn("transfer-subsets", details).axes
    shown = np.array(left.get_images()[0].get_array())
    assert shown == pytest.approx(100 * np.array([*details["error"], details["random_error"]]))
    shown = np.ma.filled(right.get_images()[0].get_array(), np.nan)
    assert np.isnan(shown.diagonal()).all()  # a network agrees with itself
    off = ~np.eye(8, dtype=bool)
    assert shown[off] == pytest.approx(100 * np.array(details["agreement"])[off])
    assert [text.get_text() for text in left.texts][:8] == [f"{100 * v:.0f}" for v in details["error"][0]]
    assert left.texts[3].get_position() == (3, 0)
    assert left.get_yticklabels()[-1].get_text() == "random signs"


def test_the_halves_have_no_image_in_common(monkeypatch, tmp_path):
    data = tiny_mnist()
    use(monkeypatch, data)
    lab = section8.Lab(tmp_path)
    for architecture in recipes.HALVES_OF:
        first, second = recipes.in_halves(TINY, 5, architecture)
        assert (first.data, second.data, first.seed, second.seed) == ("mnist-half-0", "mnist-half-1", 10, 11)
        assert first.network == second.network
        assert first.epochs == TINY.epochs["controls"]
    for part in ("train", "full_train"):
        whole = getattr(data, part)
        halves = [lab.split(recipe, part) for recipe in (first, second)]
        assert sum(len(half.x) for half in halves) == len(whole.x)
        for k, half in enumerate(halves):
            assert np.array_equal(half.x, whole.x[k::2])
            assert np.array_equal(half.y, whole.y[k::2])
    assert lab.split(first, "validation").x is lab.data.validation.x
    for k, recipe in enumerate(recipes.in_halves(TINY, 0, "rbf")):  # nor is a mean image of the other half's
        x, y = data.train.x[k::2], data.train.y[k::2]
        mu = lab._untrained(recipe).layers[0].mu.data
        assert mu == pytest.approx(np.stack([x[y == c].mean(axis=0) for c in range(10)]), abs=1e-6)


# ---------------------------------------------------------------------------------------------------------
# Along a line


def small_maxout(depth=2, seed=0, inputs=7):
    network = models.maxout_network(9, 4, depth, inputs=inputs, classes=3, scale=1.0, rng=generator(seed))
    for p in parameters(network.to(dtype="float64")):
        p.data = p.data + (0.3 * generator(seed + 9).standard_normal(p.shape) if p.ndim == 1 else 0)
    return network


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_the_pieces_along_a_line_are_those_of_a_fine_grid(depth):
    network = small_maxout(depth, depth)
    x, direction = generator(3).standard_normal((2, 7))
    t, z = pieces_along(network, x, direction, -4.0, 5.0)
    assert (t[0], t[-1]) == (-4.0, 5.0)
    assert (np.diff(t) > 0).all()
    assert z == pytest.approx(network(x + t[:, None] * direction), abs=1e-9)
    grid = np.linspace(-4, 5, 90_001)
    outputs = network(x + grid[:, None] * direction)
    bent = abs(np.diff(outputs, 2, axis=0)).max(axis=1) > 1e-9  # the grid's cell has a knot in it, or beside it
    cells = np.flatnonzero(bent) + 1
    inner = t[1:-1]
    assert len(inner) > 10
    near = abs(inner[:, None] - grid[cells]).min(axis=1)
    assert near.max() < 2.1e-4  # every knot is a bend
    assert abs(grid[cells][:, None] - inner).min(axis=1).max() < 2.1e-4  # and every bend has its knot


def test_a_third_piece_between_the_winners_of_both_ends_has_two_crossings():
    # |t| and 1.5 - |t| / 10 by hand: lines -t, t, and 1.5 on top of both from -1.5 to 1.5
    network = models.maxout_network(1, 3, 1, inputs=1, classes=2, rng=generator(0)).to(dtype="float64")
    W, b, V, c = parameters(network)
    W.data, b.data = np.array([[[-1.0]], [[1.0]], [[0.0]]]), np.array([0.0, 0.0, 1.5])
    V.data, c.data = np.array([[1.0], [-1.0]]), np.array([0.0, 5.0])
    t, z = pieces_along(network, np.zeros(1), np.ones(1), -10.0, 10.0)
    assert t.tolist() == [-10, -1.5, 1.5, 10]
    assert z.tolist() == [[10, -5], [1.5, 3.5], [1.5, 3.5], [10, -5]]
    # class 0 wins where |t| > 2.5: 7.5 on either side
    assert section8._right(t, z, 0, -10, 10) == pytest.approx(15)
    assert section8._right(t, z, 1, -10, 10) == pytest.approx(5)
    assert section8._right(t, z, 1, 0, 10) == pytest.approx(2.5)
    assert section8._right(t, z, 1, -10, -2) == pytest.approx(0.5)


def test_layers_of_another_kind_are_refused():
    with pytest.raises(TypeError, match="Sigmoid"):
        pieces_along(models.saturating_network(units=3, rng=generator(0)), np.zeros(784), np.ones(784), -1, 1)


def test_fig4(monkeypatch):
    lab = world(monkeypatch)
    m, hand, (x, y) = measured("fig4-eps-trace", lab), ByHand(lab.given[MAXOUT]), lab.data.test
    images, eps = m.details["images"], np.linspace(-10, 10, 4001)
    fours = [i for i in range(len(y)) if y[i] == 4][: section8.TRACED]
    assert len(images["correct_share"]) == len(fours) > 1
    for at, i in enumerate(fours[:2]):
        direction = np.sign(hand.gradient(x[i], y[i]))
        right = np.array([hand.says(x[i] + e * direction) == y[i] for e in eps])
        assert images["correct_share"][at] == pytest.approx(right.mean(), abs=2e-3)
        assert images["correct_share_up"][at] == pytest.approx(right[eps > 0].mean(), abs=2e-3)
        assert images["correct_share_down"][at] == pytest.approx(right[eps < 0].mean(), abs=2e-3)
        assert images["linear_pieces"][at] > 10
    for name in ("correct_share", "correct_share_up", "correct_share_down", "linear_pieces"):
        assert m.values[name] == pytest.approx(np.mean(images[name]))
        assert m.values[f"{name}_exact"] == m.values[name]  # in float64, of a network that is not that sure
    assert m.values["wrong_beyond_exact"] == m.values["wrong_beyond"]
    far = eps[abs(eps) > 2.0005]
    for k in (4, 7):  # of those that are classified correctly, which are wrong everywhere far away
        wrong = []
        for i in [i for i in range(len(y)) if y[i] == k][: section8.TRACED]:
            direction = np.sign(hand.gradient(x[i], y[i]))
            if hand.says(x[i]) == k:
                wrong.append(not any(hand.says(x[i] + e * direction) == k for e in far))
        assert m.values[f"wrong_beyond_{k}"] == pytest.approx(np.mean(wrong), nan_ok=True)
    assert m.values["wrong_beyond"] == pytest.approx(m.values["wrong_beyond_4"], nan_ok=True)
    assert max(images["deviation"]) < 1e-12
    four, first = m.details["four"], int(np.argmax(y == 4))
    assert four["label"] == y[first] == 4
    assert four["x"] == pytest.approx(x[first], abs=6e-4)
    assert four["logits"][20] == pytest.approx(
        hand.outputs(x[first] + four["eps"][20] * np.array(four["direction"])), abs=1e-3
    )


def test_fig4_along_the_gradient_that_lost_the_true_class(monkeypatch):
    train, validation, test = tiny_mnist()
    use(monkeypatch, MNIST(train, validation, Split(test.x[-IMAGES:], test.y[-IMAGES:])))
    lab = GivenLab(dtype="float32")
    network, (x, y) = lab.given[MAXOUT], lab.data.test
    made_sure(network, 40.0)
    m, fours = measured("fig4-eps-trace", lab), np.flatnonzero(y == 4)[: section8.TRACED]
    eps, hand = np.linspace(-10, 10, 2001), section8.in_float64(network)
    for end, made in (("", rounded_fgsm), ("_exact", section8.attack)):
        directions = np.sign(made(network, x, y) - x)[fours].astype("float64")
        right = np.array(
            [hand(x[i] + eps[:, None] * d).argmax(axis=1) == 4 for i, d in zip(fours, directions, strict=True)]
        )
        assert m.values[f"correct_share{end}"] == pytest.approx(right.mean(), abs=2e-3)
        of_those = right[network(x[fours]).argmax(axis=1) == 4][:, abs(eps) > 2.005]
        assert m.values[f"wrong_beyond{end}"] == pytest.approx(np.mean(~of_those.any(axis=1)))
        assert m.details[f"four{end}"]["direction"] == directions[0].astype(int).tolist()
    assert m.values["correct_share"] != m.values["correct_share_exact"]


@pytest.mark.parametrize(
    ("fours", "others", "exact", "bent", "holds"),
    [
        (True, False, False, None, True),  # it is judged on fours, by the software's gradient
        (False, True, False, None, False),
        (False, True, True, None, False),
        (True, True, True, 4, False),
        (True, True, True, 7, False),  # every image has to be piecewise linear
    ],
)
def test_the_predicate_of_fig4(monkeypatch, fours, others, exact, bent, holds):
    lab, line = world(monkeypatch), section8._line
    monkeypatch.setattr(section8, "predict", lambda model, x: lab.data.test.y)

    def planted(model, attacked, x, y):
        of_four = fours if isinstance(attacked, Rounded) else exact
        found = line(model, attacked, x, y) | {"wrong_beyond": of_four if y[0] == 4 else others}
        return found | ({"deviation": 1e-6} if y[0] == bent else {})

    monkeypatch.setattr(section8, "_line", planted)
    m = measured("fig4-eps-trace", lab)
    assert m.holds is holds


def test_a_network_that_bends_elsewhere_is_noticed(monkeypatch):
    lab, original = world(monkeypatch), section8._crossings
    monkeypatch.setattr(section8, "_crossings", lambda t, z: original(t, z)[::2])  # every second knot is lost
    assert max(measured("fig4-eps-trace", lab).details["images"]["deviation"]) > 1e-6


def test_the_figure_of_the_line(monkeypatch):
    details = saved("fig4-eps-trace", measured("fig4-eps-trace", world(monkeypatch))).measurements[0].details
    canvas, four = drawn("fig4-eps-trace", details), details["four"]
    (axes, exact), panels = canvas.subfigs[0].axes, canvas.subfigs[1].axes
    assert [list(line.get_ydata()) for line in exact.get_lines()] == np.transpose(
        details["four_exact"]["logits"]
    ).tolist()
    del details["four_exact"]  # as in results from before it was measured
    assert len(drawn("fig4-eps-trace", details).subfigs[0].axes) == 1
    curves = {line.get_label(): line for line in axes.get_lines()}
    for k in range(10):
        assert list(curves[f"class {k}"].get_ydata()) == [z[k] for z in four["logits"]]
        assert (curves[f"class {k}"].get_color() == BLUE) == (k == 4)
    right = [e for e, z in zip(four["eps"], four["logits"], strict=True) if np.argmax(z) == 4]
    assert sorted(patch.get_x() for patch in axes.patches) == pytest.approx(sorted(e - 0.0625 for e in right))
    frames = []
    for panel, e in zip(panels, SHOWN, strict=True):
        pixels = np.asarray(panel.get_images()[0].get_array()).ravel()
        assert pixels == pytest.approx(np.array(four["x"]) + e * np.array(four["direction"]))
        assert panel.get_title() == f"{e:g}".replace("-", "−")
        frames.append(panel.spines["left"].get_linewidth() == 4)
        assert frames[-1] == (e in right)
    assert set(frames) == {True, False}
    assert GREEN
    # the labels at the right stand in the order of the curves
    ends = sorted((t for t in axes.texts if t.get_position()[0] > 10), key=lambda t: t.get_position()[1])
    assert [int(t.get_text()) for t in ends] == np.argsort(four["logits"][-1]).tolist()


# ---------------------------------------------------------------------------------------------------------
# One direction


def test_universal_direction(monkeypatch):
    lab = world(monkeypatch)
    monkeypatch.setattr(section8, "SEEN", 100)
    m, hand = measured("universal-direction", lab, seed=2), ByHand(lab.given[MAXOUT])
    (x, y), (seen_x, seen_y) = lab.data.test, lab.data.train
    own = [EPS * np.sign(hand.gradient(a, b)) for a, b in zip(x, y, strict=True)]
    common, swapped = {}, {}
    for k in range(10):
        g = sum(hand.gradient(a, k) for a, b in zip(seen_x[:100], seen_y, strict=False) if b == k)
        common[k] = np.sign(g)
        rows = [i for i in range(IMAGES) if y[i] == k]
        swapped |= {i: own[j] for i, j in zip(rows[1:] + rows[:1], rows, strict=True)}
    signs = np.sign(noise(generator(2, "random signs"), x, 1.0))
    shifts = {
        "error": own,
        "error_common": [EPS * common[int(label)] for label in y],
        "error_swapped": [swapped[i] for i in range(IMAGES)],
        "error_other": [own[i - 1] for i in range(IMAGES)],  # whatever its class
        "error_random": EPS * signs,
    }
    report = hand.report([a + s for a, s in zip(x, shifts["error_other"], strict=True)], y)
    assert m.values["confidence_other"] == pytest.approx(report["confidence_on_mistakes"])
    for name, shift in shifts.items():
        wrong = np.array([hand.says(a + s) for a, s in zip(x, shift, strict=True)]) != y
        assert m.values[name] == pytest.approx(wrong.mean()), name
        assert m.details["by_class"][name][3] == pytest.approx(wrong[y == 3].mean())
    both = {*shifts, "confidence_other"} - {"error_random"}
    assert m.values.keys() == both | {name + "_exact" for name in both} | {"error_random"}
    assert m.intervals["error_common"] == wilson(round(m.values["error_common"] * IMAGES), IMAGES)
    assert m.details["patterns"] == [common[k].tolist() for k in range(10)]


@pytest.mark.parametrize(
    ("own", "common", "random", "holds"),
    [(0.9, 0.8, 0.1, True), (0.9, 0.4, 0.1, False), (0.9, 0.5, 0.45, False), (0.9, 0.8, 0.9, False)],
)
def test_the_predicate_of_universal_direction(monkeypatch, own, common, random, holds):
    lab = world(monkeypatch)
    asked = iter(4 * [0.5] + [own, common, 0.5, 0.5, random])  # the exact gradient's four come first

    def evaluated(network, x, y):
        k = round(next(asked) * IMAGES)
        return Evaluation(IMAGES, k, 0.5, 0.5, 0.5, {"error": wilson(k, IMAGES)})

    monkeypatch.setattr(section8, "evaluate", evaluated)
    m = measured("universal-direction", lab)
    assert m.holds is holds


def test_the_figure_of_universal_direction(monkeypatch):
    details = saved("universal-direction", measured("universal-direction", world(monkeypatch))).measurements[0].details
    canvas = drawn("universal-direction", details)
    for panel, pattern in zip(canvas.subfigs[0].axes, details["patterns"], strict=True):
        assert np.asarray(panel.get_images()[0].get_array()).ravel().tolist() == pattern
    (axes,) = canvas.subfigs[1].axes
    shown = {line.get_label(): list(line.get_ydata()) for line in axes.get_lines()}
    names = {"its own (FGSM)": "error", "another image's": "error_swapped", "one for the class": "error_common"}
    for label, name in (names | {"random signs": "error_random"}).items():
        assert shown[label] == [100 * e for e in details["by_class"][name]]
