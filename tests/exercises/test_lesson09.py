"""The exercises of lesson 9."""

import numpy as np
import pytest

from tinyadv import Tensor, grad, losses, models, ops, parameters
from tinyadv.backend import generator
from tinyadv.course.judging import LEAK, called, close, judge, several

EPS, ALPHA = 0.2, 0.3


class Watched:
    """A network that notes of each call whether it had a generator, and how many inputs."""

    def __init__(self, network):
        self.network, self.calls = network, []
        self.changed = []  # the layers after which a pass with masks has a function

    def __call__(self, x, rng=None, **options):
        self.calls.append((rng is not None, len(x)))
        if rng is not None:
            self.changed += options.get("after") or {}
        return self.network(x, rng=rng, **options)

    def loss(self, outputs, y):
        return self.network.loss(outputs, y)

    @property
    def hidden(self):
        return self.network.hidden


def network(keep=(1.0, 1.0)):
    """A small maxout network in float64 with large weights, and five inputs with labels."""
    model = models.maxout_network(4, 2, inputs=6, classes=3, keep=keep, scale=0.7, rng=generator(3)).to(dtype="float64")
    # a unit of the first layer of which the second takes nothing: the gradient of its activation is 0
    parameters(model)[2].data[..., 1] = 0.0
    rng = np.random.default_rng(9)
    return model, rng.random((5, 6)), rng.integers(0, 3, 5)


def flat(J, gradients):
    """J and all gradients in a row."""
    return np.concatenate([[J], *(np.ravel(g) for g in gradients)])


def answered(function, model, x, y, *args):
    """What the student's objective gives, in a row; and nothing else may have changed."""
    weights = [p.data.copy() for p in parameters(model)]
    J, gradients = several(called(function, model, x, y, *args), "J, the list of its gradients")
    same = all(np.array_equal(p.data, w) for p, w in zip(parameters(model), weights, strict=True))
    assert same, "your function changed the weights: it gives gradients, the optimiser takes the step"
    assert np.ndim(J) == 0, f"J has the shape {np.shape(J)}: it is one number, the mean over the batch"
    assert not isinstance(J, Tensor), "J is a Tensor: a number is wanted, J.item()"
    shapes = [p.shape for p in parameters(model)]
    fits = isinstance(gradients, list | tuple) and [np.shape(g) for g in gradients] == shapes
    assert fits, "one gradient for each of `parameters(model)`, in that order, is wanted"
    return flat(J, gradients)


def average(model, y, clean, other, alpha=ALPHA):
    """alpha and 1 - alpha of the costs of two outputs, in a row with the gradients; other may be None."""
    J = alpha * model.loss(clean, y)
    J = J if other is None else J + (1 - alpha) * model.loss(other, y)
    return flat(J.item(), grad(J, parameters(model)))


def masks_as_wanted(calls, n):
    """The attack's pass has no masks, both passes that train have."""
    masked = sum(rows for with_rng, rows in calls if with_rng)
    assert masked > 0, "no pass has masks: training calls model(..., rng=rng), without it dropout is off"
    assert any(not with_rng for with_rng, _ in calls), (
        "the attack was made under masks: its gradient is that of the network without dropout, without rng"
    )
    assert masked >= 2 * n, "only one of the costs has masks: both are part of the training, with rng=rng"


# ---------------------------------------------------------------------------------------------------------
# noise


def drawn(lesson, kind, eps=EPS, shape=(60, 50), seed=1):
    eta = called(lesson.noise, np.random.default_rng(seed), shape, eps, kind)
    assert np.shape(eta) == shape, f"the shape {shape} is wanted, your noise has {np.shape(eta)}"
    if np.ndim(eta) == 2:
        assert not (eta == eta[:1]).all(), "all images have the same noise: each entry is drawn by itself"
        assert not (eta == eta[:, :1]).all(), "one number for all pixels of an image: each entry is drawn by itself"
    return np.asarray(eta)


@pytest.mark.exercise("noise", points=2)
def test_signs(lesson):
    eta = drawn(lesson, "sign")
    sizes = np.unique(np.abs(eta).round(6))
    assert 0 not in sizes, "some entries are 0: each is +eps or -eps"
    assert len(sizes) == 1, 'entries of different sizes: noise of the kind "sign" is +eps or -eps, nothing in between'
    assert not close(sizes[0], 1), "eps is missing: this is +1 or -1"
    judge(float(sizes[0]), EPS)
    plus = float((eta > 0).mean())
    assert 0 < plus < 1, "all entries have the same sign"
    assert abs(plus - 0.5) < 0.05, f"+eps and -eps are equally likely; {plus:.0%} of yours are positive"


