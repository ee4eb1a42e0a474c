"""Softmax regression by conjugate gradients: what is minimised, on which images, when it stops and what it keeps."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy import optimize
from scipy.special import log_softmax
from tiny import tiny_mnist

from tinyadv import metrics
from tinyadv.layers import parameters
from tinyadv.metrics import evaluate
from tinyadv.paper.tutorial import softmax_by_conjugate_gradients

DATA = tiny_mnist(300, 150, 50)


def literal(train, batch, steps, epochs):
    """The same minimisation of J written out in NumPy, in float64 throughout."""
    w = np.zeros(7850)
    for _ in range(epochs):
        for i in range(0, len(train.x), batch):
            x, t = (
                np.c_[train.x[i : i + batch], np.ones(len(train.x[i : i + batch]))],
                np.eye(10)[train.y[i : i + batch]],
            )

            def J(w, x=x, t=t):
                log_p = log_softmax(x @ np.c_[w[:7840].reshape(10, 784), w[7840:]].T, axis=1)
                g = (np.exp(log_p) - t).T @ x / len(x)
                return -(t * log_p).sum() / len(x), np.concatenate([g[:, :784].ravel(), g[:, 784]])

            w = optimize.minimize(J, w, jac=True, method="CG", options={"maxiter": steps}).x
    return w


def test_it_minimises_j_batch_by_batch_from_zero():
    model, log = softmax_by_conjugate_gradients(*DATA[:2], batch=150, steps=2, epochs=1)
    found = np.concatenate([p.data.ravel() for p in parameters(model)])
    np.testing.assert_allclose(found, literal(DATA.train, 150, 2, 1), atol=2e-3)
    assert {p.dtype.name for p in parameters(model)} == {"float32"}
    assert [entry["epoch"] for entry in log] == [1]


def test_it_learns_stops_by_itself_and_keeps_the_best():
    model, log = softmax_by_conjugate_gradients(*DATA[:2], batch=100, steps=3, patience=2, epochs=60)
    errors = [entry["error"] for entry in log]
    assert 2 < len(log) < 60
    assert min(errors) < 0.35
    assert evaluate(model, *DATA.validation).error == min(errors)


@pytest.mark.parametrize(
    ("errors", "epochs"),
    [
        ([0.5, 0.4, 0.4], 5),
        ([0.5, 0.4, 0.398, 0.397, 0.395, 0.395], 8),  # little by little it fell enough, after the fifth epoch
        ([0.5, 0.49504, 0.494, 0.493], 6),  # 0.494 is more than 1 % below 0.5
        ([0.5, 0.0], 5),  # 0 falls no more
    ],
)
def test_it_stops_as_pylearn2_does(monkeypatch, errors, epochs):
    told = iter(errors + [errors[-1]] * 20)
    monkeypatch.setattr(metrics, "evaluate", lambda *arguments: SimpleNamespace(error=next(told)))
    _, log = softmax_by_conjugate_gradients(*DATA[:2], batch=300, steps=1, patience=3, epochs=20)
    assert len(log) == epochs


def test_pixels_that_are_always_dark_keep_weights_of_0():
    model, _ = softmax_by_conjugate_gradients(*DATA[:2], batch=300, steps=2, epochs=1)
    dark = ~DATA.train.x.any(axis=0)
    assert dark.any()
    assert not parameters(model)[0].data[:, dark].any()


@pytest.mark.parametrize("epochs", [1, 3])
def test_it_ends_after_its_epochs(epochs):
    assert len(softmax_by_conjugate_gradients(*DATA[:2], batch=300, steps=1, epochs=epochs)[1]) == epochs
