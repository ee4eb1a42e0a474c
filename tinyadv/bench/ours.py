"""The job in tinyadv: its public engine, called as the lessons call it."""

from __future__ import annotations

from typing import Any

from .. import __version__
from ..attacks import fgsm as fast_gradient_sign
from ..backend import Array, array_module, bernoulli, check_device, generator, one_hot, to_device
from ..dbm import DeepBoltzmannMachine, multi_prediction_objective
from ..googlenet import GoogLeNet
from ..layers import Dropout, Layer, Linear, Maxout, named_parameters, parameters
from ..losses import adversarial_objective, clean_objective
from ..models import CONV_MAX_NORMS, CONV_RATE_FACTORS, Network, conv_maxout_network, load_parameters
from ..optim import SGD, Schedule
from ..tensor import grad
from .images import PIECES, googlenet_weights
from .jobs import MACHINE_NORMS, Arrays, Attack, Epoch, Job, Read, Step, fixed_masks

_device = "cpu"


def start(threads: int, device: str) -> str:
    global _device
    check_device(device)
    _device = device
    xp = array_module(to_device(generator(0).random(1), device))
    return f"tinyadv {__version__}, {xp.__name__} {xp.__version__}"


def put(a: Array) -> Array:
    return to_device(a, _device)


def network(start: Arrays, job: Job) -> Network:
    """The job's network with the parameters `start`."""
    rng, layers = generator(0), list[Layer]()
    if job.kind == "softmax":
        layers.append(Linear(job.inputs, job.classes, rng))
    else:
        for i in range(job.depth):
            layers.append(Dropout(job.keep[1] if i else job.keep[0]))
            layers.append(Maxout(job.units if i else job.inputs, job.units, job.pieces, rng))
        layers += [Dropout(job.keep[1]), Linear(job.units, job.classes, rng)]
    return _given(Network("bench", {}, layers, "softmax"), start, job)


def _given(model: Network, start: Arrays, job: Job) -> Network:
    """The model, with copies of the parameters `start`."""
    load_parameters(model, dict(zip(named_parameters(model), map(put, start), strict=True)), job.name)
    return model


def _optimiser(
    model: Network, job: Job, momentum: float, max_norm: float | dict[str, float] | None,
    rate_factors: dict[str, float] | None = None,
) -> SGD:  # fmt: skip
    constant = Schedule(job.learning_rate, decay=1.0, floor=0.0, momentum=momentum, final_momentum=momentum)
    return SGD(model, constant, max_norm, rate_factors)


def _attack(model: Any, job: Job) -> Attack:
    return lambda x, y: to_device(fast_gradient_sign(model, x, y, job.eps), "cpu")


def _reader(model: Network) -> Read:
    return lambda: [to_device(p.data, "cpu").copy() for p in parameters(model)]


def _finish() -> None:
    """Wait until the GPU has done what it was given."""
    if _device == "cuda":
        import cupy

        cupy.cuda.get_current_stream().synchronize()


def train(start: Arrays, job: Job, rng: Any = None) -> tuple[Step, Read]:
    model = network(start, job)
    optimiser, rng = _optimiser(model, job, job.momentum, job.max_norm), rng or generator(0, "masks")

    def step(x: Array, y: Array) -> float:
        J, gradients = adversarial_objective(model, x, y, rng, job.eps, job.alpha, attacked=job.attacked)
        optimiser.step(gradients)
        _finish()
        return J

    return step, _reader(model)


def fgsm(start: Arrays, job: Job) -> Attack:
    return _attack(network(start, job), job)


def dbm(start: Arrays, job: Job) -> tuple[Step, Read]:
    machine = DeepBoltzmannMachine((job.units, job.upper), job.iterations, job.inputs, job.classes, rng=generator(0))
    model = _given(Network("bench", {}, [machine], "softmax"), start, job)
    norms = {f"layers.0.W{i + 1}": norm for i, norm in enumerate(MACHINE_NORMS)}
    optimiser, rng = _optimiser(model, job, job.momentum, norms), generator(0, "masks")

    def step(x: Array, y: Array) -> float:
        masks = fixed_masks(job, len(x))
        if masks is None:
            J, gradients = multi_prediction_objective(model, x, y, rng)
        else:
            Y, (M, m) = one_hot(y, x[:, : job.classes]), (to_device(a, _device) for a in masks)
            cost = machine.cost(bernoulli(rng, x), Y, M, m)
            J, gradients = cost.item(), grad(cost, parameters(model))
        optimiser.step(gradients)
        _finish()
        return J

    return step, _reader(model)


def _conv_network(start: Arrays, job: Job) -> Network:
    model = conv_maxout_network(job.channels, job.units, (PIECES, job.pieces), job.keep, 0.005, rng=generator(0))
    return _given(model, start, job)


def conv_train(start: Arrays, job: Job) -> tuple[Step, Read]:
    model = _conv_network(start, job)
    optimiser = _optimiser(model, job, job.momentum, CONV_MAX_NORMS, CONV_RATE_FACTORS)
    rng = generator(0, "masks")

    def step(x: Array, y: Array) -> float:
        J, gradients = clean_objective(model, x, y, rng)
        optimiser.step(gradients)
        _finish()
        return J

    return step, _reader(model)


def conv_fgsm(start: Arrays, job: Job) -> Attack:
    return _attack(_conv_network(start, job), job)


def googlenet(start: Arrays, job: Job) -> Attack:
    model = GoogLeNet({name: to_device(a, _device) for name, a in googlenet_weights(start).items()})
    return _attack(model, job)


def softmax(start: Arrays, job: Job) -> tuple[Epoch, Read]:
    model = network(start, job)
    optimiser = _optimiser(model, job, 0.0, None)

    def epoch(x: Array, y: Array) -> None:
        y = one_hot(y, x[:, : job.classes])  # labels become targets once, as in `training.train`
        for i in range(0, len(x), job.batch):
            _, gradients = clean_objective(model, x[i : i + job.batch], y[i : i + job.batch], None)
            optimiser.step(gradients)
        _finish()

    return epoch, _reader(model)
