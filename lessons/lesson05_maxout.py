"""From softmax to maxout: a whole network backwards, by hand

The network that the paper attacks from here on, in NumPy alone: softmax on top, maxout units below, dropout between
them, max-norm after each update. Its gradients must be the engine's, also where pieces tie; then it learns MNIST.
"""

# %% [markdown]
# # Lesson 5. From softmax to maxout: a whole network backwards, by hand
#
# **Time:** about 90 minutes. **You need:** lessons 2 and 4.
#
# **After this lesson you can**
#
# - work out the gradient of a softmax layer, a linear layer and a maxout layer;
# - say what dropout and max-norm do, and where they enter the gradient;
# - train a deep network with five short rules, without any engine.
#
# ## The claim
#
# The paper (Goodfellow, Shlens and Szegedy 2015, section 6) has a maxout network with two layers of 240 units, trained
# with dropout. It is wrong on 0.94 % of the MNIST test images. This is the network that the paper attacks, and that it
# later trains on its own adversarial examples. (A *unit* is one of the numbers that a layer computes for each image;
# *maxout* and *dropout* are explained below.)
#
# You don't have to trust an engine to train such a network. In this lesson we build it from five rules, each of them an
# exercise. Then we put them together.

# %%
from __future__ import annotations

import math

import numpy as np

from tinyadv import Tensor, grad, losses, ops
from tinyadv.course import compare, figure, profile
from tinyadv.datasets import mnist
from tinyadv.metrics import wilson
from tinyadv.optim import project_rows

SIZES = {"quick": (120, 3, 2), "lesson": (240, 5, 10), "paper": (240, 5, 250)}  # units, pieces, epochs
LIMIT = 1.9365  # the longest that a row of weights may become (see max-norm), as published

# %% [markdown]
# ## A linear layer
#
# A network is a chain of *layers*. The first gets the pixels; each later one gets the numbers that the layer below it
# computed. Every layer begins with a linear step, $a = x W^\top + b$. The input $x$ has the shape `(N, D)`: a row of D
# numbers for each of N images. The weights $W$ have the shape `(U, D)`: a row for each of the U units. Let $J$ be the
# cost. On the way back, the steps after this one give us $g = \partial J/\partial a$, of shape `(N, U)`. Lesson 4 has
# the rules for a product of matrices, for a transposed matrix, and for a bias that was repeated N times.
#
# ## Exercise 1 (easy): a linear layer backwards
#
# Return the gradients for the input, of shape `(N, D)`; for the weights, `(U, D)`; and for the bias, `(U,)`, in this
# order. The shapes leave little choice. (As in lesson 2, the results should be float32 if the arguments are. This holds
# for all exercises of this lesson.)


# %%
def linear_backward(g: np.ndarray, x: np.ndarray, W: np.ndarray) -> tuple[np.ndarray, ...]:
    """dJ/dx, dJ/dW and dJ/db of a = x W^T + b.

    g is dJ/da `(N, U)`, x is `(N, D)`, W is `(U, D)`.
    """
    ### BEGIN SOLUTION
    return g @ W, g.T @ x, g.sum(axis=0)
    ### END SOLUTION


# %% [markdown]
# ## Dropout
#
# A network with many units can learn its training images by heart. *Dropout* makes that harder: in each training step a
# random part of the inputs of every layer is set to 0. So the network has to find answers that do not depend on any
# single unit.
#
# In formulas, $x$ is multiplied by a *mask* of the same shape: an entry is 1 with the probability `keep`, and 0
# otherwise. The mask is a constant, so on the way back $g$ is multiplied by the same mask.
#
# At test time nothing is dropped. Then the next layer would suddenly see larger sums. So what was kept is divided by
# `keep` during training, and the mean stays the same. The authors kept half of the *hidden* units (those below the top)
# and divided. They kept 80 % of the pixels and did not divide, so the sums of the first layer are indeed larger at test
# time.
#
# ## Exercise 2 (easy): a mask
#
# Return a mask in float32: an entry is 1 with the probability `keep`, and 0 otherwise. If `rescale` is true, the
# entries that are kept are `1 / keep` instead of 1. Draw from `rng`, each entry independently of the others.


