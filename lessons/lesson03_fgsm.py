"""Following the gradient of the input: the fast gradient sign method

The paper's sections 4 and 5 and its figure 2, on logistic regression of MNIST's threes and sevens: the attack in five
lines on top of the engine, and why it is exact for this model.
"""

# %% [markdown]
# # Lesson 3. Following the gradient of the input: the fast gradient sign method
#
# **Time:** about 45 minutes. **You need:** lessons 1 and 2.
#
# **After this lesson you can**
#
# - write the fast gradient sign method, the paper's attack, in five lines;
# - say why it finds the *worst* change of an image when the model is linear;
# - read figure 2 of the paper.
#
# ## The claims
#
# An *adversarial example* is an image that was changed a little on purpose, so that a model gets it wrong. The paper
# (Goodfellow, Shlens and Szegedy 2015, sections 4 and 5) claims that one gradient is enough to make one. Its first case
# is logistic regression, which tells threes from sevens with an error of 1.6 %. How large is the error once each pixel
# may move by 0.25? And could another change of that size do more harm? You will predict both, and then see the paper's
# answers beside ours.

# %%
from __future__ import annotations

import numpy as np

from tinyadv import Tensor, attacks, grad, metrics, models, parameters
from tinyadv.backend import generator
from tinyadv.course import compare, figure, profile
from tinyadv.datasets import Split, mnist, pair
from tinyadv.losses import clean_objective
from tinyadv.optim import SGD, Schedule
from tinyadv.paper.draw import show_image
from tinyadv.progress import Console
from tinyadv.training import train

EPS = 0.25
EPOCHS = {"quick": 10, "lesson": 20, "paper": 100}

# %% [markdown]
# ## A model to attack
#
# The package has logistic regression too. `models.logistic_regression` makes the model of lesson 2, and `train` does
# what our `descend` did. It also uses *momentum*, which makes training faster (lesson 5 explains it). Called on an
# array of images, `model(x)` gives their activations as an array.


# %%
def trained(data: Split, epochs: int) -> models.Network:
    """Logistic regression trained on threes (-1) and sevens (1)."""
    model = models.logistic_regression(rng=generator(0, "weights"))
    optimiser = SGD(parameters(model), Schedule(learning_rate=0.1, momentum=0.5, final_momentum=0.5))
    train(
        model,
        clean_objective,
        data.x,
        data.y,
        epochs=epochs,
        seed=0,
        optimiser=optimiser,
        progress=Console(),
        title="logistic regression, 3 or 7",
    )
    return model


# %%
if __name__ == "__main__":
    data = pair(mnist().train, positive=7, negative=3)
    x, y = pair(mnist().test, positive=7, negative=3)
    model = trained(data, EPOCHS[profile()])
    clean = metrics.evaluate(model, x, y)
    print(f"{clean.error:.1%} of the {len(x):,} test images are wrong.")

# %% [markdown]
# ## The attack
#
# Training asks how the cost $J(\theta, x, y)$ changes with the model's parameters $\theta$ (theta: all weights and
# biases together). An attacker asks how it changes with the *input*, while $\theta$ stays as it is. In the formulas of
# this lesson $x$ is one image of shape `(D,)`, and $J$ is its own cost. For a small change $\eta$ the cost is almost
# linear in $\eta$:
#
# $$J(\theta, x + \eta, y) \approx J(\theta, x, y) + \eta^\top \nabla_x J(\theta, x, y) .$$
#
# Lesson 1 answered which $\eta$ with $\lVert\eta\rVert_\infty \le \varepsilon$ raises a linear function most: it has
# the signs of the weights. Here the gradient stands where the weights stood. So the attacker adds
#
# $$\tilde x = x + \varepsilon\,\operatorname{sign}\bigl(\nabla_x J(\theta, x, y)\bigr) .$$
#
# This is the *fast gradient sign method*, FGSM. It is fast because the gradient costs no more than a training step:
# there is no search, and no second look.
#
# To get a gradient from the engine, put the images into a `Tensor`. On a plain array the model just computes, and
# nothing is recorded; a `Tensor` remembers how a result was computed, so that `grad` can go back:

# %%
if __name__ == "__main__":
    X = Tensor(x[:3])
    J = model.loss(model(X), y[:3])
    (g,) = grad(J, [X])
    print(f"The cost of three images is {J.item():.4f}; the gradient for their pixels has the shape {g.shape}.")

