"""From softmax to maxout: a whole network backwards, by hand

The network that the paper attacks from here on, in NumPy alone: softmax on top, maxout units below, dropout between
them, max-norm after each update. Its gradients must be the engine's, also where pieces tie; then it learns MNIST.
"""

# %% [markdown]
# # Lesson 5. From softmax to maxout: a whole network backwards, by hand
#
# **The claim** (Goodfellow, Shlens and Szegedy 2015, section 6). A maxout network with dropout, two layers of 240 units
# with 5 pieces each, errs on .94 % of the MNIST test images. It is the network that the paper attacks, and then trains
# on its own adversarial examples. Nobody need believe an engine to train it: four rules of a line or two are enough.
#
# **Softmax on top.** Logits $z$ `(N, K)` become probabilities $p_{nk} = e^{z_{nk}} / \sum_j e^{z_{nj}}$, each row for
# itself, and $J = -\frac1N \sum_n \log p_{n y_n}$. Write $t_{nk} = 1$ if $k = y_n$, else 0. In
# $\log p_{n y_n} = z_{n y_n} - \log\sum_j e^{z_{nj}}$ the first term has the slope $t_{nk}$, the second
# $e^{z_{nk}} / \sum_j e^{z_{nj}} = p_{nk}$, hence
#
# $$\frac{\partial J}{\partial z_{nk}} = \frac{p_{nk} - t_{nk}}{N} .$$
#
# Adding a number to all of a row changes nothing, so the row's maximum is subtracted first and no $e^z$ overflows.
#
# **Linear.** $a = x W^\top + b$ with $x$ `(N, D)`, $W$ `(U, D)`, a unit's weights in a row. By lesson 4's rules, of a
# product with a transpose and of a bias that was repeated for N rows, $g = \partial J/\partial a$ `(N, U)` leads to
#
# $$\frac{\partial J}{\partial x} = g\,W, \qquad \frac{\partial J}{\partial W} = g^\top x, \qquad
# \frac{\partial J}{\partial b} = \sum_n g_n .$$
#
# **Maxout.** A unit has P linear pieces and gives the largest: $h_{nu} = \max_p a_{npu}$. If one piece wins, $h$ moves
# with it alone: its slope is 1, that of the others 0. If two tie there is no derivative, only a slope to each side. To
# give both the whole $g$ is wrong on each: of two equal pieces $h = \max(a, a) = a$ has the slope 1, not 2. Rule: the
# first of the winners gets all. A layer with one piece is a linear layer, so one loop does the whole network.
#
# **Dropout.** In training $x$ is multiplied by a mask, each example by its own: 1 with probability `keep`, or 0. This
# is a constant, so $g$ is multiplied by it too. Of hidden units half are kept, and then divided by `keep`, so that
# their means stay; of the pixels .8, undivided, as the authors had it.
#
# **Max-norm.** Dropout wants a high learning rate, with which weights would grow without end. So after each update a
# row $w$ of $W$, the weights of one unit, becomes $w\min(1, c/\lVert w\rVert)$: if it is longer than $c$, it is scaled
# back. Unlike with weight decay, nothing pulls at weights that are not too large.

# %%
from __future__ import annotations

import numpy as np

from tinyadv import Tensor, grad, losses, ops
from tinyadv.course import compare, figure
from tinyadv.datasets import mnist
from tinyadv.metrics import wilson
from tinyadv.optim import project_rows

SIZES = {"quick": (120, 3, 2), "lesson": (240, 5, 10), "paper": (240, 5, 250)}  # units, pieces, epochs
LIMIT = 1.9365  # of a row of W, as published


# %% [markdown]
# ## Exercises 1 to 5: the rules
#
# Then the network is a list `layers` of $W$ `(P, U, D)` and $b$ `(P U,)`, with one piece in the top; `masks` has one
# for each layer's input, or the number 1. Forward keeps what backward needs: each layer's input after its mask, and its
# pieces. We check the gradients where pieces tie: if weights are eighths, and pixels black or white, then sums come out
# without rounding, and some are equal. Training takes batches of 100 and has momentum: for each array $\theta$, be it
# of weights or biases $v \leftarrow .5\,v - .1\,\partial J/\partial\theta$ and $\theta \leftarrow\theta + v$, then
# max-norm. The quick profile ends long before it could come near the paper's error; `main("lesson")` goes on.


