"""Many small changes: why a linear model can be fooled

The paper's section 3, in NumPy alone: no network, no training, no gradient. In many dimensions, changes of single
inputs that are each too small to matter add up to a change of the output that does.
"""

# %% [markdown]
# # Lesson 1. Many small changes: why a linear model can be fooled
#
# **Time:** about 40 minutes. **You need:** sums, logarithms, mean and variance, a little NumPy.
#
# **After this lesson you can**
#
# - say why a model that only adds up its inputs can be fooled by a change that nobody sees;
# - compute the worst change of an input, and how much harm it does;
# - explain why random noise of the same size does almost no harm.
#
# ## The claim
#
# A camera stores each pixel in 8 bits. Differences smaller than 1/255 of the pixel's range are lost when the picture is
# taken, so a classifier should not depend on them. Take an image $x$, and change every pixel by at most a small number
# $\varepsilon$ (epsilon). The changed image is $\tilde x = x + \eta$, where $\eta$ (eta) is the change. Both images
# should get the same class.
#
# The paper (Goodfellow, Shlens and Szegedy 2015, section 3) claims that linear models break this rule, and that they
# break it more the more inputs they have. People had suspected the opposite: that networks are fooled because they are
# very *nonlinear*. A model that is nothing but a sum can already be fooled.
#
# How large is $\varepsilon$? For photographs the paper uses one step of the camera. (It writes this step as 0.007, in
# the units of its network; lesson 16 comes back to it.) The digits of MNIST
# are almost black and white, so that even large changes leave them readable: there the paper uses
# $\varepsilon = 0.25$, a quarter of the range from 0 (black) to 1 (white). So do we.

# %%
from __future__ import annotations

import numpy as np

from tinyadv.course import compare, figure, profile
from tinyadv.datasets import Split, mnist, pair

EPS = 0.25  # the size of the paper's changes to MNIST, whose pixels run from 0 to 1
# how many values of n between 10 and 100,000: more in the longer *profiles*, which `tinyadv lesson 1 --profile` chooses
DIMENSIONS = {"quick": 9, "lesson": 13, "paper": 17}

# %% [markdown]
# ## A linear model, and a small change
#
# A linear model has one weight for each input. It multiplies each input by its weight and adds up. The sum is called
# the *activation*. Let the weights $w$ and the input $x$ both be arrays of shape `(n,)`. Then the activation is
# $w^\top x = \sum_i w_i x_i$, and after the change it is
#
# $$w^\top \tilde x = w^\top x + w^\top \eta .$$
#
# So the change adds $w^\top\eta = \sum_i w_i \eta_i$. Look at three inputs, each moved by 0.25:

# %%
if __name__ == "__main__":
    w = np.array([2.0, -1.0, 0.5])
    for eta in ([0.25, 0.25, 0.25], [0.25, -0.25, 0.25], [-0.25, -0.25, -0.25]):
        print(f"η = {eta}: the activation changes by {w @ np.array(eta):+.3f}")

# %% [markdown]
# The second change does the most harm, because its signs are those of the weights: every term of the sum is positive,
# so nothing cancels.
#
# Now look for the worst change for any weights $w$. No entry of $\eta$ may be larger than $\varepsilon$ *in size*, that
# is, ignoring its sign: $|\eta_i| \le \varepsilon$. How large can a single term $w_i\eta_i$ get, and for which
# $\eta_i$? The terms do not disturb each other: each input has its own $\eta_i$.
#
# ## Exercise 1 (easy): the worst change
#
# Return the $\eta$ that raises $w^\top x$ the most, with no entry larger than $\varepsilon$ in size. An input whose
# weight is 0 may stay as it is.


# %%
def worst_change(w: np.ndarray, eps: float) -> np.ndarray:
    """The change of the input that raises w @ x the most.

    w has shape `(n,)`, and so has the result; no entry of the result is larger than eps in size.
    """
    ### BEGIN SOLUTION
    # eta = eps sign(w)
    return eps * np.sign(w)
    ### END SOLUTION


