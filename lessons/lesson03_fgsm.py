"""Following the gradient of the input: the fast gradient sign method

The paper's sections 4 and 5 and its figure 2, on logistic regression of MNIST's threes and sevens: the attack in five
lines on top of the engine, and why it is exact for this model.
"""

# %% [markdown]
# # Lesson 3. Following the gradient of the input: the fast gradient sign method
#
# **The claims** (Goodfellow, Shlens and Szegedy 2015, sections 4 and 5). One gradient is enough to make adversarial
# examples: the *fast gradient sign method* (FGSM). Logistic regression that tells MNIST's threes from its sevens with
# 1.6 % error has 99 % error after each pixel was moved by .25. And for this model the method is no approximation: no
# other change of that size is worse.
#
# **The formula.** Training asks how the cost $J(\theta, x, y)$ changes with the parameters $\theta$. Ask instead how it
# changes with the *input*, while $\theta$ stays. Near $x$ the cost is almost linear in it,
#
# $$J(\theta, x + \eta, y) \approx J(\theta, x, y) + \eta^\top \nabla_x J(\theta, x, y) ,$$
#
# and of a linear function we know the worst change under $\lVert\eta\rVert_\infty \le \varepsilon$ from lesson 1: the
# sign of its weights, only that these now are the gradient. That is FGSM:
#
# $$\tilde x = x + \varepsilon\,\operatorname{sign}\bigl(\nabla_x J(\theta, x, y)\bigr) .$$
#
# The gradient has the shape of the input, `(N, 784)` for N images; backpropagation gives it at the price of a training
# step. No search, no second look.

# %%
from __future__ import annotations

import numpy as np

from tinyadv import Tensor, attacks, grad, metrics, models, parameters
from tinyadv.backend import generator
from tinyadv.course import compare, figure
from tinyadv.datasets import Split, mnist, pair
from tinyadv.losses import clean_objective
from tinyadv.optim import SGD, Schedule
from tinyadv.paper.figures import show_image
from tinyadv.progress import Console
from tinyadv.training import train

EPS = 0.25
EPOCHS = {"quick": 10, "lesson": 20, "paper": 100}

# %% [markdown]
# ## Exercise 1: FGSM
#
# `model(X)` gives the outputs for a Tensor `X`, `model.loss(outputs, y)` the cost, and `grad(J, [X])` its gradients,
# one array for each Tensor in the list. That only `X` is in the list matters twice: the weights' gradients are not
# computed, and nothing that a training step may be collecting is disturbed.


# %%
def fgsm(model: models.Network, x: np.ndarray, y: np.ndarray, eps: float) -> np.ndarray:
    """x `(N, D)`, each entry moved by eps to where the cost of its true label y `(N,)` rises; 0 gradient, no move."""
    ### BEGIN SOLUTION
    X = Tensor(x)
    J = model.loss(model(X), y)
    (g,) = grad(J, [X])
    # x + eps sign(grad_x J)
    return x + eps * np.sign(g)
    ### END SOLUTION


# %% [markdown]
# ## Why it is exact here
#
# Logistic regression says $p(y = 1 \mid x) = \sigma(z)$ with $z = w^\top x + b$, labels $y \in \{-1, 1\}$, $w$ of shape
# `(784,)`. Its cost for one image is $\zeta(-yz)$, where $\zeta(a) = \log(1 + e^a)$ is the softplus with the slope
# $\zeta'(a) = \sigma(a)$. By the chain rule
#
# $$\nabla_x\,\zeta(-y z) = -y\,\sigma(-y z)\,w, \qquad\text{so}\qquad
# \operatorname{sign}(\nabla_x J) = -y\operatorname{sign}(w),$$
#
# because $\sigma$ is positive. The attack subtracts the same pattern from every seven and adds it to every three. Now
# put it into the cost. $-y z$ grows by $\varepsilon\,w^\top\operatorname{sign}(w) = \varepsilon\lVert w\rVert_1$, hence
#
# $$\zeta(-y \tilde z) = \zeta\bigl(\varepsilon\lVert w\rVert_1 - y(w^\top x + b)\bigr) .$$
#
# Lesson 1 says that no $\eta$ in the box makes $-yz$ grow more, and $\zeta$ only ever rises: this is the exact maximum.
# (In the paper's formula $y$ multiplies $\varepsilon\lVert w\rVert_1$ too, a slip.)
#
# ## Exercise 2: the worst case, without making it
#
# The cost of each image at its worst $\tilde x$, from the formula alone. `np.logaddexp(0, a)` is a softplus that does
# not overflow.


# %%
def worst_cost(w: np.ndarray, b: float, x: np.ndarray, y: np.ndarray, eps: float) -> np.ndarray:
    """The largest cost `(N,)` of each image x `(N, D)` when each pixel may move by eps; y is -1 or 1, w `(D,)`."""
    ### BEGIN SOLUTION
    # zeta(eps ||w||_1 - y (w^T x + b))
    return np.logaddexp(0, eps * np.abs(w).sum() - y * (x @ w + b))
    ### END SOLUTION