@pytest.mark.exercise("noise", points=1)
def test_uniform(lesson):
    eta = drawn(lesson, "uniform")
    assert len(np.unique(eta)) > 100, 'a few values only: noise of the kind "uniform" takes any value in between'
    assert eta.min() < 0, "no entry is negative: from -eps to eps"
    assert np.abs(eta).max() <= EPS * 1.0001 or not close(np.abs(eta).max().round(1), 1), (
        "eps is missing: these numbers run from -1 to 1"
    )
    assert np.abs(eta).max() <= EPS * 1.0001, "entries larger than eps: uniform noise stays between -eps and eps"
    assert np.abs(eta).max() > 0.75 * EPS, "the noise does not reach eps: it runs from -eps to eps, 2 eps wide"
    assert abs(eta.mean()) < 0.1 * EPS, "the mean is not 0"
    assert abs(eta.var() / (EPS**2 / 3) - 1) < 0.1, (
        "the variance is not eps^2 / 3: not all values from -eps to eps are equally likely"
    )


@pytest.mark.exercise("noise", points=1)
def test_float32_and_from_this_generator(lesson):
    for kind in ("sign", "uniform"):
        first, again = (drawn(lesson, kind, shape=(7, 9)) for _ in range(2))
        assert np.array_equal(first, again), (
            "other noise from the same generator: draw from `rng`, not from np.random, so that runs can be repeated"
        )
        rng = np.random.default_rng(2)
        one, two = (called(lesson.noise, rng, (7, 9), EPS, kind) for _ in range(2))
        assert not np.array_equal(one, two), (
            "two calls with one generator give the same noise: the generator is made anew in your function"
        )
        assert first.dtype == np.float32, LEAK
        assert drawn(lesson, kind, shape=(5,)).shape == (5,)


# ---------------------------------------------------------------------------------------------------------
# hessian_vector


def product(lesson, f, x, v):
    def watched(X):
        assert isinstance(X, Tensor), "f was called with an array, which records nothing: X = Tensor(x)"
        return f(X)

    try:
        given = called(lesson.hessian_vector, watched, x, v)
    except (TypeError, ValueError) as error:
        if "does not depend" in str(error):
            raise AssertionError(
                "g does not depend on the Tensor of the second grad: either that is another Tensor than the one given "
                "to f (make X = Tensor(x) once, and use it in both places), or g has lost its history (.data)"
            ) from None
        if "grad wants a Tensor as y" in str(error):
            raise AssertionError(
                "g has no history, so it cannot be differentiated again: create_graph=True gives it one"
            ) from None
        raise
    assert not isinstance(given, Tensor), "an array is wanted, your function returns a Tensor"
    return given


@pytest.mark.exercise("hessian_vector", points=3)
def test_second_derivatives_times_a_vector(lesson):
    rng = np.random.default_rng(10)
    x, v, a = rng.standard_normal((3, 4)) / 2
    B = rng.standard_normal((4, 4))

    def f(X):
        return ops.exp((X * a).sum()) + ((X @ B) * X).sum()

    e = np.exp(a @ x)
    H, g = e * np.outer(a, a) + B + B.T, e * a + (B + B.T) @ x
    judge(product(lesson, f, x, v), H @ v, [
        ("v is missing: this is H times a vector of ones, the gradient of the sum of g", H.sum(axis=1)),
        ("this is the first derivative along v, g^T v: H v is its gradient", g @ v),
        ("this is g times v, entry by entry: differentiate its SUM once more", g * v),
        ("this is the gradient g itself", g),
        ("this is H times x: H is taken at x, but it is multiplied by v", H @ x),
        ("this is H times g", H @ g),
        ("this is the diagonal of H times v", np.diag(H) * v),
        ("this is v^T H v, one number: H v is (D,)", v @ H @ v),
        ("this is the matrix H: H v is wanted, without ever making H", H),
        ("this is v times H v: v should not stand outside of the second derivative too", v * (H @ v)),
        ("the sign is wrong", -(H @ v)),
    ])  # fmt: skip