# %%
def dropout_mask(rng: np.random.Generator, shape: tuple, keep: float, rescale: bool) -> np.ndarray:
    """float32 of this shape: an entry is 1 with the probability keep, and otherwise 0.

    With `rescale`, 1 / keep takes the place of 1.
    """
    ### BEGIN SOLUTION
    mask = (rng.random(shape) < keep).astype("float32")
    return mask / keep if rescale else mask
    ### END SOLUTION


# %% [markdown]
# ## Softmax on top
#
# Now the two layers that are not linear. MNIST has ten classes. The top of the network gives ten numbers for each
# image, its *logits* $z$, of shape `(N, K)` for N images and K classes. *Softmax* turns each row into probabilities:
#
# $$p_{nk} = \frac{e^{z_{nk}}}{\sum_j e^{z_{nj}}} .$$
#
# All are positive, and each row adds up to 1. The cost is the mean of $-\log p$ of the true class $y_n$, as in lesson
# 2: $J = -\frac1N \sum_n \log p_{n y_n}$. It is called the *cross-entropy*.
#
# For the gradient write the logarithm out: $\log p_{n y_n} = z_{n y_n} - \log\sum_j e^{z_{nj}}$. Let the *target*
# $t_{nk}$ be 1 for the true class, $k = y_n$, and 0 otherwise. How does each term change with the logit $z_{nk}$? The
# first term has the slope $t_{nk}$. The sum in the second term gives the slope $e^{z_{nk}} / \sum_j e^{z_{nj}}$, which
# is $p_{nk}$ again. So
#
# $$\frac{\partial J}{\partial z_{nk}} = \frac{p_{nk} - t_{nk}}{N} .$$
#
# Probability minus target: a small formula, and we will meet it again and again.

# %%
if __name__ == "__main__":
    z = np.array([2.0, 1.0, -1.0])
    p = np.exp(z) / np.exp(z).sum()
    t = np.array([0.0, 1.0, 0.0])
    print(f"p = {p.round(3)}; if class 1 is the true one, p - t = {(p - t).round(3)}")

# %% [markdown]
# The logit of the true class has to rise, those of the others have to fall, and by how much depends on how wrong they
# are.
#
# ## Exercise 3 (medium): softmax and its cost
#
# Return $J$ and $\partial J/\partial z$. Both have to be finite even if logits are as large as 1000 or $-1000$. Beware
# of overflow: adding the same number to a whole row of logits changes no probability, so subtract the row's maximum
# first. Do this in a new array, and leave `z` as it is.
#
# <details><summary>Hint 1</summary>
#
# After the maximum is subtracted, $\log p = z - \log\sum_j e^{z_j}$; never take the logarithm of a probability.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `y[:, None] == np.arange(K)` is $t$, as truth values: it picks the true class out of $\log p$, and it can be
# subtracted from $p$.
#
# </details>


# %%
def softmax_cross_entropy(z: np.ndarray, y: np.ndarray) -> tuple[float, np.ndarray]:
    """J and dJ/dz `(N, K)`, for logits z `(N, K)` of any size; float32 if z is.

    The labels y `(N,)` are integers from 0.
    """
    ### BEGIN SOLUTION
    z = z - z.max(axis=1, keepdims=True)
    log_p = z - np.log(np.exp(z).sum(axis=1, keepdims=True))
    t = y[:, None] == np.arange(z.shape[1])
    return -log_p[t].mean(), (np.exp(log_p) - t) / len(z)
    ### END SOLUTION


