"""The claims of CIFAR-10's network against the same computed another way: sample by sample, by finite differences."""

import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from figures import lines
from matplotlib.colors import same_color
from matplotlib.figure import Figure as Canvas
from tiny import TINY, GivenLab, given, made_sure, networks, rounded_fgsm, tiny_mnist, use

from tinyadv import attacks, metrics
from tinyadv.attacks import fgsm
from tinyadv.backend import generator
from tinyadv.datasets import CIFAR10_CLASSES
from tinyadv.layers import parameters
from tinyadv.models import EMBEDDED, provenance
from tinyadv.optim import schedule_of
from tinyadv.paper import recipes
from tinyadv.paper.claims import claims
from tinyadv.paper.draw import BLUE, GREY, ORANGE, drawings
from tinyadv.paper.lab import Trained
from tinyadv.paper.measure import MEASURES, cifar10
from tinyadv.paper.profiles import PROFILES
from tinyadv.paper.recipes import Packaged
from tinyadv.paper.results import Result, pixels
from tinyadv.paper.results_file import from_json, to_json
from tinyadv.paper.rounding import Rounded
from tinyadv.paper.run import plan
from tinyadv.paper.show import scale
from tinyadv.preprocessing import Whitening

KIND = ("conv_maxout_network", "clean", None)
MAXOUT = ("maxout_network", "clean", "softmax")
OURS = ("fgsm-conv-maxout", "rubbish-conv", "rubbish-skew-conv", "fooling-step", "fig5-fooling")


def world(patch, a_class=12):
    """Few samples, and a lab in float32, as rubbish is."""
    use(patch, tiny_mnist())
    small = {"RUBBISH": 120, "A_CLASS": a_class, "A_DIGIT": a_class, "FEW": 5, "TRIED": 30, "SHOWN": 8, "BATCH": 7}
    for name, n in small.items():
        patch.setattr(cifar10, name, n)
    patch.setattr(recipes, "cifar10_missing", lambda: "not here")
    return GivenLab(dtype="float32")


@cache
def undisturbed(claim):
    with pytest.MonkeyPatch.context() as patch:
        return MEASURES[claim](world(patch), TINY, 0)


def gaussian(stream, n, D=3072):
    return generator(0, stream).standard_normal((n, D), dtype="float32")


def probabilities(network, x):
    """p of every class in float64, one sample at a time."""
    rows = []
    for sample in x:
        z = network(sample[None].astype("float32"))[0].astype("float64")
        rows.append(np.exp(z - z.max()) / np.exp(z - z.max()).sum())
    return np.array(rows)


# ---------------------------------------------------------------------------------------------------------
# Which network


def test_the_network_is_trained_here_or_is_the_one_that_came_with_the_package(monkeypatch, tmp_path):
    monkeypatch.setenv("TINYADV_DATA", str(tmp_path))
    for profile in PROFILES.values():  # without CIFAR-10
        assert recipes.conv_maxout(profile, 1) == Packaged("conv-maxout")
    (tmp_path / "cifar10.bin").touch()
    assert recipes.conv_maxout(PROFILES["quick"], 1) == Packaged("conv-maxout")
    lesson, paper = (recipes.conv_maxout(PROFILES[name], 1) for name in ("lesson", "paper"))
    assert (lesson.data, lesson.seed, lesson.arguments["channels"], lesson.epochs) == ("cifar10", 1, [48, 128, 128], 8)
    assert schedule_of(**lesson.schedule).epochs == 8
    assert (paper.data, paper.arguments, paper.stop_on, paper.patience, paper.stage2) == (
        "cifar10",
        {},
        "error",
        100,
        True,
    )
    assert schedule_of(**paper.schedule) == schedule_of(
        "linear", learning_rate=0.17, epochs=500, momentum=0.5, final_momentum=0.6, saturation=250
    )


