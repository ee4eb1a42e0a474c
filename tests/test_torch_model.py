"""A network of PyTorch, attacked and audited here: the numbers are PyTorch's own."""

import json
import sys

import numpy as np
import pytest

from tinyadv import Tensor, attacks, grad, metrics, parameters
from tinyadv.cli import main
from tinyadv.paper.rounding import Rounded
from tinyadv.torch_model import TorchModel

SHAPE, K, N = (2, 4, 3), 5, 12


@pytest.fixture
def net(torch):
    """Convolution, batch normalisation, dropout, in evaluation mode, its running means not those of the start."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(2, 6, 3, padding=1), torch.nn.BatchNorm2d(6), torch.nn.ReLU(), torch.nn.Flatten(),
        torch.nn.Dropout(), torch.nn.Linear(6 * 12, K),
    )  # fmt: skip
    net(torch.rand(50, *SHAPE))
    return net.eval()


@pytest.fixture
def data(rng):
    return rng.random((N, 24)).astype("float32"), rng.integers(0, K, N)


def test_logits_gradients_and_attacks_are_those_of_pytorch(torch, net, data):
    (x, y), model = data, TorchModel(net, SHAPE)
    X = torch.tensor(x.reshape(N, *SHAPE), requires_grad=True)
    z = net(X)
    (g,) = torch.autograd.grad(torch.nn.functional.cross_entropy(z, torch.tensor(y), reduction="sum"), [X])
    np.testing.assert_allclose(model(x), z.detach().numpy(), rtol=1e-6)
    np.testing.assert_allclose(attacks.input_gradient(model, x, y), g.numpy().reshape(N, 24), rtol=1e-4, atol=1e-7)
    sizes = abs(g.numpy().reshape(N, 24))
    clear = sizes > 1e-6  # where rounding cannot turn the sign
    moved = attacks.fgsm(model, x, y, 0.25)
    np.testing.assert_array_equal(moved[clear], (x + np.float32(0.25) * np.sign(g.numpy().reshape(N, 24)))[clear])
    assert clear.mean() > 0.5
    p = torch.softmax(z, 1).detach().numpy()
    np.testing.assert_allclose(metrics.evaluate(model, x, y).error, (p.argmax(axis=1) != y).mean())
    assert all(parameter.grad is None for parameter in net.parameters())
    assert parameters(model) == []


def test_a_float64_network_has_float64_gradients_that_finite_differences_confirm(torch, net, data, rng):
    (x, y), model = data, TorchModel(net.double(), SHAPE)
    x = x.astype("float64")
    g, direction = attacks.input_gradient(model, x, y), rng.normal(size=x.shape)
    costs = [float(model.loss(model(x + t * direction), y)) for t in (1e-6, -1e-6)]
    assert g.dtype == np.float64
    assert (g * direction).sum() / N == pytest.approx((costs[0] - costs[1]) / 2e-6, rel=1e-6)


def test_sure_networks_have_the_exact_gradient_and_rounded_the_one_of_pytorch(torch, net, data):
    x, _ = data
    model = TorchModel(net, SHAPE)
    y, ranked = model(x).argmax(axis=1), np.sort(model(x), axis=1)
    with torch.no_grad():
        net[5].weight *= 25.0 / (ranked[:, -1] - ranked[:, -2]).min()  # so far is every logit before the next
        net[5].bias *= 25.0 / (ranked[:, -1] - ranked[:, -2]).min()
    X = torch.tensor(x.reshape(N, *SHAPE), requires_grad=True)
    (g,) = torch.autograd.grad(torch.nn.functional.cross_entropy(net(X), torch.tensor(y), reduction="sum"), [X])
    g, size = g.numpy().reshape(N, 24), abs(g.numpy()).max()
    np.testing.assert_allclose(attacks.input_gradient(Rounded(model), x, y), g, rtol=1e-3, atol=1e-5 * size)
    assert abs(attacks.input_gradient(model, x, y) - g).max() > 0.1 * size  # p of the true class is 1 in float32


def test_a_second_derivative_says_that_there_is_none(torch, net, data):
    x, y = data
    x, model = Tensor(x), TorchModel(net, SHAPE)
    (g,) = grad(model.loss(model(x), y), [x], create_graph=True)
    with pytest.raises(TypeError, match="no gradient formula"):
        grad((g * g).sum(), [x])


def test_what_does_not_fit_is_said(torch, net, data):
    x, _ = data
    with pytest.raises(TypeError, match=r"wanted a torch\.nn\.Module, got a function"):
        TorchModel(main)
    with pytest.raises(ValueError, match=r"net\.eval\(\); it is in training mode"):
        TorchModel(net.train())
    net.eval()[4].train()
    with pytest.raises(ValueError, match="4 is in training mode"):
        TorchModel(net)
    with pytest.raises(ValueError, match=r"rows of 24 numbers are no inputs of shape \(3, 4, 3\)"):
        TorchModel(net.eval(), (3, 4, 3))(x)
    with pytest.raises(ValueError, match=r"an array \(N, D\), got \(12, 2, 4, 3\)"):
        TorchModel(net, SHAPE)(x.reshape(N, *SHAPE))
    with pytest.raises(ValueError, match=r"gives logits \(N, K\), got outputs of shape \(12, 6, 4, 3\)"):
        TorchModel(net[:1].eval(), SHAPE)(x)


MINE = """
import torch
from tinyadv.torch_model import TorchModel

def bare():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Linear(24, 5)).eval()

def make():
    return TorchModel(bare())
"""


@pytest.mark.parametrize("command", ["audit", "attack"])
def test_the_command_line_takes_it(torch, command, data, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "my_torch_net.py").write_text(MINE, encoding="utf-8")
    x, y = data
    np.savez("images.npz", x=x, y=y)
    options = {"audit": ["--restarts", "1", "--queries", "20", "--json"], "attack": []}[command]
    with pytest.raises(SystemExit) as ended:
        main([command, "my_torch_net:make", "--data", "images.npz", "--images", "12", *options])
    assert not ended.value.code
    said = capsys.readouterr().out
    if command == "audit":
        rows = {row["attack"]: row["error"] for row in json.loads(said)["rows"] if not row["clipped"]}
        assert rows.keys() >= {"clean", "fgsm", "fgsm-rounded", "pgd-20", "apgd", "worst"}
        assert rows["worst"] >= rows["fgsm"] >= rows["clean"]
    else:
        assert said.startswith("TorchModel, fgsm, eps 0.25, 12 images of images.npz")
    with pytest.raises(SystemExit) as ended:
        main([command, "my_torch_net:bare", "--data", "images.npz", "--images", "12"])
    assert ended.value.code == 2
    assert "gives a network of PyTorch, wanted TorchModel(net.eval(), shape=...)" in capsys.readouterr().err
