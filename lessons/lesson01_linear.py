"""Many small changes: why a linear model can be fooled

The paper's section 3, in NumPy alone: no network, no training, no gradient. In many dimensions, changes of single
inputs that are each too small to matter add up to a change of the output that does.
"""

# %% [markdown]
# # Lesson 1. Many small changes: why a linear model can be fooled
#
# **The claim** (Goodfellow, Shlens and Szegedy 2015, section 3). A camera stores a pixel in 8 bits: whatever is below
# 1/255 of its range is thrown away. A classifier should then give $x$ and $\tilde x = x + \eta$ the same class as
# long as no entry of $\eta$ is larger than an $\varepsilon$ that the camera forgets:
# $\lVert\eta\rVert_\infty \le \varepsilon$. Linear models do not, and the more inputs they have, the less. People had
# suspected that adversarial examples come from networks being too *nonlinear*; a model that is nothing but a sum has
# them already.
#
# **The formula.** Weights $w$ and input $x$ have the shape `(n,)`, and the model computes the activation
#
# $$w^\top \tilde x = w^\top x + w^\top \eta .$$
#
# How large can $w^\top\eta = \sum_i w_i \eta_i$ become while every $|\eta_i| \le \varepsilon$? Each term is at most
# $|w_i|\,\varepsilon$, and it is exactly that when $\eta_i$ is $\varepsilon$ with the sign of $w_i$. So
#
# $$\eta = \varepsilon\,\operatorname{sign}(w), \qquad w^\top\eta = \varepsilon \sum_i |w_i| = \varepsilon\,m\,n ,$$
#
# where $m$ is the mean size of a weight. The size of the change, measured in the max norm, does not know about $n$. Its
# effect grows *linearly* with $n$.

# %%
from __future__ import annotations

import numpy as np

from tinyadv.course import compare, figure
from tinyadv.datasets import Split, mnist, pair

EPS = 0.25  # the size of the paper's changes to MNIST, whose pixels run from 0 to 1
DIMENSIONS = {"quick": 9, "lesson": 13, "paper": 17}  # how many values of n between 10 and 100,000

# %% [markdown]
# ## Exercise 1: the worst change
#
# One line: the $\eta$ with $\lVert\eta\rVert_\infty \le \varepsilon$ that raises $w^\top x$ the most.


# %%
def worst_change(w: np.ndarray, eps: float) -> np.ndarray:
    """The change of the input, no entry above eps in size, that raises w @ x the most; of the shape of w `(n,)`."""
    ### BEGIN SOLUTION
    # eta = eps sign(w)
    return eps * np.sign(w)
    ### END SOLUTION


# %% [markdown]
# ## Exercise 2: a change without a plan
#
# Noise moves every input just as far, but does not know $w$: let each $\eta_i$ be $+\varepsilon$ or $-\varepsilon$ by
# the toss of a coin. The terms $w_i\eta_i$ then have mean 0 and variance $\varepsilon^2 w_i^2$, and since the coins are
# independent, the variances add up:
#
# $$\operatorname{Var}(w^\top\eta) = \varepsilon^2 \sum_i w_i^2, \qquad
# \text{typically}\quad |w^\top\eta| \approx \varepsilon \lVert w \rVert_2 .$$
#
# With weights of a given size that is proportional to $\sqrt n$: terms of random sign nearly cancel. This is why a
# classifier can shrug off noise, and why testing with noise says nothing about the worst case.


# %%
def typical_change(w: np.ndarray, eps: float) -> float:
    """The standard deviation of w @ eta when every entry of eta is eps or -eps, by the toss of a coin."""
    ### BEGIN SOLUTION
    # sqrt(Var(w^T eta)) = eps ||w||_2
    return float(eps * np.sqrt((w**2).sum()))
    ### END SOLUTION


# %% [markdown]
# ## Both, measured
#
# For each $n$: random weights, scaled so that their mean size $m$ is 1, and a random input. We compute
# $w^\top\tilde x - w^\top x$ the long way, once with the worst change and a few times with coins.


# %%
def growth(n: int, rng: np.random.Generator) -> tuple[float, float, float]:
    """Growth of w @ x under the worst change; the largest under 20 random ones; how large those are by the formula."""
    w = rng.standard_normal(n)
    w /= np.abs(w).mean()
    x = rng.random(n)
    coins = rng.choice([-EPS, EPS], size=(20, n))
    worst = w @ (x + worst_change(w, EPS)) - w @ x
    return float(worst), float(np.abs(coins @ w).max()), typical_change(w, EPS)


# %% [markdown]
# ## The same on real images
#
# What is a linear model of images? The simplest needs no training: let $w$ be the mean of all sevens minus the mean of
# all threes of MNIST, $n = 28 \cdot 28$, and put the threshold halfway between the two. For $y \in \{-1, 1\}$ (three,
# seven) the worst change is the one that moves the activation away from $y$:
# $\eta = -\varepsilon\,y\operatorname{sign}(w)$, one and the same pattern for every image of a class.


