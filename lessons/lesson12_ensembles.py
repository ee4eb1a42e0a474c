"""Other hypotheses: ensembles and generative training

The paper's section 9: does averaging many networks, or training a model of the images themselves, make adversarial
examples go away? Three costs of an ensemble with their gradients, and what of a gradient survives averaging.
"""

# %% [markdown]
# # Lesson 12. Other hypotheses: ensembles and generative training
#
# **The claims** (Goodfellow, Shlens and Szegedy 2015, section 9). Perhaps each network has quirks of its own, and an
# average over many has none? Twelve maxout networks of different seeds, averaged, err on 91.1 % of the FGSM examples
# with $\varepsilon = .25$ that were made on all of them, and on 87.9 % of those made on one member. Perhaps a model
# that learned what images look like is not fooled? The multi-prediction deep Boltzmann machine (MP-DBM), a generative
# model, errs on .88 % of the clean images and on 97.5 % of its FGSM examples.
#
# **What an ensemble says.** Members $m = 1, \dots, M$ have logits $z_m$ `(N, K)` and probabilities
# $p_m = \operatorname{softmax}(z_m)$; the ensemble answers with the largest entry of the mean
# $\bar p = \frac1M\sum_m p_m$. But which cost does an attacker climb, who wants to fool all of it? The paper says only
# that its examples "perturb the entire ensemble". There are at least three, for one image with the label $y$:
#
# $$J_p = -\log\frac1M\sum_m p_{my}, \qquad J_z = -\log\operatorname{softmax}\Bigl(\frac1M\sum_m z_m\Bigr)_y, \qquad
# J_\Sigma = \sum_m -\log p_{my} .$$
#
# Both $J_p$ and $J_z$ are at most $J_\Sigma / M$, the members' mean cost: by Jensen's inequality, as $-\log p$ and
# $\log\sum_k e^{z_k}$ are convex. So no image, clean or attacked, costs the ensemble more than its members on average.
#
# **Their gradients.** Lesson 5 had the slope $p_{mk} - t_k$ of $-\log p_{my}$ in $z_{mk}$, with $t_k = 1$ for the
# label, else 0; so that of $p_{my}$ is $-p_{my}(p_{mk} - t_k)$. That gives the first, the chain rule the second, and
# the third is a sum:
#
# $$\frac{\partial J_p}{\partial z_{mk}} = r_m\,(p_{mk} - t_k), \quad r_m = \frac{p_{my}}{\sum_j p_{jy}}; \qquad
# \frac{\partial J_z}{\partial z_{mk}} = \frac1M\,(q_k - t_k), \quad q = \operatorname{softmax}(\bar z); \qquad
# \frac{\partial J_\Sigma}{\partial z_{mk}} = p_{mk} - t_k .$$
#
# The first weighs members by how much they still believe in the label: who is fooled already, is left alone. The second
# treats all alike. In the third each stands for itself, and who is fooled most pulls hardest.
#
# **The generative model** is one of probabilities of whole images together with their labels; asked for the label of an
# image, it infers it by repeated averaging over its hidden units, which can be differentiated, and so attacked by FGSM.
# This course has no such model: the second table below shows the paper's numbers, and no result of ours.

# %%
from __future__ import annotations

import numpy as np

from tinyadv import Tensor, attacks, grad, metrics, models, ops
from tinyadv.course import compare, figure, lab, scale
from tinyadv.datasets import mnist
from tinyadv.paper import recipes
from tinyadv.paper.figures import BLUE, GREEN, GREY, ORANGE
from tinyadv.paper.section9 import Against, Average

EPS = 0.25


# %% [markdown]
# ## Exercises 1 and 2: the gradients of $J_p$ and $J_z$
#
# Where all members are fooled, all $p_{my}$ may be rounded to 0, and $r_m = 0/0$. But $r_m = e^{l_m} / \sum_j e^{l_j}$
# with $l_m = \log p_{my}$ is a softmax over the members, and survives, as softmax does in `ops.softmax(l, ...)`.