# %% [markdown]
# Each term is at most $|w_i|\,\varepsilon$, and it reaches that value when $\eta_i$ is $\varepsilon$ with the sign of
# $w_i$. Let $\operatorname{sign}(w)$ be the array that has 1 where a weight is positive, $-1$ where it is negative and
# 0 where it is 0. Then the worst change is
#
# $$\eta = \varepsilon\,\operatorname{sign}(w), \qquad\text{and}\qquad w^\top\eta = \varepsilon \sum_i |w_i| .$$
#
# Two ways to measure the size of an array appear here, and both come back in many lessons:
#
# - The *max norm* $\lVert\eta\rVert_\infty$ is the largest entry, ignoring signs. Here it is $\varepsilon$.
# - The *L1 norm* $\lVert w\rVert_1 = \sum_i |w_i|$ adds up the entries, ignoring signs.
#
# If $m$ is the mean size of a weight, then $\lVert w\rVert_1 = m\,n$, and the worst change raises the activation by
# $\varepsilon\,m\,n$. The size of the change in the max norm does not depend on $n$. As long as $m$ stays the same, its
# effect grows *linearly* with $n$.
#
# ## A change without a plan
#
# Random noise can move every input just as far, but it does not know $w$. Let each $\eta_i$ be $+\varepsilon$ or
# $-\varepsilon$ by the toss of a coin. Some terms of the sum are then positive and some negative, and most of it
# cancels. How much is left?
#
# Each term $w_i\eta_i$ has mean 0 and variance $\varepsilon^2 w_i^2$. The coins are independent, so the variances add
# up:
#
# $$\operatorname{Var}(w^\top\eta) = \varepsilon^2 \sum_i w_i^2 .$$
#
# The standard deviation tells how large $w^\top\eta$ typically is.
#
# ## Exercise 2 (easy): the typical change
#
# Return the standard deviation of $w^\top\eta$ when every $\eta_i$ is $\pm\varepsilon$ by the toss of a coin.


# %%
def typical_change(w: np.ndarray, eps: float) -> float:
    """The standard deviation of w @ eta, one number, when each entry of eta is eps or -eps by the toss of a coin.

    w has shape `(n,)`.
    """
    ### BEGIN SOLUTION
    # sqrt(Var(w^T eta)) = eps ||w||_2
    return float(eps * np.sqrt((w**2).sum()))
    ### END SOLUTION


# %% [markdown]
# The *Euclidean norm* $\lVert w\rVert_2 = \sqrt{\sum_i w_i^2}$ is the third way to measure size that we need. With it,
# a random change typically does
#
# $$|w^\top\eta| \approx \varepsilon \lVert w \rVert_2 .$$
#
# For weights of a given size this grows only like $\sqrt n$.
#
# ## Both, measured
#
# Now try both changes on random weights in many dimensions. For each $n$ we draw weights and scale them so that their
# mean size $m$ is 1. Then we draw an input. For the worst change we compute $w^\top\tilde x - w^\top x$ the long way,
# without the formula. For the random changes we compute $w^\top\eta$.


# %%
def growth(n: int, rng: np.random.Generator) -> tuple[float, float, float]:
    """What n inputs add to w @ x: the worst change, the largest of 20 random ones, and the typical one by formula."""
    w = rng.standard_normal(n)
    w /= np.abs(w).mean()
    x = rng.random(n)
    worst = w @ (x + worst_change(w, EPS)) - w @ x
    coins = rng.choice([-EPS, EPS], size=(20, n))
    return float(worst), float(np.abs(coins @ w).max()), typical_change(w, EPS)


# %% [markdown]
# **Predict.** With $n = 100{,}000$ inputs, how many times larger is the effect of the worst change than the largest
# effect of 20 random changes?
#
# - about 3 times
# - about 10 times
# - more than 50 times

# %%
if __name__ == "__main__":
    rng = np.random.default_rng(0)
    ns = np.unique(np.geomspace(10, 100_000, DIMENSIONS[profile()]).round().astype(int))
    worst, coins, typical = np.array([growth(int(n), rng) for n in ns]).T
    print("      n   worst change   20 random changes   ratio")
    for n, by_worst, by_coins in zip(ns, worst, coins, strict=True):
        print(f"{n:7,d} {by_worst:14,.1f} {by_coins:19,.1f} {by_worst / by_coins:7.0f}")