# %% [markdown]
# `grad(J, [X])` returns a list with one array for each Tensor in the list that it is given. Here that is only `X`. The
# gradients for the weights are not computed, and nothing is stored in the model.
#
# ## Exercise 1 (medium): FGSM
#
# Write the attack for N images at once. `model.loss` is their mean cost, so row $n$ of its gradient is 1/N times the
# gradient of image $n$'s own cost. The factor 1/N changes no sign. Return a new array, and leave `x` as it is. A pixel
# whose gradient is exactly 0 should not move; `np.sign` gives 0 there.
#
# <details><summary>Hint 1</summary>
#
# The first three lines of the cell above are half of the answer.
#
# </details>
# <details><summary>Hint 2</summary>
#
# What is left: add $\varepsilon$ times `np.sign(g)`, an array, to the array `x`.
#
# </details>


# %%
def fgsm(model: models.Network, x: np.ndarray, y: np.ndarray, eps: float) -> np.ndarray:
    """x `(N, D)`, each pixel moved by eps in the direction in which the cost of the true label y `(N,)` rises.

    Where the gradient is 0, the pixel stays.
    """
    ### BEGIN SOLUTION
    X = Tensor(x)
    J = model.loss(model(X), y)
    (g,) = grad(J, [X])
    # x + eps sign(grad_x J)
    return x + eps * np.sign(g)
    ### END SOLUTION


# %% [markdown]
# Is it right? The package has the same attack, `attacks.fgsm`, and both should agree to the last bit. (The package
# takes care of one thing more. Its gradients do not carry the factor 1/N of a mean over the batch, so an image's
# attack cannot depend on the other images of its batch, not even by rounding.)
#
# **Predict.** The model errs on about 2 % of the *clean* images, that is, of the images as they were. On how many does
# it err after FGSM with $\varepsilon = 0.25$?
#
# - about 20 %
# - about 60 %
# - nearly all

# %%
if __name__ == "__main__":
    x_adv = fgsm(model, x, y, EPS)
    assert (x_adv == attacks.fgsm(model, x, y, EPS)).all(), "our FGSM and the package's differ"
    attacked = metrics.evaluate(model, x_adv, y)
    compare(
        "logistic-3v7",
        {"clean_error": clean.error, "error": attacked.error},
        {"clean_error": clean.intervals["error"], "error": attacked.intervals["error"]},
    )

# %% [markdown]
# One step, and almost every image is on the wrong side. In lesson 1 it was 86 %. The attack moves every activation by
# $\varepsilon\lVert w\rVert_1$, so a right answer survives only if $|z|$ is larger than that. Large weights alone prove
# nothing: multiply $w$ and $b$ by 10, and all answers stay as they are. But compared with $\lVert w\rVert_1$, fewer
# images have a large $|z|$ here than in lesson 1. The model is right more often, and yet it is easier to fool.
#
# ## What the attack looks like
#
# For logistic regression we know the gradient from lesson 2: $\nabla_x\,\zeta(-yz) = -y\,\sigma(-yz)\,w$. The sigmoid
# is positive, so the sign of the gradient is
#
# $$\operatorname{sign}(\nabla_x J) = -y\operatorname{sign}(w) .$$
#
# The attack adds one and the same pattern to every three, and subtracts it from every seven. The next figure is
# figure 2 of the paper.

# %% tags=["hide-input"]
if __name__ == "__main__":
    w = parameters(model)[0].data[0]
    threes, sevens = np.flatnonzero(y < 0)[:10], np.flatnonzero(y > 0)[:10]
    chosen = np.concatenate([threes, sevens])
    with figure("lesson03_figure2.png", width=10, height=3.4) as canvas:
        first, second, third, fourth = canvas.subplots(1, 4, width_ratios=[4, 4, 5, 5])
        show_image(first, w, "the weights w", -np.abs(w).max(), np.abs(w).max(), "PuOr")
        show_image(second, np.sign(w), "sign(w)", -1, 1, "PuOr")
        for axes, images, title in ((third, x, "clean"), (fourth, x_adv, f"after FGSM, ε = {EPS}")):
            rows = images[chosen].reshape(4, 5, 28, 28)  # 4 rows of 5 images
            mosaic = rows.swapaxes(1, 2).reshape(4 * 28, 5 * 28)  # as one picture
            axes.imshow(mosaic, cmap="gray", vmin=-EPS, vmax=1 + EPS)
            axes.set(xticks=[], yticks=[])
            axes.set_title(title)

# %% [markdown]
# To us the pattern sign(w) looks like noise. It does not look like the difference between a three and a seven. Yet it
# is exactly what the model is most sensitive to.
#
# Some pixels did not move at all:

# %%
if __name__ == "__main__":
    dark = np.mean((data.x == 0).all(axis=0))
    print(f"The attack moved {np.mean(x_adv != x):.1%} of the pixels.")
    print(f"{dark:.1%} of the pixels are dark in every training image.")