# %%
def softmax_cross_entropy(z: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray]:
    """J and dJ/dz `(N, K)`, for logits z `(N, K)` of any size and labels y `(N,)`, integers from 0."""
    ### BEGIN SOLUTION
    z = z - z.max(axis=1, keepdims=True)
    log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    t = y[:, None] == np.arange(z.shape[1])
    return -log_p[t].mean(), (np.exp(log_p) - t) / len(z)
    ### END SOLUTION


def linear_backward(g: np.ndarray, x: np.ndarray, W: np.ndarray) -> tuple[np.ndarray, ...]:
    """dJ/dx, dJ/dW and dJ/db of x W^T + b, from g `(N, U)`, x `(N, D)` and W `(U, D)`."""
    ### BEGIN SOLUTION
    return g @ W, g.T @ x, g.sum(axis=0)
    ### END SOLUTION


def maxout_backward(g: np.ndarray, a: np.ndarray) -> np.ndarray:
    """dJ/da `(N, P, U)` of h = max over the pieces of a `(N, P, U)`, from g = dJ/dh `(N, U)`."""
    ### BEGIN SOLUTION
    first = a.argmax(axis=1)[:, None]  # of several equal, argmax takes the first
    return g[:, None] * (np.arange(a.shape[1])[:, None] == first)
    ### END SOLUTION


def dropout_mask(rng: np.random.Generator, shape: tuple, keep: float, rescale: bool) -> np.ndarray:
    """float32: each entry 1 with probability keep, or 1 / keep if it is rescaled, else 0."""
    ### BEGIN SOLUTION
    mask = (rng.random(shape) < keep).astype("float32")
    return mask / keep if rescale else mask
    ### END SOLUTION


def max_norm(W: np.ndarray, limit: float) -> np.ndarray:
    """W `(..., D)` with each row that is longer than limit scaled back to it, the others unchanged."""
    ### BEGIN SOLUTION
    norms = np.sqrt((W**2).sum(axis=-1, keepdims=True))
    # min(1, c / ||w||), also for rows of 0
    return W * (limit / np.maximum(norms, limit))
    ### END SOLUTION


def forward(layers, masks, x):
    """The logits `(N, K)`; each layer's masked input `(N, D)` and pieces `(N, P, U)`."""
    kept = []
    for (W, b), mask in zip(layers, masks, strict=True):
        x = x * mask
        kept.append((x, (x @ W.reshape(-1, W.shape[2]).T + b).reshape(len(x), *W.shape[:2])))
        x = kept[-1][1].max(axis=1)
    return x, kept


def backward(layers, masks, x, y):
    """J, its gradients for each W and b, and that for x."""
    z, kept = forward(layers, masks, x)
    (J, g), gradients = softmax_cross_entropy(z, y), []
    for (W, _), mask, (h, a) in reversed(list(zip(layers, masks, kept, strict=True))):
        g = maxout_backward(g, a).reshape(len(x), -1)
        g, dW, db = linear_backward(g, h, W.reshape(-1, W.shape[2]))
        gradients, g = [dW.reshape(W.shape), db, *gradients], g * mask
    return J, gradients, g


def masks_for(layers, n, rng):
    return [dropout_mask(rng, (n, W.shape[2]), 0.5 if i else 0.8, i > 0) for i, (W, _) in enumerate(layers)]


