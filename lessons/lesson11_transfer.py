"""Why adversarial examples generalise: what fools one network fools others

The paper's section 8: examples of one network shown to others, agreement and its denominators, and a common direction.
"""

# %% [markdown]
# # Lesson 11. Why adversarial examples generalise: what fools one network fools others
#
# **Time:** about 75 minutes. **You need:** lessons 3, 8 and 10.
#
# **After this lesson you can**
#
# - measure how often two networks agree on a wrong answer, and say among which images;
# - tell agreement from chance;
# - compare the gradients of two networks, and fool a network on many images with one and the same change.
#
# ## The claims
#
# The paper (Goodfellow, Shlens and Szegedy 2015, sections 2 and 8) says that examples made on one network are often
# misclassified by other networks too, even if these have another *architecture* (other kinds of layers and units) or
# were trained on other images. And often the other networks give the *same* wrong class.
#
# Take the FGSM examples which a maxout network gets wrong. How often does softmax regression give them the maxout
# network's wrong class, and how often does an RBF network? And how often, if we count only the examples that this
# second network gets wrong too? The paper's explanation: all these networks resemble *one* linear classifier.

# %%
from __future__ import annotations

import numpy as np

from tinyadv import attacks, metrics, models
from tinyadv.course import compare, figure, lab, profile, scale
from tinyadv.paper import recipes
from tinyadv.paper.draw import BLUE, GREEN, GREY, ORANGE

EPS = 0.25
NAMES = ("softmax", "maxout", "rbf")

# %% [markdown]
# ## Which share of what?
#
# Before we measure agreement, let us define it. Network $a$ makes the examples. Let $a_n$ and $b_n$ be the classes
# that networks $a$ and $b$ give to the $n$-th example, and $y_n$ its label. *Agreement* is the share of examples with
# $a_n = b_n$ in some set of examples. Two sets are in use:
#
# - the mistakes of $a$: all $n$ with $a_n \ne y_n$;
# - the common mistakes: all $n$ with $a_n \ne y_n$ and $b_n \ne y_n$.
#
# An example: $a$ makes 10 mistakes. On 6 of them $b$ is wrong too, and on 3 of these both say the same. Agreement is
# 3/10 among the mistakes of $a$, and 3/6 among the common mistakes. The numerator is the same, since two networks that
# agree on a wrong class are both wrong. So
#
# $$\frac{\text{agreeing}}{\text{mistakes of } a} = \frac{\text{agreeing}}{\text{common mistakes}} \cdot
# \frac{\text{common mistakes}}{\text{mistakes of } a} ,$$
#
# and the last factor is how often $b$ is wrong where $a$ is. The paper gives the other two: they stand in the tables
# below. From them it follows that in the paper the last factor is 64.5 % for softmax regression, and 29.5 % for the RBF
# network, where $a$ is the maxout network.
#
# ## Exercise 1 (easy): agreement
#
# Return the agreement of two networks among the mistakes of $a$, or among the common mistakes, as `among` says.


# %%
def agreement(a: np.ndarray, b: np.ndarray, y: np.ndarray, among: str) -> float:
    """The share of mistakes on which two networks answer the same: classes a `(N,)` and b `(N,)`, labels y `(N,)`.

    among "a": among the mistakes of a; "both": among the common mistakes. NaN if there are none.
    """
    ### BEGIN SOLUTION
    looked_at = (a != y) & (b != y) if among == "both" else a != y
    return float((a == b)[looked_at].mean()) if looked_at.any() else np.nan
    ### END SOLUTION


# %% [markdown]
# ## Show each network the examples of all
#
# To count agreement we need the networks' answers.
#
# ## Exercise 2 (medium): the answers
#
# For M networks, make FGSM examples on each, and ask all M networks for their classes. `metrics.predict(network, x)`
# gives classes. `metrics.in_batches(f, x, y)` calls `f(x, y)` for a thousand images at a time, so that they fit into
# memory, and puts the results together.
#
# <details><summary>Hint 1</summary>
#
# Two loops, as in lesson 8: make the examples once for each network, and show them to all.
#
# </details>
# <details><summary>Hint 2</summary>
#
# In a loop, `lambda a, b: attacks.fgsm(source, a, b, eps)` is what `metrics.in_batches` can call. Collect lists, and
# make one array of them at the end.
#
# </details>


