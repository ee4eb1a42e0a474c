"""PyTorch and back: weights go through safetensors files, and logits and input gradients stay equal to rounding."""

import numpy as np
import pytest

from tinyadv import ops
from tinyadv.attacks import input_gradient
from tinyadv.backend import generator
from tinyadv.layers import Linear, Maxout, named_parameters
from tinyadv.models import Network, load, load_parameters, maxout_network, save, softmax_regression

D, H, K, N = 12, 9, 4, 20
NAMES = {"weight": "W", "bias": "b"}


@pytest.fixture
def data(rng):
    return rng.random((N, D)).astype("float32"), rng.integers(0, K, N)


def mlp():
    return Network(
        "mlp", {}, [Linear(D, H, generator(0)), ops.relu, Linear(H, K, generator(1))], "softmax"
    )  # fmt: skip


def same(torch, model, theirs, data):
    """Logits and grad_x J of our model and of a function of PyTorch's agree to float32's rounding."""
    x, y = data
    X = torch.tensor(x, requires_grad=True)
    z = theirs(X)
    J = torch.nn.functional.cross_entropy(z, torch.tensor(y), reduction="sum")
    (g,) = torch.autograd.grad(J, [X])
    np.testing.assert_allclose(model(x), z.detach().numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(input_gradient(model, x, y), g.numpy(), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", ["mlp", "softmax regression"])
def test_a_network_of_pytorch_s_is_ours(torch, kind, data, tmp_path):
    from safetensors.numpy import load_file
    from safetensors.torch import save_file

    torch.manual_seed(0)
    if kind == "mlp":
        theirs = torch.nn.Sequential(torch.nn.Linear(D, H), torch.nn.ReLU(), torch.nn.Linear(H, K))
        model = mlp()
    else:
        theirs, model = torch.nn.Sequential(torch.nn.Linear(D, K)), softmax_regression(D, K, rng=generator(0))
    save_file(theirs.state_dict(), tmp_path / "torch.safetensors")
    read = ((name.split("."), a) for name, a in load_file(tmp_path / "torch.safetensors").items())
    load_parameters(model, {f"layers.{i}.{NAMES[name]}": a for (i, name), a in read})
    same(torch, model, theirs, data)


@pytest.mark.parametrize("kind", ["mlp", "softmax regression"])
def test_our_network_is_one_of_pytorch_s(torch, kind, data, tmp_path):
    from safetensors.torch import load_file

    if kind == "mlp":
        theirs = torch.nn.Sequential(torch.nn.Linear(D, H), torch.nn.ReLU(), torch.nn.Linear(H, K))
        model = mlp()
    else:
        theirs, model = torch.nn.Sequential(torch.nn.Linear(D, K)), softmax_regression(D, K, 0.5, rng=generator(0))
    save(model, tmp_path / "ours.safetensors")
    back = {ours: name for name, ours in NAMES.items()}
    read = ((name.split("."), a) for name, a in load_file(tmp_path / "ours.safetensors").items())
    theirs.load_state_dict({f"{i}.{back[name]}": a for (_, i, name), a in read})
    same(torch, model, theirs, data)


def test_our_maxout_network_in_pytorch(torch, data, tmp_path):
    from safetensors.torch import load_file

    pieces = 3
    model = maxout_network(H, pieces, inputs=D, classes=K, rng=generator(0))
    save(model, tmp_path / "ours.safetensors")
    p = load_file(tmp_path / "ours.safetensors")

    def maxout(x, W, b):
        z = torch.nn.functional.linear(x, W.reshape(pieces * H, -1), b)
        return z.reshape(len(x), pieces, H).amax(1)

    def theirs(x):
        for i in (1, 3):  # between them, dropout
            x = maxout(x, p[f"layers.{i}.W"], p[f"layers.{i}.b"])
        return torch.nn.functional.linear(x, p["layers.5.W"], p["layers.5.b"])

    same(torch, load(tmp_path / "ours.safetensors"), theirs, data)


def test_a_layer_has_the_arrays_that_the_documentation_says():
    layers = [Linear(D, H, generator(0)), Maxout(H, H, 3, generator(0))]
    shapes = {name: p.shape for name, p in named_parameters(Network("mine", {}, layers, "softmax")).items()}
    assert shapes == {"layers.0.W": (H, D), "layers.0.b": (H,), "layers.1.W": (3, H, H), "layers.1.b": (3 * H,)}


def test_names_that_do_not_fit_are_shown(data):
    with pytest.raises(
        Exception, match=r"these arrays does not fit mlp: wanted arrays .*layers\.0\.W.* found .*0\.weight"
    ):
        load_parameters(mlp(), {"0.weight": data[0]})
