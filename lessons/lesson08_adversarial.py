"""Adversarial training of maxout networks: learning from one's own worst examples

The paper's section 6 and its figure 3: the objective in five lines on top of the engine, what its gradient leaves out,
when to stop, who is fooled by whose examples, and what becomes of the filters.
"""

# %% [markdown]
# # Lesson 8. Adversarial training of maxout networks: learning from one's own worst examples
#
# **Time:** about 90 minutes. **You need:** lessons 5 to 7.
#
# **After this lesson you can**
#
# - write the paper's adversarial objective on top of the engine;
# - measure who is fooled by whose examples, and read what that says;
# - decide when to stop training, and say how local a filter is.
#
# ## The claims
#
# The paper (Goodfellow, Shlens and Szegedy 2015, section 6) trains maxout networks on clean images and on their own
# FGSM examples. A network that is trained on clean images only is called *naive* here.
#
# - With 240 units per layer the error on clean test images falls from 0.94 % to 0.84 %.
# - With 1600 units the error under FGSM with $\varepsilon = 0.25$ falls from 89.4 % to 17.9 %.
# - The adversarially trained network is wrong on 19.6 % of the examples made on the naive network, and the naive
#   network on 40.9 % of those made on the trained one.
# - When the trained network is fooled it is still sure: the mean confidence on its mistakes is 81.4 %.
# - The weights of its first layer are more local (figure 3).

# %%
from __future__ import annotations

from functools import partial

import numpy as np

from tinyadv import Tensor, attacks, grad, losses, metrics, models, parameters
from tinyadv.backend import generator
from tinyadv.course import compare, figure, lab, profile, scale
from tinyadv.paper import recipes
from tinyadv.paper.draw import BLUE, ORANGE
from tinyadv.paper.results_file import committed

EPS = 0.25
WINDOW = 9  # the side, in pixels, of the window in which we look for a filter's weight

# %% [markdown]
# ## The objective
#
# With the attack of lesson 3 and $\alpha = 0.5$, training minimises
#
# $$\tilde J(\theta, x, y) = \alpha\,J(\theta, x, y) + (1 - \alpha)\,J(\theta, \tilde x, y), \qquad
# \tilde x = x + \varepsilon\,\operatorname{sign}\bigl(\nabla_x J(\theta, x, y)\bigr) .$$
#
# Each image of a batch counts twice, clean and attacked, with its true label. (Attacking only one half of the batch
# would be something else.) Each step makes $\tilde x$ anew, against the network as it is now.
#
# **Its gradient.** $\tilde x$ depends on $\theta$ too, so by the chain rule the gradient of the attacked cost has two
# terms. (The matrix $\partial\tilde x/\partial\theta$ has a row for each pixel and a column for each parameter.)
#
# $$\frac{d}{d\theta} J(\theta, \tilde x(\theta), y) = \frac{\partial J}{\partial\theta}(\theta, \tilde x, y)
# + \Bigl(\frac{\partial\tilde x}{\partial\theta}\Bigr)^{\!\top} \nabla_{\tilde x} J(\theta, \tilde x, y) .$$
#
# But where the gradient is not exactly 0, an entry of $\tilde x$ is $x_i + \varepsilon$ or $x_i - \varepsilon$. A small
# enough change of $\theta$ leaves the signs as they are, so these entries do not move. So if no entry of the gradient
# is exactly 0, the second term is 0, and taking the attacked images as a *constant* is no approximation: it is the
# derivative. But such a training step does not look ahead. It makes today's examples cheaper, and does not know which
# examples tomorrow's network will be given.
#
# **Whom to attack.** Training uses dropout (lesson 5). Does the attacker see the network with this batch's masks, or
# without dropout? The paper does not say. In its software the attack most likely sees the masks. In our longer runs it
# sees them too, and we also try it without them. In this lesson the attack sees the network without dropout,
# `model(x)`. The two costs of the objective are computed with masks, `model(..., rng=rng)`. If `rng` is None there is
# no dropout.
#
# ## Exercise 1 (medium): the adversarial objective
#
# Return the objective $\tilde J$, and its gradients for `parameters(model)`.
#
# <details><summary>Hint 1</summary>
#
# First FGSM as in lesson 3. Then the two costs with masks, one of `Tensor(x)` and one of `Tensor(x_adv)`.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `grad(J, parameters(model))` gives the gradients, and `J.item()` the number. An array `x_adv` is a constant by itself.
#
# </details>


