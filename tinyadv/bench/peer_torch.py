"""The job in PyTorch, eager, as its users write it: modules, `optim.SGD`, gradients gathered in `.grad`."""

from __future__ import annotations

from time import perf_counter
from typing import Any

import torch
from torch import nn
from torch.linalg import vector_norm
from torch.nn.functional import (
    avg_pool2d,
    binary_cross_entropy_with_logits,
    conv2d,
    cross_entropy,
    linear,
    local_response_norm,
    max_pool2d,
    relu,
)

from .images import (
    DENSE_NORMS,
    INCEPTION,
    LAYERS,
    PIECES,
    POOLED_BEFORE,
    RATE_FACTOR,
    SIDE,
    googlenet_layers,
    googlenet_weights,
)
from .jobs import MACHINE_NORMS, Arrays, Attack, Epoch, Job, Read, Step, as_rows, fixed_masks, from_rows

_device = "cpu"
_prepared: Any = lambda net: net  # noqa: E731  (peer_torch_compile compiles here)


def start(threads: int, device: str) -> str:
    global _device
    if device == "cuda" and not torch.cuda.is_available():
        raise RuntimeError("this PyTorch finds no CUDA device")
    _device = device
    torch.set_num_threads(threads)
    return f"torch {torch.__version__}"


def put(a: Any) -> Any:
    return torch.from_numpy(a).to(_device)


class Maxout(nn.Module):
    """A linear layer whose outputs are seen as `(units, pieces)`, and the maximum of each unit's pieces."""

    def __init__(self, inputs: int, units: int, pieces: int) -> None:
        super().__init__()
        self.linear, self.pieces = nn.Linear(inputs, units * pieces), pieces

    def forward(self, x: Any) -> Any:
        return self.linear(x).unflatten(1, (-1, self.pieces)).max(dim=2).values


def _network(start: Arrays, job: Job) -> nn.Module:
    net = nn.Sequential()
    if job.kind != "softmax":
        for i in range(job.depth):
            net.append(nn.Dropout(1 - job.keep[1 if i else 0]))
            net.append(Maxout(job.units if i else job.inputs, job.units, job.pieces))
        net.append(nn.Dropout(1 - job.keep[1]))
    net.append(nn.Linear(start[-2].shape[1], job.classes))
    with torch.no_grad():
        for p, a in zip(net.parameters(), as_rows(start), strict=True):
            p.copy_(torch.from_numpy(a))
    return net.to(_device)


def _reader(net: nn.Module, start: Arrays) -> Read:
    return lambda: from_rows([p.detach().cpu().numpy() for p in net.parameters()], start)


def _sign_of_gradient(model: Any, x: Any, y: Any) -> Any:
    x = x.detach().requires_grad_()
    (g,) = torch.autograd.grad(cross_entropy(model(x), y), x)
    return g.sign()


def train(start: Arrays, job: Job) -> tuple[Step, Read]:
    net = _network(start, job)
    optimiser = torch.optim.SGD(net.parameters(), lr=job.learning_rate, momentum=job.momentum)
    weights = [p for p in net.parameters() if p.ndim == 2]
    model, alpha = _prepared(net), job.alpha

    def gradients_attack_in_training(x: Any, y: Any) -> Any:
        x = x.detach().requires_grad_()
        clean: Any = cross_entropy(model(x), y)
        (alpha * clean).backward()  # fills the parameters' .grad and x.grad at once
        adversarial: Any = cross_entropy(model(x.detach() + job.eps * x.grad.sign()), y)
        ((1 - alpha) * adversarial).backward()
        return alpha * clean.detach() + (1 - alpha) * adversarial.detach()

    def gradients_attack_at_inference(x: Any, y: Any) -> Any:
        net.eval()
        x_adv = x + job.eps * _sign_of_gradient(model, x, y)
        net.train()
        z = model(torch.cat([x, x_adv]))
        J: Any = alpha * cross_entropy(z[: len(x)], y) + (1 - alpha) * cross_entropy(z[len(x) :], y)
        J.backward()
        return J.detach()

    gradients = gradients_attack_in_training if job.attacked == "training" else gradients_attack_at_inference

    def step(x: Any, y: Any) -> float:
        optimiser.zero_grad()
        J = gradients(x, y)
        optimiser.step()
        with torch.no_grad():
            for w in weights:
                w.mul_(job.max_norm / w.norm(dim=1, keepdim=True).clamp_(min=job.max_norm))
        return float(J) if _device == "cpu" else _when_done(J)

    return step, _reader(net, start)


def _when_done(J: Any) -> float:
    torch.cuda.synchronize()
    return float(J)


def fgsm(start: Arrays, job: Job) -> Attack:
    net = _network(start, job).eval().requires_grad_(False)
    model = _prepared(net)
    return lambda x, y: (x + job.eps * _sign_of_gradient(model, x, y)).cpu().numpy()