# %%
def by_probability(z: np.ndarray, y: np.ndarray) -> np.ndarray:
    """dJ_p/dz `(M, N, K)` of each image's own cost, from the logits z `(M, N, K)`, of any size, and labels y `(N,)`."""
    ### BEGIN SOLUTION
    t = y[:, None] == np.arange(z.shape[2])
    log_p = ops.log_softmax(z)
    # r_m = softmax over the members of log p_my, (M, N)
    r = ops.softmax(log_p[:, t].T).T
    return r[:, :, None] * (np.exp(log_p) - t)
    ### END SOLUTION


def by_logit(z: np.ndarray, y: np.ndarray) -> np.ndarray:
    """dJ_z/dz `(M, N, K)` of each image's own cost, from the logits z `(M, N, K)`, of any size, and labels y `(N,)`."""
    ### BEGIN SOLUTION
    t = y[:, None] == np.arange(z.shape[2])
    # (softmax(mean of z) - t) / M, the same for all members
    return np.stack([(ops.softmax(z.mean(axis=0)) - t) / len(z)] * len(z))
    ### END SOLUTION


def by_losses(z: np.ndarray, y: np.ndarray) -> np.ndarray:
    """dJ_Sigma/dz `(M, N, K)`: each member's p - t."""
    return ops.softmax(z) - (y[:, None] == np.arange(z.shape[2]))


def input_gradient(members: list[models.Network], x: np.ndarray, y: np.ndarray, rule) -> np.ndarray:
    """What the members' gradients of the input, each from its own dJ/dz, are in all: `(N, D)`."""
    z = np.stack([member(x) for member in members])
    return sum(grad(member(X := Tensor(x)), [X], cotangent=g)[0] for member, g in zip(members, rule(z, y), strict=True))


# %% [markdown]
# ## What survives averaging: exercises 3 and 4
#
# Let $u_m$ be the members' input gradients at one image, each divided by its length, and $\rho$ the mean cosine of two
# *different* members: the mean of $u_i^\top u_j$ over the $M(M - 1)$ pairs with $i \ne j$. Then
#
# $$\Bigl\lVert\frac1M\sum_m u_m\Bigr\rVert^2 = \frac1{M^2}\sum_{i, j} u_i^\top u_j
# = \frac{M + M(M - 1)\rho}{M^2} = \rho + \frac{1 - \rho}M .$$
#
# If quirks were all there is, $\rho = 0$ and the average would shrink like $1/\sqrt M$: enough members, and nothing is
# left to follow. What they share stays, however many there are: the length tends to $\sqrt\rho$. It is also why one
# member's example should do for all: its gradient $u_1$ has a mean product of $\rho$ with each of the others.


# %%
def shared(g: np.ndarray) -> np.ndarray:
    """rho `(N,)` from the members' input gradients g `(M, N, D)`, M > 1; rows of 0 have the cosine 0 with others."""
    ### BEGIN SOLUTION
    u, _, _ = attacks.unit(g)  # of a row of 0 it makes 0
    squares, total = (u * u).sum(axis=2).sum(axis=0), u.sum(axis=0)
    return ((total * total).sum(axis=1) - squares) / (len(g) * (len(g) - 1))
    ### END SOLUTION


def error_made_on(members: list[models.Network], which: int, x: np.ndarray, y: np.ndarray, eps: float) -> float:
    """The error of the whole ensemble (mean probability) on the FGSM examples that were made on one member."""
    ### BEGIN SOLUTION
    x_adv = metrics.in_batches(lambda a, b: attacks.fgsm(members[which], a, b, eps), x, y)
    p = np.mean([member.probabilities(member(x_adv)) for member in members], axis=0)
    return float(np.mean(p.argmax(axis=1) != y))
    ### END SOLUTION


def check(members, x, y) -> None:
    """Our gradients are those of the package's costs."""
    for name, rule in (("probability", by_probability), ("logit", by_logit), ("losses", by_losses)):
        ours, package = input_gradient(members, x, y, rule), attacks.input_gradient(Against(members, name), x, y)
        assert np.allclose(ours, package, rtol=1e-3, atol=1e-3 * abs(package).max()), f"{name}: not the same gradient"


