"""Other hypotheses: ensembles and generative training

The paper's section 9: does averaging many networks, or training a model of the images themselves, make adversarial
examples go away? Three costs of an ensemble with their gradients, and what of a gradient survives averaging.
"""

# %% [markdown]
# # Lesson 12. Other hypotheses: ensembles and generative training
#
# **Time:** about 75 minutes. **You need:** lessons 5, 8 and 11.
#
# **After this lesson you can**
#
# - attack an ensemble as a whole, in three different ways, and say how they differ;
# - compute what of many gradients survives averaging;
# - say what the two hypotheses of section 9 predict, and what happens instead.
#
# ## The claims
#
# The paper (Goodfellow, Shlens and Szegedy 2015, section 9) considers two other explanations of adversarial examples,
# and rejects both.
#
# - *Each network has quirks of its own, and an average over many has none.* But twelve maxout networks, trained from
#   different random starts and averaged, are wrong on 91.1 % of the FGSM examples with $\varepsilon = 0.25$ that were
#   made on all of them, and on 87.9 % of those made on one member.
# - *A model that learned what images look like is not fooled.* But the multi-prediction deep Boltzmann machine
#   (MP-DBM), a generative model, is wrong on 0.88 % of the clean images and on 97.5 % of its FGSM examples.

# %%
from __future__ import annotations

import numpy as np

from tinyadv import Tensor, attacks, grad, metrics, models, ops
from tinyadv.course import compare, figure, lab, profile, scale
from tinyadv.paper import recipes
from tinyadv.paper.draw import BLUE, GREEN, GREY, ORANGE
from tinyadv.paper.measure.section9 import Against, Average

EPS = 0.25

# %% [markdown]
# ## What an ensemble says
#
# An *ensemble* has several members, $m = 1, \dots, M$. Member $m$ has logits $z_m$, of shape `(N, K)`, and
# probabilities $p_m = \operatorname{softmax}(z_m)$. The ensemble answers with the class that has the largest *mean*
# probability, $\bar p = \frac1M\sum_m p_m$.

# %%
if __name__ == "__main__":
    networks, size = lab(), scale(profile())
    x, y = (part[:2000] for part in networks.data.test)
    wanted = recipes.ensemble(size, 0)
    if profile() == "quick":
        wanted = wanted[:5]
    members = [networks.network(recipe) for recipe in wanted]
    alone = [metrics.evaluate(member, x, y).error for member in members]
    together = np.mean(metrics.predict(Average(members), x) != y)
    print(f"Each of {len(members)} members alone is wrong on {np.mean(alone):.1%}, the ensemble on {together:.1%}.")

# %% [markdown]
# On clean images the average is better than its members. That is why people use ensembles.
#
# ## Which cost does the attacker climb?
#
# To fool the whole ensemble, an attacker needs one cost to follow. The paper says only that its examples "perturb the
# entire ensemble". There are at least three such costs. For one image with the label $y$:
#
# $$J_p = -\log\frac1M\sum_m p_{my}, \qquad J_z = -\log\operatorname{softmax}\Bigl(\frac1M\sum_m z_m\Bigr)_y, \qquad
# J_\Sigma = \sum_m -\log p_{my} .$$
#
# The first is the cost of the mean probability, the second that of the mean logits, the third the sum of the members'
# costs. (Both $J_p$ and $J_z$ are at most $J_\Sigma / M$, by Jensen's inequality: no image costs the ensemble more than
# its members on average.)
#
# Let $t_k$ be 1 for the label, and 0 for the other classes. By lesson 5 the slope of $-\log p_{my}$ in the logit
# $z_{mk}$ is $p_{mk} - t_k$, so that of $p_{my}$ itself is $-p_{my}(p_{mk} - t_k)$. The chain rule then gives
#
# $$\frac{\partial J_p}{\partial z_{mk}} = r_m\,(p_{mk} - t_k), \quad r_m = \frac{p_{my}}{\sum_j p_{jy}}; \qquad
# \frac{\partial J_z}{\partial z_{mk}} = \frac1M\,(q_k - t_k), \quad q = \operatorname{softmax}(\bar z); \qquad
# \frac{\partial J_\Sigma}{\partial z_{mk}} = p_{mk} - t_k .$$
#
# - $J_p$ weighs each member by how much it still believes in the label. A member that is fooled already is left alone.
# - $J_z$ treats all members alike.
# - In $J_\Sigma$ each member stands for itself, and the one that is fooled most pulls hardest.
#
# ## Exercise 1 (hard): the gradient of $J_p$
#
# Beware of rounding: where all members are fooled, all $p_{my}$ may be rounded to 0, and then $r_m = 0/0$. Write
# $r_m$ as a softmax over the members, and it survives.
#
# <details><summary>Hint 1</summary>
#
# $r_m = e^{l_m} / \sum_j e^{l_j}$ with $l_m = \log p_{my}$. `ops.log_softmax(z)` gives $\log p$ for logits of any
# size, and `ops.softmax` works along the last axis.
#
# </details>


