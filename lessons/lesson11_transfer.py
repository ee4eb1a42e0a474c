"""Why adversarial examples generalise: what fools one network fools others

The paper's section 8: examples of one network shown to others, agreement and its denominators, and a common direction.
"""

# %% [markdown]
# # Lesson 11. Why adversarial examples generalise: what fools one network fools others
#
# **The claims** (Goodfellow, Shlens and Szegedy 2015, sections 2 and 8). Examples made on one network are often
# misclassified by others, of another architecture or trained on other images, and into the same class. Of the FGSM
# examples that a maxout network gets wrong, softmax regression gives 54.6 % the maxout network's wrong class, an RBF
# network 16.0 %; of those that both networks of a pair get wrong, 84.6 % and 54.3 %. The paper's explanation: all these
# networks resemble *one* linear classifier.
#
# **Which share of what?** Network $a$ made the examples; $a_n$ and $b_n$ are the classes that $a$ and $b$ give the
# $n$-th, whose label is $y_n$. Agreement is a share of some set: of the mistakes $A$ of $a$, or of the common mistakes
# $C$ of $a$ and $b$. What is counted is the same: if $a_n$ is wrong and $b_n = a_n$, then $b_n$ is wrong too. So
#
# $$\frac{\lvert\{n \in A : a_n = b_n\}\rvert}{\lvert A\rvert}
# = \frac{\lvert\{n \in C : a_n = b_n\}\rvert}{\lvert C\rvert} \cdot \frac{\lvert C\rvert}{\lvert A\rvert} .$$
#
# The last factor is $b$'s error on $A$. The paper's numbers hold it: $54.6 / 84.6 = 64.5\,\%$ for softmax regression,
# $16.0 / 54.3 = 29.5\,\%$ for the RBF network.
#
# **How much is chance?** There are nine wrong classes: if wrong answers were spread evenly, networks that have nothing
# to do with each other would agree on $1/9$ of the common mistakes. But they are not spread evenly. Of the $n_c$ common
# mistakes on images of class $c$, let $q_{ck}$ be the share that $a$ takes for a $k$, and $r_{ck}$ the same for $b$.
# Independent answers agree on a share of $\sum_k q_{ck} r_{ck}$ of them, in all
#
# $$\text{chance} = \frac{\sum_c n_c \sum_k q_{ck}\,r_{ck}}{\sum_c n_c} .$$
#
# If both take most fours for nines, this is large. An agreement says something by as much as it exceeds this number.

# %%
from __future__ import annotations

import numpy as np

from tinyadv import attacks, metrics, models
from tinyadv.course import compare, figure, lab, scale
from tinyadv.datasets import mnist
from tinyadv.paper import recipes
from tinyadv.paper.figures import BLUE, GREEN, GREY, ORANGE

EPS, SIZES = 0.25, (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4)
NAMES = ("softmax", "maxout", "RBF")

# %% [markdown]
# ## Exercises 1 and 2: show everybody's examples to everybody, and count


# %%
def answers(networks: list[models.Network], x: np.ndarray, y: np.ndarray, eps: float) -> np.ndarray:
    """Classes `(M, M, N)`: entry i, j holds what network j says of the FGSM examples that were made on network i."""
    ### BEGIN SOLUTION
    made = [metrics.in_batches(lambda a, b, of=network: attacks.fgsm(of, a, b, eps), x, y) for network in networks]
    return np.array([[metrics.predict(network, x_adv) for network in networks] for x_adv in made])
    ### END SOLUTION


def agreement(a: np.ndarray, b: np.ndarray, y: np.ndarray, among: str) -> float:
    """The share that has the same class in a `(N,)` as in b, among the mistakes of "a" or of "both"; NaN of none."""
    ### BEGIN SOLUTION
    looked_at = (a != y) & (b != y) if among == "both" else a != y
    return float((a == b)[looked_at].mean()) if looked_at.any() else np.nan
    ### END SOLUTION


def chance(a: np.ndarray, b: np.ndarray, y: np.ndarray) -> float:
    """The agreement among common mistakes that answers would have that are independent, given the label."""
    both, same = (a != y) & (b != y), 0.0
    for c in np.unique(y[both]):
        said = [np.bincount(s[both & (y == c)], minlength=10) for s in (a, b)]
        same += said[0] @ said[1] / said[0].sum()  # n_c sum_k q_ck r_ck
    return same / both.sum() if both.any() else np.nan


