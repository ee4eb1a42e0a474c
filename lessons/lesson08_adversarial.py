"""Adversarial training of maxout networks: learning from one's own worst examples

The paper's section 6 and its figure 3: the objective in five lines on top of the engine, what its gradient leaves out,
when to stop, who is fooled by whose examples, and what becomes of the filters.
"""

# %% [markdown]
# # Lesson 8. Adversarial training of maxout networks: learning from one's own worst examples
#
# **The claims** (Goodfellow, Shlens and Szegedy 2015, section 6). Trained on its own FGSM examples beside the clean
# images, a maxout network of 240 units a layer errs on .84 % of the test images, in place of .94 %. With 1600 units its
# error under FGSM of $\varepsilon = .25$ is 17.9 %, where it was 89.4 %. It errs on 19.6 % of the naive network's
# examples, the naive one on 40.9 % of its. Where it is fooled it is still sure, with a mean confidence of 81.4 %. And
# its first layer's weights are more local (figure 3).
#
# **The objective.** With the attack of lesson 3 and $\alpha = .5$,
#
# $$\tilde J(\theta, x, y) = \alpha\,J(\theta, x, y) + (1 - \alpha)\,J(\theta, \tilde x, y), \qquad
# \tilde x = x + \varepsilon\,\operatorname{sign}\bigl(\nabla_x J(\theta, x, y)\bigr) .$$
#
# $x$ and $\tilde x$ are `(N, D)`: each image of a batch counts twice, clean and attacked, with its true label. (A batch
# of which one half is attacked would be something else.) Each step makes $\tilde x$ anew, against the network of now.
#
# **Its gradient.** $\tilde x$ depends on $\theta$ too, so by the chain rule the attacked half has two terms:
#
# $$\frac{d}{d\theta} J(\theta, \tilde x(\theta), y) = \frac{\partial J}{\partial\theta}(\theta, \tilde x, y)
# + \Bigl(\frac{\partial\tilde x}{\partial\theta}\Bigr)^{\!\top} \nabla_{\tilde x} J(\theta, \tilde x, y) .$$
#
# But an entry of $\tilde x$ is $x_i + \varepsilon$ or $x_i - \varepsilon$. A small enough change of $\theta$ leaves
# every sign as it is and moves no $\tilde x_i$: the second term is 0 wherever no entry of $\nabla_x J$ is. So to take
# the attack as a *constant* is no approximation, it is the derivative. What it lacks is foresight: a step makes today's
# examples cheaper, and does not know which examples tomorrow's network will be given (lesson 9).
#
# **Whom to attack.** At test time the attacker sees the network without dropout. And in training? The paper is silent.
# Under a batch's masks he attacks one thinned network of very many, and the others need not mind. So here he sees the
# whole network, `model(x)`; only the passes that train have masks, `model(x, rng=rng)`. `main` prints what the other
# choice did in longer runs.

# %%
from __future__ import annotations

from functools import partial

import numpy as np

from tinyadv import Tensor, attacks, grad, losses, metrics, models, parameters
from tinyadv.backend import generator
from tinyadv.course import compare, figure, lab, scale
from tinyadv.paper import recipes
from tinyadv.paper.figures import BLUE, ORANGE
from tinyadv.paper.results import committed

EPS, WINDOW, SHOWN = 0.25, 9, 6
# "quick" is smaller than published; lighter dropout, a larger start and more momentum let it learn at once


# %% [markdown]
# **Exercise 1** is the objective. **Exercise 2: who fools whom?** An attack needs a gradient, but not that of the
# network that is shown the result. In the matrix $E$ let $E_{ij}$ be the error of network $j$ on the FGSM examples
# made on network $i$; the diagonal is the usual attack. If a network errs *more* on examples made elsewhere than on
# its own, then its own gradient does not show where it is weak, and the diagonal flatters it; the paper's 19.6 % and
# 17.9 % are such a pair. A single step may flatter too: `main` also tries PGD, twenty small steps in the same box.
#
# **Exercise 3: when to stop?** With 240 units the attacked training images were never all learned: to be level around
# every image and yet tell them apart takes units. The paper took 1600. These overfit, so validation images choose the
# epochs, by *patience*: an epoch is the best so far if its error is below all before it, and training ends so many
# epochs (the paper: 100) after the best. The paper found the validation error soon flat and that on
# *attacked* validation images still falling; so its rule watches the latter (figure, right).
#
# **Exercise 4: how local is a filter?** To be wrong, a claim needs a number. Ours is the largest share of a filter's
# squared weights in one square window $B$, of 9 by 9 pixels: $L(w) = \max_B \sum_{i \in B} w_i^2 / \sum_i w_i^2$.
# Equal weights have $(9/28)^2 = 10$ %, a filter that looks at one spot has 1. Why may training make filters local?
# FGSM moves an activation by up to $\varepsilon\lVert w\rVert_1$. If only k weights are not 0, this is at most
# $\varepsilon\sqrt k\,\lVert w\rVert_2$: at equal length, few pixels are safer. We leave out pieces that are the
# largest of their unit for no image: nothing moves them, they are still their random start.