# %%
def by_probability(z: np.ndarray, y: np.ndarray) -> np.ndarray:
    """dJ_p/dz `(M, N, K)` of each image's own cost.

    The logits z `(M, N, K)` may be of any size; the labels y are `(N,)`.
    """
    ### BEGIN SOLUTION
    t = y[:, None] == np.arange(z.shape[2])
    log_p = ops.log_softmax(z)
    # r_m = softmax over the members of log p_my, (M, N)
    r = ops.softmax(log_p[:, t].T).T
    return r[:, :, None] * (np.exp(log_p) - t)
    ### END SOLUTION


# %% [markdown]
# ## Exercise 2 (medium): the gradient of $J_z$


# %%
def by_logit(z: np.ndarray, y: np.ndarray) -> np.ndarray:
    """dJ_z/dz `(M, N, K)` of each image's own cost.

    The logits z `(M, N, K)` may be of any size; the labels y are `(N,)`.
    """
    ### BEGIN SOLUTION
    t = y[:, None] == np.arange(z.shape[2])
    # (softmax(mean of z) - t) / M, the same for all members
    return np.stack([(ops.softmax(z.mean(axis=0)) - t) / len(z)] * len(z))
    ### END SOLUTION


# %% [markdown]
# The third is each member's $p - t$. From there the engine goes on to the input: each member is differentiated from its
# own $\partial J/\partial z_m$, and the parts add up.


# %%
def by_losses(z: np.ndarray, y: np.ndarray) -> np.ndarray:
    """dJ_Sigma/dz `(M, N, K)`: each member's p - t."""
    return ops.softmax(z) - (y[:, None] == np.arange(z.shape[2]))


def input_gradient(members: list[models.Network], x: np.ndarray, y: np.ndarray, rule) -> np.ndarray:
    """The gradient `(N, D)` of the input, summed over the members, each from its own dJ/dz."""
    z = np.stack([member(x) for member in members])
    total = np.zeros_like(x)
    for member, g in zip(members, rule(z, y), strict=True):
        X = Tensor(x)
        total += grad(member(X), [X], cotangent=g)[0]
    return total


def check(members: list[models.Network], x: np.ndarray, y: np.ndarray) -> None:
    """Our gradients are those of the package's costs."""
    for name, rule in (("probability", by_probability), ("logit", by_logit), ("losses", by_losses)):
        ours = input_gradient(members, x, y, rule)
        package = attacks.input_gradient(Against(members, name), x, y)
        assert np.allclose(ours, package, rtol=1e-3, atol=1e-3 * abs(package).max()), f"{name}: not the same gradient"


# %%
if __name__ == "__main__":
    check(members, x[:100], y[:100])
    print("Our gradients are those of the package's costs.")