# %% [markdown]
# ## A maxout layer
#
# A *maxout* unit has several *pieces*, each with weights and a bias of its own, and gives the largest of them:
# $h_{nu} = \max_p a_{npu}$ for image $n$, unit $u$ and piece $p$. (Here $p$ counts pieces; it is no probability.) So
# $a$ has the shape `(N, P, U)` and $h$ the shape `(N, U)`. The unit can learn its own shape: along a line, two pieces
# can have one bend, and five up to four bends.
#
# The layer above gives us $g = \partial J/\partial h$, of shape `(N, U)`. How does $h$ change with its pieces? If one
# piece is the largest, $h$ moves with it alone: the slope for this piece is 1, and for the others it is 0. If two
# pieces *tie* for the largest, there is no derivative. If we gave the whole $g$ to both, it would count twice. Take two
# pieces that always have the same value $a$: then $h = \max(a, a) = a$ has the slope 1, not 2. Our rule is that the
# *first* of the winners gets all of $g$.
#
# ## Exercise 4 (medium): maxout backwards
#
# Return $\partial J/\partial a$ of shape `(N, P, U)`.
#
# <details><summary>Hint 1</summary>
#
# `a.argmax(axis=1)`, of shape `(N, U)`, is the number of the first winner.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Give the winners an axis for the pieces, shape `(N, 1, U)`, and compare with `np.arange(P)[:, None]`: the result, of
# shape `(N, P, U)`, is true for one piece of each unit. $g$ needs the same axis.
#
# </details>


# %%
def maxout_backward(g: np.ndarray, a: np.ndarray) -> np.ndarray:
    """dJ/da `(N, P, U)` of h = max over the P pieces of a `(N, P, U)`.

    g is dJ/dh `(N, U)`. Of several largest pieces the first gets all.
    """
    ### BEGIN SOLUTION
    first = a.argmax(axis=1)[:, None]  # of several equal, argmax takes the first
    return g[:, None] * (np.arange(a.shape[1])[:, None] == first)
    ### END SOLUTION


# %% [markdown]
# ## Max-norm
#
# Dropout works best with a high learning rate, and with that, weights would grow without end. *Max-norm* is a simple
# brake: after each update, if a row $w$ of $W$ is longer than a limit $c$, it is scaled back to that length. (A row is
# the last axis: the weights of one unit, and in a maxout layer of one of its pieces.) A shorter row stays as it is:
#
# $$w \leftarrow w\,\min\Bigl(1, \frac{c}{\lVert w\rVert_2}\Bigr) .$$
#
# ## Exercise 5 (medium): max-norm
#
# Return a new array in which every row that is too long is scaled back; leave `W` itself as it is. A row of zeros must
# stay a row of zeros, not become NaN ("not a number", the result of 0/0).
#
# <details><summary>Hint 1</summary>
#
# `W` may have two axes or more. The length of a row needs a sum over the *last* axis; with `keepdims=True` it fits
# `W`. When would $c/\lVert w\rVert_2$ divide by 0?
#
# </details>
# <details><summary>Hint 2</summary>
#
# The factor is $c$, divided by the larger of $\lVert w\rVert_2$ and $c$: then nothing is divided by 0, and a short row
# has a factor of 1.
#
# </details>


# %%
def max_norm(W: np.ndarray, limit: float) -> np.ndarray:
    """W `(..., D)` with each row that is longer than `limit` scaled back to it; the others unchanged."""
    ### BEGIN SOLUTION
    norms = np.sqrt((W**2).sum(axis=-1, keepdims=True))
    # min(1, c / ||w||), also for rows of 0
    return W * (limit / np.maximum(norms, limit))
    ### END SOLUTION


# %% [markdown]
# ## The whole network
#
# The network is a list of layers. Each has weights $W$ of shape `(P, U, D)`, for P pieces of U units with D inputs,
# and a bias of shape `(P * U,)`, one number for each piece of each unit. The top layer has one piece, and a maximum
# over one piece is the piece itself: so one loop does the whole network. `masks` has a mask for each layer's input, or
# the number 1.0 where nothing is dropped.
#
# Forward keeps what backward will need: each layer's input after its mask, and its pieces.


# %%
def forward(layers, masks, x):
    """The logits `(N, K)`; and for each layer its masked input `(N, D)` and its pieces `(N, P, U)`."""
    kept = []
    for (W, b), mask in zip(layers, masks, strict=True):
        x = x * mask
        a = (x @ W.reshape(-1, W.shape[2]).T + b).reshape(len(x), *W.shape[:2])
        kept.append((x, a))
        x = a.max(axis=1)
    return x, kept