def test_what_is_measured_on_the_network_of_the_package_says_so(monkeypatch):
    lab = world(monkeypatch)
    monkeypatch.setattr(recipes, "conv_maxout", lambda profile, seed: Packaged("conv-maxout"))
    monkeypatch.setattr(cifar10, "RUBBISH", 20)
    m = MEASURES["rubbish-conv"](lab, TINY, 0)
    about = provenance("conv-maxout")
    assert m.networks == {
        "conv": {
            "hash": Packaged("conv-maxout").hash,
            "recipe": about["recipe"],
            "epochs": len(about["log"]),
            "packaged": True,
        }
    }
    assert MEASURES["rubbish-conv"].recipes(TINY, 0) == []  # nothing is to be trained
    found = Result("rubbish-conv", "tiny", "cpu", [0], [m])
    assert scale(claims()["rubbish-conv"], found) == [
        "convolutional layers of 24, 64, 64 units (published: 96, 192, 192), trained for 32 epochs",
        "measured on networks that came with the package",
    ]
    about = {"hash": "0", "recipe": {"network": "conv_maxout_network", "stage2": True}}
    assert scale(claims()["rubbish-conv"], replace(found, measurements=[replace(m, networks={"conv": about})])) == []


def test_a_network_of_the_package_is_known_by_its_content(tmp_path, monkeypatch):
    before = Packaged("softmax").hash
    assert len(before) == 12
    (tmp_path / "softmax.safetensors").write_bytes((EMBEDDED / "softmax.safetensors").read_bytes() + b"x")
    monkeypatch.setattr(recipes, "EMBEDDED", tmp_path)
    assert Packaged("softmax").hash != before


def test_what_needs_the_images_says_in_one_line_what_is_missing(monkeypatch, tmp_path):
    monkeypatch.setenv("TINYADV_DATA", str(tmp_path / "data"))
    with pytest.raises(
        ValueError, match=r"^fgsm-conv-maxout: .*cifar10\.bin does not exist\. .*cifar10\.py$"
    ) as caught:
        plan(["fgsm-conv-maxout", "rubbish-conv"], "lesson", None, "cpu", tmp_path / "out")
    assert "\n" not in str(caught.value)
    ids = {profile: plan([], profile, None, "cpu", tmp_path / "out").ids for profile in ("quick", "lesson")}
    for of_profile in ids.values():
        assert set(OURS) - set(of_profile) == {"fgsm-conv-maxout"}  # the others are measured offline
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "cifar10.bin").touch()
    assert set(OURS) < set(plan([], "lesson", None, "cpu", tmp_path / "out").ids)


# ---------------------------------------------------------------------------------------------------------
# One step on images


def images(n=60):
    x = generator(1, "images").standard_normal((n, 3072))
    network = networks()[KIND]
    return x, np.where(np.arange(n) % 3, network(x).argmax(axis=1), np.arange(n) % 10)  # two thirds right


@pytest.mark.parametrize("sure", [False, True])
def test_fgsm_by_both_gradients(sure):
    lab = GivenLab()
    network, (x, y) = lab.given[KIND], images()
    if sure:  # p of some true classes rounds to 1
        made_sure(network, 60.0)
    m = cifar10.under_fgsm(network, x, y)
    p = {
        "": network.probabilities(network(rounded_fgsm(network, x, y, 0.1))),
        "_exact": network.probabilities(network(fgsm(network, x, y, 0.1))),
        "clean": network.probabilities(network(x)),
    }
    for end in ("", "_exact"):
        wrong = p[end].argmax(axis=1) != y
        assert m.values[f"error{end}"] == wrong.mean()
        assert m.intervals[f"error{end}"] == metrics.wilson(int(wrong.sum()), len(x))
        assert m.values[f"confidence_on_mistakes{end}"] == pytest.approx(p[end][wrong].max(axis=1).mean())
        of_true = p[end][np.arange(len(x)), y]
        assert m.values[f"wrong_label_probability{end}"] == pytest.approx((1 - of_true)[wrong].mean())
    assert m.values["clean_error"] == (p["clean"].argmax(axis=1) != y).mean()
    assert m.values["clean_confidence"] == pytest.approx(p["clean"].max(axis=1).mean())
    assert m.values["certain_share"] == (p["clean"][np.arange(len(x)), y] == 1.0).mean()
    assert m.values["deviation"] == pytest.approx(1.0, abs=0.01)
    assert (m.values["certain_share"] > 0) == sure
    assert (m.values["error"] < m.values["error_exact"]) == sure
    for end in ("", "_exact"):
        assert m.values[f"zero_gradient_share{end}"] == 0.0
    claim = claims()["fgsm-conv-maxout"]
    assert m.values.keys() == {q.name for q in claim.quantities}