# %% [markdown]
# ## One member's examples for all
#
# Perhaps the attacker does not even need the whole ensemble. Make FGSM examples on a single member, and show them to
# all together.
#
# ## Exercise 3 (easy): examples made on one member
#
# Return the error of the ensemble, which answers by the mean probability. As in lesson 11,
# `metrics.in_batches(f, x, y)` makes the examples a thousand at a time.


# %%
def error_made_on(members: list[models.Network], which: int, x: np.ndarray, y: np.ndarray, eps: float) -> float:
    """The error of the whole ensemble (mean probability) on the FGSM examples made on one member.

    `which` is the number of that member, from 0; x is `(N, D)`, y `(N,)`.
    """
    ### BEGIN SOLUTION
    x_adv = metrics.in_batches(lambda a, b: attacks.fgsm(members[which], a, b, eps), x, y)
    p = np.mean([member.probabilities(member(x_adv)) for member in members], axis=0)
    return float(np.mean(p.argmax(axis=1) != y))
    ### END SOLUTION


# %%
def error_of_first(n: int, eps: float, rule) -> float:
    """The error of the first n members together, on examples made on all n of them."""
    g = metrics.in_batches(lambda a, b: input_gradient(members[:n], a, b, rule), x, y)
    return float(np.mean(metrics.predict(Average(members[:n]), x + eps * np.sign(g)) != y))


# %% [markdown]
# **Predict.** How much better does the ensemble resist than a single network, which FGSM fools on nearly all images?
#
# - it is fooled on about half of the images
# - hardly better at all

# %%
if __name__ == "__main__":
    rules = {"error_ensemble": by_probability, "error_mean_logit": by_logit, "error_summed_losses": by_losses}
    found = {f"{name}_exact": error_of_first(len(members), EPS, rule) for name, rule in rules.items()}
    found["error_member_exact"] = error_made_on(members, 0, x, y, EPS)
    found["clean_error"] = float(together)
    compare("ensemble-12", found, {name: metrics.wilson(round(v * len(y)), len(y)) for name, v in found.items()})

# %% [markdown]
# Averaging does not help. Examples made on a single member work on all of them almost as well.
#
# ## What survives averaging
#
# Why not? Look at the members' input gradients at one image, each divided by its length: $u_1, \dots, u_M$. Let $\rho$
# (rho) be the mean cosine of two *different* members, the mean of $u_i^\top u_j$ over the $M(M - 1)$ pairs with
# $i \ne j$. The mean gradient has the squared length
#
# $$\Bigl\lVert\frac1M\sum_m u_m\Bigr\rVert^2 = \frac1{M^2}\sum_{i, j} u_i^\top u_j
# = \frac{M + M(M - 1)\rho}{M^2} = \rho + \frac{1 - \rho}M .$$
#
# If the members had nothing but quirks, then $\rho = 0$. The mean gradient would shrink like $1/\sqrt M$, and with
# enough members nothing would be left to follow. What they *share* stays: the length tends to $\sqrt\rho$, however
# many there are.
#
# ## Exercise 4 (medium): the mean cosine
#
# Return $\rho$ for each image, without a loop over the pairs.
#
# <details><summary>Hint 1</summary>
#
# The formula above, solved for the sum over $i \ne j$: the squared length of $\sum_m u_m$ minus the squares of the
# $u_m$. `attacks.unit(g)` divides each row by its length, and makes 0 of a row of zeros; the first of what it returns
# is $u$.
#
# </details>


# %%
def shared(g: np.ndarray) -> np.ndarray:
    """rho `(N,)` from the members' input gradients g `(M, N, D)`, M > 1.

    A row of 0 has the cosine 0 with the others.
    """
    ### BEGIN SOLUTION
    u, _, _ = attacks.unit(g)  # of a row of 0 it makes 0
    squares, total = (u * u).sum(axis=2).sum(axis=0), u.sum(axis=0)
    return ((total * total).sum(axis=1) - squares) / (len(g) * (len(g) - 1))
    ### END SOLUTION