# %%
def adversarial_objective(model, x, y, rng, eps: float, alpha: float) -> tuple[float, list[np.ndarray]]:
    """alpha J(x) + (1 - alpha) J(x_adv), one number, and its gradients for `parameters(model)`.

    The attack sees the network without dropout; both costs are computed with masks, drawn from rng.
    """
    ### BEGIN SOLUTION
    X = Tensor(x)
    (g,) = grad(model.loss(model(X), y), [X])
    # x + eps sign(grad_x J): an array, so a constant
    x_adv = x + eps * np.sign(g)
    clean = model.loss(model(Tensor(x), rng=rng), y)
    attacked = model.loss(model(Tensor(x_adv), rng=rng), y)
    J = alpha * clean + (1 - alpha) * attacked
    return J.item(), grad(J, parameters(model))
    ### END SOLUTION


# %%
if __name__ == "__main__":
    networks, size = lab(), scale(profile())
    x, y = networks.data.test
    model = models.maxout_network(8, 3, keep=(1.0, 1.0), scale=0.1, rng=generator(0)).to(dtype="float64")
    some = x[:50].astype("float64"), y[:50]
    _, ours = adversarial_objective(model, *some, None, eps=EPS, alpha=0.3)
    _, package = losses.adversarial_objective(model, *some, None, eps=EPS, alpha=0.3)
    for by_us, by_package in zip(ours, package, strict=True):
        assert np.allclose(by_us, by_package, rtol=1e-9), "our objective is not the package's"
    print("Our objective has the gradients of the package's.")

# %% [markdown]
# ## Does it help on clean images?
#
# The quick profile trains both networks for only a few epochs. The column *ours* has longer runs.
#
# **Predict.** In the paper adversarial training lowers the error on clean test images. Does it after a short training?
#
# - yes, by half a percentage point or more
# - no: it lowers the error by less than that, or not at all

# %%
if __name__ == "__main__":
    naive240 = networks.network(recipes.maxout(size, 0, 240))
    # "inference": in training the attack sees the network without dropout
    trained240 = networks.network(recipes.maxout(size, 0, 240, adversarial="inference"))
    errors = [metrics.evaluate(network, x, y).error for network in (naive240, trained240)]
    compare("adv-train-240", {"naive_error": errors[0], "adversarially_trained_error": errors[1]})

# %% [markdown]
# No. The paper's gain of 0.1 percentage points is ten of 10,000 images, after hundreds of epochs. After a short
# training, chance alone moves an error of 3 % by 0.3 points in each direction, so a gain of 0.1 points could not be
# seen at all.
#
# ## Who fools whom?
#
# An attack needs the gradient of some network. It need not be the network that is then shown the examples. Let $E_{ij}$
# be the error of network $j$ on the FGSM examples made on network $i$. In the matrix $E$ of these errors, the diagonal
# is the usual attack.
#
# What would it mean if a network were wrong *more often* on examples made elsewhere than on its own? Then its own
# gradient does not show where it is weak, and the diagonal flatters it. The paper's 19.6 % and 17.9 % are such a pair.
#
# ## Exercise 2 (medium): the matrix
#
# Return $E$ for a list of K networks.
#
# <details><summary>Hint 1</summary>
#
# Two loops: the outer one makes examples on network $i$, the inner one shows them to all networks $j$.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `metrics.in_batches(partial(attacks.fgsm, source, eps=eps), x, y)` makes the examples a thousand at a time. (Here
# `partial` makes a function of the two arguments that are left, the images and their labels.)
# `metrics.predict(target, x_adv)` gives the classes that a network answers.
#
# </details>


# %%
def transfer(networks: list[models.Network], x: np.ndarray, y: np.ndarray, eps: float) -> np.ndarray:
    """E `(K, K)`, shares from 0 to 1: E[i, j] is how often network j errs on network i's examples.

    The examples are those of `attacks.fgsm`; x is `(N, D)`, y `(N,)`.
    """
    ### BEGIN SOLUTION
    E = np.zeros((len(networks), len(networks)))
    for i, source in enumerate(networks):
        x_adv = metrics.in_batches(partial(attacks.fgsm, source, eps=eps), x, y)
        for j, target in enumerate(networks):
            E[i, j] = np.mean(metrics.predict(target, x_adv) != y)
    return E
    ### END SOLUTION