# %% [markdown]
# Training starts with all weights at 0, as in lesson 2. If a pixel is dark in every training image, the gradient of its
# weight is always 0 (it is a sum of $c_n$ times this pixel), so the weight is still exactly 0. Then the gradient for
# the pixel is 0 too, and so is its sign.
#
# ## Why it is exact here
#
# The set of all changes with $|\eta_i| \le \varepsilon$ for every pixel is called the *box*. The cost of an image is
# $\zeta(-yz)$, and $\zeta$ only ever rises. So the worst change in the box is the one that raises $-yz$ the most. By
# lesson 1 this is $-\varepsilon\,y\operatorname{sign}(w)$, which is what FGSM does. So the cost after FGSM *is* the
# largest that any change in the box can reach.
#
# ## Exercise 2 (medium): the worst case, without making it
#
# Return the cost of each image at its worst $\tilde x$, from the formula alone, without computing any $\tilde x$. As in
# lesson 2 it has to be finite for every activation.
#
# <details><summary>Hint 1</summary>
#
# Put $\tilde x = x - \varepsilon\,y\operatorname{sign}(w)$ into $-y(w^\top\tilde x + b)$, and use that $y^2 = 1$.
#
# </details>


# %%
def worst_cost(w: np.ndarray, b: float, x: np.ndarray, y: np.ndarray, eps: float) -> np.ndarray:
    """The largest cost `(N,)` of each image x `(N, D)` when each pixel may move by eps.

    w has shape `(D,)`, b is a number, and the labels y `(N,)` are -1 or 1.
    """
    ### BEGIN SOLUTION
    # zeta(eps ||w||_1 - y (w^T x + b))
    return np.logaddexp(0, eps * np.abs(w).sum() - y * (x @ w + b))
    ### END SOLUTION


# %% [markdown]
# So the cost of an attacked image is
#
# $$\zeta\bigl(\varepsilon\lVert w\rVert_1 - y(w^\top x + b)\bigr) .$$
#
# (In the paper's formula, $y$ multiplies $\varepsilon\lVert w\rVert_1$ too. That is a slip.)
#
# Two checks on all test images, in float64 (about 16 significant digits). First: does the cost at the FGSM examples
# equal the formula? Second: does any of five random points of the box around each image, or any of five random corners,
# have a higher cost?


# %%
def largest_gap(model: models.Network, x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> tuple[float, bool]:
    """How far the cost at the FGSM examples is from the formula, relatively; and whether no other point is worse."""
    w, b = (p.data for p in parameters(model))  # of shape (1, D) and (1,)
    worst = worst_cost(w[0], b[0], x, y, EPS)

    def cost(x: np.ndarray) -> np.ndarray:
        return np.logaddexp(0, -y * model(x))

    gap = float((np.abs(cost(fgsm(model, x, y, EPS)) - worst) / worst).max())
    no_worse = True
    for _ in range(5):
        point = rng.uniform(-EPS, EPS, x.shape)
        corner = EPS * np.sign(point)
        no_worse &= bool((cost(x + point) <= worst).all() and (cost(x + corner) <= worst).all())
    return gap, no_worse


# %% [markdown]
# **Predict.** How far is the cost after FGSM from the formula?
#
# - a few per cent: FGSM is an approximation
# - by rounding alone

# %%
if __name__ == "__main__":
    exact = model.to(dtype="float64")
    gap, no_worse = largest_gap(exact, x.astype("float64"), y, np.random.default_rng(0))
    compare("logistic-exact", {"loss_difference": gap}, holds=no_worse and gap <= 1e-9)

# %% [markdown]
# For this model the fast method is the exact answer. That will not stay so. Deeper networks have *hidden* layers
# between their input and their output, and are not linear. For such a network FGSM finds only the worst change of its
# linear approximation. Part of the paper's argument is that this is close enough.
#
# ## To think about
#
# The paper attacks with the *true* label $y$. What becomes of images that the model got wrong before the attack? And
# what would change if $y$ were the model's own answer?
#
# ### BEGIN SOLUTION
# **For the teacher**, 3 points. 1: with the true label the cost of a wrong image rises further: it stays wrong, so the
# error can only grow. 1: with the model's own answer such an image is pushed away from the wrong class, and with two
# classes to the right one: the error is then about one minus what it was. 1: an attacker who knows no labels has only
# the second; in training the first gives the true label away (lesson 14).
# ### END SOLUTION
#
# ## Summary
#
# - FGSM moves every pixel by $\varepsilon$ in the direction of the sign of its gradient. It needs one gradient.
# - For logistic regression it finds the worst change in the box; the cost there is
#   $\zeta(\varepsilon\lVert w\rVert_1 - y(w^\top x + b))$.
# - A model with an error below 2 % has one near 100 % after one step.
#
# **What this cannot explain yet.** All this rested on $z$ being linear in $x$. A deep network is not, and its gradient
# was worked out by an engine that we took on trust. Lesson 4 builds such an engine.
