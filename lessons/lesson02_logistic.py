"""Logistic regression by hand: one derivative for the weights and the input

The model of the paper's section 5 in NumPy alone: its cost forward, its gradient backward, to the weights for training
and to the pixels, where attacks will start; checked by finite differences, then against the package's engine.
"""

# %% [markdown]
# # Lesson 2. Logistic regression by hand: one derivative for the weights and the input
#
# **The claim** (Goodfellow, Shlens and Szegedy 2015, section 5). Logistic regression tells MNIST's threes from its
# sevens with 1.6 % error, trained by gradient descent on $\mathbb E_{x, y}\,\zeta(-y(w^\top x + b))$. The derivative of
# this one line is all that learning needs, and all that an attack needs: we work it out once, for both.
#
# **Forward.** N images $x$ have the shape `(N, D)` with $D = 28 \cdot 28$, the weights $w$ `(D,)`, $b$ is a number and
# the labels $y_n \in \{-1, 1\}$ are `(N,)`. The activations $z_n = w^\top x_n + b$, `(N,)`, become probabilities by
# the sigmoid $\sigma(a) = 1/(1 + e^{-a})$: $p(y = 1 \mid x) = \sigma(z)$. The other class has what is left,
# $1 - \sigma(z) = \sigma(-z)$, so for both labels $p(y \mid x) = \sigma(yz)$. The cost is the mean of $-\log p$:
#
# $$J = \frac1N \sum_n -\log\sigma(y_n z_n) = \frac1N \sum_n \zeta(-y_n z_n), \qquad \zeta(a) = \log(1 + e^a),$$
#
# with the *softplus* $\zeta$. In float32 $e^a$ overflows at $a = 89$; $\zeta(a) = \log(e^0 + e^a)$ is what
# `np.logaddexp(0, a)` computes without that: it takes the larger of the two exponents out of the logarithm first.
#
# ## Exercise 1: forward

# %%
from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tinyadv import Tensor, grad, losses
from tinyadv.course import compare, figure
from tinyadv.datasets import Split, mnist, pair
from tinyadv.metrics import wilson
from tinyadv.paper.figures import show_image

EPOCHS = {"quick": 20, "lesson": 50, "paper": 200}


def cost(w: np.ndarray, b: float, x: np.ndarray, y: np.ndarray) -> float:
    """J, one number, for w `(D,)`, b, images x `(N, D)` and labels y `(N,)`, -1 or 1; finite for every z."""
    ### BEGIN SOLUTION
    # J = mean_n zeta(-y_n z_n)
    return np.logaddexp(0, -y * (x @ w + b)).mean()
    ### END SOLUTION


# %% [markdown]
# ## Backward: exercises 2 and 3
#
# The slope of $\zeta$ is $e^a / (1 + e^a) = \sigma(a)$. So one image's cost changes with its activation by
#
# $$c_n = \frac{\partial\,\zeta(-y_n z_n)}{\partial z_n} = -y_n\,\sigma(-y_n z_n) ,$$
#
# minus the label, times the probability that the model gives to the *wrong* class: an image that it gets right and is
# sure of has almost no say. From $z_n$ it goes on in two directions. To the parameters, where all images meet and $J$'s
# factor $1/N$ stays, `(D,)` and one number; and to the input, where images do not meet: an image's own cost is no
# business of its batch-mates, so there is no sum and no $1/N$, and the gradient has the shape of $x$, `(N, D)`:
#
# $$\nabla_w J = \frac1N \sum_n c_n\,x_n = \frac1N\,x^\top c, \qquad
# \frac{\partial J}{\partial b} = \frac1N \sum_n c_n, \qquad \nabla_{x_n}\,\zeta(-y_n z_n) = c_n\,w .$$
#
# One $c$ serves both: the weights' gradient is made of images, the images' gradient is made of weights (figure, right).


# %%
def sigmoid(a: np.ndarray) -> np.ndarray:
    """1 / (1 + e^-a) without overflow: e^(-zeta(-a))."""
    return np.exp(-np.logaddexp(0, -a))


def gradients(w: np.ndarray, b: float, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, float]:
    """dJ/dw `(D,)` and dJ/db, one number; float32 if the arguments are."""
    ### BEGIN SOLUTION
    c = -y * sigmoid(-y * (x @ w + b))
    # x^T c / N, sum_n c_n / N
    return x.T @ c / len(x), c.mean()
    ### END SOLUTION


