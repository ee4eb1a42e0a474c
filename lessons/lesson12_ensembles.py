"""Other hypotheses: ensembles and generative training

The paper's section 9: does averaging many networks, or training a model of the images themselves, make adversarial
examples go away? How much of their gradients survives averaging, three costs of an ensemble, and a Boltzmann machine
that is attacked through its own inference.
"""

# %% [markdown]
# # Lesson 12. Other hypotheses: ensembles and generative training
#
# **Time:** about 120 minutes. **You need:** lessons 4, 5, 8 and 11.
#
# **After this lesson you can**
#
# - attack an ensemble as a whole, in three different ways, and say how they differ;
# - compute how much of many gradients survives averaging;
# - let a Boltzmann machine infer a label, and attack it through its own inference;
# - say what the two hypotheses of section 9 predict, and what happens instead.
#
# ## The claims
#
# The paper (Goodfellow, Shlens and Szegedy 2015, section 9) considers two other explanations of adversarial examples,
# and puts both to the test.
#
# - *Each network has quirks of its own, and an average over many has none.* The test: twelve maxout networks, trained
#   from different random starts and averaged, see FGSM examples with $\varepsilon = 0.25$ that were made on all of
#   them, or on one member.
# - *A model that learned what images look like is not fooled.* The test: a generative model, the multi-prediction deep
#   Boltzmann machine (MP-DBM), which is wrong on 0.88 % of the clean images, and FGSM examples made on it.

# %%
from __future__ import annotations

from itertools import islice

import numpy as np

from tinyadv import Tensor, attacks, grad, losses, metrics, models, ops
from tinyadv.backend import generator
from tinyadv.course import compare, figure, lab, profile, scale
from tinyadv.dbm import DeepBoltzmannMachine, machine_of
from tinyadv.paper import recipes
from tinyadv.paper.draw import BLUE, GREEN, GREY, ORANGE, show_image
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
# ## One member's examples for all
#
# Does an attacker even have to know the whole ensemble? Make FGSM examples on a single member, and show them to the
# ensemble.
#
# ## Exercise 1 (easy): examples made on one member
#
# Return the error of the ensemble, which answers by the mean probability. As in lesson 11,
# `metrics.in_batches(f, x, y)` makes the examples a thousand at a time. `member(x)` gives a member's logits, and
# `member.probabilities(z)` makes probabilities of logits.


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


# %% [markdown]
# **Predict.** FGSM fools a single network on nearly all images. Of the examples made on *one* member, how many fool
# the whole ensemble?
#
# - few: the others have quirks of their own, and outvote that member
# - about half
# - most

# %%
if __name__ == "__main__":
    made_on_one = error_made_on(members, 0, x, y, EPS)
    print(f"The ensemble is wrong on {made_on_one:.1%} of the examples that were made on its first member.")

# %% [markdown]
# ## What survives averaging
#
# Why does that work? Look at the members' input gradients at one image, each divided by its length: $u_1, \dots, u_M$.
# Let $\rho$ (rho) be the mean cosine of two *different* members, the mean of $u_i^\top u_j$ over the $M(M - 1)$ pairs
# with $i \ne j$. The mean gradient has the squared length
#
# $$\Bigl\lVert\frac1M\sum_m u_m\Bigr\rVert^2 = \frac1{M^2}\sum_{i, j} u_i^\top u_j
# = \frac{M + M(M - 1)\rho}{M^2} = \rho + \frac{1 - \rho}M .$$
#
# If the members had nothing but quirks, then $\rho = 0$, and the mean gradient would shrink like $1/\sqrt M$. FGSM
# could still follow its signs. But with more and more members, a step of the same size would raise their mean cost
# less and less. What they *share* stays: as $M$ grows, the length does not shrink to 0 but tends to $\sqrt\rho$.
#
# ## Exercise 2 (medium): the mean cosine
#
# Return $\rho$ for each image, without a loop over the pairs.
#
# <details><summary>Hint 1</summary>
#
# The formula above, solved for the sum over $i \ne j$: the squared length of $\sum_m u_m$ minus the squares of the
# $u_m$. `attacks.unit(g)` divides each row by its length, and leaves a row of zeros as it is; the first of the three
# arrays that it returns is $u$.
#
# </details>


