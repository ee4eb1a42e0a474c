"""How to fool yourself: attacks that fail, and what that proves

What came after the paper: why an error under one attack is only a lower bound, how gradients are masked, how labels
leak, and an audit of the paper's most famous number, 17.9 %.
"""

# %% [markdown]
# # Lesson 14. How to fool yourself: attacks that fail, and what that proves
#
# **Time:** about 90 minutes. **You need:** lessons 5, 6 and 8.
#
# **After this lesson you can**
#
# - say what the failure of an attack proves, and what it does not;
# - recognise a masked gradient, and attack in spite of it;
# - audit a claim of robustness with seven comparisons that any network should pass.
#
# ## The claims
#
# Adversarial training lowers the error under FGSM from 89.4 % to 17.9 % (Goodfellow, Shlens and Szegedy 2015, section
# 6). Shown the *naive* network's examples, the trained network is wrong on 19.6 %. Is it robust, then?

# %%
from __future__ import annotations

import numpy as np

from tinyadv import Tensor, attacks, grad, metrics, models
from tinyadv.backend import generator, noise
from tinyadv.course import compare, figure, lab, profile, scale, tabulate
from tinyadv.paper import recipes
from tinyadv.paper.draw import BLUE, GREEN, GREY, ORANGE
from tinyadv.paper.results_file import committed
from tinyadv.paper.show import gradients

EPS = 0.25
NAMES = ("naive", "adversarially trained")

# %% [markdown]
# ## What an attack proves
#
# Call an image safe if *no* image $\tilde x$ in its box, $|\tilde x_i - x_i| \le \varepsilon$ for all pixels, is
# misclassified. An attack tries one point of the box. If the network is wrong there, the image is not safe. If it is
# right, we know nothing: another point might still fool it.
#
# So the error under any attack is a *lower bound* of the share $R$ of images that are not safe. The strongest attack
# gives the best bound. A low error under a weak attack proves nothing.

# %% [markdown]
# ## An attack that does not know the label
#
# FGSM uses the true label $y$. An attacker who does not know it can take the network's own answer instead. On images
# that the network gets right both are the same attack. An image that it gets wrong is pushed away from the wrong class,
# and may end up right.
#
# ## Exercise 1 (easy): FGSM away from the network's own answer
#
# Return the images after one step of FGSM, with the network's answers to the clean images as labels.


# %%
def predicted_label_fgsm(model: models.Network, x: np.ndarray, eps: float) -> np.ndarray:
    """x `(N, D)`, one FGSM step of size eps away from the classes that the network itself gives to x.

    Float32 if x is; not clipped.
    """
    ### BEGIN SOLUTION
    return x + eps * np.sign(attacks.input_gradient(model, x, model(x).argmax(axis=1)))
    ### END SOLUTION


# %% [markdown]
# ## An attack that looks again
#
# FGSM looks at the gradient once. *Projected gradient descent* (PGD; Madry and others 2018) takes many small steps,
# and looks again before each. From $x'$ it goes to $x' + a\operatorname{sign} g$ with
# $g = \nabla_x J(\theta, x', y)$, and then back to the nearest point of the box. Each pixel has bounds of its own, so
# this is done pixel by pixel: clip it to the range from $x_i - \varepsilon$ to $x_i + \varepsilon$.
#
# Steps of $a = 2.5\,\varepsilon / \text{steps}$ add up to more than the width of the box, $2\varepsilon$, so every
# corner is in reach. PGD starts at a random point of the box, because training may have made the gradient at $x$
# itself misleading.
#
# ## Exercise 2 (medium): PGD
#
# Take these steps from a given starting point, and return the last point.
#
# <details><summary>Hint 1</summary>
#
# The labels stay those of the clean images, and the gradient is taken anew at each `x_adv`.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `.clip(x - eps, x + eps)` takes arrays as bounds: it is the way back into the box.
#
# </details>