# %% [markdown]
# ## Why they should agree: exercise 3
#
# Near $x$ the cost of $b$ is almost linear. The change $\eta = \varepsilon\operatorname{sign}(\nabla_x J_a)$, made on
# $a$, raises it by
#
# $$J_b(x + \eta) - J_b(x) \approx \varepsilon\,\operatorname{sign}(\nabla_x J_a)^\top\,\nabla_x J_b .$$
#
# All that is asked of $\eta$ is a positive product with $b$'s gradient, and an $\varepsilon$ that is large enough. In
# $D = 784$ dimensions two directions that know nothing of each other have a cosine of 0 on average, and of about
# $1/\sqrt D = .036$ in size. Two networks that learned the same task have more in common: the gradient of softmax
# regression is a sum of its rows of weights, $\nabla_x J = \sum_k (p_k - t_k)\,w_k$, and those are what the task made
# them. So we measure $\cos(u, v) = u^\top v / (\lVert u\rVert\,\lVert v\rVert)$ between gradients, image by image.
# Where a network is sure, entries may be $10^{-30}$, and their squares are 0 in float32: divide each row by its largest
# entry first, which changes no direction. A row of 0 has no direction; its cosine shall be 0.
#
# ## Exercise 4: one change for a whole class
#
# If direction is what matters, then one direction should do for many images. For each class $c$ take the mean gradient
# over some *training* images of it, and $\eta_c = \varepsilon\operatorname{sign}\bigl(\frac1{n_c}
# \sum_{n: y_n = c}\nabla_x J(x_n)\bigr)$; add it to test images that had no part in it. For a linear model of two
# classes all gradients of a class are parallel (lesson 3), and $\eta_c$ is as bad as each image's own. In a mean the
# long gradients count most: those of images of which the network is not sure.