def backward(layers, masks, x, y):
    """J; its gradients for each W and b, in the order of the layers; and its gradient for x."""
    z, kept = forward(layers, masks, x)
    J, g = softmax_cross_entropy(z, y)
    gradients = []
    for (W, _), mask, (h, a) in reversed(list(zip(layers, masks, kept, strict=True))):
        g = maxout_backward(g, a).reshape(len(x), -1)
        g, dW, db = linear_backward(g, h, W.reshape(-1, W.shape[2]))
        gradients = [dW.reshape(W.shape), db, *gradients]
        g = g * mask
    return J, gradients, g


def masks_for(layers, n, rng):
    """A mask for the input of each layer: pixels kept with 0.8, hidden units with 0.5 and rescaled."""
    masks = []
    for i, (W, _) in enumerate(layers):
        keep = 0.8 if i == 0 else 0.5
        masks.append(dropout_mask(rng, (n, W.shape[2]), keep, rescale=i > 0))
    return masks


# %% [markdown]
# ## Is it right?
#
# We compare with the package's engine, and we do it where it is hardest: where pieces tie. If all weights are multiples
# of 1/8, and all pixels black or white, then sums are computed without any rounding, and some of them come out equal.


# %%
def compare_with_engine(layers, x, y, rng):
    """Compare gradients and max-norm with the package's."""
    masks = masks_for(layers, len(x), rng)
    _, gradients, dx = backward(layers, masks, x, y)

    parameters, X = [Tensor(p) for layer in layers for p in layer], Tensor(x)
    h = X
    for W, b, mask in zip(parameters[::2], parameters[1::2], masks, strict=True):
        h = ops.maxout(ops.dropout(h, mask), W, b)
    engine = grad(losses.softmax_cross_entropy(h, y), [*parameters, X])

    off = max(np.abs(g - d).max() / np.abs(d).max() for g, d in zip([*gradients, dx], engine, strict=True))
    _, kept = forward(layers, masks, x)
    _, a = kept[0]  # the pieces of the first layer
    a = np.sort(a, axis=1)
    tied = np.mean(a[:, -1] == a[:, -2])  # the two largest pieces are equal
    print(f"Pieces of the first layer tie in {tied:.0%} of all cases; gradients differ from the engine's by {off:.0e}.")

    W = layers[0][0].copy()
    project_rows(W, 2.0)
    assert np.allclose(max_norm(layers[0][0], 2.0), W), "our max-norm and the package's differ"


# %%
if __name__ == "__main__":
    units, pieces, epochs = SIZES[profile()]
    rng = np.random.default_rng(0)
    layers = []
    for shape in ((pieces, units, 784), (pieces, units, units), (1, 10, units)):
        W = rng.uniform(-0.05, 0.05, shape).astype("float32")
        layers.append((W, np.zeros(shape[0] * shape[1], "float32")))
    x, y = mnist().test
    eighths = [(np.round(40 * W) / 8, b) for W, b in layers]
    compare_with_engine(eighths, (x[:100] > 0.5).astype("float32"), y[:100], rng)

# %% [markdown]
# float32 keeps about seven digits, so a difference below $10^{-6}$ is rounding. A tie that is shared, or given to the
# wrong piece, would show as a far larger one.
#
# ## Training
#
# Batches of 100 images, and *momentum*: each array $\theta$ of weights or biases has a velocity $v$, which remembers
# half of the last step, so that steps in the same direction add up:
#
# $$v \leftarrow 0.5\,v - 0.1\,\frac{\partial J}{\partial\theta}, \qquad \theta \leftarrow \theta + v .$$
#
# After each update comes max-norm.