def _mean_field_cost(theta: Any, V: Any, Y: Any, M: Any, m: Any, rounds: int) -> Any:
    """J of multi-prediction after `rounds` of mean field."""
    W1, W2, W3, b1, b2, b3, b_v = theta
    V_given, Y_given = (1 - M) * V, (1 - m) * Y
    below = linear(V_given + M * b_v.detach().sigmoid(), W1)
    h1 = torch.sigmoid(2 * below + b1)
    h2 = torch.sigmoid(linear(h1, W2, b2) + (Y_given + m * b3.softmax(0)) @ W3)
    for i in range(rounds - 1):
        h1, z_y = torch.sigmoid(below + b1 + h2 @ W2), linear(h2, W3, b3)
        z_v = h1 @ W1 + b_v
        if i < rounds - 2:
            y, below = Y_given + m * z_y.softmax(1), linear(V_given + M * z_v.sigmoid(), W1)
            h2 = torch.sigmoid(linear(h1, W2, b2) + y @ W3)
    of_pixels = binary_cross_entropy_with_logits(z_v, V, weight=M)
    return of_pixels + (m[:, 0] * cross_entropy(z_y, Y, reduction="none")).mean() / V.shape[1]


def dbm(start: Arrays, job: Job) -> tuple[Step, Read]:
    theta = [torch.from_numpy(a.copy()).to(_device).requires_grad_() for a in start]
    optimiser = torch.optim.SGD(theta, lr=job.learning_rate, momentum=job.momentum)
    cost: Any = _prepared(_mean_field_cost)

    def step(x: Any, y: Any) -> float:
        fixed = fixed_masks(job, len(x))
        M, m = [put(a) for a in fixed] if fixed else [torch.bernoulli(torch.full_like(a, 0.5)) for a in (x, x[:, :1])]
        Y = torch.nn.functional.one_hot(y, job.classes).to(x.dtype)
        optimiser.zero_grad()
        J = cost(theta, torch.bernoulli(x), Y, M, m, job.iterations)
        J.backward()
        optimiser.step()
        with torch.no_grad():
            for W, norm in zip(theta, MACHINE_NORMS, strict=False):
                W.mul_(norm / W.norm(dim=1, keepdim=True).clamp_(min=norm))
        return float(J.detach()) if _device == "cpu" else _when_done(J.detach())

    return step, lambda: [a.detach().cpu().numpy() for a in theta]


def softmax(start: Arrays, job: Job) -> tuple[Epoch, Read]:
    net = _network(start, job)
    optimiser = torch.optim.SGD(net.parameters(), lr=job.learning_rate)
    model = _prepared(net)

    def epoch(x: Any, y: Any) -> None:
        for x_i, y_i in zip(x.split(job.batch), y.split(job.batch), strict=True):
            optimiser.zero_grad()
            J: Any = cross_entropy(model(x_i), y_i)
            J.backward()
            optimiser.step()
        if _device == "cuda":
            torch.cuda.synchronize()

    return epoch, _reader(net, start)


# ---------------------------------------------------------------------------------------------------------
# Images


class ConvMaxout(nn.Module):
    """A convolution whose outputs are planes of pieces, their maximum, and a max-pool."""

    def __init__(self, channels: int, units: int, kernel: int, padding: int, pool: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, PIECES * units, kernel, padding=padding)
        self.pool = nn.MaxPool2d(pool, 2, ceil_mode=True)

    def forward(self, x: Any) -> Any:
        return self.pool(torch.maximum(*self.conv(x).chunk(PIECES, dim=1)))


def _conv_network(start: Arrays, job: Job) -> nn.Sequential:
    """The network in whichever of PyTorch's two memory formats is faster here."""
    nets: list[nn.Sequential] = []
    for memory in (torch.contiguous_format, torch.channels_last):
        net = nn.Sequential(nn.Unflatten(1, (3, SIDE, SIDE)), nn.Dropout(1 - job.keep[0]))
        before = 3
        for units, (kernel, padding, pool, _) in zip(job.channels, LAYERS, strict=True):
            net.append(ConvMaxout(before, units, kernel, padding, pool)).append(nn.Dropout(1 - job.keep[1]))
            before = units
        net.append(nn.Flatten()).append(Maxout(start[6].shape[2], job.units, job.pieces))
        net.append(nn.Dropout(1 - job.keep[1])).append(nn.Linear(job.units, job.classes))
        kernels = [a.transpose(3, 2, 0, 1) if a.ndim == 4 else a for a in start[:6]]
        with torch.no_grad():
            for p, a in zip(net.parameters(), [*kernels, *as_rows(start[6:])], strict=True):
                p.copy_(torch.from_numpy(a))
        nets.append(net.to(_device))
        net.to(memory_format=memory)  # type: ignore[call-overload,unused-ignore]
    return min(nets, key=lambda net: _seconds(net, job))