# %%
def cosines(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """The cosine `(N,)` of each row of u `(N, D)` with that row of v; 0 where either is 0; entries of any size."""
    ### BEGIN SOLUTION
    u, v = (a / np.where((largest := abs(a).max(axis=1, keepdims=True)) > 0, largest, 1) for a in (u, v))
    lengths = np.sqrt((u * u).sum(axis=1) * (v * v).sum(axis=1))
    return (u * v).sum(axis=1) / np.where(lengths > 0, lengths, 1)
    ### END SOLUTION


def universal(g: np.ndarray, y: np.ndarray, eps: float) -> np.ndarray:
    """eta `(10, D)` from input gradients g `(N, D)` and labels y `(N,)`; 0 for a class without images."""
    ### BEGIN SOLUTION
    # a sum has the sign of the mean
    return eps * np.sign(np.stack([g[y == c].sum(axis=0) for c in range(10)]))
    ### END SOLUTION


def along(networks, x, y):
    """For each of SIZES the errors, and the cosines of the second's gradient with the others' and its own at x."""
    first, rows = attacks.input_gradient(networks[1], x, y), []
    for eps in SIZES:
        x_adv = x + eps * np.sign(first)
        g = [attacks.input_gradient(network, x_adv, y) for network in networks]
        errors = [100 * np.mean(metrics.predict(network, x_adv) != y) for network in networks]
        rows.append([errors, [cosines(g[1], first if k == 1 else g[k]).mean() for k in range(3)]])
    return np.array(rows)


def main(profile: str = "quick") -> None:
    """Three networks; three architectures, each on two halves; one change for a class."""
    (x, y), kinds = mnist().test, (recipes.softmax_regression, recipes.maxout, recipes.rbf_network)
    three = [lab().network(kind(scale(profile), 0)) for kind in kinds]
    a = dict(zip(("softmax", "maxout", "rbf"), answers(three, x, y, EPS)[1], strict=True))
    shares = {f"agreement_{k}": agreement(a["maxout"], a[k], y, "a") for k in ("rbf", "softmax")}
    compare("transfer-agreement", shares)
    pairs = {f"{i}_{j}": (a[i], a[j]) for i, j in (("softmax", "maxout"), ("rbf", "maxout"), ("rbf", "softmax"))}
    compare("transfer-both-wrong", {f"agreement_{name}": agreement(*pair, y, "both") for name, pair in pairs.items()})
    print("by chance:", ", ".join(f"{name} {chance(*pair, y):.1%}" for name, pair in pairs.items()))
    halves = [r for name in NAMES for r in recipes.in_halves(scale(profile), 0, name.lower())]
    said = answers([lab().network(r) for r in halves], x[:1000], y[:1000], EPS)
    error, apart = (said != y[:1000]).mean(axis=2), [(i, j) for i, j in np.ndindex(6, 6) if i != j]
    same, other = ([error[i, j] for i, j in apart if (i // 2 == j // 2) == alike] for alike in (True, False))
    common = [agreement(said[i, i], said[i, j], y[:1000], "both") for i, j in apart]
    values = {"error_same_architecture": np.mean(same), "error_other_architecture": np.mean(other)}
    compare("transfer-subsets", {**values, "agreement": np.mean(common)})

    seen = [a[:10_000] for a in mnist().train]
    g = metrics.in_batches(lambda a, b: attacks.input_gradient(three[1], a, b), *seen)
    signs = np.random.default_rng(0).choice(np.array([-EPS, EPS], x.dtype), x.shape)
    moved = {"error_common": x + universal(g, seen[1], EPS)[y], "error_random": x + signs}
    compare("universal-direction", {name: np.mean(metrics.predict(three[1], a) != y) for name, a in moved.items()})
    draw(100 * error, along(three, x[:1000], y[:1000]))


def draw(error, rows) -> None:
    """The matrix of errors; errors and cosines along eps."""
    with figure("lesson11_transfer.png", width=14, height=4) as canvas:
        matrix, errors, angles = canvas.subplots(1, 3, width_ratios=(1.35, 1, 1))
        matrix.imshow(error, cmap="Blues", vmin=0, vmax=100, aspect="auto")
        for i, j in np.ndindex(error.shape):
            matrix.text(j, i, f"{error[i, j]:.0f}", ha="center", va="center", color="kw"[int(error[i, j] > 60)])
        labels = [f"{name}\nhalf {half}" for name in NAMES for half in (1, 2)]
        matrix.set(xticks=range(6), xticklabels=labels, yticks=range(6), yticklabels=labels)
        matrix.set(xlabel="shown to", ylabel="made on", title="error, %")
        for k, (name, look, colour) in enumerate(zip(NAMES, ("s--", "o-", "^-."), (ORANGE, BLUE, GREEN), strict=True)):
            errors.plot(SIZES, rows[:, 0, k], look, color=colour, label=f"shown to {name}")
            label = f"with {'itself on clean images' if k == 1 else name}"
            angles.plot(SIZES, rows[:, 1, k], look, color=colour, label=label)
        angles.axhline(784**-0.5, color=GREY, linestyle=":", label="size for random directions")
        errors.set(xlabel="ε, in units of pixels", ylabel="error, %", ylim=(0, 102), title="made on maxout")
        angles.set(xlabel="ε, in units of pixels", ylabel="mean cosine", ylim=(0, 1.3), title="maxout's gradient there")
        errors.legend(frameon=False)
        angles.legend(frameon=False, fontsize=10)


# %%
if __name__ == "__main__":
    main()

# %% [markdown]
# **To think about.** Two networks that err on *every* example, always with the same two wrong classes each, have an
# agreement. What must you know to tell whether it shows that they resemble each other? And what does a cosine of .2
# between two gradients in 784 dimensions say, which in two dimensions would say little?
#
# ### BEGIN SOLUTION
# **For the teacher**, 3 points. 1: chance, from how often each gives each wrong class: agreement beyond it counts. 1:
# given the label, since a four has its own likely mistakes. 1: .2 is more than five times the size that random
# directions have, and FGSM adds up 784 small products: times $\varepsilon$ and the gradient's norm, it is enough.
# ### END SOLUTION
#
# **What this cannot explain yet.** If networks share a direction but each has quirks of its own, averaging many of them
# should keep the one and remove the others. Does an ensemble resist, and what else has been proposed as an explanation?
