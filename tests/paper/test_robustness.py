"""`tinyadv audit`: attacks are counted on the same images, the worst of them is the headline, the forms agree."""

import csv
import json
import math
import sys
from dataclasses import replace

import numpy as np
import pytest

from tinyadv import attacks, metrics, models
from tinyadv.backend import generator
from tinyadv.by_name import check_images, read_networks
from tinyadv.cli import main
from tinyadv.layers import parameters
from tinyadv.metrics import wilson
from tinyadv.paper import robustness
from tinyadv.paper.robustness import Effort, audit_networks, read_images
from tinyadv.paper.rounding import Rounded
from tinyadv.paper.show.numbers import format_share
from tinyadv.storage import StorageError
from tinyadv.tensor import raw

SMALL = Effort(eps=0.1, radius=0.3, restarts=2, pgd_steps=(3,), apgd_steps=4, queries=20)
SIDE, K = 4, 3


def network(seed=0, scale=0.5, top="softmax"):
    return models.maxout_network(6, 2, 1, top, SIDE * SIDE, K, (1.0, 1.0), scale, rng=generator(seed, "weights"))


@pytest.fixture
def data():
    x = np.random.default_rng(0).random((60, SIDE * SIDE), dtype="float32")
    y = network().__call__(x).argmax(axis=1)
    y[:3] = (y[:3] + 1) % K  # that it gets wrong before any attack
    return x, y


def errors(rows, network, clipped=False):
    return {row.attack: row.error for row in rows if (row.network, row.clipped) == (network, clipped)}


def test_each_network_is_audited_in_its_own_precision(data):
    x, y = data
    wide = network(1).to(dtype="float64")
    rows = audit_networks({"a": network(), "wide": wide}, x, y, SMALL)
    x64 = x.astype("float64")
    assert errors(rows, "wide")["apgd"] == np.mean(
        metrics.predict(wide, attacks.apgd(wide, x64, y, 0.1, 4, generator(0, "apgd"))) != y
    )
    for clipped in (False, True):
        both = errors(rows, "a", clipped), errors(rows, "wide", clipped)
        assert both[0]["from wide"] == np.mean(
            metrics.predict(network(), attacks.fgsm(wide, x64, y, 0.1, (0.0, 1.0) if clipped else None).astype("f4"))
            != y
        )
        assert all(0.0 <= error <= 1.0 for of in both for error in of.values())


def test_each_row_is_what_the_attack_itself_does(data):
    x, y = data
    model, other = network(), network(1)
    rows = audit_networks({"a": model, "b": other}, x, y, SMALL)
    for clipped, clip in ((False, None), (True, (0.0, 1.0))):

        def error(x_adv, model=model):
            return float((metrics.predict(model, x_adv) != y).mean())

        found = errors(rows, "a", clipped)
        assert found["clean"] == error(x) == 3 / 60
        assert found["fgsm"] == error(attacks.fgsm(model, x, y, 0.1, clip))
        assert found["fgsm-rounded"] == error(attacks.fgsm(Rounded(model), x, y, 0.1, clip))
        assert found["apgd"] == error(attacks.apgd(model, x, y, 0.1, 4, generator(0, "apgd"), clip))
        assert found["square"] == error(attacks.square(model, x, y, 0.1, 20, rng=generator(0, "square"), clip=clip))
        assert found["l2"] == error(attacks.pgd_l2(model, x, y, 0.3, clip=clip))
        assert found["from b"] == error(attacks.fgsm(other, x, y, 0.1, clip))
        assert found["zero-gradients"] == metrics.zero_gradient_share(model, x, y)
        assert found["noise"] <= found["fgsm"] <= found["worst"]
    assert [*errors(rows, "a")] == [
        "clean", "noise", "fgsm", "fgsm-rounded", "pgd-3", "apgd", "square", "from b", "worst", "l2", "zero-gradients",
    ]  # fmt: skip
    first = rows[0]
    assert (first.images, (first.low, first.high)) == (60, wilson(3, 60))