# %%
def adversarial_objective(model, x, y, rng, eps: float, alpha: float) -> tuple[float, list[np.ndarray]]:
    """alpha J(x) + (1 - alpha) J(x_adv), one number, both with masks; and its gradients for `parameters(model)`."""
    ### BEGIN SOLUTION
    X = Tensor(x)
    (g,) = grad(model.loss(model(X), y), [X])
    # x + eps sign(grad_x J): an array, so a constant
    x_adv = x + eps * np.sign(g)
    J = alpha * model.loss(model(Tensor(x), rng=rng), y) + (1 - alpha) * model.loss(model(Tensor(x_adv), rng=rng), y)
    return J.item(), grad(J, parameters(model))
    ### END SOLUTION


def transfer(networks: list[models.Network], x: np.ndarray, y: np.ndarray, eps: float) -> np.ndarray:
    """E `(K, K)`, shares from 0 to 1: how often each of K networks errs on each one's `attacks.fgsm`; x `(N, D)`."""
    ### BEGIN SOLUTION
    examples = [metrics.in_batches(partial(attacks.fgsm, network, eps=eps), x, y) for network in networks]
    return np.array([[np.mean(metrics.predict(network, x_adv) != y) for network in networks] for x_adv in examples])
    ### END SOLUTION


def stop(errors: list[float], patience: int) -> tuple[int, int]:
    """The best epoch and the last that is trained, counted from 1; errors `(epochs,)`; it is at most all of them."""
    ### BEGIN SOLUTION
    best = epoch = 1
    while epoch < len(errors) and epoch < best + patience:
        epoch += 1
        best = epoch if errors[epoch - 1] < errors[best - 1] else best
    return best, epoch
    ### END SOLUTION


def locality(w: np.ndarray, window: int) -> np.ndarray:
    """L `(N,)`, from 0 to 1, of filters w `(N, side * side)`, none of them all 0; B has `window` pixels a side."""
    ### BEGIN SOLUTION
    side = int(np.sqrt(w.shape[1]))
    squares = w.reshape(-1, side, side) ** 2
    inside = np.lib.stride_tricks.sliding_window_view(squares, (window, window), axis=(1, 2)).sum(axis=(3, 4))
    return inside.max(axis=(1, 2)) / squares.sum(axis=(1, 2))
    ### END SOLUTION


def alive(network: models.Network, x: np.ndarray) -> np.ndarray:
    """The first layer's pieces `(N, D)` that are the largest of their unit for some of the images x."""
    W, b = (p.data for p in parameters(network)[:2])
    a = (x @ W.reshape(-1, W.shape[2]).T + b).reshape(len(x), *W.shape[:2])
    return W[(a == a.max(axis=1, keepdims=True)).any(axis=0)]