# %%
def shared(g: np.ndarray) -> np.ndarray:
    """rho `(N,)` from the members' input gradients g `(M, N, D)`, M > 1; float32 if g is.

    A row of zeros has the cosine 0 with the others.
    """
    ### BEGIN SOLUTION
    u, _, _ = attacks.unit(g)  # a row of zeros stays a row of zeros
    M = len(g)
    squares = (u * u).sum(axis=2).sum(axis=0)
    total = u.sum(axis=0)
    return ((total * total).sum(axis=1) - squares) / (M * (M - 1))
    ### END SOLUTION


# %%
if __name__ == "__main__":
    g = np.stack([attacks.input_gradient(member, x, y) for member in members])
    rho = shared(g)
    print(f"The mean cosine of two members' gradients is {rho.mean():.2f} on average over the images.")

# %% [markdown]
# Two random directions in 784 dimensions have a cosine of about 0.036 in size (lesson 11). The members share much more
# than that. A step along the gradient $u_1$ of one member also raises the costs of the others, since the product of
# $u_1$ with each of the other $u_m$ is about $\rho$. So an example made on one member fools the others too.
#
# ## Which cost does the attacker climb?
#
# An attacker who knows all members can do better than follow one of them. But they need *one* cost to climb. The
# paper says only that its examples "perturb the entire ensemble". There are at least three such costs. For one image
# with the label $y$:
#
# $$J_p = -\log\frac1M\sum_m p_{my}, \qquad J_z = -\log\operatorname{softmax}\Bigl(\frac1M\sum_m z_m\Bigr)_y, \qquad
# J_\Sigma = \sum_m -\log p_{my} .$$
#
# The first is the cost of the mean probability, the second that of the mean logits, the third the sum of the members'
# costs. (Both $J_p$ and $J_z$ are at most $J_\Sigma / M$, by Jensen's inequality: no image costs the ensemble more than
# its members on average.)
#
# Let $t_k$ be 1 for the label, and 0 for the other classes. By lesson 5 the slope of $-\log p_{my}$ in the logit
# $z_{mk}$ is $p_{mk} - t_k$. So the third cost needs no work: $\partial J_\Sigma/\partial z_{mk} = p_{mk} - t_k$. It
# looks at each member by itself, and a member that is already fooled has the largest slopes.
#
# In the second cost lesson 5's rule holds for the mean logits $\bar z = \frac1M\sum_m z_m$ with
# $q = \operatorname{softmax}(\bar z)$. How does $\bar z$ change with one member's $z_m$?
#
# ## Exercise 3 (medium): the gradient of $J_z$
#
# Return $\partial J_z/\partial z_{mk}$ in an array of shape `(M, N, K)`, for each image's own cost.
#
# <details><summary>Hint 1</summary>
#
# All members have the same gradient, but the result needs an axis for the members: `np.stack([a] * M)` repeats an
# array `a` along a new first axis.
#
# </details>


# %%
def by_logit(z: np.ndarray, y: np.ndarray) -> np.ndarray:
    """dJ_z/dz `(M, N, K)` of each image's own cost; float32 if z is.

    The logits z `(M, N, K)` may be of any size; the labels y are `(N,)`.
    """
    ### BEGIN SOLUTION
    t = y[:, None] == np.arange(z.shape[2])
    # (softmax(mean of z) - t) / M, the same for all members
    return np.stack([(ops.softmax(z.mean(axis=0)) - t) / len(z)] * len(z))
    ### END SOLUTION


# %% [markdown]
# So $J_z$ treats all members alike. The first cost does not. The slope of $p_{my}$ itself is $-p_{my}(p_{mk} - t_k)$,
# and the chain rule gives
#
# $$\frac{\partial J_p}{\partial z_{mk}} = r_m\,(p_{mk} - t_k), \qquad r_m = \frac{p_{my}}{\sum_j p_{jy}} .$$
#
# This cost gives each member the weight $r_m$: the more a member still believes in the label, the larger is its weight.
# A member that is fooled already is left alone.
#
# ## Exercise 4 (hard): the gradient of $J_p$
#
# Return $\partial J_p/\partial z_{mk}$ for all members, images and classes at once, by the formula above. Beware of
# rounding: where all members are fooled, all $p_{my}$ may be rounded to 0, and then $r_m = 0/0$. Write $r_m$ as a
# softmax over the members, and this cannot happen.
#
# <details><summary>Hint 1</summary>
#
# $r_m = e^{l_m} / \sum_j e^{l_j}$ with $l_m = \log p_{my}$. So $r$ is the softmax of $l$ over the members.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `ops.log_softmax(z)` gives $\log p$ for logits of any size. `ops.softmax` works along the last axis, so the members
# have to be the last axis for a moment.
#
# </details>


