"""`tinyadv attack` without the command line: what is written is what the attacks give."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import tinyadv
from tinyadv import attacks, datasets, metrics, models
from tinyadv.backend import generator
from tinyadv.datasets import mnist, pair
from tinyadv.gallery import attack_test_images
from tinyadv.layers import parameters
from tinyadv.paper import draw as figures


@pytest.fixture(scope="module")
def networks(tmp_path_factory):
    """Two linear classifiers by the nearest mean image, which needs no training, and one of them in float64."""
    folder = tmp_path_factory.mktemp("networks")
    (x, y), (x37, y37) = mnist().train, pair(mnist().train, positive=7, negative=3)
    ten, two = models.softmax_regression(rng=generator(0)), models.logistic_regression(rng=generator(0))
    means = np.stack([x[y == k].mean(axis=0) for k in range(10)])
    set_weights(ten, 0.1 * means, -0.05 * (means**2).sum(axis=1))
    three, seven = x37[y37 < 0].mean(axis=0), x37[y37 > 0].mean(axis=0)
    set_weights(two, (seven - three)[None], ((three**2).sum() - (seven**2).sum())[None] / 2)
    tinyadv.save(ten, folder / "ten.safetensors")
    tinyadv.save(two, folder / "two.safetensors")
    tinyadv.save(ten.to(dtype="float64"), folder / "wide.safetensors")
    return folder


def set_weights(model, W, b):
    for p, value in zip(parameters(model), (W, b), strict=True):
        p.data = value.astype(np.float32)


def attacked(path, out, eps=0.25, method="fgsm", images=20, clip=False):
    lines = attack_test_images(path, eps, method, images, clip, out)
    with np.load(out / "attack.npz") as data:
        return lines, dict(data)


def test_fgsm_is_the_attack_of_the_package(networks, tmp_path):
    lines, data = attacked(networks / "ten.safetensors", tmp_path)
    model, test = tinyadv.load(networks / "ten.safetensors"), mnist().test
    x, y = test.x[:20], test.y[:20]
    assert set(data) == {"x", "x_adv", "y", "eps", "said_clean", "said_attacked"}
    np.testing.assert_array_equal(data["x"], x)
    np.testing.assert_array_equal(data["y"], y)
    np.testing.assert_array_equal(data["x_adv"], attacks.fgsm(model, x, y, 0.25))
    np.testing.assert_array_equal(data["said_clean"], metrics.predict(model, x))
    np.testing.assert_array_equal(data["said_attacked"], metrics.predict(model, data["x_adv"]))
    assert data["x_adv"].dtype == np.float32
    assert data["eps"] == 0.25
    clean, wrong = np.mean(data["said_clean"] != y), np.mean(data["said_attacked"] != y)
    assert clean < 0.5 < wrong
    assert lines[0] == "softmax_regression, fgsm, eps 0.25, 20 test images of MNIST"
    assert lines[1].split() == ["error", "clean", f"{clean:.1%}"]
    assert lines[2].startswith(f"error attacked  {wrong:.1%}, confidence on mistakes ")
    assert (tmp_path / "attack.png").read_bytes().startswith(b"\x89PNG")


def test_pgd_stays_in_the_box_and_repeats_itself(networks, tmp_path):
    first, second = (attacked(networks / "ten.safetensors", tmp_path / n, method="pgd")[1] for n in "ab")
    np.testing.assert_array_equal(first["x_adv"], second["x_adv"])
    assert abs(first["x_adv"] - first["x"]).max() <= 0.25 + 1e-6
    _, fgsm = attacked(networks / "ten.safetensors", tmp_path / "c")
    assert (first["x_adv"] != fgsm["x_adv"]).any()


@pytest.mark.parametrize("method", ["fgsm", "pgd"])
def test_clip_keeps_pixels_pixels(method, networks, tmp_path):
    lines, data = attacked(networks / "ten.safetensors", tmp_path, method=method, clip=True)
    assert data["x_adv"].min() == 0
    assert data["x_adv"].max() == 1
    assert "clipped to [0, 1]" in lines[0]
    _, free = attacked(networks / "ten.safetensors", tmp_path, method=method)
    assert free["x_adv"].min() < 0


def test_many_images_go_through_in_batches(networks, tmp_path, monkeypatch):
    seen = []
    real = metrics.in_batches
    monkeypatch.setattr(metrics, "in_batches", lambda function, *arrays, size=1000: real(function, *arrays, size=50))
    monkeypatch.setattr(models.Network, "__call__", spied(models.Network.__call__, seen))
    _, data = attacked(networks / "ten.safetensors", tmp_path, images=120)
    monkeypatch.undo()
    assert max(seen) == 50
    model, test = tinyadv.load(networks / "ten.safetensors"), mnist().test
    np.testing.assert_array_equal(data["x_adv"], attacks.fgsm(model, test.x[:120], test.y[:120], 0.25))


def spied(call, seen):
    def spy(self, x, rng=None):
        seen.append(len(x))
        return call(self, x, rng=rng)

    return spy


def test_logistic_regression_sees_threes_and_sevens(networks, tmp_path, monkeypatch):
    titles = []
    monkeypatch.setattr(figures, "show_image", lambda axes, image, title, **_: titles.append(title))
    lines, data = attacked(networks / "two.safetensors", tmp_path, images=12)
    test = pair(mnist().test, positive=7, negative=3)
    np.testing.assert_array_equal(data["x"], test.x[:12])
    np.testing.assert_array_equal(data["y"], test.y[:12])
    assert set(data["y"]) == set(data["said_clean"]) == {-1, 1}
    assert titles[:10] == [f"says {7 if said > 0 else 3}" for said in data["said_clean"][:10]]
    assert titles[10:] == [f"says {7 if said > 0 else 3}" for said in data["said_attacked"][:10]]
    assert "12 test images" in lines[0]


def test_a_network_in_float64_is_attacked_in_float64(networks, tmp_path):
    _, data = attacked(networks / "wide.safetensors", tmp_path)
    assert data["x_adv"].dtype == np.float64


def test_nothing_moved_and_nothing_wrong_gives_no_confidence(networks, tmp_path):
    lines, data = attacked(networks / "ten.safetensors", tmp_path, eps=0, images=1)
    assert (data["x_adv"] == data["x"]).all()
    assert data["said_clean"] == data["y"]
    assert lines[2] == "error attacked  0.0%"


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"eps": -1}, "eps is .* got -1"),
        ({"eps": float("nan")}, "eps is .* got nan"),
        ({"eps": 256}, "at most 1, got 256"),
        ({"method": "cw"}, "unknown method 'cw': there are fgsm, pgd"),
        ({"images": 0}, "images is 1 to 10,000, got 0"),
        ({"images": 10_001}, "images is 1 to 10,000, got 10001"),
    ],
)
def test_bad_arguments_write_nothing(wrong, said, networks, tmp_path):
    with pytest.raises(ValueError, match=said):
        attacked(networks / "ten.safetensors", tmp_path / "out", **wrong)
    assert not list(tmp_path.iterdir())


def test_logistic_regression_has_fewer_images(networks, tmp_path):
    with pytest.raises(ValueError, match="images is 1 to 2,038, got 2039"):
        attacked(networks / "two.safetensors", tmp_path, images=2039)


# ---------------------------------------------------------------------------------------------------------
# Images of one's own


@pytest.fixture
def own(tmp_path):
    """Twelve classes of images of 4 by 4 pixels, a network of theirs, and one of another kind."""
    rng, y = np.random.default_rng(0), np.arange(36) % 12
    x = rng.random((36, 16)).astype("float32")
    twelve = models.softmax_regression(16, 12, rng=generator(0))
    set_weights(twelve, rng.normal(size=(12, 16)), np.zeros(12))
    tinyadv.save(twelve, tmp_path / "twelve.safetensors")
    wide = models.softmax_regression(784, 12, rng=generator(0))
    tinyadv.save(wide, tmp_path / "wide.safetensors")
    np.savez(tmp_path / "data.npz", x=x, y=y)
    np.savez(tmp_path / "bytes.npz", x=(255 * x).astype("uint8")[:, :15], y=y)
    return tmp_path


def test_images_of_one_s_own_are_attacked(own, tmp_path):
    model, (x, y) = tinyadv.load(own / "twelve.safetensors"), datasets.npz(own / "data.npz")
    lines = attack_test_images(own / "twelve.safetensors", 0.1, "fgsm", 36, False, tmp_path / "out", own / "data.npz")
    with np.load(tmp_path / "out" / "attack.npz") as data:
        np.testing.assert_array_equal(data["x_adv"], attacks.fgsm(model, x, y, 0.1))
        np.testing.assert_array_equal(data["y"], y)
    assert lines[0] == f"softmax_regression, fgsm, eps 0.1, 36 images of {own / 'data.npz'}"
    assert (tmp_path / "out" / "attack.png").exists()
    # what was written can be attacked again, by default ten of it
    again = attack_test_images(
        own / "twelve.safetensors", 0.1, "pgd", None, True, tmp_path / "two", tmp_path / "out" / "attack.npz"
    )
    assert ", 10 images of " in again[0]


def test_images_that_are_not_square_are_not_drawn(own, tmp_path):
    fifteen = models.softmax_regression(15, 12, rng=generator(0))
    tinyadv.save(fifteen, own / "fifteen.safetensors")
    lines = attack_test_images(
        own / "fifteen.safetensors", 0.1, "fgsm", None, False, tmp_path / "out", own / "bytes.npz"
    )
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["attack.npz"]
    assert lines[-1] == f"written: {tmp_path / 'out' / 'attack.npz'}"


@pytest.mark.parametrize(
    ("network", "data", "error", "message"),
    [
        ("wide", None, ValueError, r"wide\.safetensors has 12 classes, MNIST has 10: .* --data FILE\.npz"),
        ("twelve", None, ValueError, r"takes x of shape \(N, 16\), got \(1, 784\)"),
        ("twelve", "bytes.npz", ValueError, r"takes x of shape \(N, 16\), got \(1, 15\)"),
        ("twelve", "none.npz", datasets.DataError, r"none\.npz does not exist; wanted an \.npz"),
        ("twelve", "twelve.safetensors", datasets.DataError, r"twelve\.safetensors: wanted an \.npz with x"),
    ],
)
def test_a_network_is_not_shown_images_of_another_kind(own, tmp_path, network, data, error, message):
    with pytest.raises(error, match=message):
        attack_test_images(
            own / f"{network}.safetensors", 0.1, "fgsm", None, False, tmp_path / "out", data and own / data
        )
    assert not (tmp_path / "out").exists()


def test_a_network_that_travels_is_attacked_by_its_name(tmp_path):
    _, data = attacked("maxout-naive", tmp_path, images=5)
    x, y = mnist().test.x[:5], mnist().test.y[:5]
    np.testing.assert_array_equal(data["x_adv"], attacks.fgsm(models.embedded("maxout-naive"), x, y, 0.25))


def test_a_model_with_one_output_is_shown_sevens_and_threes(tmp_path, monkeypatch):
    (tmp_path / "my_margin.py").write_text(MARGIN, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    lines = attack_test_images("my_margin:make", 0.1, "fgsm", 20, False, tmp_path)
    with np.load(tmp_path / "attack.npz") as data:
        assert set(data["y"]) == {-1, 1}
        assert lines[2] == f"error attacked  {(data['said_attacked'] != data['y']).mean():.1%}"


MARGIN = """
from tinyadv import losses
from tinyadv.backend import generator, uniform
from tinyadv.tensor import Tensor

