"""Types: mypy names wrong uses of the public interface, and takes the right ones."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

START = """\
import numpy as np
from tinyadv import Tensor, attacks, grad, layers, losses, metrics, models, ops, optim, parameters, training
from tinyadv.backend import generator

x, y = np.ones((5, 4), dtype="float32"), np.arange(5) % 3
model = models.softmax_regression(4, 3, rng=generator(0))
X = Tensor(x)
J = losses.softmax_cross_entropy(model(X), y)
"""

WRONG = {  # a line, and what of it mypy has to name
    "one Tensor in place of a list": ("grad(J, X)", 'Argument 2 to "grad" has incompatible type "Tensor"'),
    "arrays in place of Tensors": ("grad(J, [x])", 'List item 0 has incompatible type "ndarray'),
    "the gradient of an array": ("grad(x, [X])", 'Argument 1 to "grad" has incompatible type "ndarray'),
    "a text as an array": ('attacks.fgsm(model, "images", y, 0.1)', 'Argument 2 to "fgsm" has incompatible type "str"'),
    "a list as an array": ("metrics.predict(model, [[1.0]])", 'Argument 2 to "predict" has incompatible type "list'),
    "a Tensor as an array": ("attacks.fgsm(model, X, y, 0.1)", 'Argument 2 to "fgsm" has incompatible type "Tensor"'),
    "a text as labels": ('losses.targets("labels", x)', 'Argument 1 to "targets" has incompatible type "str"'),
    "a text as eps": ('attacks.fgsm(model, x, y, "0.1")', 'Argument 4 to "fgsm" has incompatible type "str"'),
    "a seed as a generator": ("layers.Linear(4, 3, 0)", 'Argument 3 to "Linear" has incompatible type "int"'),
    "a text as outputs": ('model.loss("outputs", y)', 'Argument 1 to "loss" of "Network" has incompatible type "str"'),
    "a Tensor as gradients": (
        "optim.SGD(model).step(X)",
        'Argument 1 to "step" of "SGD" has incompatible type "Tensor"',
    ),
    "a layer of a text": ('layers.Linear(4, 3, generator(0))("x")', '"Linear" has incompatible type "str"'),
}

RIGHT = """\
gx, = grad(J, [X])
grad(J, (p for p in parameters(model)))
grad(J, {"x": X}.values(), cotangent=2.0)
print(float(gx.sum()), (X * x + x * X - 2.0).sum().item(), len(X), (X > 0).any(), -X @ x.T)
x_adv = attacks.fgsm(model, x, y, eps=0.1, clip=(0.0, 1.0))
x_adv = (x_adv + 0.1 * ops.sign(x)).clip(0.0, 1.0).astype("float32")
print(metrics.evaluate(model, x_adv, y).error, model(x_adv).argmax(axis=1), np.abs(x_adv).max())


class Affine:
    def __init__(self) -> None:
        self.W = Tensor(x.T.copy())

    def __call__(self, x: Tensor) -> Tensor:
        return x @ self.W


mine = models.Network("mine", {}, [Affine(), ops.relu, lambda h: 2.0 * h], "softmax")
optimiser = optim.SGD(mine)
training.train(mine, losses.clean_objective, x, y, epochs=1, seed=0, optimiser=optimiser)
for p in parameters(mine):
    p.data -= 0.1 * np.ones_like(p.data)
"""


def checked(tmp_path, lines):
    file = tmp_path / "use.py"
    file.write_text(START + lines, "utf-8")
    command = [sys.executable, "-m", "mypy", "--strict", "--no-warn-return-any", "--no-pretty", str(file)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=600, cwd=ROOT)
    assert "use.py" in run.stdout or not run.returncode, run.stdout + run.stderr
    return run.stdout


def test_wrong_uses_are_named_and_right_ones_are_not(tmp_path):
    """One run of mypy for all: what takes time is to read NumPy's types, which it keeps in .mypy_cache."""
    pytest.importorskip("mypy")
    lines = [line for line, _ in WRONG.values()]
    said = checked(tmp_path, "\n".join(lines) + "\n" + RIGHT)
    first = START.count("\n") + 1
    errors = {int(n): text for n, text in re.findall(r"use\.py:(\d+): error: (.*)", said)}
    for n, (name, (line, message)) in enumerate(WRONG.items(), first):
        assert message in errors.pop(n, "no error"), f"{name}: {line}\n{said}"
    assert not errors, said