# %%
def by_probability(z: np.ndarray, y: np.ndarray) -> np.ndarray:
    """dJ_p/dz `(M, N, K)` of each image's own cost; float32 if z is.

    The logits z `(M, N, K)` may be of any size; the labels y are `(N,)`.
    """
    ### BEGIN SOLUTION
    t = y[:, None] == np.arange(z.shape[2])
    log_p = ops.log_softmax(z)
    # r_m = softmax over the members of log p_my, (M, N)
    of_label = log_p[:, t]
    r = ops.softmax(of_label.T).T
    return r[:, :, None] * (np.exp(log_p) - t)
    ### END SOLUTION


# %% [markdown]
# The third gradient is each member's $p - t$. The engine does the rest, from the logits back to the input: it starts at
# each member's own $\partial J/\partial z_m$, and the gradients for the input add up over the members. (Lesson 4 began
# the way back with $g = 1$. The argument `cotangent` of `grad` is another $g$ to begin with.)


# %%
def by_losses(z: np.ndarray, y: np.ndarray) -> np.ndarray:
    """dJ_Sigma/dz `(M, N, K)`: each member's p - t."""
    return ops.softmax(z) - (y[:, None] == np.arange(z.shape[2]))


def input_gradient(members: list[models.Network], x: np.ndarray, y: np.ndarray, rule) -> np.ndarray:
    """dJ/dx `(N, D)`, summed over the members; rule(z, y) gives dJ/dz for the logits z of all members."""
    z = np.stack([member(x) for member in members])
    total = np.zeros_like(x)
    for member, g in zip(members, rule(z, y), strict=True):
        X = Tensor(x)
        total += grad(member(X), [X], cotangent=g)[0]
    return total


def compare_with_package(members: list[models.Network], x: np.ndarray, y: np.ndarray) -> None:
    """Our gradients are those of the package's costs."""
    for name, rule in (("probability", by_probability), ("logit", by_logit), ("losses", by_losses)):
        ours = input_gradient(members, x, y, rule)
        package = attacks.input_gradient(Against(members, name), x, y)
        assert np.allclose(ours, package, rtol=1e-3, atol=1e-3 * abs(package).max()), f"{name}: not the same gradient"


# %%
if __name__ == "__main__":
    compare_with_package(members, x[:100], y[:100])
    print("Our gradients are those of the package's costs.")


# %%
def error_of_first(n: int, eps: float, rule) -> float:
    """The error of the first n members together, on examples made on all n of them."""
    g = metrics.in_batches(lambda a, b: input_gradient(members[:n], a, b, rule), x, y)
    return float(np.mean(metrics.predict(Average(members[:n]), x + eps * np.sign(g)) != y))


# %% [markdown]
# **Predict.** Which of the three costs gives the strongest attack on the whole ensemble?
#
# - that of the mean probability, $J_p$: the ensemble answers by it
# - that of the mean logits, $J_z$: it treats all members alike
# - the sum of the costs, $J_\Sigma$: no member is left alone
# - they are about equal

# %%
if __name__ == "__main__":
    rules = {"error_ensemble": by_probability, "error_mean_logit": by_logit, "error_summed_losses": by_losses}
    found = {f"{name}_exact": error_of_first(len(members), EPS, rule) for name, rule in rules.items()}
    found["error_member_exact"] = made_on_one
    found["clean_error"] = float(together)
    compare("ensemble-12", found, {name: metrics.wilson(round(v * len(y)), len(y)) for name, v in found.items()})