# %%
def train(layers, epochs, x, y, rng):
    """Train in place, by batches of 100: momentum, dropout, max-norm."""
    moving = [(p, np.zeros_like(p)) for layer in layers for p in layer]
    for epoch in range(epochs):
        batches = math.ceil(len(x) / 100)
        for rows in np.array_split(rng.permutation(len(x)), batches):
            J, gradients, _ = backward(layers, masks_for(layers, len(rows), rng), x[rows], y[rows])
            for (p, v), g in zip(moving, gradients, strict=True):
                v[...] = 0.5 * v - 0.1 * g  # [...] writes into the array itself
                p[...] = max_norm(p + v, LIMIT) if p.ndim > 1 else p + v
        print(f"epoch {epoch + 1} of {epochs}: J of the last batch {J:.3f}, with dropout")


# %% [markdown]
# **Predict.** The quick profile trains a network of 120 units with 3 pieces for only 2 epochs. The paper's network,
# after some 250 epochs, is wrong on 0.94 %. How often is ours wrong?
#
# - less than 7 %
# - between 7 % and 20 %
# - more than 20 %

# %%
if __name__ == "__main__":
    train(layers, epochs, *mnist().full_train, rng)
    logits, _ = forward(layers, [1.0] * 3, x)
    wrong = int((logits.argmax(axis=1) != y).sum())
    print(f"Two layers of {units} units with {pieces} pieces, {epochs} epochs:")
    compare("adv-train-240", {"naive_error": wrong / len(y)}, {"naive_error": wilson(wrong, len(y))})

# %% [markdown]
# Most of the way is quick; the last per cent takes hundreds of epochs. `tinyadv lesson 5 --profile lesson` goes on for
# longer. (The rows *statement* and *adversarially trained* of the table belong to lesson 8.)
#
# ## What a unit does
#
# **Predict.** Walk in a straight line from the image of a three to that of a seven. How does the value of a maxout unit
# change on the way?
#
# - along a smooth curve
# - in straight stretches, with a bend where the winner changes
# - in jumps

# %% [markdown]
# Here are two units of the first layer. Each dashed line is a piece: on a straight way through the images, its value is
# a straight line. The unit, the solid line, follows the largest piece, and bends where the winner changes.

# %% tags=["hide-input"]
if __name__ == "__main__":
    three, seven = x[y == 3][0], x[y == 7][0]
    along = np.linspace(0, 1, 100, dtype="float32")
    _, kept = forward(layers, [1.0] * 3, three + along[:, None] * (seven - three))
    _, a = kept[0]  # the pieces of the first layer
    bends = (np.diff(a.argmax(axis=1), axis=0) != 0).sum(axis=0)  # how often each unit's winner changes
    with figure("lesson05_maxout.png", width=9, height=3.4) as canvas:
        for axes, unit in zip(canvas.subplots(1, 2), bends.argsort()[-2:], strict=True):
            axes.plot(along, a[:, :, unit], "--")
            axes.plot(along, a[:, :, unit].max(axis=1), color="black", label="the largest of its pieces")
            axes.set(xlabel="from a three (0) to a seven (1)", ylabel="activation", title=f"unit {unit}, layer 1")
            axes.legend(frameon=False)

# %% [markdown]
# ## To think about
#
# *Softmax regression*, one linear layer with softmax on top, may start at $W = 0$. What are the gradients of *this*
# lesson's network if all its weights and biases start at 0? What would change if ties were shared equally? Why is a
# tiny random start enough?
#
# ### BEGIN SOLUTION
# **For the teacher**, 3 points. 1: $h = 0$ and $W = 0$ make the top's $g^\top h$ and all of $g\,W$ zero: only the top's
# bias ever learns. 1: sharing ties changes nothing of this; and pieces or units that start equal get equal gradients,
# so they stay equal, as good as one. 1: any difference breaks the tie, and the gradients then enlarge it.
# ### END SOLUTION
#
# ## Summary
#
# - Softmax with cross-entropy has the gradient $(p - t)/N$: probability minus target.
# - A maxout unit passes its gradient to the piece that won, and to nothing else.
# - Dropout multiplies by a random mask, forward and backward. Max-norm scales back weights that are too long.
#
# **What this cannot explain yet.** This network is no linear model: along a line its units bend. FGSM takes the
# gradient at one point, and then makes a step of 0.25 in every pixel. Why should that still find an error? Lesson 6
# measures it.
