"""Logistic regression by hand: one derivative for the weights and the input

The model of the paper's section 5 in NumPy: its cost, and the gradient of that cost for the weights, which training
needs, and for the pixels, where attacks will start. Both are checked by finite differences and by the package's engine.
"""

# %% [markdown]
# # Lesson 2. Logistic regression by hand: one derivative for the weights and the input
#
# **Time:** about 60 minutes. **You need:** lesson 1, the chain rule, Taylor series, products of matrices.
#
# **After this lesson you can**
#
# - write down the cost of logistic regression, and compute it without overflow;
# - work out its gradient, both for the weights and for the pixels of an image;
# - check a gradient with numbers, and say how far such a check can be trusted.
#
# ## The claim
#
# The paper (Goodfellow, Shlens and Szegedy 2015, section 5) trains logistic regression to tell MNIST's threes from its
# sevens, and later attacks it. Training minimises one number, the *cost*, and all that it needs is the derivative of
# the cost. An attack needs nothing more. So we work the derivative out once, for both.

# %%
from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from tinyadv import Tensor, grad, losses
from tinyadv.course import compare, figure, profile
from tinyadv.datasets import Split, mnist, pair
from tinyadv.metrics import wilson
from tinyadv.paper.draw import show_image

EPOCHS = {"quick": 20, "lesson": 50, "paper": 200}  # how often training goes through all images

# %% [markdown]
# ## From an activation to a probability
#
# Logistic regression starts like the linear model of lesson 1: weights $w$ of shape `(D,)` with $D = 28 \cdot 28$
# pixels, a number $b$, the *bias*, and for each image $x_n$ an activation $z_n = w^\top x_n + b$. (Lesson 1 wrote $n$
# for the number of inputs. From now on that number is $D$. There are $N$ images, and $n$ counts them.) Then it
# *squashes* the activation into a probability with the *sigmoid* function
#
# $$\sigma(a) = \frac{1}{1 + e^{-a}} .$$
#
# A three has the label $y = -1$, a seven $y = 1$. The model says that an image is a seven with probability $\sigma(z)$.
# A three gets what is left, $1 - \sigma(z) = \sigma(-z)$. Both cases are one formula: the probability of the label $y$
# is $\sigma(yz)$.
#
# The code computes $\sigma(a) = e^{-\log(1 + e^{-a})}$, which is the same, with a function of NumPy that the next
# section explains.


# %%
def sigmoid(a: np.ndarray) -> np.ndarray:
    """1 / (1 + e^-a), entry by entry, without overflow."""
    return np.exp(-np.logaddexp(0, -a))


# %%
if __name__ == "__main__":
    for z in (-4.0, 0.0, 4.0):
        print(f"activation {z:4.1f}: a seven with probability {sigmoid(np.float64(z)):.3f}")

# %% [markdown]
# ## The cost
#
# The model should give each image's true label a high probability $p$. So the cost of an image is $-\log p$: near 0
# where the model is sure and right, large where it is sure and wrong. The cost $J$ of N images is the mean,
#
# $$J = \frac1N \sum_n -\log\sigma(y_n z_n) = \frac1N \sum_n \zeta(-y_n z_n), \qquad \zeta(a) = \log(1 + e^a) .$$
#
# The function $\zeta$ (zeta) is called the *softplus*. Computed as it is written, it overflows: networks use *float32*,
# numbers of about 7 digits, and there $e^a$ is infinite from $a = 89$ on. But $\log(1 + e^a) = \log(e^0 + e^a)$, and
# `np.logaddexp(0, a)` computes just that, safely, as $\max(0, a) + \log(1 + e^{-|a|})$: there the exponent is never
# positive. (`sigmoid` above uses it too.)
#
# ## Exercise 1 (easy): the cost
#
# Return $J$ for N images at once. It has to be finite for every activation.


# %%
def cost(w: np.ndarray, b: float, x: np.ndarray, y: np.ndarray) -> float:
    """J, one number, which is finite for every activation.

    w has shape `(D,)`, b is a number, the images x are `(N, D)`, and the labels y `(N,)`
    are -1 or 1.
    """
    ### BEGIN SOLUTION
    # J = mean_n zeta(-y_n z_n)
    return np.logaddexp(0, -y * (x @ w + b)).mean()
    ### END SOLUTION