# %%
def pgd(model: models.Network, x: np.ndarray, y: np.ndarray, eps: float, steps: int, start: np.ndarray) -> np.ndarray:
    """PGD from `start` `(N, D)` in the box of half width eps around x `(N, D)`.

    `steps` steps of size 2.5 eps / steps; the labels y are `(N,)`. The result `(N, D)` is float32 if x is.
    """
    ### BEGIN SOLUTION
    x_adv = start
    for _ in range(steps):
        g = attacks.input_gradient(model, x_adv, y)
        x_adv = (x_adv + 2.5 * eps / steps * np.sign(g)).clip(x - eps, x + eps)
    return x_adv
    ### END SOLUTION


# %% [markdown]
# **Predict.** The adversarially trained network resists FGSM. How often does PGD in the same box fool it?
#
# - about as often as FGSM
# - about twice as often
# - on almost all images

# %%
if __name__ == "__main__":
    networks, size = lab(), scale(profile())
    x, y = (part[:1000] for part in networks.data.test)
    naive = networks.network(recipes.maxout(size, 0, size.units))
    # "inference": in training the attack sees the network without dropout
    trained = networks.network(recipes.maxout(size, 0, size.units, adversarial="inference"))
    start = (x + noise(generator(0), x, EPS)).clip(x - EPS, x + EPS)  # a random point of the box
    x_pgd = pgd(trained, x, y, EPS, 20, start)
    print(f"The adversarially trained network, on {len(x):,} images:")
    for name, x_adv in {"FGSM": attacks.fgsm(trained, x, y, EPS), "PGD of 20 steps": x_pgd}.items():
        print(f"  {name} fools it on {np.mean(metrics.predict(trained, x_adv) != y):.1%}.")


# %% [markdown]
# ## A defence that does not defend
#
# Multiply a network's logits by $c = 100$. No answer changes, so $R$ does not change either. But look at the
# gradient. By lesson 5 the slope of the cost in the logit $z_k$ is $p_k - t_k$. Let $s = 1 - p_y$ be the probability
# that is left for all wrong classes together. Then the slope is
#
# $$-s \ \text{ for } k = y, \qquad p_k = s\,q_k \ \text{ for } k \ne y, \qquad
# q_k = \frac{e^{z_k}}{\sum_{j \ne y} e^{z_j}} .$$
#
# A network that is sure has a tiny $s$. In float32, numbers have 7 digits: $1 - p_y$ is rounded to 0 once $s$ is below
# about $10^{-7}$. Then the gradient *lacks the true class*, the very class that FGSM should lead away from. The paper's
# software very likely computed the gradient this way, and PyTorch, for example, still does. This package computes $s$
# as the sum of the small $p_j$ instead, and so keeps the class. But below about $10^{-45}$ the $p_j$ are rounded to 0
# too. Then the whole gradient is 0, and the "defence" has beaten FGSM.
#
# This is called *gradient masking*: the network is as easy to fool as before, but its gradient does not show how.
#
# The way out: $s$ is a factor of the *whole* gradient, one positive number for each image, and FGSM needs only the
# sign of the gradient. So leave $s$ out. Without it the slope is $-1$ for the label. For the *other* classes it is $q$,
# the softmax over these classes alone, which adds up to 1.
#
# ## Exercise 3 (medium): a direction that is never masked
#
# Return the slopes divided by $s$, for logits of any size. Beware of overflow.
#
# <details><summary>Hint 1</summary>
#
# For the label put $-\infty$ in the place of its logit: then a softmax over the rest is $q$, and 0 for the label.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Subtract the largest of the *others'* logits before the exponential.
#
# </details>


# %%
def direction(z: np.ndarray, y: np.ndarray) -> np.ndarray:
    """dJ_n/dz_n of each image's own cost, divided by 1 - p_y: `(N, K)`, finite for logits z `(N, K)` of any size.

    The labels y are `(N,)`. The result is float32 if z is.
    """
    ### BEGIN SOLUTION
    t = y[:, None] == np.arange(z.shape[1])
    others = np.where(t, -np.inf, z)
    q = np.exp(others - others.max(axis=1, keepdims=True))
    return q / q.sum(axis=1, keepdims=True) - t
    ### END SOLUTION