# %% [markdown]
# **Predict.** What is the mean cosine of two members' gradients?
#
# - about 0: random starts, random quirks
# - clearly above 0, but far from 1
# - nearly 1

# %%
if __name__ == "__main__":
    g = np.stack([attacks.input_gradient(member, x, y) for member in members])
    rho = shared(g)
    print(f"The mean cosine of two members' gradients is {rho.mean():.2f} on average over the images.")

# %% tags=["hide-input"]
if __name__ == "__main__":
    sizes = range(1, len(members) + 1)
    curves = {}
    for eps in (EPS, 0.1):
        made_on_all = [100 * error_of_first(n, eps, by_probability) for n in sizes]
        made_on_first = [100 * error_made_on(members[:n], 0, x, y, eps) for n in sizes]
        curves[f"made on all, ε = {eps}"] = made_on_all
        curves[f"made on the first, ε = {eps}"] = made_on_first
    curves["clean"] = [100 * np.mean(metrics.predict(Average(members[:n]), x) != y) for n in sizes]
    u = attacks.unit(g)[0]
    lengths = [np.sqrt((u[:n].mean(axis=0) ** 2).sum(axis=1)).mean() for n in sizes]
    looks = (("o-", BLUE), ("s-", ORANGE), ("v--", BLUE), ("D--", ORANGE), ("^:", GREY))
    with figure("lesson12_ensembles.png", width=11, height=4) as canvas:
        left, right = canvas.subplots(1, 2)
        for (name, curve), (look, colour) in zip(curves.items(), looks, strict=True):
            left.plot(sizes, curve, look, color=colour, label=name)
        left.set(xlabel="members", ylabel="error of the ensemble, %", ylim=(0, 102), xticks=sizes)
        right.plot(sizes, lengths, "o-", color=BLUE, label="measured, mean over images")
        right.plot(sizes, [n**-0.5 for n in sizes], "s--", color=ORANGE, label="if they shared nothing")
        right.axhline(np.sqrt(rho.clip(0)).mean(), color=GREEN, linestyle=":", label="√ρ, of infinitely many")
        right.set(xlabel="members", ylabel="length of the mean unit gradient", ylim=(0, 1.05), xticks=sizes)
        for axes in (left, right):
            axes.legend(frameon=False, fontsize=10, handlelength=3.5)

# %% [markdown]
# What the members share is enough. It is also why one member's example does for all: its gradient $u_1$ has a mean
# product of $\rho$ with each of the others.
#
# ## The generative model
#
# A *generative* model learns the probability of whole images together with their labels. Asked for the label of an
# image, the MP-DBM infers it: its hidden units are averaged again and again until they fit the image. All of these
# steps can be differentiated, and so the model can be attacked by FGSM.

# %%
if __name__ == "__main__":
    compare("mp-dbm")

# %% [markdown]
# ## To think about
#
# The MP-DBM is one generative model, and it is fooled. Which conclusion follows about generative training, and which
# does not? And what would twelve networks have to look like for their average to resist?
#
# ### BEGIN SOLUTION
# **For the teacher**, 3 points. 1: being generative is not enough by itself; the paper adds that another generative
# training might help. 1: the attack went through the model's own inference, so that no classifier on top is to blame.
# 1: gradients that share little, $\rho$ near 0, on every image, though all learned the same task from the same data.
# ### END SOLUTION
#
# ## Summary
#
# - An ensemble can be attacked as a whole, by at least three costs. None of the three makes much of a difference.
# - What members share survives averaging: the mean of unit gradients tends to the length $\sqrt\rho$, not to 0.
# - A generative model is fooled, too.
#
# **What this cannot explain yet.** All examples so far began as an image of a digit. What do networks say of inputs
# that show no digit at all, and how hard is it to make such an input look like any class we want? Lesson 13 tries it.