def test_images_that_are_not_moved_are_counted():
    network, (x, y) = GivenLab().given[KIND], images(12)
    parameters(network)[-2].data[:] = 0.0
    m = cifar10.under_fgsm(network, x, y)
    assert m.values["zero_gradient_share"] == m.values["zero_gradient_share_exact"] == 1.0


def test_fgsm_is_made_on_the_whitened_test_images(monkeypatch):
    lab, asked = world(monkeypatch), []
    x, y = images(20)
    monkeypatch.setattr(lab, "whitened", lambda part: asked.append(part) or (x.astype("float32"), y), raising=False)
    m = MEASURES["fgsm-conv-maxout"](lab, TINY, 0)
    assert asked == ["test"]
    assert m.values == cifar10.under_fgsm(lab.given[KIND], x.astype("float32"), y).values


def test_the_errors_after_each_epoch_are_kept_and_drawn(monkeypatch):
    lab, (x, y) = world(monkeypatch), images(20)
    monkeypatch.setattr(lab, "whitened", lambda part: (x.astype("float32"), y), raising=False)
    of_two = {"loss": [2.0, 1.0], "error": [0.5, 0.2], "adversarial_error": [0.99, 0.97], "software_error": [0.9, 0.8]}
    log = [{"epoch": n + 1} | {name: values[n] for name, values in of_two.items()} for n in (0, 1)]
    details = cifar10.fgsm_conv_maxout(lab, 0, Trained(lab.given[KIND], log, 2)).details
    assert details == {"curves": {"epoch": [1, 2]} | {name: of_two[name] for name in [*of_two][1:]}}
    assert cifar10.fgsm_conv_maxout(lab, 0, Trained(lab.given[KIND], [{"epoch": 1, "loss": 2.0}], 1)).details == {}
    canvas = Canvas()
    drawings()["fgsm-conv-maxout"].draw(canvas, details)
    shown = {line.get_label(): [float(v) for v in line.get_ydata()] for line in canvas.axes[0].lines}
    assert shown == {
        "FGSM, exact gradient": [99.0, 97.0],
        "FGSM, the software's gradient": [90.0, 80.0],
        "clean": [50.0, 20.0],
        "FGSM, the paper's": pytest.approx([87.15, 87.15]),
    }


# ---------------------------------------------------------------------------------------------------------
# Rubbish


def test_rubbish_and_its_classes():
    p = probabilities(given(KIND), gaussian("rubbish for CIFAR-10", 120))
    claimed = p.max(axis=1) > 0.5
    m, skew = undisturbed("rubbish-conv"), undisturbed("rubbish-skew-conv")
    assert 0 < claimed.sum() < 120
    assert m.values["error"] == claimed.mean()
    assert m.values["confidence_on_mistakes"] == pytest.approx(p.max(axis=1)[claimed].mean(), abs=1e-6)
    counts = [int((p.argmax(axis=1)[claimed] == k).sum()) for k in range(10)]
    assert m.details == skew.details == {"by_class": counts}
    assert skew.values["share_most_frequent"] == max(counts) / sum(counts)