# %%
def step(model: models.Network, x: np.ndarray, y: np.ndarray, c: float, by_direction: bool) -> np.ndarray:
    """The sign of the input gradient if all logits are c times as large: by `direction`, or by the gradient of J."""
    X = Tensor(x)
    Z = c * model(X)
    # grad goes backwards from its cotangent, the g of lesson 4 (1 if none is given)
    if by_direction:
        return np.sign(grad(Z, [X], cotangent=direction(Z.data, y))[0])
    # J is a mean over N images: the cotangent N gives the gradient of each image's own cost
    return np.sign(grad(model.loss(Z, y), [X], cotangent=float(len(x)))[0])


# %% [markdown]
# **Predict.** All logits of the naive network are multiplied by 100. How often does FGSM with the gradient of $J$ still
# fool it?
#
# - as often as before: no answer has changed
# - hardly ever: most gradients are exactly 0

# %%
if __name__ == "__main__":
    factors = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
    images, labels = x[:500], y[:500]
    masked = [step(naive, images, labels, c, by_direction=False) for c in factors]
    exact = [step(naive, images, labels, c, by_direction=True) for c in factors]
    print("factor   FGSM error   entries exactly 0   error by direction")
    errors = {"FGSM": [], "its direction": []}
    for c, by_cost, by_direction in zip(factors, masked, exact, strict=True):
        errors["FGSM"].append(100 * np.mean(metrics.predict(naive, images + EPS * by_cost) != labels))
        errors["its direction"].append(100 * np.mean(metrics.predict(naive, images + EPS * by_direction) != labels))
        zeros = 100 * np.mean(by_cost == 0)
        print(f"{c:6.0f} {errors['FGSM'][-1]:10.1f} % {zeros:17.1f} % {errors['its direction'][-1]:18.1f} %")

# %% [markdown]
# The network is as easy to fool as ever. Only the gradient has gone.
#
# ## What float32 does to the paper's numbers
#
# Nobody has to multiply logits on purpose: training makes them large by itself. The next table shows numbers of the
# paper beside those of our longer runs, with the rounded gradient and with the exact one, on the same networks.

# %%
if __name__ == "__main__":
    lines = [[row.claim, row.quantity.label, *row.cells] for row in gradients(committed()) if not row.training]
    tabulate("p − t in float32", ["claim", "number", "paper", "ours, p − t rounded", "ours, exact"], lines)

# %% [markdown]
# On our networks the rounding takes the error from more than 99 % down to near the paper's 89.4 %. So the paper's
# number is very likely what float32 leaves of more than 99 %.
#
# The same rounding explains figure 4 (lesson 6). In the paper's figure a 4 is misclassified far away on *both* sides
# of $\varepsilon = 0$. Along the rounded gradient this happens to nine in ten of our fours, along the exact one only to
# about half of them. The exact gradient contains the true class. So for $\varepsilon < 0$, where the cost falls, this
# class wins.
#
# ## An audit
#
# Which attacks are too weak? Some *should* fool a network at least as often as others. Write A ≥ B if attack A should
# fool it on at least as many images as attack B. Where such an order is broken, the gradient does not show A the way:
#
# - **PGD ≥ FGSM.** Looking again and again, in the same box, shows more than looking once.
# - **FGSM ≥ noise**, and **FGSM ≥ clean.** Here *noise* moves each pixel by $+\varepsilon$ or $-\varepsilon$, as a coin
#   decides. A direction that is worth following is better than chance, and better than no step.
# - **FGSM ≥ FGSM clipped** to pixels from 0 to 1. Clipping takes a part of the step back, and the whole step should do
#   at least as much as a part of it. (Most attack libraries clip, the paper did not. Whoever gives an error has to say
#   which.)
# - **FGSM ≥ transfer**, and **PGD ≥ transfer.** An attacker who sees the network beats one who brings another network's
#   examples. In the paper it is not so: 17.9 % against 19.6 %.
# - **FGSM ≥ FGSM with the predicted label.** If it is the other way round, or if the error under FGSM is below the
#   clean error, the label *leaks*: the network has learned to read $y$ off perturbations that depend on $y$ (Kurakin
#   and others 2017).
# - **Hardly any gradient is exactly 0.** Where it is, FGSM does not move.
#
# In each pair the first attack should be the *stronger*, the second the *weaker*. When is a broken order more than
# chance? Compare both attacks on the *same* images. An image that both fool, or neither, says nothing. Let $w$ be the
# number of images on which only the weaker attack fools the network, and $t$ the number on which only the stronger
# does. Suppose that both attacks are equally good. Then each of these $w + t$ images is a coin toss: $+1$ for the
# weaker attack or $-1$ for the stronger, with mean 0 and variance 1. Variances add up, so $w - t$ has the standard
# deviation $\sqrt{w + t}$. The *score* $(w - t) / \sqrt{w + t}$ (McNemar 1947) is then above 2 in only one of 44 cases.
#
# ## Exercise 4 (medium): what is suspicious
#
# `ORDER`, below, lists pairs of attacks, the stronger first. Go through it in order, and leave out a pair if one of
# its attacks was not tried. Return a list with `(stronger, weaker, score)` for each pair whose *weaker* attack fools
# the network on more images than the stronger.
#
# <details><summary>Hint 1</summary>
#
# `wrong[weaker] & ~wrong[stronger]` are the images on which only the weaker attack succeeds; their number is $w$.
#
# </details>