def main(profile: str = "quick") -> None:
    """Train an ensemble, attack it by each cost and through one member, see what averaging leaves."""
    (x, y), kinds = (a[:2000] for a in mnist().test), recipes.ensemble(scale(profile), 0)
    members = [lab().network(recipe) for recipe in kinds[: 5 if profile == "quick" else None]]
    check(members, x[:100], y[:100])

    def error(n, eps, rule):  # of the first n members, on examples made on all of them
        eta = eps * np.sign(metrics.in_batches(lambda a, b: input_gradient(members[:n], a, b, rule), x, y))
        return float(np.mean(metrics.predict(Average(members[:n]), x + eta) != y))

    names = {"error_ensemble": by_probability, "error_mean_logit": by_logit, "error_summed_losses": by_losses}
    found = {name: error(len(members), EPS, rule) for name, rule in names.items()}
    found["error_member"] = error_made_on(members, 0, x, y, EPS)
    found["clean_error"] = error(len(members), 0.0, by_losses)
    compare("ensemble-12", found, {name: metrics.wilson(round(v * len(y)), len(y)) for name, v in found.items()})
    compare("mp-dbm")
    sizes = range(1, len(members) + 1)
    curves = {
        f"made on {who}, ε = {eps}": [100 * (error(n, eps, by_probability) if who == "all" else
                                             error_made_on(members[:n], 0, x, y, eps)) for n in sizes]
        for eps in (EPS, 0.1) for who in ("all", "the first")
    }  # fmt: skip
    curves["clean"] = [100 * error(n, 0.0, by_losses) for n in sizes]
    draw(sizes, curves, np.stack([attacks.input_gradient(member, x, y) for member in members]))


def draw(sizes, curves, g) -> None:
    """Errors and the length of the mean gradient by the number of members."""
    with figure("lesson12_ensembles.png", width=11, height=4) as canvas:
        left, right = canvas.subplots(1, 2)
        looks = zip(("o-", "s-", "v--", "D--", "^:"), (BLUE, ORANGE, BLUE, ORANGE, GREY), strict=True)
        for (name, curve), (look, colour) in zip(curves.items(), looks, strict=True):
            left.plot(sizes, curve, look, color=colour, label=name)
        left.set(xlabel="members", ylabel="error of the ensemble, %", ylim=(0, 102), xticks=sizes)
        u = attacks.unit(g)[0]
        lengths = [np.sqrt((u[:n].mean(axis=0) ** 2).sum(axis=1)).mean() for n in sizes]
        right.plot(sizes, lengths, "o-", color=BLUE, label="measured, mean over images")
        right.plot(sizes, [n**-0.5 for n in sizes], "s--", color=ORANGE, label="if they shared nothing")
        right.axhline(np.sqrt(shared(g).clip(0)).mean(), color=GREEN, linestyle=":", label="√ρ, of infinitely many")
        right.set(xlabel="members", ylabel="length of the mean unit gradient", ylim=(0, 1.05), xticks=sizes)
        for axes in (left, right):
            axes.legend(frameon=False, fontsize=10, handlelength=3.5)


# %%
if __name__ == "__main__":
    main()

# %% [markdown]
# **To think about.** The MP-DBM is one generative model, and it is fooled. Which conclusion follows about generative
# training, which does not? And what would twelve networks have to look like for their average to resist?
#
# ### BEGIN SOLUTION
# **For the teacher**, 3 points. 1: being generative is not enough by itself; the paper adds that another generative
# training might help. 1: the attack went through the model's own inference, so that no classifier on top is to blame.
# 1: gradients that share little, $\rho$ near 0, on every image, though all learned the same task from the same data.
# ### END SOLUTION
#
# **What this cannot explain yet.** All examples so far began as an image of a digit. If networks are nearly linear,
# what do they say of inputs that are no digit, and how hard is it to make such an input look like any class we want?