def test_where_images_are_clipped_no_attack_shows_the_network_others(data):
    seen = []

    class Seeing(models.Network):
        def __call__(self, x, rng=None):
            seen.append(raw(x))
            return super().__call__(x, rng)

    made = models.softmax_regression(SIDE * SIDE, K, scale=1.0, rng=generator(0))
    for clipped in (True, False):
        seen.clear()
        audit_networks({"a": Seeing("mine", {}, made.layers, "softmax")}, *data, SMALL, (clipped,))
        low, high = min(float(x.min()) for x in seen), max(float(x.max()) for x in seen)
        assert (low >= 0.0 and high <= 1.0) if clipped else (low < -0.05 and high > 1.05)


def test_the_square_attack_of_colour_images_is_one_of_three_channels():
    x = np.random.default_rng(1).random((20, 3 * 16), dtype="float32")
    model = models.softmax_regression(3 * 16, K, scale=1.0, rng=generator(0))
    y = metrics.predict(model, x)
    x_adv = attacks.square(model, x, y, 0.1, 20, rng=generator(0, "square"), channels=3)
    found = errors(audit_networks({"a": model}, x, y, SMALL, (False,)), "a")
    assert found["square"] == (metrics.predict(model, x_adv) != y).mean() > 0


def test_the_worst_counts_an_image_once_whichever_attack_fools_it(data, monkeypatch):
    x, y = data
    fooled = {"clean": [0], "noise": [1, 2], "fgsm": [2, 3], "l2": [50, 51, 52]}
    masks = {attack: np.isin(np.arange(60), images) for attack, images in fooled.items()}
    monkeypatch.setattr(robustness, "_attacks", lambda *a: {k: lambda m=m: m for k, m in masks.items()})
    found = errors(audit_networks({"a": network()}, x, y, SMALL, (False,)), "a")
    assert found["worst"] == 4 / 60  # L2 goes elsewhere, and does not count here
    assert found["l2"] == 3 / 60


def test_restarts_only_add(data):
    x, y = data
    one, many = (
        errors(audit_networks({"a": network()}, x, y, Effort(0.05, 0.3, n, (3,), 2, 2)), "a")["pgd-3"] for n in (1, 6)
    )
    assert one <= many


def test_what_does_not_fit_a_network_is_left_out():
    x = np.random.default_rng(0).random((10, 5), dtype="float32")  # no square image, two classes
    model = models.logistic_regression(5, 0.5, rng=generator(0))
    found = errors(audit_networks({"a": model}, x, np.where(x[:, 0] > 0.5, 1, -1), SMALL), "a")
    assert not {"square", "fgsm-rounded"} & found.keys()
    assert {"apgd", "pgd-3", "l2", "worst"} <= found.keys()


def test_progress_names_network_and_attack(data):
    said = []
    audit_networks({"a": network()}, *data, SMALL, (True,), said.append)
    assert said[0] == "a, clipped, 1 of 8: none"
    assert said[6] == "a, clipped, 7 of 8: square attack, 20 queries"
    assert len(said) == 8


@pytest.mark.parametrize(
    ("effort", "message"),
    [
        (Effort(eps=-1.0), "a finite number >= 0, got -1"),
        (Effort(radius=math.inf), "radius is how far .* a finite number >= 0, got inf"),
        (Effort(radius=-1.0), "radius is how far .* a finite number >= 0, got -1"),
        (Effort(restarts=0), "restarts is at least 1, got 0"),
        (Effort(queries=0), "queries is at least 1, got 0"),
        (Effort(pgd_steps=(20, 0)), "pgd_steps is at least 1, got 0"),
        (Effort(seed=-1), "a seed is at least 0, got -1"),
    ],
)
def test_an_effort_that_cannot_be_is_refused_before_any_work(effort, message, data):
    with pytest.raises(ValueError, match=message):
        audit_networks({"a": network()}, *data, effort)


def test_images_beyond_the_bounds_are_not_clipped_in_silence(data):
    with pytest.raises(ValueError, match=r"pixels are from 0 to 1, got some from .* --unclipped"):
        audit_networks({"a": network()}, data[0] * 3, data[1], SMALL)