class Margin:
    def __init__(self): self.w = Tensor(uniform(generator(0), (784,), 1.0))
    def __call__(self, x): return x @ self.w
    def loss(self, outputs, y): return losses.logistic_loss(outputs, y)

def make(): return Margin()
"""


def test_the_network_of_whitened_images_is_shown_no_pixels(tmp_path):
    np.savez(tmp_path / "pixels.npz", x=np.zeros((2, 3072), "float32"), y=[0, 1])
    with pytest.raises(ValueError, match="conv-maxout takes whitened images"):
        attack_test_images("conv-maxout", 0.1, "fgsm", None, False, tmp_path / "out", tmp_path / "pixels.npz")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (
            "def make(rng): return Margin()",
            r"make\(\) cannot make a model: TypeError: .*'rng'$",
        ),
        (
            "def make(): return {}['missing']",
            r"make\(\) cannot make a model: KeyError: 'missing' \(.*my_maker\.py, line \d+\)",
        ),
        ("def make(): raise SystemExit", r"make\(\) cannot make a model: SystemExit"),
        ("def make(): Margin()", r"make\(\) gives a NoneType, wanted a model, does it lack a return\?"),
        ("raise SystemExit", r"my_maker cannot be imported: SystemExit"),
    ],
)
def test_what_goes_wrong_in_one_s_own_code_is_a_line(code, said, tmp_path, monkeypatch):
    (tmp_path / "my_maker.py").write_text(MARGIN + code + "\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_maker", raising=False)
    with pytest.raises(ValueError, match=said):
        attack_test_images("my_maker:make", 0.1, "fgsm", 20, False, tmp_path)