# %% [markdown]
# We also use a stronger attack than FGSM here. *PGD*, projected gradient descent, takes twenty small FGSM steps instead
# of one large step. After each of them it brings every pixel back into the box, at most $\varepsilon$ away from the
# original. Lesson 14 builds it.
#
# **Predict.** The adversarially trained network resists FGSM. Does it resist PGD of the same $\varepsilon$?
#
# - yes, it has learned to resist changes of that size
# - no, PGD fools it on most images

# %%
if __name__ == "__main__":
    naive = networks.network(recipes.maxout(size, 0, size.units))
    trained = networks.network(recipes.maxout(size, 0, size.units, adversarial="inference"))
    E = transfer([naive, trained], x, y, EPS)
    x_pgd = attacks.pgd(trained, x[:1000], y[:1000], EPS, rng=generator(0))
    pgd_error = float(np.mean(metrics.predict(trained, x_pgd) != y[:1000]))
    compare("adv-robust-1600", {"error_exact": E[1, 1], "naive_error_exact": E[0, 0], "pgd_error": pgd_error})
    compare("adv-transfer", {"error_naive_to_trained_exact": E[0, 1], "error_trained_to_naive_exact": E[1, 0]})

# %% [markdown]
# On most images it resists one step along its own gradient, which is the only attack that it was ever shown. It does
# not resist PGD. So a number for robustness says little unless it names its attack. The paper's 17.9 % is about one
# step; PGD came later.
#
# Compare the two tables as well: after the short training of the quick profile, the trained network is wrong more often
# on the naive network's examples than on its own.
#
# **How sure is it** when it is fooled?

# %%
if __name__ == "__main__":
    x_adv = metrics.in_batches(partial(attacks.fgsm, trained, eps=EPS), x, y)
    attacked = metrics.evaluate(trained, x_adv, y)
    compare("adv-confidence", {"confidence_on_mistakes_exact": attacked.confidence_on_mistakes})

# %% [markdown]
# ## When to stop?
#
# The paper found that 240 units were not enough to learn the attacked training images: a network that gives one answer
# all around each image, and still tells the images apart, needs more. So it took 1600. A network of that size
# *overfits*: it learns its training images by heart. So *validation* images, which are kept out of training, have to
# say when to stop.
#
# The rule has a number of epochs, the *patience*. An epoch is the best so far if its validation error is lower than all
# before it. If the next `patience` epochs bring no better one, training ends after the last of them, and the network of
# the best epoch is kept. (The paper's patience is 100.) The paper also found that the error on clean validation images
# soon became flat while the error on *attacked* validation images did not. So its rule watches the error on
# attacked images.
#
# ## Exercise 3 (medium): patience
#
# Given the errors after each epoch, return the best epoch and the last epoch that is trained.
#
# <details><summary>Hint 1</summary>
#
# Walk through the epochs and keep two numbers: the best epoch so far, and the one you are at. An error that is only
# *equal* to the best is no improvement.
#
# </details>


# %%
def stop(errors: list[float], patience: int) -> tuple[int, int]:
    """The best epoch and the last epoch that is trained, counted from 1.

    errors has one entry for each epoch; training ends after the last of them at the latest.
    """
    ### BEGIN SOLUTION
    best = epoch = 1
    while epoch < len(errors) and epoch < best + patience:
        epoch += 1
        if errors[epoch - 1] < errors[best - 1]:
            best = epoch
    return best, epoch
    ### END SOLUTION


# %%
if __name__ == "__main__":
    log = committed()["adv-stopping"].measurements[0].details  # errors in a longer run of ours, after each epoch
    for patience in (2, 100):
        best, last = stop(log["adversarial_error"], patience)
        print(f"With patience {patience} a run of {len(log['epoch'])} epochs keeps epoch {best} and ends after {last}.")

