"""A PyTorch network as a model here: attacks, `metrics.evaluate` and `tinyadv audit` take it as they take all others.

The one idea: how an operation computes its result is its own affair, if its formula gives the gradient. This one asks
PyTorch for both. To audit a network that was trained elsewhere, write a file mine.py:

    import torch
    from tinyadv.torch_model import TorchModel

    def make():
        net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(784, 10))
        net.load_state_dict(torch.load("net.pt"))
        return TorchModel(net.eval(), shape=(1, 28, 28))

and run `tinyadv audit mine:make --data images.npz`.
"""

from __future__ import annotations

from typing import Any

from . import losses, ops
from .backend import Array, is_array
from .tensor import Alike, Op, Value


class TorchModel:
    """A `torch.nn.Module` with logits of a softmax, called with rows of numbers.

    Its parameters are PyTorch's: nothing here trains or saves them. The gradient in its inputs is PyTorch's too, and
    has no derivative of its own here. On top of the logits stands the softmax of this package, so that `attacks.fgsm`
    follows the exact gradient of its cost, and `paper.rounding.Rounded` the one that PyTorch's cross-entropy has.

    Parameters
    ----------
    module : torch.nn.Module
        Gives logits `(N, K)` for inputs `(N, *shape)`, on any device. If inputs have to be normalised, it has to do
        that itself: x, and with it eps, is in the units of its inputs.
    shape : tuple of int, optional
        Of one input, as (channels, height, width); by default it is a row.

    Raises
    ------
    TypeError
        If `module` is no `torch.nn.Module`.
    ValueError
        If it is in training mode, where dropout draws masks: `module.eval()` ends that.
    """

    top = "softmax"

    def __init__(self, module: Any, shape: tuple[int, ...] | None = None) -> None:
        from torch.nn import Module

        if not isinstance(module, Module):
            raise TypeError(f"wanted a torch.nn.Module, got a {type(module).__name__}")
        if training := [name or "it" for name, part in module.named_modules() if part.training]:
            raise ValueError(f"wanted a network in evaluation mode, net.eval(); {training[0]} is in training mode")
        self.module, self.shape = module, shape

    def __call__(self, x: Value) -> Alike:
        """Logits `(N, K)` for rows x `(N, D)`, NumPy arrays or Tensors of them."""
        return _logits(x, self.module, self.shape)

    def loss(self, outputs: Value, y: Array) -> Alike:
        """J of logits and labels: the cross-entropy of the softmax, mean over the examples."""
        return losses.softmax_cross_entropy(outputs, y)

    def probabilities(self, outputs: Value) -> Alike:
        """The logits as class probabilities `(N, K)`."""
        return ops.softmax(outputs)


@Op
def _logits(x: Array, module: Any, shape: tuple[int, ...] | None) -> Array:
    """What the module gives for rows x `(N, D)`."""
    import torch

    with torch.no_grad():
        z = module(_inputs(x, module, shape))
    if z.ndim != 2:
        raise ValueError(f"wanted a network that gives logits (N, K), got outputs of shape {tuple(z.shape)}")
    return _as_array(z, x)


@Op
def _pulled_back(g: Array, x: Array, module: Any, shape: tuple[int, ...] | None) -> Array:
    """dL/dx `(N, D)` for g = dL/dlogits `(N, K)`."""
    import torch

    inputs = _inputs(x, module, shape).requires_grad_()
    with torch.enable_grad():
        z = module(inputs)
    (d,) = torch.autograd.grad(z, inputs, torch.as_tensor(g).to(z))
    return _as_array(d, x).reshape(x.shape)


_logits.gradients(lambda g, y, x, module, shape: _pulled_back(g, x, module, shape))


def _inputs(x: Array, module: Any, shape: tuple[int, ...] | None) -> Any:
    """Rows as the module's inputs: a copy, where its parameters are and in their precision."""
    import torch

    if not is_array(x) or x.ndim != 2:
        raise ValueError(f"wanted rows of numbers, an array (N, D), got {getattr(x, 'shape', type(x).__name__)}")
    like = next(module.parameters(), torch.empty(0, dtype=torch.float32))
    inputs = torch.tensor(x, dtype=like.dtype, device=like.device)
    try:
        return inputs if shape is None else inputs.reshape(len(x), *shape)
    except RuntimeError:
        raise ValueError(f"rows of {x.shape[1]} numbers are no inputs of shape {shape}") from None


def _as_array(t: Any, like: Array) -> Array:
    """A result of PyTorch as an array of the dtype of `like`."""
    import torch

    found: Array = t.detach().to("cpu", torch.float64).numpy().astype(like.dtype)
    return found