def input_gradient(w: np.ndarray, b: float, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The gradient `(N, D)` of each image's own cost with respect to its pixels; float32 if the arguments are."""
    ### BEGIN SOLUTION
    c = -y * sigmoid(-y * (x @ w + b))
    # c_n w
    return c[:, None] * w
    ### END SOLUTION


# %% [markdown]
# ## Exercise 4: is it right?
#
# A derivative is a limit of quotients, and a quotient can be measured. By Taylor
# $f(x \pm h) = f \pm h f' + \tfrac{h^2}2 f'' \pm \tfrac{h^3}6 f''' + \dots$: in a difference of two the even terms
# cancel, and the *central* quotient
#
# $$\frac{f(x + h) - f(x - h)}{2h} = f'(x) + \frac{h^2}6 f'''(x) + \dots$$
#
# is wrong by $h^2$ only; the one-sided $(f(x + h) - f(x))/h$ by $h$. A tiny $h$ is no way out: $f$ is rounded to 16
# digits, and $1/h$ blows the rounding up. Best is $h \approx 10^{-5}$ (figure, left). Then we train, once with our
# gradients and once with the engine's, on the same batches: if both are right, they end at the same weights.
# (Agreement of two programs is no proof; agreement of two methods that share no line comes close.)


# %%
def numerical_gradient(f: Callable[[np.ndarray], float], x: np.ndarray, h: float = 1e-5) -> np.ndarray:
    """Central difference quotients of f at x (float64, any shape), entry by entry; x is left as it was."""
    ### BEGIN SOLUTION
    g = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[i] = h
        # (f(x + h e_i) - f(x - h e_i)) / 2h
        g[i] = (f(x + step) - f(x - step)) / (2 * h)
    return g
    ### END SOLUTION


def gap(a: np.ndarray, b: np.ndarray) -> float:
    """The largest difference of two arrays, relative to the largest entry."""
    return float(np.abs(a - b).max() / np.abs(b).max())


def check(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, list[float], list[float]]:
    """Print how far gradients and quotients differ at random weights; the quotients' errors for each h."""
    w, b = np.random.default_rng(1).standard_normal(784) / 28, np.array(0.1)
    (dw, db), dx = gradients(w, b, x, y), input_gradient(w, b, x, y)
    off_b = gap(numerical_gradient(lambda v: cost(w, v, x, y), b), db)
    off_x = gap(numerical_gradient(lambda v: cost(w, b, v, y[:1]), x[:1]), dx[:1])
    hs, J = np.logspace(-12, 0, 13), cost(w, b, x, y)
    central = [gap(numerical_gradient(lambda v: cost(v, b, x, y), w, h), dw) for h in hs]
    one_sided = [gap(np.array([(cost(w + h * e, b, x, y) - J) / h for e in np.eye(784)]), dw) for h in hs]
    print(f"By hand and by quotients differ: w by {min(central):.0e}, b by {off_b:.0e}, an image by {off_x:.0e}.")
    return hs, central, one_sided


def engine_gradients(w: np.ndarray, b: float, x: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
    W, B = Tensor(w), Tensor(b)  # what lesson 4 builds
    return grad(losses.logistic_loss(x @ W + B, y), [W, B])


def descend(data: Split, epochs: int, gradients: Callable) -> tuple[np.ndarray, np.ndarray, list[float]]:
    """w, b and the cost after each epoch: w <- w - .2 dJ/dw, b likewise, over batches of 100 in random order."""
    rng, costs, w, b = np.random.default_rng(0), [], np.zeros_like(data.x[0]), np.zeros_like(data.y[0])
    for _ in range(epochs):
        for rows in np.array_split(rng.permutation(len(data.x)), -(-len(data.x) // 100)):
            dw, db = gradients(w, b, data.x[rows], data.y[rows])
            w, b = w - 0.2 * dw, b - 0.2 * db
        costs.append(float(cost(w, b, *data)))
    return w, b, costs


def main(profile: str = "quick") -> None:
    """Check the gradients, train with them, compare."""
    data, (x, y) = (pair(split, positive=7, negative=3) for split in (mnist().full_train, mnist().test))
    errors = check(x[:20].astype("float64"), y[:20].astype("float64"))
    w, b, costs = descend(data, EPOCHS[profile], gradients)
    w_engine, b_engine, costs_engine = descend(data, EPOCHS[profile], engine_gradients)
    print(f"Trained by hand and by the engine: w differs by {gap(w, w_engine):.0e}, b by {gap(b, b_engine):.0e}.")
    z = x @ w + b
    wrong = int(((z > 0) != (y > 0)).sum())
    compare("logistic-3v7", {"clean_error": wrong / len(y)}, {"clean_error": wilson(wrong, len(y))})
    draw(errors, costs, costs_engine, x[z.argmax()], input_gradient(w, b, x, y)[z.argmax()])


def draw(errors, costs, costs_engine, image, gradient) -> None:
    """The quotients' errors, the cost while training, the surest seven and its gradient."""
    with figure("lesson02_logistic.png", width=12, height=3.4) as canvas:
        left, middle, seven, pattern = canvas.subplots(1, 4, width_ratios=[4, 4, 3, 3])
        left.loglog(errors[0], errors[1], "o-", color="#0072B2", label="central")
        left.loglog(errors[0], errors[2], "s--", color="#D55E00", label="one-sided")
        left.set(xlabel="step h", ylabel="relative error of the quotient", title="numerical check of dJ/dw")
        epochs, top = range(1, len(costs) + 1), np.abs(gradient).max()
        middle.plot(epochs, costs, "-", color="#0072B2", label="by hand")
        middle.plot(epochs, costs_engine, ":", color="#D55E00", linewidth=4, label="by the engine")
        middle.set(xlabel="epochs", ylabel="cost J of the training images", title="training", ylim=0)
        left.legend(frameon=False)
        middle.legend(frameon=False)
        show_image(seven, image, "the surest seven", 0, 1, "gray")
        show_image(pattern, gradient, f"its input gradient, ±{top:.0e}", -top, top, "PuOr")


# %%
if __name__ == "__main__":
    main()

# %% [markdown]
# **To think about.** If a model is sure of an image to the last digit, $\sigma(-yz)$ is rounded to 0, and with it the
# whole input gradient. Is the image safe from whoever follows the gradient? How could one still find the direction?
#
# ### BEGIN SOLUTION
# **For the teacher**, 3 points. 1: a gradient of 0 is rounding, not robustness: the direction is $-y\,w$ whatever $z$.
# 1: $c$ only scales it, so differentiate $z$, or $\log J$, instead of $J$, or compute in more digits. 1: a failed
# attack may only say that this gradient was useless ("gradient masking", lesson 14).
# ### END SOLUTION
#
# **What this cannot explain yet.** For each image we hold the direction in which its cost rises fastest, and have used
# it for nothing but a check: what happens to the image, and to the model's answer, if we take a step there?
