"""Rubbish and fooling images: sure of what is nothing

The paper's appendix: what networks say about noise that shows no digit at all, why a linear one has to say something,
what sigmoids or RBF units change, and how one gradient step makes noise into any class one likes.
"""

# %% [markdown]
# # Lesson 13. Rubbish and fooling images: sure of what is nothing
#
# **The claims** (Goodfellow, Shlens and Szegedy 2015, appendix). Give a classifier 10,000 samples $x$ of the normal
# distribution $\mathcal N(0, I)$, 784 independent numbers of mean 0 and variance 1. None shows a digit, so whatever
# class gets a probability above one half is an error. The naive maxout network errs on 98.35 %, with a mean confidence
# of 92.8 %; with sigmoids in place of its softmax on 68 %; softmax regression on 59.8 %; an RBF network on none.
# Neither depth nor a search is needed for such *rubbish class examples*, and the classes come very unevenly: 45.3 % of
# the maxout network's errors are fives, none is an eight. One gradient step then makes a sample of a *wanted* class.
#
# **Exercise 1: what is counted.** Of N samples with probabilities $p$ `(N, K)` of K classes, those count for which
# $\max_k p_{nk} > \tfrac12$, each once, even if several sigmoids exceed one half. The *error* is their share of all N,
# the *confidence on mistakes* their mean of $\max_k p_{nk}$. If none counts there is no mean: not 0, but no number.

# %%
from __future__ import annotations

import math

import numpy as np

from tinyadv import attacks, metrics, models, ops, parameters
from tinyadv.backend import generator
from tinyadv.course import compare, figure, lab, scale
from tinyadv.paper import recipes
from tinyadv.paper.figures import BLUE, GREEN, GREY, ORANGE, show_image

EPS = 0.25  # of the fooling step, as of all attacks on MNIST
SAMPLES, TRIES = 10_000, 500  # of noise; of noise to start from, for each wanted class


def rubbish_error(p: np.ndarray) -> tuple[float, float, np.ndarray]:
    """Error, confidence on mistakes (NaN without any), and how many of the errors each class has, `(K,)` integers.

    p `(N, K)` are probabilities; rows need not sum to 1. An error belongs to the class of largest p.
    """
    ### BEGIN SOLUTION
    largest = p.max(axis=1)
    claimed = largest > 0.5
    by_class = np.bincount(p[claimed].argmax(axis=1), minlength=p.shape[1])
    return claimed.mean(), largest[claimed].mean() if claimed.any() else math.nan, by_class
    ### END SOLUTION


# %% [markdown]
# ## Why a linear model sees something in noise
#
# Softmax regression has the logits $z = Wx + b$, $W$ `(K, D)`, $b$ `(K,)`. Sums of normal numbers are normal; we need
# their means and covariances. $\mathbb E[x_i] = 0$, and $\mathbb E[x_i x_j]$ is 1 if $i = j$, else 0. So
# $\mathbb E[z_k] = b_k$, and
#
# $$\mathbb E\bigl[(z_k - b_k)(z_l - b_l)\bigr] = \sum_{i, j} W_{ki} W_{lj}\,\mathbb E[x_i x_j]
# = \sum_i W_{ki} W_{li} = (W W^\top)_{kl} .$$
#
# Hence $z \sim \mathcal N(b, W W^\top)$: a single logit is $\mathcal N(b_k, \lVert w_k\rVert^2)$. The square
# $\lVert w_k\rVert^2$ sums over all D pixels, so many small weights make large logits. The answer is left to chance,
# and not to fair chance: classes with a large $b_k$ or a long $w_k$ win more often. To know the errors and their
# classes we need no samples of D pixels, only $b$ and a K by K matrix (figure, middle).
#
# **Softmax or sigmoids.** A softmax depends on the differences $z_k - z_l$ alone, and its probabilities sum to 1: it
# shares out certainty, whatever comes. Multiply all logits by $c$, as longer training does, and no answer changes, but
# as $c \to \infty$ the largest class gets $1 / \bigl(1 + \sum_{l \ne k} e^{-c(z_k - z_l)}\bigr) \to 1$: in the end
# *every* sample is an error. A sigmoid claims its class if $\sigma(z_k) > \tfrac12$, that is $z_k > 0$, whatever the
# others say. All K may be negative: "none of these" is a possible answer, and no factor $c$ takes it away.
#
# **RBF units** say $p_k = e^{-E_k}$ with $E_k = \sum_i \beta_{ki}(x_i - \mu_{ki})^2$. On noise
# $\mathbb E[(x_i - \mu)^2] = 1 + \mu^2$, so $E_k$ has the mean $\sum_i \beta_{ki}(1 + \mu_{ki}^2)$: it too grows with
# D, but here a large sum means "no". An error needs $E_k < \log 2 \approx .7$.
#
# ## Exercise 2: logits on noise