# %% [markdown]
# With 10 inputs a lucky random change is almost as bad as the worst one. With 100,000 inputs it is not even close: the
# worst change grows like $n$, the random ones like $\sqrt n$. On logarithmic axes growth like $n$ is a line of slope 1,
# and growth like $\sqrt n$ is a line of slope 1/2.

# %% tags=["hide-input"]
if __name__ == "__main__":
    with figure("lesson01_growth.png", width=6, height=3.6) as canvas:
        axes = canvas.subplots()
        axes.loglog(ns, worst, "o-", color="#0072B2", label="worst change: slope 1")
        axes.loglog(ns, coins, "s--", color="#D55E00", label="largest of 20 random changes: slope 1/2")
        axes.set(xlabel="number of inputs n", ylabel="change of wᵀx", title=f"every input moves by {EPS}")
        axes.legend(frameon=False)

# %% [markdown]
# The claim is that the growth is *exactly* $\varepsilon\,m\,n$, and that no random change does more. The table below
# compares our measurement with the paper. *This lesson* is what you have just computed, *ours* are the project's own
# longer runs, and *paper* is what the paper says. The row *statement* tells whether the claim holds. Square brackets
# hold a 95 % confidence interval: with other random numbers or other test images the value could as well have been
# anywhere in it. The *exponent* is the slope on logarithmic axes. For random signs it is the slope of the typical
# change: by the formula in *this lesson*, measured on 20 random changes in *ours*.

# %%
if __name__ == "__main__":
    by_formula = EPS * ns  # eps m n, and m is 1
    difference = float((np.abs(worst - by_formula) / by_formula).max())
    slope = float(np.polyfit(np.log(ns), np.log(worst), 1)[0])
    random_slope = float(np.polyfit(np.log(ns), np.log(typical), 1)[0])
    compare(
        "linear-growth",
        {"relative_difference": difference, "exponent": slope, "random_exponent": random_slope},
        holds=bool(difference <= 1e-9 and (coins <= worst * (1 + 1e-9)).all()),
    )

# %% [markdown]
# ## The same on real images
#
# What is a linear model of images? The simplest one needs no training. MNIST has images of digits with
# $n = 28 \cdot 28 = 784$ pixels. Take all threes and all sevens of the training images, and compute the mean three
# $\mu_3$ and the mean seven $\mu_7$. Let $w = \mu_7 - \mu_3$, and choose the number $b$ so that $w^\top x + b$ is 0
# halfway between the two means. If you multiply out, you find
# $\lVert x - \mu_3\rVert_2^2 - \lVert x - \mu_7\rVert_2^2 = 2\,(w^\top x + b)$. So $w^\top x + b$ is positive where
# $x$ is nearer to the mean seven. (In the code the label `y` of an image is 1 for a seven and -1 for a three.)


# %%
def nearest_mean(train: Split) -> tuple[np.ndarray, float]:
    """The w `(784,)` and b for which w @ x + b > 0 where x is nearer to the mean seven than to the mean three."""
    seven = train.x[train.y > 0].mean(axis=0)
    three = train.x[train.y < 0].mean(axis=0)
    w = seven - three
    return w, float(-w @ (seven + three) / 2)


def error(w: np.ndarray, b: float, x: np.ndarray, y: np.ndarray) -> float:
    """The share of the images x `(N, 784)` on the wrong side; y `(N,)` is -1 for a three and 1 for a seven."""
    says_seven = x @ w + b > 0
    return float((says_seven != (y > 0)).mean())


# %%
if __name__ == "__main__":
    train = pair(mnist().train, positive=7, negative=3)
    test = pair(mnist().test, positive=7, negative=3)
    w, b = nearest_mean(train)
    print(f"Of {len(test.x):,} test images {error(w, b, test.x, test.y):.1%} are on the wrong side.")

