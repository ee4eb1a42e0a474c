"""GoogLeNet: the same logits and input gradients as PyTorch's, and what it says to weights that aren't its own."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tinyadv import googlenet, metrics
from tinyadv.attacks import fgsm, input_gradient, pgd
from tinyadv.datasets import DataError
from tinyadv.googlenet import BLOCKS, BRANCHES, GoogLeNet, layers, load_googlenet
from tinyadv.storage import save_arrays

SHARED = Path(__file__).parents[2] / "shared" / "data"
D = 3 * 224 * 224


def thin_weights(rng, classes=10):
    """Random weights for a network with a few channels a layer, sized so that signals neither vanish nor explode."""
    weights = {}
    channels = {}
    for i, (name, (K, sources)) in enumerate(layers().items()):
        inputs = sum(channels[source] for source in sources) or 3
        channels[name] = classes if not K else 2 + i % 3
        shape = (channels[name], inputs) + ((K, K) if K else ())
        scale = (2 / np.prod(shape[1:])) ** 0.5 / (1 if sources else 60)  # grey levels are large
        weights[f"{name}.weight"] = (scale * rng.normal(size=shape)).astype(np.float32)
        weights[f"{name}.bias"] = (0.1 * rng.normal(size=shape[0])).astype(np.float32)
    return weights


@pytest.fixture
def thin(rng):
    return thin_weights(rng)


@pytest.fixture
def images(rng):
    """Two smooth images with some noise, `(2, D)` in [0, 1]."""
    coarse = rng.random((2, 3, 7, 7)).repeat(32, axis=2).repeat(32, axis=3)
    x = 0.9 * coarse + 0.1 * rng.random((2, 3, 224, 224))
    return x.reshape(2, D).astype(np.float32)


# --- against PyTorch --------------------------------------------------------------------------------------------


def torch_logits(torch, weights, x):
    """The logits of x `(N, D)` in [0, 1], written down once more, with PyTorch's operations, in the dtype of x."""
    F = torch.nn.functional
    w = {name: torch.as_tensor(np.asarray(a, np.float32)).to(x.dtype) for name, a in weights.items()}

    def conv(x, name, **how):
        return F.relu(F.conv2d(x, w[f"{name}.weight"], w[f"{name}.bias"], **how))

    def pool(x):
        return F.max_pool2d(x, 3, 2, ceil_mode=True)

    def inception(x, block):
        name = f"inception_{block}"
        branches = [
            conv(x, f"{name}/1x1"),
            conv(conv(x, f"{name}/3x3_reduce"), f"{name}/3x3", padding=1),
            conv(conv(x, f"{name}/5x5_reduce"), f"{name}/5x5", padding=2),
            conv(F.max_pool2d(x, 3, 1, padding=1, ceil_mode=True), f"{name}/pool_proj"),
        ]
        return torch.cat(branches, 1)

    x = x.reshape(-1, 3, 224, 224).flip(1) * 255 - torch.tensor([104.0, 117.0, 123.0]).reshape(1, 3, 1, 1)
    x = F.local_response_norm(pool(conv(x, "conv1/7x7_s2", stride=2, padding=3)), 5, 1e-4, 0.75, 1.0)
    x = conv(conv(x, "conv2/3x3_reduce"), "conv2/3x3", padding=1)
    x = pool(F.local_response_norm(x, 5, 1e-4, 0.75, 1.0))
    x = pool(inception(inception(x, "3a"), "3b"))
    for block in BLOCKS[2:7]:
        x = inception(x, block)
    x = inception(inception(pool(x), "5a"), "5b")
    return F.linear(x.mean((2, 3)), w["loss3/classifier.weight"], w["loss3/classifier.bias"])


def torch_gradient(torch, weights, x, y):
    """grad_x J of each example of x by itself, and the logits, as arrays."""
    x = torch.tensor(x, requires_grad=True)
    z = torch_logits(torch, weights, x)
    torch.nn.functional.cross_entropy(z, torch.as_tensor(y), reduction="sum").backward()
    return x.grad.numpy(), z.detach().numpy()