# %%
ORDER = (
    ("FGSM", "noise"),
    ("FGSM", "clean"),
    ("FGSM", "clipped"),
    ("FGSM", "transfer"),
    ("FGSM", "predicted label"),
    ("PGD", "FGSM"),
    ("PGD", "transfer"),
)  # (stronger, weaker)


def violations(wrong: dict[str, np.ndarray]) -> list[tuple[str, str, float]]:
    """(stronger, weaker, score) of each pair of ORDER whose weaker attack fools more images, in the order of ORDER.

    wrong says, for each attack that was tried, which images are misclassified under it: booleans `(N,)`. A pair of
    which an attack was not tried is left out.
    """
    ### BEGIN SOLUTION
    found = []
    for stronger, weaker in ORDER:
        if stronger in wrong and weaker in wrong:
            w = (wrong[weaker] & ~wrong[stronger]).sum()
            t = (wrong[stronger] & ~wrong[weaker]).sum()
            if w > t:
                found.append((stronger, weaker, (w - t) / (w + t) ** 0.5))
    return found
    ### END SOLUTION


# %%
def audit(model: models.Network, other: models.Network, x: np.ndarray, y: np.ndarray, eps: float) -> dict:
    """For each attack, which images are misclassified under it, `(N,)`; transfer shows the examples of `other`."""
    signs = np.sign(noise(generator(0, "signs"), x, 1.0))
    x_fgsm = attacks.fgsm(model, x, y, eps)
    start = (x + noise(generator(0), x, eps)).clip(x - eps, x + eps)
    x_pgd = pgd(model, x, y, eps, 20, start)
    assert (x_pgd == attacks.pgd(model, x, y, eps, 20, generator(0))).all(), "our PGD is not the package's"
    tried = {
        "clean": x,
        "noise": x + eps * signs,
        "FGSM": x_fgsm,
        "transfer": attacks.fgsm(other, x, y, eps),
        "clipped": x_fgsm.clip(0, 1),
        "predicted label": predicted_label_fgsm(model, x, eps),
        "PGD": x_pgd,
    }
    return {name: metrics.predict(model, x_adv) != y for name, x_adv in tried.items()}


# %% [markdown]
# **Predict.** Which comparisons will the adversarially trained network fail?
#
# - none: it is robust
# - only "PGD ≥ FGSM"
# - some in which FGSM should be the stronger attack