# %% [markdown]
# The errors of single epochs go up and down. With little patience training ends at the first bad stretch, although the
# error would have fallen further.
#
# ## How local is a filter?
#
# Each piece of a maxout unit in the first layer has 784 weights, one for each pixel: a *filter*, which can be drawn as
# a picture. The paper says that the filters of the trained network are more local, and shows pictures. A claim that can
# be checked needs a number. Ours is the largest share of a filter's squared weights in one square window $B$ of 9 by 9
# pixels:
#
# $$L(w) = \max_B \frac{\sum_{i \in B} w_i^2}{\sum_i w_i^2} .$$
#
# If all weights are equal, $L = (9/28)^2$, about 10 %. A filter that looks at one spot has 100 %.
#
# Why may adversarial training make filters local? FGSM moves an activation by up to $\varepsilon\lVert w\rVert_1$. If
# only $k$ weights are not 0, that is at most $\varepsilon\sqrt k\,\lVert w\rVert_2$, by the Cauchy–Schwarz inequality.
# So for a given length $\lVert w\rVert_2$ this limit is lower for a filter that uses fewer pixels. (That is a reason
# to use few pixels. It does not yet say that they lie close together, as $L$ asks.)
#
# ## Exercise 4 (hard): locality
#
# Return $L$ for each of N filters. The window may lie anywhere in the picture.
#
# <details><summary>Hint 1</summary>
#
# Square the weights first, as pictures: `(w ** 2).reshape(N, side, side)`.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `np.lib.stride_tricks.sliding_window_view(squares, (window, window), axis=(1, 2))` has all windows; sum over its last
# two axes.
#
# </details>


# %%
def locality(w: np.ndarray, window: int) -> np.ndarray:
    """L `(N,)`, from 0 to 1, of filters w `(N, side * side)`, none of them all 0.

    The square B has `window` pixels a side and lies inside the picture.
    """
    ### BEGIN SOLUTION
    side = int(np.sqrt(w.shape[1]))
    squares = w.reshape(-1, side, side) ** 2
    inside = np.lib.stride_tricks.sliding_window_view(squares, (window, window), axis=(1, 2)).sum(axis=(3, 4))
    return inside.max(axis=(1, 2)) / squares.sum(axis=(1, 2))
    ### END SOLUTION


# %% [markdown]
# A piece that is never the largest of its unit gets no gradient, and keeps the random weights that it started with. We
# leave out the pieces that win for none of the 10,000 validation images.


# %%
def alive(network: models.Network, x: np.ndarray) -> np.ndarray:
    """The first layer's pieces `(N, D)` that are the largest of their unit for some of the images x."""
    W, b = (p.data for p in parameters(network)[:2])
    a = (x @ W.reshape(-1, W.shape[2]).T + b).reshape(len(x), *W.shape[:2])
    return W[(a == a.max(axis=1, keepdims=True)).any(axis=0)]


# %%
if __name__ == "__main__":
    filters = [alive(network, networks.data.validation.x) for network in (naive, trained)]
    assert all(np.allclose(locality(w, WINDOW), metrics.window_energy(w, WINDOW)) for w in filters)
    L = [float(locality(w, WINDOW).mean()) for w in filters]
    compare("fig3-filters", {"locality_naive": L[0], "locality_trained": L[1]}, holds=L[1] > L[0])

# %% tags=["hide-input"]
SHOWN = 6  # units of each network in the figure


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
    draw({"naive": naive, "adversarially trained": trained}, log)

# %% [markdown]
# Left and middle: filters, grey where a weight is 0. (Those that look like noise are pieces that hardly ever win.)
# Right: the errors on validation images during a longer run of ours. The clean error (blue) falls fast and levels off.
# The error on attacked images (orange) falls slowly and unevenly: late in training it still goes up and down by points.
#
# ## To think about
#
# Compare the trained network's error under FGSM with that under PGD. What has it learned, and what has it not? What
# does its clean error say about that?
#
# ### BEGIN SOLUTION
# **For the teacher**, 3 points. 1: to resist one step along its own gradient, which is all that it was ever shown; PGD
# looks further in the same box. 1: an error under one attack is a lower bound for the worst case, so a number for
# robustness has to name its attack. 1: nothing; the clean error is measured where nobody attacks.
# ### END SOLUTION
#
# ## Summary
#
# - The adversarial objective is the mean of the clean cost and the cost on FGSM examples. Its gradient takes the
#   examples as constants, and that is exact.
# - A network that is trained in this way resists one step of FGSM, but not many small steps.
# - A network can be wrong more often on examples made on another network than on its own.
# - Early stopping watches the error on *attacked* validation images.
#
# **What this cannot explain yet.** What exactly does the work here? Would training with noise of the same size be
# enough? Would it help to train on an attack that has a derivative, or to attack a hidden layer instead of the pixels?
# Lesson 9 changes one thing at a time.