# %%
def logits_on_noise(W: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of the logits W x + b for x from N(0, I): means `(K,)`, standard deviations `(K,)`, covariances `(K, K)`."""
    ### BEGIN SOLUTION
    # z ~ N(b, W W^T)
    return b, np.sqrt((W**2).sum(axis=1)), W @ W.T
    ### END SOLUTION


# %% [markdown]
# ## Exercise 3: one step to a wanted class
#
# To make $p(y = k \mid x)$ large follow $\nabla_x\,p(y = k \mid x)$, as the appendix's text says, or its sign, as its
# figure 5 does. Under a softmax $J(\theta, x, k) = -\log p$, so $\nabla_x\,p = p\,\nabla_x \log p = -p\,\nabla_x J$.
# The factor $p > 0$ may round to 0, but turns no direction: we leave it out. What remains is FGSM with two changes: the
# label is the *wanted* one, and the sign is minus, because the cost of that label shall fall:
#
# $$\tilde x = x - \varepsilon\operatorname{sign} g \qquad\text{or}\qquad
# \tilde x = x - \varepsilon\sqrt D\,\frac{g}{\lVert g\rVert}, \qquad g = \nabla_x J(\theta, x, k) .$$
#
# The second follows the gradient itself; how far, the paper does not say. We go as far as the D entries of size
# $\varepsilon$ do, $\varepsilon\sqrt D$. `attacks.input_gradient(model, x, y)` is $\nabla_x J$ of each sample `(N, D)`.


# %%
def fooling_step(model: models.Network, x: np.ndarray, k: int, eps: float, sign: bool = True) -> np.ndarray:
    """x `(N, D)`, each row moved once towards the class k, by eps sign or, as far, along the gradient; 0: no move."""
    ### BEGIN SOLUTION
    g = attacks.input_gradient(model, x, np.full(len(x), k))
    if sign:
        return x - eps * np.sign(g)
    length = np.sqrt((g**2).sum(axis=1, keepdims=True))
    return x - eps * math.sqrt(x.shape[1]) * g / (length + (length == 0))
    ### END SOLUTION


def predicted(W: np.ndarray, b: np.ndarray) -> np.ndarray:
    """p `(SAMPLES, K)` of softmax regression on noise, from K logits a sample, without any noise of D pixels."""
    mean, _, covariance = logits_on_noise(W.astype("float64"), b.astype("float64"))
    return ops.softmax(np.random.default_rng(0).multivariate_normal(mean, covariance, size=SAMPLES))


def fool(network: models.Network) -> tuple[np.ndarray, list]:
    """The share of p(y = k) >= .5 for each k with no step, the gradient, its sign; of the last an image and its p."""
    shares, shown = np.zeros((3, 10)), []
    for k in range(10):
        x = generator(0, f"to be made a {k}").standard_normal((TRIES, 784), dtype="float32")
        steps = [x, fooling_step(network, x, k, EPS, sign=False), fooling_step(network, x, k, EPS)]
        assert np.allclose(2 * x - steps[2], attacks.fgsm(network, x, np.full(TRIES, k), EPS), atol=1e-6), "not -FGSM"
        p = network.probabilities(network(np.concatenate(steps)))[:, k]
        shares[:, k] = (p.reshape(3, TRIES) >= 0.5).mean(axis=1)
        shown.append((steps[2][0], p[-TRIES]))
    return shares, shown


def main(profile: str = "quick") -> None:
    """Four networks on the same noise; the theory of the linear one; fooling steps."""
    size, x = scale(profile), generator(0, "rubbish").standard_normal((SAMPLES, 784), dtype="float32")
    wanted = {"softmax regression": recipes.softmax_regression(size, 0), "maxout": recipes.maxout(size, 0)}
    wanted |= {"maxout, sigmoids": recipes.maxout(size, 0, top="sigmoid"), "RBF": recipes.rbf_network(size, 0)}
    networks, found, largest, counts = {name: lab().network(recipe) for name, recipe in wanted.items()}, {}, {}, {}
    for name, network in networks.items():
        package, p = metrics.evaluate_rubbish(network, x), network.probabilities(metrics.in_batches(network, x))
        error, confidence, counts[name] = rubbish_error(p)
        assert (error, *counts[name]) == (package.error, *package.by_class), "our count and the package's differ"
        largest[name] = p.max(axis=1)
        found[name] = {"error": float(error), "confidence_on_mistakes": float(confidence)}, package.intervals
    compare("rubbish-softmax", *found["softmax regression"])
    compare("rubbish-maxout-softmax", *found["maxout"])
    compare("rubbish-maxout-sigmoid", *found["maxout, sigmoids"])
    compare("rubbish-rbf", *found["RBF"])
    of = counts["maxout"] / max(1, counts["maxout"].sum())
    compare("rubbish-skew", {"share_fives": of[5], "share_eights": of[8], "share_most_frequent": of.max()})
    (W, b), (mu, s) = ([a.data for a in parameters(networks[name])] for name in ("softmax regression", "RBF"))
    error, _, theory = rubbish_error(predicted(W, b))
    least = (np.exp(s) * (1 + mu**2)).sum(axis=1).min()
    print(f"By theory: softmax regression errs on {error:.1%}; the mean of an RBF unit's E is at least {least:.0f}.")
    success, images = fool(networks["maxout"])
    numbers = [*success.mean(axis=1), success[1].min(), success[1].max()]
    names = ("mean_mnist_before", "mean_mnist", "mean_mnist_sign", "lowest_mnist", "highest_mnist")
    compare("fooling-step", {f"success_{name}": n for name, n in zip(names, numbers, strict=True)})
    draw(largest, counts["softmax regression"], theory, images)


def draw(largest: dict, counts: np.ndarray, theory: np.ndarray, images: list) -> None:
    """The error at every threshold, the classes by theory and in fact, and a fooling image of each digit."""
    t, k, styles = np.linspace(0, 1, 201), np.arange(10), [(GREY, ":"), (BLUE, "-"), (ORANGE, "--"), (GREEN, "-.")]
    with figure("lesson13_rubbish.png", width=13, height=3.8) as canvas:
        left, right = canvas.subfigures(1, 2, width_ratios=[8, 5])
        curve, bars = left.subplots(1, 2)
        for (name, p), (colour, style) in zip(largest.items(), styles, strict=True):
            curve.plot(t, [100 * np.mean(p > at) for at in t], style, color=colour, label=name, clip_on=False)
        curve.axvline(0.5, color=GREY, linewidth=0.8)
        curve.set(xlabel="threshold for the largest p", ylabel="samples above it, %", xlim=(0, 1), ylim=0)
        bars.bar(k - 0.2, 100 * counts / SAMPLES, 0.38, color=BLUE, label="measured")
        bars.bar(k + 0.2, 100 * theory / SAMPLES, 0.38, color=GREEN, hatch="//", label="theory")
        bars.set(xlabel="class that softmax regression sees", ylabel="samples, %", xticks=k)
        for axes in (curve, bars):
            axes.legend(frameon=False, fontsize=9, handlelength=1.5)
        for digit, (axes, (image, p)) in enumerate(zip(right.subplots(2, 5).flat, images, strict=True)):
            show_image(axes, image, f"{digit}: {p:.2f}", -4, 4)
            axes.spines[:].set(color=ORANGE if p >= 0.5 else GREY, linewidth=3)
        right.suptitle("one step from noise to a digit: its p, framed if at least .5", fontsize=10)


# %%
if __name__ == "__main__":
    main()

# %% [markdown]
# **To think about.** If one step fails, draw new noise and try again. How many tries does a digit need on average that
# succeeds with the probability $s$? And are fooling images adversarial examples, or is this another failure?
#
# ### BEGIN SOLUTION
# **For the teacher**, 3 points. 1: try $n$ is the first success with probability $s(1 - s)^{n-1}$, the mean of $n$ is
# $1/s$; all digits succeed in the end if $s > 0$. 1: an adversarial example is near an image and has a true class;
# rubbish has none, so the right answer is to claim nothing. 1: the cause is shared: a score that is linear along whole
# directions goes on growing where there are no data; units that answer only near data refuse both.
# ### END SOLUTION
#
# **What this cannot explain yet.** The RBF network looks perfect by this measure, which does not ask what it costs on
# clean images. One number can mislead; so can lesson 8's robustness. The last lesson asks which numbers to trust.