# %%
def answers(networks: list[models.Network], x: np.ndarray, y: np.ndarray, eps: float) -> np.ndarray:
    """Classes `(M, M, N)`: entry [i, j] has the answers of network j to the examples made on network i.

    The examples are those of `attacks.fgsm`, for images x `(N, D)` with labels y `(N,)`.
    """
    ### BEGIN SOLUTION
    said = []
    for source in networks:
        x_adv = metrics.in_batches(lambda a, b, of=source: attacks.fgsm(of, a, b, eps), x, y)
        said.append([metrics.predict(target, x_adv) for target in networks])
    return np.array(said)
    ### END SOLUTION


# %%
if __name__ == "__main__":
    networks, size = lab(), scale(profile())
    x, y = networks.data.test
    kinds = (recipes.softmax_regression, recipes.maxout, recipes.rbf_network)
    three = [networks.network(kind(size, 0)) for kind in kinds]
    said = dict(zip(NAMES, answers(three, x, y, EPS)[1], strict=True))
    for name, classes in said.items():
        print(f"{name} is wrong on {np.mean(classes != y):.1%} of the examples made on maxout")

# %% [markdown]
# ## How much is chance?
#
# There are nine wrong classes. If wrong answers were spread evenly, two networks that have nothing to do with each
# other would agree on 1/9 of their common mistakes. But they are not spread evenly: fours, for example, are taken for
# nines more often than for any other digit. Take the $n_c$ common mistakes on images of class $c$. Let $q_{ck}$ be the
# share of them to which $a$ gives the class $k$, and $r_{ck}$ the same for $b$. If the answers were independent, the
# networks would agree on
#
# $$\text{chance} = \frac{\sum_c n_c \sum_k q_{ck}\,r_{ck}}{\sum_c n_c}$$
#
# of all common mistakes. Only agreement above this number shows that the two networks resemble each other.


# %%
def chance(a: np.ndarray, b: np.ndarray, y: np.ndarray) -> float:
    """The agreement among common mistakes if, for each label, a's and b's answers were independent of each other."""
    both = (a != y) & (b != y)
    if not both.any():
        return np.nan
    same = 0.0
    for c in np.unique(y[both]):
        of_class = both & (y == c)
        counts_a = np.bincount(a[of_class], minlength=10)
        counts_b = np.bincount(b[of_class], minlength=10)
        same += counts_a @ counts_b / counts_a.sum()  # n_c sum_k q_ck r_ck
    return same / both.sum()


# %% [markdown]
# **Predict.** Softmax regression and the maxout network are built very differently. On what share of their common
# mistakes do they give the same wrong class?
#
# - about 1 in 9, as if they knew nothing of each other
# - about 1 in 3
# - more than half

# %%
if __name__ == "__main__":
    shares = {f"agreement_{name}_exact": agreement(said["maxout"], said[name], y, "a") for name in ("rbf", "softmax")}
    compare("transfer-agreement", shares)
    pairs = (("softmax", "maxout"), ("rbf", "maxout"), ("rbf", "softmax"))
    shares = {f"agreement_{a}_{b}_exact": agreement(said[a], said[b], y, "both") for a, b in pairs}
    compare("transfer-both-wrong", shares)
    for a, b in pairs:
        print(f"{a} and {b}: {chance(said[a], said[b], y):.1%} would be chance")

# %% [markdown]
# They agree far more often than chance.
#
# ## Other networks, other images
#
# Perhaps they agree only because all three saw the same training images. So cut the training images into two halves,
# train each kind of network on each half, and show each of the six networks the examples of all.

# %%
if __name__ == "__main__":
    halves = [recipe for name in NAMES for recipe in recipes.in_halves(size, 0, name)]
    said = answers([networks.network(recipe) for recipe in halves], x[:1000], y[:1000], EPS)
    error = (said != y[:1000]).mean(axis=2)
    same, other, common = [], [], []
    for i, j in np.ndindex(6, 6):
        if i == j:
            continue
        if i // 2 == j // 2:  # the two halves of one architecture
            same.append(error[i, j])
        else:
            other.append(error[i, j])
        common.append(agreement(said[i, i], said[i, j], y[:1000], "both"))
    values = {
        "error_same_architecture_exact": np.mean(same),
        "error_other_architecture_exact": np.mean(other),
        "agreement_exact": np.mean(common),
    }
    compare("transfer-subsets", values)

# %% tags=["hide-input"]
if __name__ == "__main__":
    labels = [f"{name}\nhalf {half}" for name in NAMES for half in (1, 2)]
    with figure("lesson11_halves.png", width=6, height=4.2) as canvas:
        axes = canvas.subplots()
        axes.imshow(100 * error, cmap="Blues", vmin=0, vmax=100, aspect="auto")
        for i, j in np.ndindex(error.shape):
            colour = "white" if error[i, j] > 0.6 else "black"
            axes.text(j, i, f"{100 * error[i, j]:.0f}", ha="center", va="center", color=colour)
        axes.set(xticks=range(6), xticklabels=labels, yticks=range(6), yticklabels=labels)
        axes.set(xlabel="shown to", ylabel="made on", title="error, %")