# %% [markdown]
# Averaging does not help, whichever cost the attacker climbs. The figure shows how little each further member adds.

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
    with figure("lesson12_ensembles.png", width=10, height=4) as canvas:
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
# Left: with small changes an ensemble of more members is a little harder to fool; with $\varepsilon = 0.25$ the number
# of members makes hardly any difference. Right: the mean gradient gets shorter, but it does not vanish.
#
# ## The other hypothesis: a model of the images
#
# A classifier learns which images have which label. A *generative* model learns how probable whole images are, together
# with their labels. So it learns what digits look like. Perhaps such a model still gives an attacked image its true
# label?
#
# The paper's generative model is a *deep Boltzmann machine*. It has four groups of units, which are 0 or 1:
#
# - the pixels $v$, of shape `(D,)`;
# - two layers of *hidden* units, $h_1$ of shape `(n1,)` and $h_2$ of shape `(n2,)`, with which the machine describes
#   the image;
# - the label $y$, of shape `(K,)`, *one-hot*: 1 for its class, and 0 for the others.
#
# It gives each state of all units an *energy*,
#
# $$E(v, h_1, h_2, y) = -b_v^\top v - b_1^\top h_1 - b_2^\top h_2 - b_3^\top y
# \qquad - h_1^\top W_1 v - h_2^\top W_2 h_1 - y^\top W_3 h_2 ,$$
#
# with weights $W_1$ of shape `(n1, D)`, $W_2$ of shape `(n2, n1)` and $W_3$ of shape `(K, n2)`, and with a bias for
# each unit: $b_v$, $b_1$, $b_2$ and $b_3$ have the shapes of $v$, $h_1$, $h_2$ and $y$. A state has a probability
# proportional to $e^{-E}$: a state of low energy is likely. The machine has no input, no output and no direction; each
# group is joined to its neighbours.
#
# ## What one unit thinks
#
# Take one hidden unit of $h_1$, number $i$, and suppose that all other units are known. The energy is linear in it:
# $E = E_0 - h_{1i}\,a_i$ with $a = W_1 v + W_2^\top h_2 + b_1$. The unit is 1 with a probability proportional to
# $e^{-E_0 + a_i}$, and 0 with one proportional to $e^{-E_0}$. So it is 1 with the probability
# $e^{a_i}/(1 + e^{a_i}) = \sigma(a_i)$. The same holds for $h_2$. Of the label exactly one entry is 1, so it gets a
# softmax in place of the sigmoid. Written for whole groups, with $p(h_1)$ for the probabilities that the entries of
# $h_1$ are 1:
#
# $$p(h_1) = \sigma(W_1 v + W_2^\top h_2 + b_1), \qquad p(h_2) = \sigma(W_2 h_1 + W_3^\top y + b_2), \qquad
# p(y) = \operatorname{softmax}(W_3 h_2 + b_3) .$$
#
# Check this on a small machine. How probable is it that one of its units is 1, by the energies and by the formula?

# %%
if __name__ == "__main__":
    tiny = DeepBoltzmannMachine((3, 2), inputs=4, classes=2, rng=generator(1, "tiny"))
    v, h1, h2, label = np.array([[1.0, 0, 1, 1]]), np.array([[0.0, 1, 1]]), np.array([[1.0, 0]]), np.array([[0.0, 1]])
    on, off = h1.copy(), h1.copy()
    on[0, 0], off[0, 0] = 1, 0
    weight_on, weight_off = (np.exp(-tiny.energy(v, h, h2, label))[0] for h in (on, off))
    a = v @ tiny.W1.data.T + h2 @ tiny.W2.data + tiny.b1.data
    print(f"by energies {weight_on / (weight_on + weight_off):.6f}, by the formula {ops.sigmoid(a)[0, 0]:.6f}")

# %% [markdown]
# ## Mean field
#
# When we ask for the label of an image, the machine knows only $v$. Each of the three formulas needs the result of
# another one. *Mean field* puts in probabilities where the units are not known, and repeats the formulas a fixed number
# of times, so that the probabilities settle. From here on $h_1$ and $h_2$ are these probabilities, not 0 or 1:
#
# - Round 1 goes upwards. What is above a layer is not known yet, so what comes from below counts twice:
#   $h_1 = \sigma(2\,W_1 v + b_1)$, then $h_2 = \sigma(2\,W_2 h_1 + b_2)$.
# - Each later round first uses the old $h_2$ to compute both of its neighbours: $h_1 = \sigma(W_1 v + W_2^\top h_2 +
#   b_1)$ and the label's logits $z = W_3 h_2 + b_3$. From these two it then computes the new
#   $h_2 = \sigma(W_2 h_1 + W_3^\top\operatorname{softmax}(z) + b_2)$.
# - The $z$ of the last round is the answer.
#
# ## Exercise 5 (hard): inference
#
# Return $z$ for N images after `rounds` rounds, the first one included. Apart from `+` and `*` use only `@`, `.T`,
# `ops.sigmoid` and `ops.softmax`. Then for a Tensor the engine records all rounds, and an attack can go back through
# them.
#
# <details><summary>Hint 1</summary>
#
# Images are rows, so each product has its matrix on the right: $W_1 v$ becomes `v @ W1.T`, and $W_2^\top h_2$ becomes
# `h2 @ W2`.
#
# </details>
# <details><summary>Hint 2</summary>
#
# A loop over `range(rounds - 1)`, since round 1 stands before it. The update of $h_2$ comes last in the loop; in the
# last round it is not needed any more, but does no harm.
#
# </details>