def test_logits_and_input_gradients_are_pytorch_s(thin, images):
    """In float64, so that a difference is one of definition and not of rounding."""
    torch = pytest.importorskip("torch", reason="compares with PyTorch, which isn't installed")
    x, y = images.astype(np.float64), np.array([1, 2])
    g, z = torch_gradient(torch, thin, x, y)
    model = GoogLeNet(thin).to(dtype="float64")
    np.testing.assert_allclose(model(x), z, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(input_gradient(model, x, y), g, rtol=1e-7, atol=1e-9 * abs(g).max())
    assert np.ptp(z, axis=1).min() > 0.1  # not logits that are all alike
    assert (g != 0).mean() > 0.5


def shared_weights():
    """The real weights: of the folder that developers share, else of the data folder."""
    path = SHARED / "googlenet" / "googlenet.f16.safetensors"
    if not path.exists():
        path = googlenet.weights_path()
    if not path.exists():
        pytest.skip("GoogLeNet's weights aren't there: python data_scripts/imagenet.py")
    from safetensors.numpy import load_file

    return load_file(path)


def shared_photographs():
    """All photographs that developers share, `(27, D)`, and their classes."""
    from PIL import Image

    if not (SHARED / "photos" / "photos.json").exists():
        pytest.skip("no photographs in ../shared/data")
    entries = json.loads((SHARED / "photos" / "photos.json").read_text())["photos"]
    pictures = [np.asarray(Image.open(SHARED / "photos" / entry["file"])) for entry in entries]
    x = np.stack([picture.transpose(2, 0, 1).reshape(D) for picture in pictures])
    return (x / 255).astype(np.float32), np.array([entry["true_class"] for entry in entries])


@pytest.mark.data
@pytest.mark.slow
def test_the_real_network_agrees_with_pytorch_on_all_photographs():
    """Logits and input gradients in float64, to rounding; in float32 too, but for a few units near their kinks.

    There rounding decides which side of a rectifier or which pixel of a pool counts, in either library: entries of a
    gradient then differ by a few percent of the largest, and their signs hardly ever.
    """
    torch = pytest.importorskip("torch", reason="compares with PyTorch, which isn't installed")
    weights = shared_weights()
    model, exact = GoogLeNet(weights), GoogLeNet(weights).to(dtype="float64")
    X, Y = shared_photographs()
    for i in range(len(X)):
        x, y = X[i : i + 1], Y[i : i + 1]
        g, z = torch_gradient(torch, weights, x.astype(np.float64), y)
        assert z.argmax() == y[0]
        np.testing.assert_allclose(exact(x.astype(np.float64)), z, atol=1e-10 * abs(z).max())
        # PyTorch's p - t cancels where p is nearly 1; ours doesn't
        assert abs(input_gradient(exact, x.astype(np.float64), y) - g).max() < 1e-7 * abs(g).max()
        np.testing.assert_allclose(model(x), z, atol=2e-6 * abs(z).max())
        rounded = input_gradient(model, x, y)
        assert abs(rounded - g).max() < 0.05 * abs(g).max()
        assert (np.sign(rounded) == np.sign(g)).mean() > 0.995


@pytest.mark.data
def test_the_real_network_knows_the_panda_and_one_step_fools_it():
    X, Y = shared_photographs()
    model = GoogLeNet(shared_weights())
    x, y = X[:1], Y[:1]
    before = metrics.evaluate(model, x, y)
    after = metrics.evaluate(model, fgsm(model, x, y, 1 / 255), y)
    assert (before.wrong, after.wrong) == (0, 1)
    assert before.confidence > 0.99
    assert after.confidence_on_mistakes > 0.8


# --- without PyTorch --------------------------------------------------------------------------------------------


def test_the_input_gradient_is_that_of_the_cost(thin, images, rng):
    """Against a difference quotient along the gradient, in float64."""
    model = GoogLeNet(thin).to(dtype="float64")
    x, y = images[:1].astype(np.float64), np.array([3])
    g = input_gradient(model, x, y)
    h = 1e-6 / np.linalg.norm(g)
    up, down = (model.loss(model(x + sign * h * g), y) for sign in (1, -1))
    assert (up - down) / (2 * h) == pytest.approx((g**2).sum(), rel=1e-4)


def test_attacks_and_metrics_take_it_as_any_network(thin, images):
    model = GoogLeNet(thin)
    y = metrics.predict(model, images)
    J = model.loss(model(images), y)
    for attack in (fgsm, lambda *args: pgd(*args, steps=2)):
        x_adv = attack(model, images, y, 1 / 255)
        assert x_adv.dtype == np.float32
        assert abs(x_adv - images).max() <= 1 / 255 * (1 + 1e-4)
        assert model.loss(model(x_adv), y) > J
    evaluation = metrics.evaluate(model, images, y)
    assert (evaluation.n, evaluation.wrong) == (2, 0)


def test_colours_and_brightness_are_as_the_weights_expect(thin):
    """Red, green and blue of 0.2, 0.5 and 1 are blue, green and red of 255, 127.5 and 51, less their means."""
    x = np.broadcast_to(np.array([0.2, 0.5, 1.0]), (1, 2, 1, 3))
    levels = GoogLeNet(thin).to(dtype="float64").grey_levels(x)
    np.testing.assert_allclose(levels, np.broadcast_to([255 - 104, 127.5 - 117, 51 - 123], (1, 2, 1, 3)))


def test_branches_are_joined_in_the_published_order(thin, rng):
    model = GoogLeNet(thin)
    inputs = sum(len(thin[f"conv2/3x3.{kind}"]) for kind in ("bias",))
    x = rng.random((6, 5, 2, inputs)).astype(np.float32)
    y = model.inception(x, "3a")
    sizes = [len(thin[f"inception_3a/{branch}.bias"]) for branch in BRANCHES]
    assert y.shape == (6, 5, 2, sum(sizes))
    np.testing.assert_array_equal(y[..., : sizes[0]], model.convolution(x, "inception_3a/1x1"))


def test_float16_weights_are_computed_with_in_float32(thin, images):
    half = {name: a.astype(np.float16) for name, a in thin.items()}
    z = GoogLeNet(half)(images)
    assert z.dtype == np.float32
    np.testing.assert_array_equal(z, GoogLeNet({name: a.astype(np.float32) for name, a in half.items()})(images))


def test_sizes_are_the_published_ones():
    """57 convolutions and a classifier; the total of parameters needs the channels, which the weights bring."""
    kernels = [K for K, _ in layers().values()]
    assert len(kernels) == 58
    assert [kernels.count(K) for K in (0, 1, 3, 5, 7)] == [1, 37, 10, 9, 1]


BAD_WEIGHTS = {
    "unknown": (lambda w: w | {"fc8.weight": w["conv2/3x3.bias"]}, r"GoogLeNet has no fc8\.weight"),
    "missing": (lambda w: {k: w[k] for k in w if "5b" not in k}, r"GoogLeNet lacks inception_5b/1x1\.bias, .* 9 more"),
    "one missing": (lambda w: {k: w[k] for k in w if k != "conv2/3x3.bias"}, r"GoogLeNet lacks conv2/3x3\.bias$"),
    "kernel": (
        lambda w: w | {"conv2/3x3.weight": w["conv2/3x3.weight"][:, :, :2]},
        r"conv2/3x3 wants weights \(O, 3, 3, 3\) and biases \(O,\), got \(4, 3, 2, 3\) and \(4,\)",
    ),
    "channels": (
        lambda w: w | {"conv2/3x3.weight": w["conv2/3x3.weight"][:, :1]},
        r"conv2/3x3 wants weights \(O, 3, 3, 3\)",
    ),
    "biases": (lambda w: w | {"conv2/3x3.bias": w["conv2/3x3.bias"][:1]}, r"conv2/3x3 wants .* and \(1,\)"),
    "a number": (lambda w: w | {"conv2/3x3.weight": np.float32(1)}, r"conv2/3x3 wants .* got \(\)"),
}


@pytest.mark.parametrize("kind", BAD_WEIGHTS)
def test_weights_of_another_network_are_refused(thin, kind):
    spoil, message = BAD_WEIGHTS[kind]
    with pytest.raises(ValueError, match=message):
        GoogLeNet(spoil(thin))


def test_images_of_another_size_are_refused(thin):
    with pytest.raises(ValueError, match=r"3 channels, 224 x 224"):
        GoogLeNet(thin)(np.zeros((1, 784), np.float32))


# --- the file ---------------------------------------------------------------------------------------------------


def test_only_the_public_weights_are_loaded(thin, tmp_path, monkeypatch):
    path = tmp_path / "imagenet" / "googlenet.safetensors"
    save_arrays(path, thin, {})
    command = r"run in tinyadv's source tree: python data_scripts/imagenet\.py$"
    with pytest.raises(DataError, match=rf"{path} holds weights with SHA-256 .*, wanted .*{command}"):
        load_googlenet(path)
    monkeypatch.setattr(googlenet, "WEIGHTS_SHA256", googlenet.fingerprint(thin))
    monkeypatch.setenv("TINYADV_DATA", str(tmp_path))
    model = load_googlenet()
    np.testing.assert_array_equal(model.weights["loss3/classifier.weight"], thin["loss3/classifier.weight"])
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match=rf"{path} is not a readable safetensors file.*{command}"):
        load_googlenet()
    path.unlink()
    with pytest.raises(DataError, match=rf"{path} does not exist.*{command}"):
        load_googlenet()


def test_the_fingerprint_tells_every_parameter(thin):
    before = googlenet.fingerprint(thin)
    assert googlenet.fingerprint(dict(reversed(thin.items()))) == before
    thin["conv2/3x3.bias"][0] += 1
    assert googlenet.fingerprint(thin) != before