# ---------------------------------------------------------------------------------------------------------
# The command


@pytest.fixture
def files(tmp_path, data):
    models.save(network(), tmp_path / "first.safetensors")
    models.save(network(1), tmp_path / "second.safetensors")
    np.savez(tmp_path / "data.npz", x=data[0], y=data[1])
    return tmp_path


def run(files, *options):
    arguments = [str(files / "first.safetensors"), str(files / "second.safetensors"), "--data", str(files / "data.npz")]
    arguments += ["--eps", "0.1", "--restarts", "1", "--queries", "20", "--images", "20"]
    with pytest.raises(SystemExit) as left:
        main(["audit", *arguments, *options])
    return left.value.code or 0


def test_the_forms_hold_the_same_numbers(files, capsys):
    assert run(files, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found["effort"]["eps"] == 0.1
    rows = found["rows"]
    assert {(row["network"], row["clipped"], row["images"]) for row in rows} == {
        (name, clipped, 20) for name in ("first", "second") for clipped in (False, True)
    }
    assert run(files, "--csv") == 0
    lines = [*csv.DictReader(capsys.readouterr().out.splitlines())]
    assert [(line["attack"], float(line["error"])) for line in lines] == [(row["attack"], row["error"]) for row in rows]
    assert run(files, "--latex") == 0
    latex = capsys.readouterr().out
    assert latex.startswith("\\begin{tabular}{lrrrr}")
    worst = [format_share(row["error"]).removesuffix(" %") for n in ("first", "second") for row in rows
             if row["attack"] == "worst" and row["network"] == n]  # fmt: skip
    assert f"worst of these, image by image & {' & '.join(worst)} \\\\" in latex
    assert "FGSM examples from first & -- & -- & " in latex
    assert run(files) == 0
    seen = capsys.readouterr()
    assert "first: 20 images, eps 0.1\n" in seen.out
    of_first = [format_share(row["error"]) for row in rows if (row["network"], row["attack"]) == ("first", "worst")]
    headline = "misclassified after at least one of the attacks: {} (not clipped), {} (clipped to [0, 1])"
    assert headline.format(*of_first) in seen.out.splitlines()
    lines = [line for line in seen.out.splitlines() if line.startswith("  ")]
    assert "not clipped" in lines[0]
    assert len({len(line) for line in lines}) == 1  # the columns are straight
    assert "second, clipped, 3 of 9: FGSM" in seen.err


def test_images_of_another_range_are_audited_without_clipping(files, data, capsys):
    np.savez(files / "data.npz", x=3 * data[0] - 1, y=data[1])
    assert run(files) == 2
    assert "--unclipped" in capsys.readouterr().err
    assert run(files, "--unclipped", "--json") == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert {row["clipped"] for row in rows} == {False}
    clean = np.mean(metrics.predict(network(), 3 * data[0][:20] - 1) != data[1][:20])
    assert next(row["error"] for row in rows if (row["network"], row["attack"]) == ("first", "clean")) == clean


def test_the_network_of_whitened_images_is_shown_no_pixels(files, data, capsys):
    np.savez(files / "data.npz", x=np.zeros((20, 3072), "float32"), y=data[1][:20])
    assert run(files, "conv-maxout") == 2
    assert "conv-maxout takes whitened images" in capsys.readouterr().err
    check_images(["conv-maxout"], data[0] - 1)
    check_images(["conv-maxout.safetensors", "maxout-naive"], data[0])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--csv", "--json"], "choose one"),
        (["--data", "missing.npz"], "missing.npz does not exist"),
        (["--images", "0"], "at least one image, got 0"),
        (["--restarts", "0"], "restarts is at least 1, got 0"),
        (["--eps", "-1"], "a finite number >= 0, got -1"),
    ],
)
def test_bad_input_is_one_line_before_any_work(files, capsys, options, message):
    assert run(files, *options) == 2
    seen = capsys.readouterr()
    assert seen.out == ""
    assert seen.err.startswith("tinyadv: ")
    assert seen.err.count("\n") == 1
    assert message in seen.err


