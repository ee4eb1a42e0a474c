"""RBF networks: capacity to say "I don't know"

The paper's section 7: units that respond in one place only, their gradients by hand down to the input, why FGSM makes
them err without confidence, and an attack that aims at confidence.
"""

# %% [markdown]
# # Lesson 10. RBF networks: capacity to say "I don't know"
#
# **Time:** about 90 minutes. **You need:** lessons 3 and 5.
#
# **After this lesson you can**
#
# - work out the gradients of a unit that responds to one place only;
# - say why such a network is wrong under attack, but not sure of it;
# - find the surest answer in the whole box, and see what a single attack does not show.
#
# ## The claims
#
# The networks so far are sure of themselves everywhere. The paper (Goodfellow, Shlens and Szegedy 2015, section 7)
# looks at a kind that is not. A shallow network of *radial basis function* (RBF) units is wrong on 55.4 % of the MNIST
# test images under FGSM with $\varepsilon = 0.25$. But, the paper says, it is not sure of these mistakes: its mean
# confidence is far lower there than the 60.6 % on clean images. It never takes Gaussian noise for a digit (appendix).
# Deep networks of such units resist too, but gradient descent leaves them with a high *training* error.

# %%
from __future__ import annotations

import numpy as np

from tinyadv import Tensor, attacks, grad, metrics, ops, parameters
from tinyadv.course import compare, figure, lab, profile, scale
from tinyadv.paper import recipes
from tinyadv.paper.draw import BLUE, GREEN, ORANGE
from tinyadv.paper.measure.common import under_fgsm

EPS = 0.25

# %% [markdown]
# ## The unit
#
# Each class $k$ has one unit. The unit has a *centre* $\mu_k$, an array of shape `(D,)` like an image, and a matrix
# $\beta_k$ of shape `(D, D)`, which says how fast the unit's response falls with the distance from the centre. To the
# image $x_n$ the unit gives the probability
#
# $$p_{nk} = p(y = k \mid x_n) = e^{a_{nk}}, \qquad a_{nk} = -(x_n - \mu_k)^\top \beta_k\,(x_n - \mu_k) .$$
#
# (In the paper's formula the minus sign is missing.) At the centre $p$ is 1; far away it is almost 0. Nothing makes the
# ten $p_{nk}$ of an image add up to 1. If all are tiny, the network says that it does not know. Its answer is still the
# class with the largest $p$, and this largest $p$ is its confidence. To find the answer we compare the $a_{nk}$,
# because tiny $p$ are rounded to 0.
#
# ## Exercise 1 (medium): the unit
#
# Return all $a_{nk}$, in an array of shape `(N, K)`. It helps to hold all differences $x_n - \mu_k$ in one array of
# shape `(K, N, D)`: a product with a stack of K matrices then serves every class at once.
#
# <details><summary>Hint 1</summary>
#
# `d = x - mu[:, None]` has the shape `(K, N, D)`; `d @ beta` multiplies class by class.
#
# </details>
# <details><summary>Hint 2</summary>
#
# $d^\top\beta d$ is the sum of `(d @ beta) * d` over the last axis. Mind the order of the result's axes, and the minus
# sign.
#
# </details>


# %%
def rbf(x: np.ndarray, mu: np.ndarray, beta: np.ndarray) -> np.ndarray:
    """The array a = log p, of shape `(N, K)`, for images x `(N, D)`; float32 if all arguments are.

    Centres mu `(K, D)`; beta `(K, D, D)` may be any matrices, also not symmetric.
    """
    ### BEGIN SOLUTION
    d = x - mu[:, None]
    # a = -d^T beta d
    return -((d @ beta) * d).sum(axis=2).T
    ### END SOLUTION


# %% [markdown]
# ## How sure can anybody make it?
#
# Lesson 1 asked for the change of the input that moves a sum the furthest. Ask the same of this unit: each pixel may
# move by $\varepsilon$, so $\tilde x$ lies in the box $\lvert\tilde x_i - x_i\rvert\le\varepsilon$. How large can $a_k$
# get?
#
# The trained matrices are diagonal, with positive entries $\beta_{ki}$. Then $a_k = -\sum_i\beta_{ki}(\tilde x_i -
# \mu_{ki})^2$, and each pixel has a term of its own. This term is largest where $\tilde x_i$ is as near to $\mu_{ki}$
# as the box lets it: at $\mu_{ki}$ itself if the box reaches that far.
#
# ## Exercise 2 (medium): the surest in the box
#
# Return the largest $a_k$ that any change in the box can reach, for each image and class.
#
# <details><summary>Hint 1</summary>
#
# Let $d$ be the distance of a pixel from the centre's. The pixel can come as near as $d - \varepsilon$, but not nearer
# than 0.
#
# </details>