def check(layers, x, y, rng):
    """Compare gradients and max-norm with the package's."""
    masks = masks_for(layers, len(x), rng)
    _, gradients, dx = backward(layers, masks, x, y)
    P, X = [Tensor(p) for layer in layers for p in layer], Tensor(x)
    h = X
    for W, b, mask in zip(P[::2], P[1::2], masks, strict=True):
        h = ops.maxout(ops.dropout(h, mask), W, b)
    engine = grad(losses.softmax_cross_entropy(h, y), [*P, X])
    off = max(np.abs(g - d).max() / np.abs(d).max() for g, d in zip([*gradients, dx], engine, strict=True))
    a = np.sort(forward(layers, masks, x)[1][0][1], axis=1)
    print(f"{np.mean(a[:, -1] == a[:, -2]):.0%} of first units tie; gradients differ from the engine's by {off:.0e}.")
    project_rows(W := layers[0][0].copy(), 2.0)
    assert np.allclose(max_norm(layers[0][0], 2.0), W), "our max-norm and the package's differ"


def train(layers, epochs, x, y, rng):
    """In place, by batches of 100: momentum, dropout, max-norm."""
    moving = [(p, np.zeros_like(p)) for layer in layers for p in layer]
    for epoch in range(epochs):
        for rows in np.array_split(rng.permutation(len(x)), -(-len(x) // 100)):
            J, gradients, _ = backward(layers, masks_for(layers, len(rows), rng), x[rows], y[rows])
            for (p, v), g in zip(moving, gradients, strict=True):
                v[...] = 0.5 * v - 0.1 * g
                p[...] = max_norm(p + v, LIMIT) if p.ndim > 1 else p + v
        print(f"epoch {epoch + 1} of {epochs}: J of the last batch {J:.3f}, with dropout")


def main(profile: str = "quick") -> None:
    """Check, train on MNIST, compare with the paper."""
    (U, P, epochs), (x, y), rng = SIZES[profile], mnist().test, np.random.default_rng(0)
    W = [rng.uniform(-0.05, 0.05, size).astype("float32") for size in ((P, U, 784), (P, U, U), (1, 10, U))]
    layers = [(w, np.zeros(w.shape[0] * w.shape[1], "float32")) for w in W]
    check([(np.round(40 * w) / 8, b) for w, b in layers], (x[:100] > 0.5).astype("float32"), y[:100], rng)
    train(layers, epochs, *mnist().full_train, rng)
    wrong = int((forward(layers, [1.0] * 3, x)[0].argmax(axis=1) != y).sum())
    print(f"Two layers of {U} units with {P} pieces, {epochs} epochs:")
    compare("adv-train-240", {"naive_error": wrong / len(y)}, {"naive_error": wilson(wrong, len(y))})
    (three, seven), t = (x[y == digit][0] for digit in (3, 7)), np.linspace(0, 1, 100, dtype="float32")
    a = forward(layers, [1.0] * 3, three + t[:, None] * (seven - three))[1][0][1]
    changes = (np.diff(a.argmax(axis=1), axis=0) != 0).sum(axis=0)  # of the winner, between two images
    with figure("lesson05_maxout.png", width=9, height=3.4) as canvas:
        for axes, unit in zip(canvas.subplots(1, 2), changes.argsort()[-2:], strict=True):
            axes.plot(t, a[:, :, unit], "--")
            axes.plot(t, a[:, :, unit].max(axis=1), color="black", label="the largest of its pieces")
            axes.set(xlabel="from a three (0) to a seven (1)", ylabel="activation", title=f"unit {unit}, layer 1")
            axes.legend(frameon=False)


# %%
if __name__ == "__main__":
    main()

# %% [markdown]
# **To think about.** Softmax regression may start at $W = 0$. What do this network's gradients say if all weights and
# biases start at 0, and what would change if ties were shared equally? Why is a tiny random start enough?
#
# ### BEGIN SOLUTION
# **For the teacher**, 3 points. 1: $h = 0$ and $W = 0$ make the top's $g^\top h$ and all of $g\,W$ zero: only the top's
# bias ever learns. 1: sharing ties changes nothing of this; and pieces or units that start equal get equal gradients,
# so they stay equal, as good as one. 1: any difference breaks the tie, and the gradients then enlarge it.
# ### END SOLUTION
#
# **What this cannot explain yet.** This network is no linear model: along a line its units bend, as the figure shows.
# FGSM takes the gradient at one point and a step of .25 for each pixel; why should that still find an error?