def test_skew_is_by_the_class_s_name(monkeypatch):
    counts = (1, 2, 3, 4, 5, 6, 40, 8, 9, 10)
    found = metrics.RubbishEvaluation(100, sum(counts), 0.9, counts, {})
    monkeypatch.setattr(metrics, "evaluate_rubbish", lambda network, x: found)
    m = MEASURES["rubbish-skew-conv"](world(monkeypatch), TINY, 0)
    assert m.values == {
        "share_frogs": 40 / 88, "share_absent": (1 + 2 + 8 + 9 + 10) / 88, "share_most_frequent": 40 / 88,
    }  # fmt: skip
    assert m.intervals["share_absent"] == metrics.wilson(30, 88)


def test_skew_of_nothing_is_not_a_number(monkeypatch):
    lab = world(monkeypatch)
    for p in parameters(lab.given[KIND])[-2:]:
        p.data[:] = 0.0  # a top that always says one tenth
    m = MEASURES["rubbish-skew-conv"](lab, TINY, 0)
    assert all(map(math.isnan, m.values.values()))
    assert m.intervals == {}


# ---------------------------------------------------------------------------------------------------------
# One step to a chosen class


@pytest.mark.parametrize("kind", [MAXOUT, KIND])
def test_the_directions_are_those_of_the_class_s_probability(kind):
    """Against central differences of p in float64, along the axes in which it changes most and least."""
    network = networks()[kind]
    D = network.inputs
    x = gaussian("x", 3, D).astype("float64")

    def p(point, k):
        z = network(point[None])[0]
        return np.exp(z[k]) / np.exp(z).sum()

    for k in (2, 7):
        of_x = np.array([p(point, k) for point in x])
        for model in (network, Rounded(network)):
            found = cifar10.directions(model, x, k, of_x)
            for n, point in enumerate(x):
                chosen = np.argsort(abs(found["raw"][n]))[[0, D // 3, -2, -1]]
                for i in chosen:
                    step = 1e-5 * np.eye(D)[i]
                    slope = (p(point + step, k) - p(point - step, k)) / 2e-5
                    assert found["raw"][n, i] == pytest.approx(slope, rel=1e-3, abs=1e-10)
                    if abs(slope) > 1e-9:
                        assert found["sign"][n, i] == np.sign(slope)
            raw = found["raw"]
            assert np.sqrt((found["gradient"] ** 2).sum(axis=1)) == pytest.approx(np.full(3, math.sqrt(D)))
            cosine = (found["gradient"] * raw).sum(axis=1) / math.sqrt(D) / np.sqrt((raw**2).sum(axis=1))
            assert cosine == pytest.approx(np.ones(3))


def test_a_gradient_of_zeros_moves_nothing():
    network = GivenLab().given[KIND]
    parameters(network)[-2].data[:] = 0.0
    found = cifar10.directions(network, gaussian("x", 2).astype("float64"), 3, np.full(2, 0.1))
    assert all((direction == 0).all() for direction in found.values())


def shares_of(network, classes, n, eps, ways, D, model=None):
    """For each class and way the share with p of at least one half, before and after one step."""
    shares = {way: [] for way in ("before", *ways)}
    for k, name in enumerate(classes):
        x = gaussian(f"fooling images of {name}", n, D)
        before = probabilities(network, x)[:, k]
        found = cifar10.directions(model or Rounded(network), x, k, before.astype("float32"))
        shares["before"].append((before >= 0.5).mean())
        for way in ways:
            shares[way].append((probabilities(network, x + np.float32(eps) * found[way])[:, k] >= 0.5).mean())
    return shares


def test_fooling_step():
    m, network = undisturbed("fooling-step"), given(KIND)
    shares = shares_of(network, CIFAR10_CLASSES, 12, 0.1, ("gradient", "sign", "raw"), 3072)
    exact = shares_of(network, CIFAR10_CLASSES, 12, 0.1, ("gradient",), 3072, network)["gradient"]
    digits = shares_of(given(MAXOUT), range(10), 12, 0.25, ("gradient", "sign"), 784)
    assert m.details["by_class"] == shares | {"exact": exact}
    assert len({*map(tuple, shares.values())}) == 4

    def published(of_class):
        named = dict(zip(CIFAR10_CLASSES, of_class, strict=True))
        return {f"success_{name}": named[name] for name in ("frog", "truck", "airplane")} | {
            "success_mean": np.mean(of_class)
        }

    assert m.values == pytest.approx(
        published(shares["gradient"])
        | {f"{name}_exact": value for name, value in published(exact).items()}
        | {
            "success_mean_before": np.mean(shares["before"]),
            "success_mean_mnist": np.mean(digits["gradient"]),
            "success_mean_mnist_sign": np.mean(digits["sign"]),
            "success_mean_mnist_before": np.mean(digits["before"]),
            "success_lowest_mnist": min(digits["gradient"]),
            "success_highest_mnist": max(digits["gradient"]),
        }
    )
    assert m.intervals["success_airplane"] == metrics.wilson(round(12 * shares["gradient"][0]), 12)
    assert m.variations["sign"] == pytest.approx(published(shares["sign"]))
    assert m.variations["raw"] == pytest.approx(published(shares["raw"]))
    for i, size in enumerate(cifar10.SIZES):
        for key, way in (("step", "gradient"), ("sign-step", "sign")):
            assert m.details["by_size"][way][i] == pytest.approx(m.variations[f"{key}:{size:g}"]["success_mean"])


def test_the_sizes_of_the_step_are_those_of_the_first_samples():
    m, network = undisturbed("fooling-step"), given(KIND)
    for size in (0.05, 0.2):
        shares = []
        for k, name in enumerate(CIFAR10_CLASSES):
            x = gaussian(f"fooling images of {name}", 12)
            found = cifar10.directions(Rounded(network), x, k, probabilities(network, x)[:, k].astype("float32"))
            p = probabilities(network, (x + np.float32(size) * found["gradient"])[:5])
            shares.append((p[:, k] >= 0.5).mean())
        assert m.variations[f"step:{size:g}"]["success_mean"] == pytest.approx(np.mean(shares))
        assert m.variations[f"step:{size:g}"]["success_frog"] == pytest.approx(shares[6])


def test_the_row_follows_the_software_s_gradient(monkeypatch):
    """A defect of the rounded gradient alone moves the row, and not what stands beside it."""
    right, lab = undisturbed("fooling-step"), world(monkeypatch)
    monkeypatch.setattr(Rounded, "loss", lambda self, outputs, y: -1.0 * self.network.loss(outputs, y))
    m = MEASURES["fooling-step"](lab, TINY, 0)
    assert m.values["success_mean_exact"] == right.values["success_mean_exact"]
    assert m.values["success_mean"] < right.values["success_mean"]


# ---------------------------------------------------------------------------------------------------------
# Figure 5


def test_frames_are_the_successes():
    m, network = undisturbed("fig5-fooling"), given(KIND)
    x = gaussian("fooling images of airplane", 30)
    airplanes = np.zeros(30, int)
    stepped = x + np.float32(0.1) * -np.sign(attacks.input_gradient(Rounded(network), x, airplanes))
    framed = [bool(p >= 0.5) for p in probabilities(network, stepped)[:, 0]]
    assert m.details["framed"] == framed
    assert m.values["success_airplane"] == sum(framed) / 30
    assert m.holds is (0 < sum(framed) < 30)
    assert m.details["space"] == "whitened"
    assert len(m.details["images"]) == 8
    assert np.allclose([pixels(image) for image in m.details["images"]], stepped[:8], atol=0.02)


def test_a_probability_of_one_half_is_a_success():
    assert cifar10.fooled(np.array([0.49999, 0.5, 0.7])) == [False, True, True]


@pytest.mark.parametrize(("bias", "share"), [(-1e4, 0.0), (1e4, 1.0)])
def test_the_predicate_of_figure_5_fails_where_none_or_all_succeed(monkeypatch, bias, share):
    lab = world(monkeypatch)
    parameters(lab.given[KIND])[-1].data[0] = bias
    m = MEASURES["fig5-fooling"](lab, TINY, 0)
    assert (m.values["success_airplane"], m.holds) == (share, False)


def test_where_cifar10_is_at_hand_images_are_drawn_as_pixels(monkeypatch):
    rng = generator(2)
    photographs = rng.random((20, 3072), dtype="float32")
    W = np.diag(rng.random(3072, dtype="float32") + np.float32(0.5))
    whitening = Whitening(rng.random(3072, dtype="float32"), W)

    class Data:
        def __init__(self, whitened=False):
            self.whitening = whitening if whitened else None
            self.test = type("Split", (), {"x": photographs})

    monkeypatch.setattr(cifar10, "cifar10", Data)
    monkeypatch.setattr(recipes, "cifar10_missing", str)
    means = photographs.mean(axis=1)
    norms = np.sqrt(((photographs - means[:, None]) ** 2).sum(axis=1))
    x, space = cifar10._in_pixels(whitening(photographs[:4]))
    assert space == "pixels"
    # each image as it was, but with the brightness and contrast of all
    wanted = (photographs[:4] - means[:4, None]) / norms[:4, None] * norms.mean() + means.mean()
    assert np.allclose(x, wanted, atol=1e-4)


# ---------------------------------------------------------------------------------------------------------
# What is drawn


def drawn(claim, **changed):
    details = from_json(to_json(Result(claim, "tiny", "cpu", [0], [undisturbed(claim)]))).measurements[0].details
    details = {**details, **changed}
    drawings()[claim].draw(canvas := Canvas(), details)
    return canvas, details


@pytest.mark.parametrize("claim", ["rubbish-conv", "rubbish-skew-conv"])
def test_the_figures_of_rubbish(claim):
    canvas, details = drawn(claim)
    (axes,) = canvas.axes
    total = sum(details["by_class"])
    assert [bar.get_height() for bar in axes.patches] == pytest.approx([100 * c / total for c in details["by_class"]])
    assert [label.get_text() for label in axes.get_xticklabels()] == list(CIFAR10_CLASSES)
    if claim == "rubbish-skew-conv":
        x, y, colour = lines(axes)["the paper's network"]
        assert dict(zip(x, y, strict=True)) == pytest.approx({6: 49.7, 0: 0, 1: 0, 7: 0, 8: 0, 9: 0})
        assert colour == ORANGE


def test_the_figure_of_the_fooling_step():
    canvas, details = drawn("fooling-step")
    left, right = canvas.axes
    heights = [bar.get_height() for bar in left.patches]
    assert heights == pytest.approx(
        [100 * s for way in ("before", "gradient", "sign") for s in details["by_class"][way]]
    )
    assert lines(left)["paper"][:2] == ([0, 6, 9], pytest.approx([24.7, 100, 100]))
    shown = lines(right)
    for label, way in (("gradient, scaled", "gradient"), ("gradient's sign", "sign")):
        assert shown[label][:2] == (list(cifar10.SIZES), pytest.approx([100 * s for s in details["by_size"][way]]))
    assert shown["gradient, scaled"][2] == BLUE
    assert shown["paper"][1] == pytest.approx([75.3, 75.3])


@pytest.mark.parametrize(("space", "low", "high"), [("whitened", -4, 4), ("pixels", 0, 1)])
def test_figure_5(space, low, high):
    framed = [True, False] * 15
    canvas, details = drawn("fig5-fooling", space=space, framed=framed)
    assert len(canvas.axes) == 8
    for axes, image, in_frame in zip(canvas.axes, details["images"], framed, strict=False):
        (shown,) = axes.get_images()
        wanted = pixels(image).reshape(3, 32, 32).transpose(1, 2, 0)
        assert np.allclose(shown.get_array(), ((wanted - low) / (high - low)).clip(0, 1))
        spines = axes.spines.values()
        assert {spine.get_linewidth() for spine in spines} == {3 if in_frame else 0.5}
        assert all(same_color(spine.get_edgecolor(), ORANGE if in_frame else GREY) for spine in spines)
    said = canvas.get_supxlabel()
    assert ("pixel space" in said) == (space == "pixels")
    assert ("not at hand" in said) == (space == "whitened")