# %% [markdown]
# Networks of different halves share no training image, and still they fool each other, often into the same class. So
# their common training images cannot be the whole reason.
#
# ## Why examples made on one network harm another
#
# Near $x$ the cost of network $b$ is almost linear. A change $\eta = \varepsilon\operatorname{sign}(\nabla_x J_a)$,
# made on $a$, raises it by
#
# $$J_b(x + \eta) - J_b(x) \approx \varepsilon\,\operatorname{sign}(\nabla_x J_a)^\top\,\nabla_x J_b .$$
#
# So it is enough that $\nabla_x J_b$ points in *somewhat* the same direction as the signs of $\nabla_x J_a$. We compare
# the two gradients themselves, without the sign; that is simpler, and closely related. The *cosine* of two arrays,
# $\cos(u, v) = u^\top v / (\lVert u\rVert\,\lVert v\rVert)$, is 1 if they point the same way, and 0 if they are at
# right angles. In $D = 784$ dimensions two random directions have a cosine of about $1/\sqrt D = 0.036$ in size.
#
# Networks that learned the same task have more in common. The gradient of softmax regression is a sum of its rows of
# weights, $\nabla_x J = \sum_k (p_k - t_k)\,w_k$, and these weights were learned from the task.
#
# ## Exercise 3 (medium): cosines
#
# Return the cosine of each row of $u$ with the same row of $v$. Where a network is sure, the entries may be as small as
# $10^{-30}$, and their squares are rounded to 0 in float32. So first divide each row by the size of its largest entry:
# this does not change its direction. A row of zeros has no direction; let its cosine be 0.
#
# <details><summary>Hint 1</summary>
#
# `largest = abs(a).max(axis=1, keepdims=True)`, and divide by `np.where(largest > 0, largest, 1)`: a row of zeros stays
# a row of zeros.
#
# </details>
# <details><summary>Hint 2</summary>
#
# The same trick once more for the product of the two lengths.
#
# </details>


# %%
def cosines(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """The cosine `(N,)` of each row of u `(N, D)` with that row of v `(N, D)`; float32 if u and v are.

    0 where either row is 0. The entries may be of any size.
    """
    ### BEGIN SOLUTION
    rows = []
    for a in (u, v):
        largest = abs(a).max(axis=1, keepdims=True)
        rows.append(a / np.where(largest > 0, largest, 1))
    u, v = rows
    lengths = np.sqrt((u * u).sum(axis=1) * (v * v).sum(axis=1))
    return (u * v).sum(axis=1) / np.where(lengths > 0, lengths, 1)
    ### END SOLUTION


# %% [markdown]
# Walk from each image in the direction that FGSM takes on the maxout network. At each $\varepsilon$ we look at the
# errors of all three networks. And we compare the maxout network's gradient at that point with three others: with those
# of the other two networks there, and with its own on the clean image.

# %%
SIZES = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4)