# %%
def surest(x: np.ndarray, mu: np.ndarray, beta: np.ndarray, eps: float) -> np.ndarray:
    """The largest a `(N, K)` of each class if each pixel of x `(N, D)` may move by eps; float32 if the arrays are.

    Centres mu `(K, D)`; beta `(K, D)` is the diagonal of each matrix.
    """
    ### BEGIN SOLUTION
    short = np.maximum(abs(x - mu[:, None]) - eps, 0)  # (K, N, D)
    # -sum_i beta_ki max(|d_ki| - eps, 0)^2
    return -(beta[:, None] * short**2).sum(axis=2).T
    ### END SOLUTION


# %% [markdown]
# So no attack with changes of this size can raise the $a_k$ of class $k$ above
#
# $$\max_{\tilde x} a_k = -\sum_i\beta_{ki}\max(\lvert x_i - \mu_{ki}\rvert - \varepsilon,\,0)^2 .$$
#
# We come back to it at the end of the lesson.
#
# ## Which cost?
#
# The paper does not say with which cost $J$ it trained, and the attack differentiates this cost. So we try three. For
# one image, let $t_k$ be 1 for its label $k = y$, and 0 for the other classes. In the code each cost has a name:
#
# - `"rbf-squared"`, squared errors: $\sum_k (p_k - t_k)^2$;
# - `"rbf"`, a yes-or-no cross-entropy for each class: $\sum_k \bigl(-t_k\log p_k - (1 - t_k)\log(1 - p_k)\bigr)$;
# - `"rbf-true-class"`, which asks only the unit of the label: $-\log p_y$.
#
# Since $p = e^a$ has the slope $p$ in $a$, the slopes $\partial J / \partial a_k$ of the three are
#
# $$2\,(p_k - t_k)\,p_k, \qquad -t_k + (1 - t_k)\,\frac{p_k}{1 - p_k}, \qquad -t_k .$$
#
# ## Exercise 3 (medium): the slope of the cost
#
# Return the slope for each image and class, for the cost of the given name. In the second formula beware of $p_k$ near
# 1, where $1 - p_k$ loses its digits: `np.expm1(a)` computes $e^a - 1$ accurately there.
#
# <details><summary>Hint 1</summary>
#
# In the second formula, the label's own entry is $-1$, and $p/(1 - p)$ of the others is `-p / np.expm1(a)`.
#
# </details>


# %%
def signal(a: np.ndarray, y: np.ndarray, J: str) -> np.ndarray:
    """dJ/da `(N, K)`, where J is each image's own cost, without a factor 1/N.

    a `(N, K)` is below 0, the labels y are `(N,)`; float32 if a is.
    J names the cost: "rbf-squared", "rbf" or "rbf-true-class".
    """
    ### BEGIN SOLUTION
    p, t = np.exp(a), y[:, None] == np.arange(a.shape[1])
    if J == "rbf-squared":
        return 2 * (p - t) * p
    if J == "rbf":
        return np.where(t, -1.0, -p / np.expm1(a))  # expm1(a) = e^a - 1, accurate also where p is nearly 1
    return -t.astype(a.dtype)
    ### END SOLUTION