def test_files_of_one_name_are_told_apart_and_missing_ones_named(files):
    (files / "other").mkdir()
    models.save(network(2), files / "other" / "first.safetensors")
    names = [*read_networks([str(files / "first.safetensors"), str(files / "other" / "first.safetensors")])]
    assert names == ["first", str(files / "other" / "first.safetensors")]
    models.save(network(2), files / "softmax.safetensors")  # as one that travels is called
    found = read_networks([str(files / "softmax.safetensors"), "softmax"])
    assert [*found] == [str(files / "softmax.safetensors"), "softmax"]
    assert found["softmax"].layers[0].W.shape == (10, 784)
    with pytest.raises(StorageError, match="does not exist"):
        read_networks(["no-such-network"])


def test_what_would_be_audited_in_other_units_is_refused(data):
    x, y = data
    with pytest.raises(TypeError, match=r"got x of uint8: use x\.astype\("):
        audit_networks({"a": network()}, (255 * x).astype("u1"), y, SMALL, clips=(False,))
    with pytest.raises(ValueError, match="which run from 0 to 1: at most 1, got 64"):
        audit_networks({"a": network()}, x, y, replace(SMALL, eps=64.0))
    with pytest.raises(ValueError, match="a does not take images of 15 numbers each"):
        audit_networks({"a": network()}, x[:, 1:], y, SMALL)


def test_a_loss_of_ones_own_is_not_rounded(data):
    class Tripled(models.Network):
        def loss(self, outputs, y):
            return 3.0 * super().loss(outputs, y)

    plain = network()
    own = Tripled("mine", {}, plain.layers, "softmax")
    found = {row.attack for row in audit_networks({"own": own}, *data, SMALL)}
    assert "fgsm-rounded" not in found
    assert "fgsm-rounded" in {row.attack for row in audit_networks({"plain": plain}, *data, SMALL)}


def test_networks_of_two_classes_are_audited_on_sevens_and_threes():
    two = models.logistic_regression(rng=generator(0))
    x, y = read_images(None, 30, {"two": two})
    assert set(y) == {-1, 1}
    assert len(x) == 30
    assert set(read_images(None, 30, {"two": two, "ten": models.softmax_regression(rng=generator(0))})[1]) > {1, 2}


def test_without_data_it_is_mnist_s_test_images():
    x, y = read_images(None, 7)
    assert (x.shape, y.shape) == ((7, 784), (7,))
    assert parameters(network())  # the file reads no network


def test_names_that_latex_would_take_for_commands_are_harmless():
    rows = [robustness.Row("a\\b_{1}~c", "clean", False, 10, 0.1, 0.0, 0.4)]
    latex = robustness.as_latex(rows, Effort())
    assert "none & 10.0 \\\\" in latex
    assert "\\hline\nattack & a\\textbackslash{}b\\_\\{1\\}\\textasciitilde{}c \\\\" in latex


def test_a_few_images_that_no_attack_fools_are_not_rounded_away():
    row = robustness.Row("net", "worst", False, 10_000, 0.9997, *wilson(9997, 10_000))
    text = robustness.as_text([row], Effort())
    assert "misclassified after at least one of the attacks: 99.97 % (not clipped)" in text
    assert text.endswith(" 99.97 % [99.91, 99.99]")
    assert "worst of these, image by image & 99.97 " in robustness.as_latex([row], Effort())


# ---------------------------------------------------------------------------------------------------------
# Models of one's own

OWN = """
from tinyadv import losses, ops
from tinyadv.backend import generator, uniform
from tinyadv.models import load
from tinyadv.tensor import Tensor

class Mine:
    def __init__(self, classes=3): self.W = Tensor(uniform(generator(0), (16, classes), 1.0))
    def __call__(self, x): return x @ self.W
    def loss(self, outputs, y): return losses.softmax_cross_entropy(outputs, y)

def make(): return load("mine.safetensors", into=Mine())
def wider(): return load("mine.safetensors", into=Mine(4))
def late(): Mine()
number = 3
"""