# %% [markdown]
# ## Training, attack, and three checks
#
# Our FGSM must agree with the package's, `tinyadv.attacks.fgsm`, to the last bit. (The package takes care of one thing
# more: its gradients do not carry the factor 1/N of a mean over the batch, so that an image's attack cannot depend on
# its batch-mates, not even by rounding to 0.) Then, in double precision: the cost at $\tilde x$ must be the formula's,
# and no random point or corner of the box may have a higher one.


# %%
def trained(data: Split, epochs: int) -> models.Network:
    """Logistic regression trained on threes (-1) and sevens (1)."""
    model = models.logistic_regression(rng=generator(0, "weights"))
    optimiser = SGD(parameters(model), Schedule(learning_rate=0.1, momentum=0.5, final_momentum=0.5))
    train(
        model, clean_objective, data.x, data.y, epochs=epochs, seed=0, optimiser=optimiser,
        progress=Console(), title="logistic regression, 3 or 7",
    )  # fmt: skip
    return model


def largest_gap(model: models.Network, x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> tuple[float, bool]:
    """How far the cost at the FGSM examples is from the formula, relatively; and whether no other point is worse."""
    w, b = (p.data for p in parameters(model))
    worst = worst_cost(w[0], b[0], x, y, EPS)

    def cost(x: np.ndarray) -> np.ndarray:
        return np.logaddexp(0, -y * model(x))

    gap = float((np.abs(cost(fgsm(model, x, y, EPS)) - worst) / worst).max())
    points = [rng.uniform(-EPS, EPS, x.shape) for _ in range(5)]
    others = [cost(x + eta) for point in points for eta in (point, EPS * np.sign(point))]
    return gap, bool((np.max(others, axis=0) <= worst).all())


# %%
def main(profile: str = "quick") -> None:
    """Train, attack, compare with the paper, and draw its figure 2."""
    data, (x, y) = (pair(split, positive=7, negative=3) for split in (mnist().train, mnist().test))
    model = trained(data, EPOCHS[profile])

    x_adv = fgsm(model, x, y, EPS)
    assert (x_adv == attacks.fgsm(model, x, y, EPS)).all(), "our FGSM and the package's differ"
    clean, attacked = metrics.evaluate(model, x, y), metrics.evaluate(model, x_adv, y)
    compare(
        "logistic-3v7",
        {"clean_error": clean.error, "error": attacked.error},
        {"clean_error": clean.intervals["error"], "error": attacked.intervals["error"]},
    )
    draw(parameters(model)[0].data[0], x, x_adv, y)

    gap, no_worse = largest_gap(model.to(dtype="float64"), x.astype("float64"), y, np.random.default_rng(0))
    compare("logistic-exact", {"loss_difference": gap}, holds=no_worse and gap <= 1e-9)
    dark = np.mean((data.x == 0).all(axis=0))
    print(f"The attack moved {np.mean(x_adv != x):.1%} of the pixels. {dark:.1%} were dark in every training image:")
    print("their weights are still exactly 0, and the sign of 0 is 0.")


def draw(w: np.ndarray, x: np.ndarray, x_adv: np.ndarray, y: np.ndarray) -> None:
    """Figure 2 of the paper: the weights, their sign, threes and sevens, and the same attacked."""
    chosen = [*np.flatnonzero(y < 0)[:10], *np.flatnonzero(y > 0)[:10]]
    with figure("lesson03_figure2.png", width=11, height=3.4) as canvas:
        a, b, c, d = canvas.subplots(1, 4, width_ratios=[4, 4, 5, 5])
        show_image(a, w, "the weights w", -np.abs(w).max(), np.abs(w).max(), "PuOr")
        show_image(b, np.sign(w), "sign(w)", -1, 1, "PuOr")
        for axes, images, title in ((c, x, "clean"), (d, x_adv, f"after FGSM, ε = {EPS}")):
            mosaic = images[chosen].reshape(4, 5, 28, 28).swapaxes(1, 2).reshape(4 * 28, 5 * 28)
            axes.imshow(mosaic, cmap="gray", vmin=-EPS, vmax=1 + EPS)
            axes.set(xticks=[], yticks=[])
            axes.set_title(title, fontsize=9)


# %%
if __name__ == "__main__":
    main()

# %% [markdown]
# **To think about.** The paper attacks with the *true* label $y$. What becomes of images that the model got wrong
# before the attack? And what would change if $y$ were the model's own answer?
#
# ### BEGIN SOLUTION
# **For the teacher**, 3 points. 1: with the true label the cost of a wrong image rises further: it stays wrong, so the
# error can only grow. 1: with the model's own answer such an image is pushed away from the wrong class, and with two
# classes to the right one: the error is then about one minus what it was. 1: an attacker who knows no labels has only
# the second; in training the first gives the true label away (lesson 14).
# ### END SOLUTION
#
# **What this cannot explain yet.** All this rested on $z$ being linear in $x$; a deep network is not, and its gradient
# had to be worked out by an engine that we took on trust, so the next lesson builds that engine in front of us.