# %% [markdown]
# ## Backwards
#
# Write $d = x_n - \mu_k$. Change it by a small $\delta$. Then $d^\top\beta d$ changes by
#
# $$\delta^\top\beta d + d^\top\beta\delta = \delta^\top(\beta + \beta^\top)\,d ,$$
#
# up to a term of second order. If an image $x_n$ changes, its differences from all centres change by the same amount.
# If a centre $\mu_k$ changes, the differences of all images from it change, with the opposite sign. And the slope of
# $d^\top\beta d = \sum_{ij}\beta_{ij}d_i d_j$ for the entry $\beta_{ij}$ is $d_i d_j$. With
# $g_{nk} = \partial J/\partial a_{nk}$ this gives
#
# $$\frac{\partial J}{\partial x_n} = -\sum_k g_{nk}(\beta_k + \beta_k^\top)\,d_{nk}, \qquad
# \frac{\partial J}{\partial \mu_k} = \sum_n g_{nk}(\beta_k + \beta_k^\top)\,d_{nk}, \qquad
# \frac{\partial J}{\partial \beta_k} = -\sum_n g_{nk}\,d_{nk} d_{nk}^\top .$$
#
# ## Exercise 4 (hard): the gradients
#
# Given $g$, of shape `(N, K)`, for a batch of N images, return three arrays: the gradient for the images, `(N, D)`; for
# the centres, `(K, D)`; and for the matrices, `(K, D, D)`. The matrices need not be symmetric.
#
# <details><summary>Hint 1</summary>
#
# The same array $g_{nk}(\beta_k + \beta_k^\top)d_{nk}$, of shape `(K, N, D)`, serves the first two: summed over the
# classes and over the images.
#
# </details>
# <details><summary>Hint 2</summary>
#
# The third is a product of matrices for each class: `(D, N) @ (N, D)`. `swapaxes(1, 2)` transposes each matrix of a
# stack.
#
# </details>


# %%
def rbf_backward(g: np.ndarray, x: np.ndarray, mu: np.ndarray, beta: np.ndarray) -> tuple[np.ndarray, ...]:
    """dJ/dx `(N, D)`, dJ/dmu `(K, D)` and dJ/dbeta `(K, D, D)` of `rbf`.

    g is dJ/da `(N, K)`; the other arguments are those of `rbf`. float32 if all arguments are.
    """
    ### BEGIN SOLUTION
    d, g = x - mu[:, None], g.T[:, :, None]  # (K, N, D) and (K, N, 1)
    pull = g * (d @ (beta + beta.swapaxes(1, 2)))
    return -pull.sum(axis=0), pull.sum(axis=1), -(g * d).swapaxes(1, 2) @ d
    ### END SOLUTION


# %% [markdown]
# Now check all of it against the engine, on trained networks of all three costs, in double precision. The trained
# networks have diagonal matrices. Their parameters are the logarithms $s_{ki}$ of the $\beta_{ki}$ (`s` in the code),
# so that $\beta_{ki} = e^{s_{ki}}$ stays positive. For this check we add a little noise to the matrices, so that they
# are neither diagonal nor symmetric. (A network's `top` is the name of its cost.)


# %%
def gap_to_engine(model, x: np.ndarray, y: np.ndarray, mu: np.ndarray, beta: np.ndarray) -> float:
    """How far, relative to the largest entry, our gradients are from the engine's; in float64."""
    T = [Tensor(v) for v in (x, mu, beta)]
    engine = grad(model.loss(ops.rbf(*T), y), T)
    g = signal(rbf(x, mu, beta), y, model.top) / len(x)  # J is the mean over the images
    ours = rbf_backward(g, x, mu, beta)
    return max(abs(h - e).max() / abs(e).max() for h, e in zip(ours, engine, strict=True))


# %%
if __name__ == "__main__":
    networks, size, rng = lab(), scale(profile()), np.random.default_rng(0)
    x, y = networks.data.test
    recipe = recipes.rbf_network(size, 0)
    others = recipes.rbf_otherwise(size, 0)
    models = {}
    for kind in (recipe, others["cross_entropy"], others["true_class"]):
        model = networks.network(kind)
        models[model.top] = model
    some = x[:20].astype("float64")
    for name, model in models.items():
        mu, s = (p.data.astype("float64") for p in parameters(model))
        full = np.exp(s)[:, None] * np.eye(784) + 1e-4 * rng.standard_normal((10, 784, 784))
        off = gap_to_engine(model, some, y[:20], mu, full)
        print(f"J {name!r}: gradients by hand and by the engine differ by {off:.0e}")

# %% [markdown]
# ## Attacked
#
# **Predict.** How sure is the RBF network of its mistakes under FGSM?
#
# - about as sure as on clean images, around 60 %
# - about 20 %
# - about 1 %