# %%
if __name__ == "__main__":
    wrong_naive = audit(naive, trained, x, y, EPS)
    wrong_trained = audit(trained, naive, x, y, EPS)
    for name, found in zip(NAMES, (wrong_naive, wrong_trained), strict=True):
        print(f"{name}:", ", ".join(f"{attack} {at.mean():.1%}" for attack, at in found.items()))
        for stronger, weaker, score in violations(found):
            print(f"  masked? {weaker} fools it more often than {stronger}, score {score:.1f}")
    names = {
        "error_exact": "FGSM",
        "error_clipped_exact": "clipped",
        "pgd_error": "PGD",
        "transfer_error_exact": "transfer",
    }
    values = {key: wrong_trained[name].mean() for key, name in names.items()}
    values["naive_error_exact"] = wrong_naive["FGSM"].mean()
    values["zero_gradient_share"] = metrics.zero_gradient_share(trained, x, y)
    compare("adv-robust-1600", values, why=True)

# %% [markdown]
# (The column *this lesson* is about the first 1,000 images only.) In the quick profile FGSM on the adversarially
# trained network is weaker than its clipped version and than transfer, with scores far above 2. Scores that large are
# not chance; a score below 2 may be. The network learned to resist one step of one size along its own gradient. A
# shorter step, or one in another direction, still fools it, and small steps find the mistakes that one large step jumps
# over. The text below the table says what our longer runs show.

# %% tags=["hide-input"]
if __name__ == "__main__":
    sizes = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3)
    looks = {"PGD": (BLUE, "o-"), "transfer": (GREY, "x-."), "FGSM": (ORANGE, "s--"), "noise": (GREEN, "^:")}
    with figure("lesson14_masking.png", width=11, height=3.8) as canvas:
        *panels, right = canvas.subplots(1, 3, sharey=True)
        in_order = ((naive, trained), (trained, naive))
        for axes, name, (model, other) in zip(panels, NAMES, in_order, strict=True):
            found = [audit(model, other, images, labels, eps) for eps in sizes]
            for attack, (colour, look) in looks.items():
                axes.plot(sizes, [100 * at[attack].mean() for at in found], look, color=colour, label=attack)
            axes.set(xlabel="ε (pixels: 0 to 1)", ylabel="error, %", ylim=(-2, 102), title=name)
        right.semilogx(factors, errors["FGSM"], "s--", color=ORANGE, label="FGSM")
        right.semilogx(factors, errors["its direction"], "o-", color=BLUE, label="by direction")
        right.semilogx(factors, [100 * np.mean(signs == 0) for signs in masked], "^:", color=GREY, label="zeros in ∇J")
        right.set(xlabel="factor c of all logits", title=f"{NAMES[0]}, ε = {EPS}")
        for axes in (panels[0], right):
            axes.legend(frameon=False, handlelength=3)

# %% [markdown]
# Left and middle: the attacks on both networks, with steps of other sizes. On the adversarially trained network FGSM
# does *less* harm with some larger steps than with smaller ones, which is another sign of masking. Right: as the factor
# grows, more entries of the gradient are 0, and FGSM fails; along `direction` nothing changes.
#
# ## To think about
#
# A network passes the whole audit, and PGD fools it on 10 % of the images. What does that prove? Then somebody adds
# noise to each image before the network sees it, and PGD fools it on only 2 %. What would you try next?
#
# ### BEGIN SOLUTION
# **For the teacher**, 3 points. 1: that $R$ is at least 10 %; the checklist raises suspicion, it cannot end it. 1: each
# step saw other noise than the test: average the gradient over many draws and attack again (Athalye et al. 2018). 1: an
# attack must know the defence and be fitted to it; transfer and attacks without gradients are checks.
# ### END SOLUTION
#
# ## Summary
#
# - The error under an attack is a lower bound. That an attack fails proves nothing.
# - Gradients can be masked by rounding alone, and very likely it happened to the paper's own numbers.
# - Attacks have an order. Where it is broken, something is masked, or a label leaks.
#
# **What this cannot explain yet.** Is there a network with a small $R$, and a proof? *Certified* defences bound $R$
# from above. And digits are small: the paper began with photographs, and with convolutional networks. Every attack
# works there unchanged; lessons 15 and 16 show it.