# %% [markdown]
# ## The derivative with respect to the activation
#
# The slope of the softplus is $\zeta'(a) = e^a / (1 + e^a) = \sigma(a)$. By the chain rule the cost of image $n$
# changes with its activation by
#
# $$c_n = \frac{\partial\,\zeta(-y_n z_n)}{\partial z_n} = -y_n\,\sigma(-y_n z_n) .$$
#
# Read it as: minus the label, times the probability that the model gives to the *wrong* class. An image that the model
# gets right, and is sure of, has a $c_n$ of almost 0 and almost no influence on training.
#
# From the activation the derivative goes on in two directions.
#
# **To the parameters.** All images share $w$ and $b$, so their contributions are averaged. Let $x$, without an index,
# be the array of shape `(N, D)` whose rows are the images, and $c$ the array of shape `(N,)` of all $c_n$. Then
#
# $$\nabla_w J = \frac1N \sum_n c_n\,x_n = \frac1N\,x^\top c, \qquad
# \frac{\partial J}{\partial b} = \frac1N \sum_n c_n .$$
#
# ## Exercise 2 (medium): the gradients for training
#
# Return $\nabla_w J$, of shape `(D,)`, and $\partial J/\partial b$, one number. If the arguments are float32, the
# results should be float32 too.
#
# <details><summary>Hint 1</summary>
#
# Compute $c$, of shape `(N,)`, first: `-y * sigmoid(...)`.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `x.T @ c` adds up the images, each times its own $c_n$.
#
# </details>


# %%
def gradients(w: np.ndarray, b: float, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, float]:
    """dJ/dw `(D,)` and dJ/db, one number; float32 if the arguments are.

    The arguments are those of `cost`.
    """
    ### BEGIN SOLUTION
    c = -y * sigmoid(-y * (x @ w + b))
    # x^T c / N, sum_n c_n / N
    return x.T @ c / len(x), c.mean()
    ### END SOLUTION


# %% [markdown]
# **To the input.** Each image has its own pixels, and they influence only its own cost. An attacker wants to raise that
# cost, not the mean $J$. So we differentiate the image's own cost, and there is no sum and no factor $1/N$:
#
# $$\nabla_{x_n}\,\zeta(-y_n z_n) = c_n\,w .$$
#
# The same $c$ serves both directions. The gradient for the weights is made of images; the gradient for an image is made
# of weights.
#
# ## Exercise 3 (medium): the gradient for the pixels
#
# Return the gradient of each image's own cost with respect to its pixels, for all N images at once. It has the shape of
# $x$.
#
# <details><summary>Hint 1</summary>
#
# Row $n$ of the result is $c_n$ times $w$, with the $c$ of exercise 2. Which shape must $c$ have, so that NumPy makes
# one row for each image?
#
# </details>
# <details><summary>Hint 2</summary>
#
# `c[:, None]` has the shape `(N, 1)`.
#
# </details>