# %%
def infer(v, W1, W2, W3, b1, b2, b3, rounds: int):
    """The label's logits z `(N, K)` for images v `(N, D)`, after `rounds` rounds of mean field, at least 2.

    W1 is `(n1, D)`, W2 `(n2, n1)`, W3 `(K, n2)`; the biases are `(n1,)`, `(n2,)` and `(K,)`.
    For arrays the result is an array, for a Tensor v a Tensor.
    """
    ### BEGIN SOLUTION
    below = v @ W1.T
    h1 = ops.sigmoid(2.0 * below + b1)
    h2 = ops.sigmoid(2.0 * (h1 @ W2.T) + b2)
    for _ in range(rounds - 1):
        h1 = ops.sigmoid(below + h2 @ W2 + b1)
        z = h2 @ W3.T + b3
        h2 = ops.sigmoid(h1 @ W2.T + ops.softmax(z) @ W3 + b2)
    return z
    ### END SOLUTION


# %% [markdown]
# ## How it is trained
#
# The probability of an image would be a sum over all states of the hidden units, far too many to add up. The
# *multi-prediction* machine (Goodfellow, Mirza, Courville and Bengio 2013; MP-DBM) is trained on the task that it will
# have to solve. Each step hides about half of the pixels, and about half of the labels, and mean field has to predict
# them from the rest. (In training each pixel is made black or white at random; its grey is the probability of white.)
#
# For a hidden pixel the energy gives a formula as for $h_1$ and $h_2$: the pixels have the logits
# $z_v = W_1^\top h_1 + b_v$, and each is white with the probability $\sigma(z_v)$. The label's logits are called $z_y$
# here. Let $V$ be the true pixels, 0 or 1, and $Y$ the true labels, one-hot. Two *masks* say what was hidden: $M_{ni}$
# is 1 for a hidden pixel, and $m_n$ is 1 for a hidden label. (From here on $M$ and $m$ are these masks, and have
# nothing to do with the members of an ensemble.) Each hidden pixel or label costs minus the logarithm of the
# probability that the machine gave to the truth. What was shown costs nothing:
#
# $$J = \frac1{ND}\sum_{n, i} M_{ni}\,\bigl(-\log p(V_{ni})\bigr) + \frac1{ND}\sum_n m_n\,\bigl(-\log p(Y_n)\bigr) .$$
#
# ## Exercise 6 (hard): the cost of multi-prediction
#
# Return $J$ from the logits. It has to be finite for logits of any size.
#
# <details><summary>Hint 1</summary>
#
# For a white pixel $-\log p$ is $\zeta(-z)$, for a black one $\zeta(z)$, with the softplus $\zeta$ of lesson 2. Which
# factor, computed from $V$, is $-1$ for a white pixel and $1$ for a black one?
#
# </details>
# <details><summary>Hint 2</summary>
#
# `-(Y * ops.log_softmax(z_y)).sum(axis=1)` is $-\log p$ of each label. Mind the shape of $m$.
#
# </details>


# %%
def prediction_cost(
    z_v: np.ndarray, z_y: np.ndarray, V: np.ndarray, Y: np.ndarray, M: np.ndarray, m: np.ndarray
) -> float:
    """J of multi-prediction, one number.

    Logits z_v `(N, D)` of pixels V `(N, D)`, which are 0 or 1, and z_y `(N, K)` of labels Y `(N, K)`,
    one-hot. Masks M `(N, D)` and m `(N,)` are 1 for what was hidden, and 0 for what was shown.
    """
    ### BEGIN SOLUTION
    of_pixels = np.logaddexp(0, (1 - 2 * V) * z_v)
    of_labels = -(Y * ops.log_softmax(z_y)).sum(axis=1)
    return float(((M * of_pixels).sum() + (m * of_labels).sum()) / V.size)
    ### END SOLUTION


# %% [markdown]
# Our inference and our cost must agree with those of the package's machine, `tinyadv.dbm`, which the engine
# differentiates for training. A trained one comes with the package: 200 and 200 hidden units, 20 passes over the
# images.