def _seconds(net: nn.Module, job: Job) -> float:
    """What a step takes."""
    x, y = torch.zeros(job.batch, job.inputs).to(_device), torch.zeros(job.batch, dtype=torch.long).to(_device)
    times = []
    for _ in range(2):
        began = perf_counter()
        J: Any = cross_entropy(net(x), y)
        torch.autograd.grad(J, list(net.parameters()))
        times.append(perf_counter() - began)
    return min(times)


def conv_train(start: Arrays, job: Job) -> tuple[Step, Read]:
    net = _conv_network(start, job)
    convolutions = [p for module in net if isinstance(module, ConvMaxout) for p in module.parameters()]
    others = [p for module in net if not isinstance(module, ConvMaxout) for p in module.parameters()]
    groups: Any = [{"params": convolutions, "lr": RATE_FACTOR * job.learning_rate}, {"params": others}]
    optimiser = torch.optim.SGD(groups, lr=job.learning_rate, momentum=job.momentum)
    weights = [p for p in net.parameters() if p.ndim > 1]
    norms = [*(norm for *_, norm in LAYERS), *DENSE_NORMS]
    model = _prepared(net)

    def step(x: Any, y: Any) -> float:
        optimiser.zero_grad()
        J: Any = cross_entropy(model(x), y)
        J.backward()
        J = J.detach()
        optimiser.step()
        with torch.no_grad():
            for w, norm in zip(weights, norms, strict=True):
                w.mul_(norm / vector_norm(w, dim=tuple(range(1, w.ndim)), keepdim=True).clamp_(min=norm))
        return float(J) if _device == "cpu" else _when_done(J)

    def read() -> Arrays:
        arrays = [p.detach().cpu().numpy() for p in net.parameters()]
        kernels = [a.transpose(2, 3, 1, 0).copy() if a.ndim == 4 else a for a in arrays[:6]]
        return [*kernels, *from_rows(arrays[6:], start[6:])]

    return step, read


def conv_fgsm(start: Arrays, job: Job) -> Attack:
    model = _prepared(_conv_network(start, job).eval().requires_grad_(False))
    return lambda x, y: (x + job.eps * _sign_of_gradient(model, x, y)).cpu().numpy()


class GoogLeNet(nn.Module):
    """GoogLeNet as `tinyadv.googlenet` has it, for images in [0, 1]."""

    def __init__(self, start: Arrays) -> None:
        super().__init__()
        self.names = {name: name.replace("/", "_") for name, _ in googlenet_layers()}
        for name, a in googlenet_weights(start).items():
            layer, kind = name.rsplit(".", 1)
            self.register_buffer(f"{self.names[layer]}_{kind}", torch.from_numpy(a.copy()))
        self.register_buffer("mean", torch.tensor([104.0, 117.0, 123.0]).reshape(1, 3, 1, 1))

    def _layer(self, x: Any, name: str, stride: int = 1, padding: int = 0) -> Any:
        W, b = (getattr(self, f"{self.names[name]}_{kind}") for kind in ("weight", "bias"))
        return relu(conv2d(x, W, b, stride, padding))

    def forward(self, x: Any) -> Any:
        x = x.unflatten(1, (3, 224, 224)).flip(1) * 255 - self.mean
        x = max_pool2d(self._layer(x, "conv1/7x7_s2", 2, 3), 3, 2, ceil_mode=True)
        x = self._layer(self._layer(local_response_norm(x, 5), "conv2/3x3_reduce"), "conv2/3x3", padding=1)
        x = local_response_norm(x, 5)
        for block in INCEPTION:
            if block in POOLED_BEFORE:
                x = max_pool2d(x, 3, 2, ceil_mode=True)
            name = f"inception_{block}"
            branches = [self._layer(x, f"{name}/1x1")]
            for K in (3, 5):
                small = self._layer(x, f"{name}/{K}x{K}_reduce")
                branches.append(self._layer(small, f"{name}/{K}x{K}", padding=K // 2))
            branches.append(self._layer(max_pool2d(x, 3, 1, 1), f"{name}/pool_proj"))
            x = torch.cat(branches, 1)
        return linear(
            avg_pool2d(x, 7).flatten(1), *(getattr(self, f"loss3_classifier_{k}") for k in ("weight", "bias"))
        )


def googlenet(start: Arrays, job: Job) -> Attack:
    net = GoogLeNet(start).eval().to(_device)
    model = _prepared(net)
    return lambda x, y: (x + job.eps * _sign_of_gradient(model, x, y)).cpu().numpy()