# %%
def main(profile: str = "quick") -> None:
    """Check our objective, take the networks from the lab, measure what the paper did, draw its figure 3."""
    chosen, networks = scale(profile), lab()
    (x, y), unseen = networks.data.test, networks.data.validation.x
    model = models.maxout_network(8, 3, keep=(1.0, 1.0), scale=0.1, rng=generator(0)).to(dtype="float64")
    same = [f(model, x[:50].astype("float64"), y[:50], None, eps=EPS, alpha=0.3) for f in (
        adversarial_objective, losses.adversarial_objective)]  # fmt: skip
    assert all(map(partial(np.allclose, rtol=1e-9), same[0][1], same[1][1])), "our objective is not the package's"

    def pair(units: int) -> list[models.Network]:
        return [networks.network(recipes.maxout(chosen, 0, units, adversarial=a)) for a in (False, True)]

    errors = [metrics.evaluate(network, x, y).error for network in pair(240)]
    compare("adv-train-240", {"naive_error": errors[0], "adversarially_trained_error": errors[1]})
    naive, trained = both = pair(chosen.units)
    E = transfer(both, x, y, EPS)
    pgd = metrics.predict(trained, attacks.pgd(trained, x[:1000], y[:1000], EPS, rng=generator(0))) != y[:1000]
    compare("adv-robust-1600", {"error": E[1, 1], "naive_error": E[0, 0], "pgd_error": pgd.mean()})
    print("Whom to attack, and how long (longer runs, validation images):")
    varied = committed("lesson")["adv-robust-1600"].measurements[0]  # which tried both
    for text, error, _, clean in varied.details["variations"]["rows"]:
        print(f"  {text}: error {error:.1%} under FGSM, {clean:.2%} clean")
    compare("adv-transfer", {"error_naive_to_trained": E[0, 1], "error_trained_to_naive": E[1, 0]})
    attacked = metrics.evaluate(trained, metrics.in_batches(partial(attacks.fgsm, trained, eps=EPS), x, y), y)
    compare("adv-confidence", {"confidence_on_mistakes": attacked.confidence_on_mistakes})
    pieces = [alive(network, unseen) for network in both]
    assert all(np.allclose(locality(w, WINDOW), metrics.window_energy(w, WINDOW)) for w in pieces)
    L = [float(locality(w, WINDOW).mean()) for w in pieces]
    compare("fig3-filters", {"locality_naive": L[0], "locality_trained": L[1]}, holds=L[1] > L[0])
    log = committed()["adv-stopping"].measurements[0].details
    draw({"naive": naive, "adversarially trained": trained}, log)
    print("With patience {} it would keep epoch {} and end at {}.".format(3, *stop(log["adversarial_error"], 3)))


def draw(networks: dict, log: dict) -> None:
    """Figure 3 of the paper, a unit's pieces in a row; and a longer run's validation errors."""
    with figure("lesson08_figure3.png", width=11, height=4.4) as canvas:
        *panels, right = canvas.subplots(1, 3, width_ratios=[3, 3, 4])
        for axes, (name, network) in zip(panels, networks.items(), strict=True):
            w = parameters(network)[0].data
            w = w[:, generator(0, "figure 3").permutation(w.shape[1])[:SHOWN]]
            tiles = (w / np.abs(w).max(axis=2, keepdims=True)).reshape(-1, SHOWN, 28, 28)
            framed = np.pad(tiles, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=np.nan)
            axes.imshow(framed.transpose(1, 2, 0, 3).reshape(SHOWN * 30, -1), cmap="gray", vmin=-1, vmax=1)
            axes.set(xticks=[], yticks=[], title=name, xlabel="pieces (grey: 0)", ylabel="units")
        seldom = 1 + len(log["epoch"]) // 20  # marks beside each other would hide the line
        for key, colour, style in (("error", BLUE, "o-"), ("adversarial_error", ORANGE, "s--")):
            look = {"color": colour, "label": key.replace("_", " "), "markevery": seldom}
            right.semilogy(log["epoch"], [100 * e for e in log[key]], style, **look)
        right.set(xlabel="epoch", ylabel="% of the validation images", title="adversarial training, a longer run")
        right.yaxis.set_major_formatter(lambda value, position: f"{value:g}")
        right.legend(frameon=False)


# %%
if __name__ == "__main__":
    main()

# %% [markdown]
# **To think about.** Compare the trained network's error under FGSM with that under PGD. What has it learned, and what
# has it not? What does its clean error say about that?
#
# ### BEGIN SOLUTION
# **For the teacher**, 3 points. 1: to resist one step along its own gradient, which is all that it was ever shown; PGD
# looks further in the same box. 1: an error under one attack is a lower bound for the worst case, so that a figure of
# robustness has to name its attack. 1: nothing; it is measured where nobody attacks.
# ### END SOLUTION
#
# **What this cannot explain yet.** What does the work here? Noise of the same size, an attack that the gradient goes
# through, a perturbed hidden layer each change one thing: the next lesson tries them.