# %%
def input_gradient(w: np.ndarray, b: float, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The gradient `(N, D)` of each image's own cost for its pixels; float32 if the arguments are.

    The arguments are those of `cost`.
    """
    ### BEGIN SOLUTION
    c = -y * sigmoid(-y * (x @ w + b))
    # c_n w
    return c[:, None] * w
    ### END SOLUTION


# %% [markdown]
# ## Is it right?
#
# A derivative is a limit of difference quotients, and a quotient can be computed. Taylor's series of a function $f$ is
#
# $$f(x \pm h) = f(x) \pm h f'(x) + \tfrac{h^2}2 f''(x) \pm \tfrac{h^3}6 f'''(x) + \dots$$
#
# The one-sided quotient $(f(x + h) - f(x))/h$ is $f'(x)$ plus an error that is proportional to $h$. In the *central*
# quotient the even terms cancel,
#
# $$\frac{f(x + h) - f(x - h)}{2h} = f'(x) + \frac{h^2}6 f'''(x) + \dots,$$
#
# so its error is proportional to $h^2$, which is much smaller for a small $h$.
#
# ## Exercise 4 (hard): numerical gradients
#
# For a function $f$ of an array of any shape, return the central quotient with the step $h$ for each entry of the
# array. Only that entry moves by $\pm h$; the others stay where they are.
#
# <details><summary>Hint 1</summary>
#
# `for i in np.ndindex(x.shape)` goes through the indices of all entries, for an array of any shape: `x[i]` is one
# entry. (For a single number, shape `()`, it goes round once.)
#
# </details>
# <details><summary>Hint 2</summary>
#
# `step = np.zeros_like(x)`, then `step[i] = h`. Adding `step` makes a new array, so `x` stays as it was.
#
# </details>


# %%
def numerical_gradient(f: Callable[[np.ndarray], float], x: np.ndarray, h: float = 1e-5) -> np.ndarray:
    """Central difference quotients of f at x, entry by entry; of the shape of x.

    x is float64 and may have any shape; it is left as it was.
    """
    ### BEGIN SOLUTION
    g = np.zeros_like(x)
    for i in np.ndindex(x.shape):
        step = np.zeros_like(x)
        step[i] = h
        # (f(x + h e_i) - f(x - h e_i)) / 2h
        g[i] = (f(x + step) - f(x - step)) / (2 * h)
    return g
    ### END SOLUTION


# %% [markdown]
# Now compare our three gradients with quotients, at random weights. The *gap* of two arrays is their largest
# difference, relative to the largest entry.


# %%
def gap(a: np.ndarray, b: np.ndarray) -> float:
    """The largest difference of two arrays, relative to the largest entry of b."""
    return float(np.abs(a - b).max() / np.abs(b).max())


def compare_with_quotients(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, list[float], list[float]]:
    """Print how far gradients and quotients differ at random weights; return the steps h and both quotients' errors."""
    w, b = np.random.default_rng(1).standard_normal(784) / 28, np.array(0.1)
    dw, db = gradients(w, b, x, y)
    dx = input_gradient(w, b, x, y)

    steps = np.logspace(-12, 0, 13)
    J = cost(w, b, x, y)
    central, one_sided = [], []
    for h in steps:
        central.append(gap(numerical_gradient(lambda v: cost(v, b, x, y), w, h), dw))
        quotients = [(cost(w + h * e, b, x, y) - J) / h for e in np.eye(784)]
        one_sided.append(gap(np.array(quotients), dw))

    off_b = gap(numerical_gradient(lambda v: cost(w, v, x, y), b), db)
    off_x = gap(numerical_gradient(lambda v: cost(w, b, v, y[:1]), x[:1]), dx[:1])
    print(f"By hand and by quotients differ: w by {min(central):.0e}, b by {off_b:.0e}, an image by {off_x:.0e}.")
    return steps, central, one_sided


# %% [markdown]
# **Predict.** The error of a central quotient is proportional to $h^2$. Which step $h$ gives the best check?
#
# - the smallest one that the computer can represent
# - about $10^{-5}$
# - about 0.1

# %%
if __name__ == "__main__":
    # full_train has all 60,000 training images; lesson 1's train leaves out 10,000 of them (lesson 8 says what for)
    train = pair(mnist().full_train, positive=7, negative=3)
    test = pair(mnist().test, positive=7, negative=3)
    steps, central, one_sided = compare_with_quotients(train.x[:20].astype("float64"), train.y[:20].astype("float64"))
    print(f"The best step of a central quotient is {steps[np.argmin(central)]:.0e}.")

# %% tags=["hide-input"]
if __name__ == "__main__":
    with figure("lesson02_check.png", width=6, height=3.6) as canvas:
        axes = canvas.subplots()
        axes.loglog(steps, central, "o-", color="#0072B2", label="central")
        axes.loglog(steps, one_sided, "s--", color="#D55E00", label="one-sided")
        axes.set(xlabel="step h", ylabel="relative error of the quotient", title="numerical check of dJ/dw")
        axes.legend(frameon=False)

# %% [markdown]
# Read the figure from right to left. At first the errors fall as Taylor says, with slope 2 for the central quotient and
# slope 1 for the one-sided one. Then they rise again: $f$ itself is rounded to the 16 digits of float64, and dividing
# by a tiny $h$ makes that rounding large. The best step is in between. There the central quotient agrees with our
# gradient to about ten digits; the one-sided one never gets that close. A wrong gradient would be off by far more.
#
# ## Training
#
# Gradient descent takes small steps against the gradient: $w \leftarrow w - 0.2\,\nabla_w J$, and $b$ likewise. (The
# factor, here 0.2, is called the *learning rate*.) Each step uses a *batch* of 100 images; going through all images
# once is an *epoch*. We train twice on the same batches: once with our own gradients, and once with those of the
# package's *engine*, a program that works out gradients by itself. Lesson 4 builds one. If both are right, they end at
# the same weights, up to rounding.


# %%
def engine_gradients(w: np.ndarray, b: float, x: np.ndarray, y: np.ndarray) -> list[np.ndarray]:
    """dJ/dw and dJ/db by the package's engine."""
    W, B = Tensor(w), Tensor(b)
    return grad(losses.logistic_loss(x @ W + B, y), [W, B])


def descend(data: Split, epochs: int, gradients: Callable) -> tuple[np.ndarray, np.ndarray, list[float]]:
    """w, b and the cost after each epoch: w <- w - 0.2 dJ/dw, b likewise, over batches of 100 in random order."""
    rng = np.random.default_rng(0)
    w, b = np.zeros_like(data.x[0]), np.zeros_like(data.y[0])  # 0, in float32 as the images and labels are
    costs = []
    for _ in range(epochs):
        batches = math.ceil(len(data.x) / 100)
        for rows in np.array_split(rng.permutation(len(data.x)), batches):
            dw, db = gradients(w, b, data.x[rows], data.y[rows])
            w, b = w - 0.2 * dw, b - 0.2 * db
        costs.append(float(cost(w, b, data.x, data.y)))
    return w, b, costs


# %% [markdown]
# **Predict.** The nearest mean of lesson 1 needed no training, and was wrong for 3.2 % of the test images. How often is
# logistic regression wrong after training?
#
# - about 3 %: a linear model cannot do better
# - between 1 % and 2 %
# - almost never

# %%
if __name__ == "__main__":
    epochs = EPOCHS[profile()]
    w, b, costs = descend(train, epochs, gradients)
    w_engine, b_engine, costs_engine = descend(train, epochs, engine_gradients)
    print(f"Trained by hand and by the engine: w differs by {gap(w, w_engine):.0e}, b by {gap(b, b_engine):.0e}.")

    z = test.x @ w + b
    wrong = int(((z > 0) != (test.y > 0)).sum())
    compare("logistic-3v7", {"clean_error": wrong / len(test.y)}, {"clean_error": wilson(wrong, len(test.y))})

# %% [markdown]
# The brackets are a 95 % *confidence interval*: with only about 2,000 test images, chance alone moves the error by half
# a percentage point. Within that, our error agrees with the paper's. (The second row of the table, the error after an
# attack, comes in lesson 3.)
#
# The figure shows the cost during training, the seven that the model is surest of, and its input gradient. Note the
# scale: the model is so sure that $c$ is tiny. But the *pattern* is that of the weights, as the formula says, with the
# opposite sign, because $c$ is negative for a seven.

# %% tags=["hide-input"]
if __name__ == "__main__":
    surest = int(z.argmax())
    pattern = input_gradient(w, b, test.x, test.y)[surest]
    top = float(np.abs(pattern).max())
    with figure("lesson02_training.png", width=10, height=3.4) as canvas:
        left, middle, right = canvas.subplots(1, 3, width_ratios=[4, 3, 3])
        passes = range(1, len(costs) + 1)
        left.plot(passes, costs, "-", color="#0072B2", label="by hand")
        left.plot(passes, costs_engine, ":", color="#D55E00", linewidth=4, label="by the engine")
        left.set(xlabel="epochs", ylabel="cost J of the training images", title="training", ylim=0)
        left.legend(frameon=False)
        show_image(middle, test.x[surest], "the surest seven", 0, 1, "gray")
        show_image(right, pattern, f"its input gradient, ±{top:.0e}", -top, top, "PuOr")

# %% [markdown]
# ## To think about
#
# Suppose that a model is so sure of an image that $\sigma(-yz)$ is rounded to 0, and with it the whole input gradient.
# (In float32 that happens where $yz$ is above about 100.) Is the image then safe from an attacker who follows the
# gradient? How could they still find the direction?
#
# ### BEGIN SOLUTION
# **For the teacher**, 3 points. 1: a gradient of 0 is rounding, not robustness: the direction is $-y\,w$ whatever $z$
# is. 1: $c$ only scales the direction, so differentiate $z$, or $\log J$, instead of $J$, or compute with more digits.
# 1: a failed attack may only say that this gradient was useless ("gradient masking", lesson 14).
# ### END SOLUTION
#
# ## Summary
#
# - Logistic regression turns an activation into a probability. Its cost is the mean of $\zeta(-y_n z_n)$.
# - One number for each image, $c_n = -y_n\,\sigma(-y_n z_n)$, gives both gradients: $x^\top c / N$ for the weights, and
#   $c_n w$ for the pixels.
# - Central difference quotients check a gradient to about ten digits, if $h$ is neither too small nor too large.
#
# **What this cannot explain yet.** For each image we now hold the direction in which its cost rises fastest, and have
# used it only for a check. What happens to the image, and to the model's answer, if we take a step in that direction?
# That is lesson 3.