# %%
if __name__ == "__main__":
    endings = {"rbf-squared": "", "rbf": "_cross_entropy", "rbf-true-class": "_true_class"}
    values, intervals = {}, {}
    for name, model in models.items():
        found, _ = under_fgsm(model, x, y)  # errors and confidences, on clean images and after FGSM
        for quantity in ("error", "confidence_on_mistakes", "clean_confidence"):
            values[quantity + endings[name]] = found.values[quantity]
            if quantity in found.intervals:
                intervals[quantity + endings[name]] = found.intervals[quantity]
    compare("rbf-fgsm", values, intervals)

# %% [markdown]
# With squared errors it is wrong on about half of the images, but its confidence on these mistakes is only about 1 %.
# In this way it says that it does not know. The choice of the cost matters: look at the rows of the other two.
#
# ## Why errors come without confidence
#
# The trained $\beta_k$ are diagonal, with positive entries $\beta_{ki}$. Move each pixel by $\varepsilon r_i$ with
# $r_i$ either $1$ or $-1$. Then $a_k = -\sum_i\beta_{ki}d_{ki}^2$ changes, exactly, by
#
# $$-2\varepsilon\sum_i \beta_{ki} d_{ki} r_i - \varepsilon^2\sum_i\beta_{ki} .$$
#
# In a linear unit there is only a term like the first. Over random signs this term is 0 on average, and its typical
# size grows only like $\sqrt D$ (lesson 1). The second term grows like $D$, and it is always negative: it divides
# *every* $p_k$ by $e^{\varepsilon^2\sum_i\beta_{ki}}$. So random noise makes this network say "I don't know".
#
# FGSM does not aim at a wrong class either. Where the $p_k$ of all wrong classes are tiny, the first two costs have
# tiny slopes in the $a_k$ of these classes; the third cost does not contain these $a_k$ at all. What is left of
# $\nabla_x J$ points along $\beta_y (x - \mu_y)$: away from the centre of the right class, and towards no other.
#
# **Noise alone.** The appendix of the paper shows networks 10,000 images of pure Gaussian noise: each pixel is an
# independent normal number with mean 0 and variance 1. It counts how often a network gives some class a probability of
# more than half.

# %%
if __name__ == "__main__":
    squared, noise = models["rbf-squared"], rng.standard_normal(x.shape, dtype="float32")
    compare("rubbish-rbf", {"error": metrics.evaluate_rubbish(squared, noise).error})

# %% [markdown]
# ## Deep RBF networks
#
# All this has a price. The slope of $p = e^a$ is $p$ itself, so a unit that is far from all of its inputs has hardly
# any gradient that could bring it nearer. If such units are stacked, gradient descent does not get far.

# %%
if __name__ == "__main__":
    deep = networks.network(recipes.quadratic(size, 0)["rbf_squared:0.1@0.5"])  # RBF units on RBF units
    attacked = metrics.evaluate(deep, attacks.fgsm(deep, x[:1000], y[:1000], EPS), y[:1000])
    resists = attacked.confidence_on_mistakes < 0.1  # the claim is about deep networks that do
    training_error = metrics.evaluate(deep, *networks.data.train).error
    compare("rbf-deep", {"training_error": training_error} if resists else {})

# %% [markdown]
# ## An attack that asks for confidence
#
# FGSM raises $J$. But the attacker may want something else: a wrong answer that is *sure*. Exercise 2 says how sure
# each class can be made. The point where that maximum is reached is easy to find, too: it is the centre of the class,
# clipped to the box. So here is an *aimed* attack. It looks for the wrong class that can be made surest, and moves the
# image to this point.


# %%
def aimed(x: np.ndarray, y: np.ndarray, mu: np.ndarray, beta: np.ndarray, eps: float) -> np.ndarray:
    """Each image moved to the point of its box where the wrong class that can be made surest has its largest a."""
    a = metrics.in_batches(lambda part: surest(part, mu, beta, eps), x)
    wrong = np.where(y[:, None] == np.arange(len(mu)), -np.inf, a).argmax(axis=1)
    return mu[wrong].clip(x - eps, x + eps)


# %% [markdown]
# **Predict.** After FGSM the RBF network is about 1 % sure of its mistakes. How sure is it after the aimed attack, with
# changes of the same size?
#
# - about 1 %: the network cannot be made sure of a mistake
# - ten times as much, or more