@pytest.mark.exercise("hessian_vector", points=1)
def test_x_and_v_stay_and_it_is_exact(lesson):
    x, v = np.array([0.3, -0.2]), np.array([1.0, 2.0])
    given = product(lesson, lambda X: (X * X * X * X).sum() * 1e4, x, v)
    np.testing.assert_allclose(given, 12e4 * x**2 * v, rtol=1e-12, err_msg=(
        "nearly right, like a difference quotient: with create_graph=True the engine gives it exactly"
    ))  # fmt: skip


# ---------------------------------------------------------------------------------------------------------
# through_objective


def attacked(model, x, y, make, through=True, alpha=ALPHA):
    """The averaged costs where the attacked inputs are made of g, a Tensor, by `make`; as a constant if not through."""
    (g,) = grad(model.loss(model(X := Tensor(x)), y), [X], create_graph=True)
    x_adv = make(g)
    x_adv = x_adv if through else Tensor(x_adv.data)
    return average(model, y, model(Tensor(x)), model(x_adv), alpha)


def length(g):
    return ops.sqrt((g * g).sum(axis=1, keepdims=True))


@pytest.mark.exercise("through_objective", points=4)
def test_the_gradient_goes_through_the_attack(lesson):
    model, x, y = network()
    D = x.shape[1]
    c = EPS * D**0.5
    right = flat(*losses.through_attack_objective(model, x, y, None, "scaled-gradient", eps=EPS, alpha=ALPHA))
    constant = attacked(model, x, y, lambda g: x + c * (g / length(g)), through=False)
    adv = attacked(model, x, y, lambda g: x + c * (g / length(g)), alpha=0.0)
    judge(answered(lesson.through_objective, model, x, y, None, EPS, ALPHA), right, [
        ("the attack is a constant here: the gradient should go through it, with create_graph=True and without .data",
         constant),
        ("the length ||g|| is a constant here: it depends on the weights too, so do not read .data",
         attacked(model, x, y, lambda g: x + c * (g / length(g).data))),
        ("the factor sqrt(D) is missing: the change should be as long as FGSM's, eps sqrt(D)",
         attacked(model, x, y, lambda g: x + EPS * (g / length(g)))),
        ("sqrt(N) where sqrt(D) is wanted: D is the number of pixels, x.shape[1], and N the number of images",
         attacked(model, x, y, lambda g: x + EPS * len(x) ** 0.5 * (g / length(g)))),
        ("times D, not its root: FGSM's change has the length eps sqrt(D)",
         attacked(model, x, y, lambda g: x + EPS * D * (g / length(g)))),
        ("divided by the length of the whole batch's gradient: each image has its own, axis=1",
         attacked(model, x, y, lambda g: x + c * (g / ops.sqrt((g * g).sum())))),
        ("the root is missing in the length: ||g|| is sqrt of the sum of squares",
         attacked(model, x, y, lambda g: x + c * (g / (g * g).sum(axis=1, keepdims=True)))),
        ("g is not divided by its length", attacked(model, x, y, lambda g: x + c * g)),
        ("divided by the sum of the sizes |g_i|: the length is the square root of the sum of squares",
         attacked(model, x, y, lambda g: x + c * (g / abs(g).sum(axis=1, keepdims=True)))),
        ("this is FGSM: in this attack g / ||g|| stands in the place of the sign",
         flat(*losses.adversarial_objective(model, x, y, None, EPS, ALPHA))),
        ("the sign is wrong: these examples make the cost fall",
         attacked(model, x, y, lambda g: x - c * (g / length(g)))),
        ("alpha is the weight of the CLEAN cost: yours is that of the attacked one",
         attacked(model, x, y, lambda g: x + c * (g / length(g)), alpha=1 - ALPHA)),
        ("this is the attacked cost alone: the clean one is missing", adv),
        ("this is the clean cost alone: nothing was attacked", average(model, y, model(Tensor(x)), None, 1.0)),
    ])  # fmt: skip


@pytest.mark.exercise("through_objective", points=1)
def test_through_the_attack_masks_are_for_the_passes_that_train(lesson):
    model, x, y = network(keep=(0.5, 0.5))
    watched = Watched(model)
    answered(lesson.through_objective, watched, x, y, generator(1), EPS, ALPHA)
    masks_as_wanted(watched.calls, len(x))