# %% [markdown]
# Not bad for a model without training. Now attack it. With labels $y = -1$ for a three and $y = 1$ for a seven, the
# worst change is the one that moves the activation *away* from $y$:
#
# $$\eta = -\varepsilon\,y\operatorname{sign}(w) .$$
#
# It is the same pattern for every seven, and its opposite for every three.
#
# **Predict.** Every pixel may move by 0.25. What becomes of the error?
#
# - it doubles
# - about half of the images are wrong, as if the model guessed
# - more than four in five are wrong

# %%
if __name__ == "__main__":
    away = -test.y[:, None]  # the direction in which the activation has to move
    coins = rng.choice([-1.0, 1.0], size=test.x.shape).astype("float32")
    sizes = np.linspace(0, EPS, 26)
    by_worst = [error(w, b, test.x + away * worst_change(w, float(eps)), test.y) for eps in sizes]
    by_coins = [error(w, b, test.x + float(eps) * coins, test.y) for eps in sizes]
    first = np.argmax(np.array(by_worst) > 0.5)  # the first size at which more than half are wrong
    half = float(sizes[first])
    print(f"Every pixel moved by {EPS}: {by_worst[-1]:.1%} are wrong after the worst change,")
    print(f"{by_coins[-1]:.1%} after a random one. Half are wrong once every pixel moves by {half:.2f}.")

# %% [markdown]
# Most images end up on the wrong side. A model that guessed would be right half of the time; this one is wrong far more
# often, because the change was made for it. The random change of the same size hardly matters. That is why testing a
# classifier with noise says nothing about the worst case.

# %% tags=["hide-input"]
if __name__ == "__main__":
    attacked = test.x + away * worst_change(w, half)
    fooled = (test.y > 0) & (test.x @ w + b > 0) & (attacked @ w + b < 0)
    with figure("lesson01_digits.png", width=9, height=3.4) as canvas:
        left, right = canvas.subplots(1, 2, width_ratios=[3, 2])
        left.plot(sizes, 100 * np.array(by_worst), "-", color="#0072B2", label="worst change")
        left.plot(sizes, 100 * np.array(by_coins), "--", color="#D55E00", label="random change")
        left.set(xlabel="how far each pixel moves, ε", ylabel="error, %", title="three or seven, by the nearest mean")
        left.legend(frameon=False)
        right.imshow(attacked[fooled][0].reshape(28, 28), cmap="gray", vmin=-0.25, vmax=1.25)
        right.spines[:].set_visible(True)
        right.set(xticks=[], yticks=[], title=f"a three, says the model (ε = {half:.2f})")

# %% [markdown]
# ## To think about
#
# Limit the change by its Euclidean length instead, $\lVert\eta\rVert_2 \le \varepsilon$. Which $\eta$ is the worst now,
# and how does its effect grow with $n$? Which of the two limits is the better model of "too small to see"?
#
# ### BEGIN SOLUTION
# **For the teacher**, 3 points. 1: $\eta = \varepsilon\,w / \lVert w\rVert_2$, by the Cauchy–Schwarz inequality. 1: it
# raises the activation by $\varepsilon\lVert w\rVert_2$, which grows like $\sqrt n$ for weights of a given size; but it
# moves each pixel only by about $\varepsilon/\sqrt n$. 1: any reasoned answer. Rounding to 8 bits is a limit for each
# pixel; an eye adds up, and it notices a strong change of a few pixels.
# ### END SOLUTION
#
# ## Summary
#
# - A linear model adds up its inputs, so many small changes add up too.
# - The worst change has the signs of the weights. It raises the activation by $\varepsilon\lVert w\rVert_1$, which
#   grows like $n$. A random change of the same size raises or lowers it, typically by about
#   $\varepsilon\lVert w\rVert_2$, which grows like $\sqrt n$ for weights of a given size.
# - On threes and sevens the worst change makes most answers wrong. Random noise of the same size hardly changes the
#   error.
#
# **What this cannot explain yet.** Here we could read the sign of $w$ off the model, because its output is a plain sum.
# A network does more with its inputs than add them up, and no single array $w$ tells what it does. In which direction
# should its input move? Lesson 2 begins with a model that squashes its sum, and finds the direction by a derivative.