# %%
if __name__ == "__main__":
    images, labels = x[:1000], y[:1000]
    softmax = networks.network(recipes.softmax_regression(size, 0))
    mu, s = (p.data for p in parameters(squared))
    attempts = {
        "RBF network, FGSM": (squared, lambda eps: attacks.fgsm(squared, images, labels, eps)),
        "RBF network, aimed": (squared, lambda eps: aimed(images, labels, mu, np.exp(s), eps)),
        "softmax regression, FGSM": (softmax, lambda eps: attacks.fgsm(softmax, images, labels, eps)),
    }
    sizes = (0.05, 0.1, 0.15, 0.2, EPS)
    confidence = {}
    print("The first 1,000 images, eps 0.25:")
    for name, (network, attack) in attempts.items():
        found = [metrics.evaluate(network, attack(eps), labels) for eps in sizes]
        confidence[name] = [100 * evaluation.confidence_on_mistakes for evaluation in found]
        print(f"{name}: error {found[-1].error:.1%}, confidence on mistakes {found[-1].confidence_on_mistakes:.1%}")

# %% tags=["hide-input"]
if __name__ == "__main__":
    shown = {
        squared: {"clean": images, "noise": noise[:1000], "FGSM": None, "aimed": None},
        softmax: {"clean": images, "noise": noise[:1000], "FGSM": None},
    }
    shown[squared]["FGSM"] = attempts["RBF network, FGSM"][1](EPS)
    shown[squared]["aimed"] = attempts["RBF network, aimed"][1](EPS)
    shown[softmax]["FGSM"] = attempts["softmax regression, FGSM"][1](EPS)
    looks = {"clean": (BLUE, "-"), "noise": ("#999999", ":"), "FGSM": (ORANGE, "--"), "aimed": (GREEN, "-.")}
    with figure("lesson10_confidence.png", width=11, height=3.8) as canvas:
        *panels, right = canvas.subplots(1, 3)
        for axes, (network, kinds), title in zip(
            panels, shown.items(), ("RBF network", "softmax regression"), strict=True
        ):
            for kind, part in kinds.items():
                colour, line = looks[kind]
                p = network.probabilities(network(part)).max(axis=1)
                share = np.full(len(part), 100 / len(part))
                style = {"color": colour, "linestyle": line, "label": kind, "linewidth": 2}
                axes.hist(p, np.linspace(0, 1, 21), weights=share, histtype="step", **style)
            axes.set(xlabel="largest probability", ylabel="share of images, %", ylim=(0, 105), title=title)
            axes.legend(frameon=False)
        for (name, values), colour, style in zip(
            confidence.items(), (ORANGE, GREEN, BLUE), ("o-", "^-.", "s--"), strict=True
        ):
            right.plot(sizes, values, style, color=colour, label=name)
        right.set(xlabel="ε (pixels: 0 to 1)", ylabel="confidence on mistakes, %", ylim=(0, 119))
        right.legend(frameon=False)

# %% [markdown]
# Left and middle: how sure the networks are. Under FGSM and on noise the RBF network is hardly ever sure (the two
# lines lie on each other, near 0). Softmax regression is sure under FGSM, and often on noise. Right: the aimed attack
# makes the RBF network much surer of wrong answers than FGSM does. So the low confidence under FGSM told us more about
# FGSM than about the network.
#
# ## To think about
#
# An RBF network can say that it does not know. Is it therefore safe to use where a wrong answer is worse than no
# answer? What does the aimed attack say about judging a defence by one attack, and what would you report?
#
# ### BEGIN SOLUTION
# **For the teacher**, 3 points. 1: against FGSM and noise a threshold on $p$ turns errors into refusals, at the price
# of refusing clean images too; the figure's left pane says how many. 1: the aimed attack is of the same size, and is
# about what hurts, which $J$ need not be. 1: report the bound on $p$ beside FGSM: it holds for every attack.
# ### END SOLUTION
#
# ## Summary
#
# - An RBF unit responds near its centre and nowhere else. Its gradients follow from one small expansion.
# - Random noise lowers the probabilities of all classes, and FGSM moves an image away from its own class and towards no
#   other. So the network is wrong without being sure.
# - An attack raises what it is asked to raise. Asked for confidence, it finds wrong answers that are far surer.
#
# **What this cannot explain yet.** Softmax, maxout and RBF networks compute very different functions. Still, the paper
# finds that examples made on one fool the others, and often into the same wrong class. What do they have in common?
# Lesson 11 looks at that.