@pytest.fixture
def own(files, monkeypatch):
    """The folder with a module of one's own, and the file of its model."""
    monkeypatch.chdir(files)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "mine", raising=False)
    (files / "mine.py").write_text(OWN, encoding="utf-8")
    namespace = {}
    exec(OWN, namespace)
    model = namespace["Mine"]()
    model.W.data = numbers = np.random.default_rng(3).normal(size=(16, K)).astype("float32")
    models.save(model, files / "mine.safetensors")
    yield numbers
    sys.modules.pop("mine", None)


def test_a_model_of_ones_own_is_audited_beside_a_network_of_the_package(own, files, data, capsys):
    x, y = (array[:20] for array in data)
    options = ["--data", "data.npz", "--images", "20", "--eps", "0.1", "--restarts", "1", "--queries", "20", "--json"]
    with pytest.raises(SystemExit) as ended:
        main(["audit", "mine:make", "first.safetensors", *options])
    assert not ended.value.code
    rows = {(row["network"], row["attack"]): row["error"] for row in json.loads(capsys.readouterr().out)["rows"]
            if not row["clipped"]}  # fmt: skip
    assert rows["mine:make", "clean"] == ((x @ own).argmax(axis=1) != y).mean()
    p = np.exp(x @ own)
    x_adv = x + np.float32(0.1) * np.sign((p / p.sum(axis=1, keepdims=True) - np.eye(K)[y]) @ own.T).astype("float32")
    assert rows["mine:make", "fgsm"] == ((x_adv @ own).argmax(axis=1) != y).mean()
    assert ("mine:make", "square") in rows
    assert ("mine:make", "fgsm-rounded") not in rows
    assert ("first", "from mine:make") in rows


def test_a_model_of_ones_own_is_attacked(own, data, capsys):
    x, y = (array[:20] for array in data)
    with pytest.raises(SystemExit) as ended:
        main(["attack", "mine:make", "--data", "data.npz", "--images", "20", "--eps", "0.1"])
    assert not ended.value.code
    said = capsys.readouterr().out.splitlines()
    with np.load("attack.npz") as found:
        p = np.exp(x @ own)
        step = np.sign((p / p.sum(axis=1, keepdims=True) - np.eye(K)[y]) @ own.T).astype("float32")
        np.testing.assert_array_equal(found["x_adv"], x + np.float32(0.1) * step)
        errors = [((array @ own).argmax(axis=1) != y).mean() for array in (x, found["x_adv"])]
    assert said[0].startswith("Mine, fgsm, eps 0.1, 20 images of data.npz")
    assert [line.split()[-1] for line in said[1:3]] == [f"{error:.1%}" for error in errors]


@pytest.mark.parametrize("command", ["audit", "attack"])
@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("mine.safetensors", "mine.safetensors holds the numbers of a model of one's own, which its own code makes"),
        ("mine:", "mine: does not exist"),
        ("mine.py:make", "NETWORK mine.py: wanted the name of a module, my.claims for my/claims.py"),
        ("yours:make", "NETWORK yours cannot be imported: No module named 'yours'"),
        ("mine:number", "NETWORK mine:number: the module mine has no function 'number'"),
        ("mine:wider", "mine.safetensors holds another model than the one given: it has "),
        ("mine:late", "NETWORK mine:late: late() gives a NoneType, wanted a model, does it lack a return?"),
    ],
)
def test_what_is_wrong_with_a_model_of_ones_own_is_one_line(own, capsys, command, name, message):
    with pytest.raises(SystemExit) as ended:
        main([command, name, "--data", "data.npz"])
    assert ended.value.code == 2
    seen = capsys.readouterr()
    assert seen.out == ""
    assert seen.err.startswith(f"tinyadv: {message}")
    assert seen.err.count("\n") == 1


def test_two_classes_have_no_square_attack(data):
    x, y = data
    model = models.logistic_regression(SIDE * SIDE, rng=generator(0))
    found = errors(audit_networks({"a": model}, x, (y > 0) * 2 - 1, SMALL), "a")
    assert "square" not in found
    assert "pgd-3" in found