# %%
def nearest_mean(train: Split) -> tuple[np.ndarray, float]:
    """The w `(784,)` and b for which w @ x + b > 0 where x is nearer to the mean seven than to the mean three."""
    seven, three = train.x[train.y > 0].mean(axis=0), train.x[train.y < 0].mean(axis=0)
    w = seven - three
    return w, float(-w @ (seven + three) / 2)


def error(w: np.ndarray, b: float, x: np.ndarray, y: np.ndarray) -> float:
    """The share of the images x `(N, 784)` on the wrong side."""
    return float(((x @ w + b > 0) != (y > 0)).mean())


# %%
def main(profile: str = "quick") -> None:
    """Measure the growth with n, then attack the linear model of threes and sevens."""
    rng = np.random.default_rng(0)
    ns = np.unique(np.geomspace(10, 100_000, DIMENSIONS[profile]).round().astype(int))
    worst, coins, typical = np.array([growth(int(n), rng) for n in ns]).T
    difference = float((np.abs(worst - EPS * ns) / (EPS * ns)).max())  # m = 1, so eps m n is eps n
    exponent, coins_exponent = (float(np.polyfit(np.log(ns), np.log(v), 1)[0]) for v in (worst, typical))
    compare(
        "linear-growth",
        {"relative_difference": difference, "exponent": exponent, "random_exponent": coins_exponent},
        holds=bool(difference <= 1e-9 and (coins <= worst * (1 + 1e-9)).all()),
    )

    train, test = (pair(split, positive=7, negative=3) for split in (mnist().train, mnist().test))
    w, b = nearest_mean(train)
    sizes = np.linspace(0, EPS, 26)
    noise = rng.choice([-1.0, 1.0], size=test.x.shape).astype("float32")
    away = -test.y[:, None]  # where the worst change has to lead
    by_worst = [error(w, b, test.x + away * worst_change(w, float(eps)), test.y) for eps in sizes]
    by_noise = [error(w, b, test.x + float(eps) * noise, test.y) for eps in sizes]
    half = float(sizes[np.argmax(np.array(by_worst) > 0.5)])
    print(f"Threes and sevens by the nearest mean, {len(test.x):,} test images: {by_worst[0]:.1%} are wrong.")
    print(f"Every pixel moved by {EPS}: {by_worst[-1]:.1%} by the worst change, {by_noise[-1]:.1%} by coins.")
    print(f"Half are wrong once every pixel moves by {half:.2f}.")
    attacked = test.x + away * worst_change(w, half)
    fooled = attacked[(test.y > 0) & (test.x @ w + b > 0) & (attacked @ w + b < 0)][0]
    draw(ns, worst, coins, sizes, by_worst, by_noise, fooled, half)


def draw(ns, worst, coins, sizes, by_worst, by_noise, image, half) -> None:
    """Left: growth with n. Middle: error against the size of the change. Right: a seven moved by `half`."""
    with figure("lesson01_linear.png", width=11, height=3.6) as canvas:
        left, middle, right = canvas.subplots(1, 3, width_ratios=[4, 4, 3])
        left.loglog(ns, worst, "o-", color="#0072B2", label="worst change")
        left.loglog(ns, coins, "s--", color="#D55E00", label="coins, largest of 20")
        left.set(xlabel="number of inputs n", ylabel="change of wᵀx", title=f"every input moves by {EPS}")
        left.legend(frameon=False)
        middle.plot(sizes, 100 * np.array(by_worst), "-", color="#0072B2", label="worst change")
        middle.plot(sizes, 100 * np.array(by_noise), "--", color="#D55E00", label="coins")
        middle.set(xlabel="how far each pixel moves, ε", ylabel="error, %", title="3 or 7, by the nearest mean")
        middle.legend(frameon=False)
        right.imshow(image.reshape(28, 28), cmap="gray", vmin=-0.25, vmax=1.25)
        right.spines[:].set_visible(True)
        right.set(xticks=[], yticks=[], title=f"a three, says the model (ε = {half:.2f})")


# %%
if __name__ == "__main__":
    main()

# %% [markdown]
# **To think about.** Limit the change by its Euclidean length instead, $\lVert\eta\rVert_2 \le \varepsilon$. Which
# $\eta$ is the worst now, and how does its effect grow with $n$? Which of the two limits is the better model of "too
# small to see"?
#
# ### BEGIN SOLUTION
# **For the teacher**, 3 points. 1: $\eta = \varepsilon\,w / \lVert w\rVert_2$, by Cauchy and Schwarz. 1: it raises the
# activation by $\varepsilon\lVert w\rVert_2$, like $\sqrt n$ for weights of a given size; but it moves a pixel by no
# more than about $\varepsilon/\sqrt n$. 1: a reason, not a side: rounding to 8 bits is a limit for each pixel, while an
# eye adds up, and sees a strong change of a few pixels that both limits may allow or forbid.
# ### END SOLUTION
#
# **What this cannot explain yet.** Here $w$ lay before us and we read off its sign; a model that *learns* its weights
# and squashes its output has no $w$ lying open, so in which direction should its input move?