def along(networks: list[models.Network], x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Three networks along the FGSM direction of the second: `(S, 2, 3)`, two rows for each of the S sizes in SIZES.

    The first row has the errors of the three networks, in %. The second has mean cosines: of the second network's
    gradient there with the first network's, with its own at x, and with the third network's.
    """
    first = attacks.input_gradient(networks[1], x, y)
    found = []
    for eps in SIZES:
        x_adv = x + eps * np.sign(first)
        errors = [100 * np.mean(metrics.predict(network, x_adv) != y) for network in networks]
        g = [attacks.input_gradient(network, x_adv, y) for network in networks]
        angles = [cosines(g[1], other).mean() for other in (g[0], first, g[2])]
        found.append([errors, angles])
    return np.array(found)


# %%
if __name__ == "__main__":
    errors, angles = along(three, x[:1000], y[:1000]).swapaxes(0, 1)
    print(f"On clean images, maxout's gradient has the cosines {angles[0, 0]:.2f} with softmax regression's")
    print(f"and {angles[0, 2]:.2f} with the RBF network's.")

# %% tags=["hide-input"]
if __name__ == "__main__":
    looks = {"softmax": ("s--", ORANGE), "maxout": ("o-", BLUE), "rbf": ("^-.", GREEN)}
    with figure("lesson11_transfer.png", width=10, height=4) as canvas:
        left, right = canvas.subplots(1, 2)
        for k, (name, (look, colour)) in enumerate(looks.items()):
            left.plot(SIZES, errors[:, k], look, color=colour, label=f"shown to {name}")
            label = "with itself on clean images" if name == "maxout" else f"with {name}"
            right.plot(SIZES, angles[:, k], look, color=colour, label=label)
        right.axhline(784**-0.5, color=GREY, linestyle=":", label="size for random directions")
        left.set(xlabel="ε (pixels: 0 to 1)", ylabel="error, %", ylim=(0, 102), title="made on maxout, first 1,000")
        right.set(xlabel="ε (pixels: 0 to 1)", ylabel="mean cosine", ylim=(0, 1.3), title="maxout's gradient there")
        left.legend(frameon=False)
        right.legend(frameon=False, fontsize=10)

# %% [markdown]
# The cosines are not large, but they are several times what random directions would have. FGSM adds up 784 small
# products, and that is enough.
#
# ## One change for a whole class
#
# If direction is what matters, then one direction should be enough for many images. For each class $c$ take the mean
# gradient over some *training* images of the class ($n_c$ is now the number of these images), and let the change be
#
# $$\eta_c = \varepsilon\operatorname{sign}\Bigl(\frac1{n_c} \sum_{n: y_n = c}\nabla_x J(x_n)\Bigr) .$$
#
# Add it to test images, from which it was not made. For a linear model of two classes all gradients of a class are
# parallel (lesson 3), so $\eta_c$ does as much harm as each image's own change. In a mean, long gradients count most:
# those of images on which the network is not sure.
#
# ## Exercise 4 (medium): a universal change
#
# Return $\eta_c$ for each of the ten classes, from the gradients of many images and their labels.
#
# <details><summary>Hint 1</summary>
#
# For each class $c$: `g[y == c]` has its gradients. The sign of their mean is the sign of their sum, and a sum of no
# rows is 0, not NaN.
#
# </details>


# %%
def universal(g: np.ndarray, y: np.ndarray, eps: float) -> np.ndarray:
    """eta `(10, D)`, one change for each class, from input gradients g `(N, D)` and labels y `(N,)`.

    0 for a class without images. The result is float32 if g is.
    """
    ### BEGIN SOLUTION
    # a sum has the sign of the mean
    return eps * np.sign(np.stack([g[y == c].sum(axis=0) for c in range(10)]))
    ### END SOLUTION


# %% [markdown]
# **Predict.** The same change is added to all test images of a class. How many does the maxout network get wrong?
#
# - hardly more than with random signs
# - more than half

# %%
if __name__ == "__main__":
    seen_x, seen_y = (part[:10_000] for part in networks.data.train)
    maxout = three[1]
    g = metrics.in_batches(lambda a, b: attacks.input_gradient(maxout, a, b), seen_x, seen_y)
    signs = np.random.default_rng(0).choice(np.array([-EPS, EPS], x.dtype), x.shape)
    changes = universal(g, seen_y, EPS)[y]  # for each test image the change of its class
    moved = {"error_common_exact": x + changes, "error_random": x + signs}
    errors = {name: np.mean(metrics.predict(maxout, images) != y) for name, images in moved.items()}
    compare("universal-direction", errors)

# %% [markdown]
# The direction matters more than the particular image, as the paper says.
#
# ## To think about
#
# Two networks are wrong on *every* example, and their agreement is high. But each of them gives only two different
# wrong classes. What must you know to tell whether the agreement shows that they resemble each other? And why does a
# cosine of 0.2 between two gradients say much in 784 dimensions, and little in two?
#
# ### BEGIN SOLUTION
# **For the teacher**, 3 points. 1: chance, from how often each gives each wrong class: agreement beyond it counts. 1:
# given the label, since a four has its own likely mistakes. 1: 0.2 is more than five times the size that random
# directions have in 784 dimensions (in two, random directions have a mean size of 0.64), and FGSM adds up 784 small
# products: that is enough.
# ### END SOLUTION
#
# ## Summary
#
# - Examples made on one network fool others, even of another architecture or trained on other images, and often into
#   the same wrong class.
# - Agreement is a share of something: say of what, and compare it with chance.
# - Gradients of different networks have a small but clear common direction. One change per class fools most images.
#
# **What this cannot explain yet.** What is the cause: the direction that networks share, or quirks that each has of its
# own? An average of many networks keeps the one and loses the others. If quirks are the cause, an ensemble resists.
# Lesson 12 tries it, and one more explanation.