# %%
if __name__ == "__main__":
    network = models.embedded("mp-dbm")
    machine = machine_of(network)
    weights = [p.data for p in (machine.W1, machine.W2, machine.W3, machine.b1, machine.b2, machine.b3)]
    ours = infer(x, *weights, rounds=machine.iterations)
    print(f"Logits by our inference and by the package's differ by {abs(ours - network(x)).max():.0e}.")

    rng = np.random.default_rng(0)
    V, Y = (x[:100] > 0.5).astype("float32"), np.eye(10, dtype="float32")[y[:100]]
    M, m = (rng.random(V.shape) < 0.5).astype("float32"), (rng.random(100) < 0.5).astype("float32")
    # one pair of logits for each round after the first; J asks for the last
    later_rounds = list(islice(machine.predictions(V, Y, M, m[:, None]), machine.iterations - 1))
    z_v, z_y = later_rounds[-1]
    cost = prediction_cost(z_v, z_y, V, Y, M, m)
    print(f"The cost by hand is {cost:.6f}, by the package {machine.cost(V, Y, M, m[:, None]).item():.6f}.")

# %% [markdown]
# We can see that it knows something about images. Hide the lower half of a digit, and let the machine fill it in:

# %% tags=["hide-input"]
if __name__ == "__main__":
    lower = np.zeros((6, 28, 28), "float32")
    lower[:, 14:] = 1
    lower = lower.reshape(6, 784)
    expected, _ = machine.fill_in(x[:6], lower)
    rows = {"shown": x[:6] * (1 - lower), "filled in": x[:6] * (1 - lower) + expected * lower, "the image": x[:6]}
    with figure("lesson12_filled.png", width=6, height=3.4) as canvas:
        for line, (name, pictures) in zip(canvas.subplots(3, 6), rows.items(), strict=True):
            for axes, picture in zip(line, pictures, strict=True):
                show_image(axes, picture, "", 0, 1)
            line[0].set_ylabel(name)

# %% [markdown]
# ## Attacked through its own inference
#
# All rounds of mean field can be differentiated. So FGSM needs nothing new: a Tensor goes in, the cost of the label
# comes out, and `grad` goes back through all rounds.
#
# **Predict.** The machine knows what digits look like, and has no direction from pixels to labels. How often does FGSM
# with $\varepsilon = 0.25$ fool it?
#
# - hardly ever: an attacked image is unlikely under the model
# - on about half of the images
# - on most images, as with the naive maxout networks of the earlier lessons


# %%
def attacked_through_inference(x: np.ndarray, y: np.ndarray, weights: list, rounds: int, eps: float) -> np.ndarray:
    """FGSM examples of a Boltzmann machine, the gradient taken through all rounds; x is `(N, D)`, y `(N,)`."""
    X = Tensor(x)
    J = losses.softmax_cross_entropy(infer(X, *weights, rounds=rounds), y)
    (g,) = grad(J, [X])
    return x + eps * np.sign(g)


# %%
if __name__ == "__main__":
    x_adv = metrics.in_batches(lambda a, b: attacked_through_inference(a, b, weights, machine.iterations, EPS), x, y)
    package = metrics.in_batches(lambda a, b: attacks.fgsm(network, a, b, EPS), x, y)
    assert np.mean(x_adv != package) < 1e-3, "our attack is not the package's"
    clean, fooled = metrics.evaluate(network, x, y), metrics.evaluate(network, x_adv, y)
    sure = fooled.confidence_on_mistakes
    compare("mp-dbm", {"clean_error": clean.error, "error_exact": fooled.error, "confidence_on_mistakes_exact": sure})

# %% [markdown]
# It is fooled, although it models images, and although its answer comes out of many rounds. Inference is a computation
# like any other, and the attacker differentiates it. (The paper's machine is larger, with 2,087 and 3,200 hidden units,
# and was trained for hundreds of passes.)

# %% [markdown]
# ## To think about
#
# The MP-DBM is one generative model, and it is fooled. Which conclusion about generative training follows from this,
# and which does not? And how would twelve networks have to differ for their average to resist?
#
# ### BEGIN SOLUTION
# **For the teacher**, 3 points. 1: being generative is not enough by itself; the paper adds that another generative
# training might help. 1: the attack went through the model's own inference, so that no classifier on top is to blame.
# 1: gradients that share little, $\rho$ near 0, on every image, though all learned the same task from the same data.
# ### END SOLUTION
#
# ## Summary
#
# - An ensemble can be attacked as a whole, by at least three costs. All three fool it on most images.
# - What members share survives averaging: the length of the mean of unit gradients tends to $\sqrt\rho$, not to 0.
# - A Boltzmann machine infers a label by rounds of mean field. They can be differentiated, so it can be attacked; and
#   it is fooled too.
#
# **What this cannot explain yet.** All examples so far began as an image of a digit. What do networks say about inputs
# that show no digit at all, and how hard is it to turn such an input into any class that we want? Lesson 13 tries it.