# ---------------------------------------------------------------------------------------------------------
# hidden_objective


def perturbed(model, x, y, layer, change, of=None):
    """The outputs with the activations of a layer changed by `change(h, grad_h J)`."""
    found = {}
    J = model.loss(model(Tensor(x), after={of or layer: lambda h: found.setdefault("h", h)}), y)
    (g,) = grad(J, [found["h"]])
    return model(Tensor(x), after={layer: lambda h: change(h, g)})


@pytest.mark.exercise("hidden_objective", points=3)
def test_the_activations_move_and_stay_in_the_graph(lesson):
    # with layers of dropout, so that a layer's number is not that among the hidden ones
    model, x, y = network(keep=(0.5, 0.5))
    layer, other = model.hidden
    clean = model(Tensor(x))

    def averaged(change, where=layer, alpha=ALPHA):
        return average(model, y, clean, perturbed(model, x, y, where, change), alpha)

    def move(h, g):
        return h + EPS * np.sign(g)

    right = flat(*losses.hidden_objective(model, x, y, None, (0,), eps=EPS, alpha=ALPHA))
    last = flat(*losses.hidden_objective(model, x, y, None, (-1,), eps=EPS, alpha=ALPHA))
    at_input = flat(*losses.adversarial_objective(model, x, y, None, EPS, ALPHA))
    both = flat(*losses.hidden_objective(model, x, y, None, (0, 1), eps=EPS, alpha=ALPHA))
    mistakes = [
        ("h is a constant in the perturbed cost, so the layers below learn nothing from it: add to h, not to h.data",
         averaged(lambda h, g: Tensor(h.data + EPS * np.sign(g)))),
        ("the sign is missing: h moved along the gradient itself", averaged(lambda h, g: h + EPS * g)),
        ("the sign is missing: h moved along the gradient itself", averaged(lambda h, g: h + EPS * len(x) * g)),
        ("the sign is wrong: this perturbation makes the cost fall", averaged(lambda h, g: h - EPS * np.sign(g))),
        ("eps is missing: each activation moves by 1", averaged(lambda h, g: h + np.sign(g))),
        ("the change alone goes on: add it to h", averaged(lambda h, g: 0.0 * h + EPS * np.sign(g))),
        ("this follows the sign of h, not of its gradient", averaged(lambda h, g: h + EPS * np.sign(h.data))),
        ("the clean half has no gradient: `model(x)` of an array records nothing, `model(Tensor(x))` does",
         np.r_[right[0], averaged(move)[1:] - average(model, y, clean, None)[1:]]),
        ("alpha is the weight of the CLEAN cost: yours is that of the perturbed one", averaged(move, alpha=1 - ALPHA)),
        ("this is the perturbed cost alone: the clean one is missing", averaged(move, alpha=0.0)),
        ("this is the clean cost alone: nothing was perturbed", average(model, y, clean, None, 1.0)),
        ("the input was perturbed: perturb the outputs of the layer instead", at_input),
        ("another layer was perturbed, or all of them: perturb only `layer`", last),
        ("another layer was perturbed, or all of them: perturb only `layer`", both),
    ]  # fmt: skip
    given = answered(lesson.hidden_objective, model, x, y, None, layer, EPS, ALPHA)
    finite = np.isfinite(given).all()
    assert finite, "g / |g| is 0 / 0 where a gradient is 0: there np.sign(g) is 0"
    judge(given, right, mistakes)
    judge(answered(lesson.hidden_objective, model, x, y, None, other, EPS, ALPHA), last, [
        ("right for the first hidden layer, which you take whatever `layer` says", right),
    ])  # fmt: skip


@pytest.mark.exercise("hidden_objective", points=1)
def test_on_hidden_layers_masks_are_for_the_passes_that_train(lesson):
    model, x, y = network(keep=(0.5, 0.5))
    watched = Watched(model)
    layer = model.hidden[0]
    answered(lesson.hidden_objective, watched, x, y, generator(1), layer, EPS, ALPHA)
    masks_as_wanted(watched.calls, len(x))
    assert watched.changed == [layer], (
        f"the perturbation is wanted after layer {layer}, before its dropout; yours is after {watched.changed}"
    )
