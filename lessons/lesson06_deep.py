"""FGSM on deep networks: how far one gradient tells

The paper's section 4 and its figure 4, on softmax regression and a maxout network: FGSM by a quarter of a pixel's
range, how straight a deep network's logits are on the way, and an attack that turns an image instead of adding to it.
"""

# %% [markdown]
# # Lesson 6. FGSM on deep networks: how far one gradient tells
#
# **The claims** (Goodfellow, Shlens and Szegedy 2015, sections 4 and 8). On the MNIST test images FGSM with
# $\varepsilon = .25$ gives softmax regression 99.9 % error and a maxout network 89.4 %, with a confidence of 79.3 % and
# 97.6 % on the mistakes. Turning $x$ by a small angle towards the gradient works too. Along the line
# $x + \varepsilon\operatorname{sign}(\nabla_x J)$ a maxout network's logits are piecewise linear (figure 4).
#
# **Pieces.** A maxout unit is $h_u = \max_p a_{pu}$. As long as no unit's winner changes, each layer has fixed weights
# and is affine, and so is the network: $z(x + \eta) = z(x) + A\eta$, logits $z$ `(10,)`, $A$ `(10, 784)`, $\eta$
# `(784,)`, exactly. Along a line each logit is then straight, with a kink where some unit's winner changes, and no
# jump, since the old and the new winner are equal there. One of hundreds of units takes another slope: a small kink.
#
# **The cost.** $J = \log\sum_k e^{z_k} - z_y$. If $z_k$ grows by $\varepsilon s_k$, with slopes $s$ `(10,)`, then by
# lesson 5's rule for softmax, $p$ being its probabilities,
#
# $$\frac{dJ}{d\varepsilon} = \sum_k p_k s_k - s_y, \qquad
# \frac{d^2 J}{d\varepsilon^2} = \sum_k p_k s_k^2 - \Bigl(\sum_k p_k s_k\Bigr)^2 \ge 0 ,$$
#
# because $dp_k/d\varepsilon = p_k (s_k - \sum_j p_j s_j)$. This is the variance of the slopes under $p$. So within a
# piece $J$ is convex and lies above its tangents. For FGSM's step $\eta$ and $g = \nabla_x J$ `(784,)` the tangent says
#
# $$J(x + \eta) - J(x) \approx \eta^\top g = \varepsilon\sum_i \lvert g_i\rvert = \varepsilon\lVert g\rVert_1 .$$
#
# Softmax regression is a single piece: there the cost rises by *at least* this much, for every image and every
# $\varepsilon$. A network that is sure has a tiny $g$, and a tangent that says little. FGSM only takes the sign of it.

# %%
import math

import numpy as np

from tinyadv import attacks, losses, metrics, ops, parameters
from tinyadv.course import compare, figure, lab, scale
from tinyadv.datasets import mnist
from tinyadv.paper import recipes
from tinyadv.paper.figures import BLUE, GREEN, GREY, ORANGE, show_image
from tinyadv.paper.measuring import in_float64
from tinyadv.paper.section8 import pieces_along

EPS, DEGREES = 0.25, (0, 5, 10, 15, 20, 25, 30)

# %% [markdown]
# ## Exercises 1 and 2: what the tangent says, and the rotation
#
# FGSM keeps $\lVert\eta\rVert_\infty$ small. A rotation keeps the length $\lVert x\rVert_2$. The paper does not write
# it down; we turn in the plane of $x$ and $g$. Across $x$ is what is left of $g$ without its part along $x$:
#
# $$v = g - \frac{g^\top x}{x^\top x}\,x, \qquad u = \frac{v}{\lVert v\rVert_2}, \qquad
# x' = \cos(t)\,x + \sin(t)\,\lVert x\rVert_2\,u .$$
#
# $u^\top x = 0$ and $\lVert u\rVert_2 = 1$, so $\lVert x'\rVert^2 = (\cos^2 t + \sin^2 t)\lVert x\rVert^2$: the length
# stays. (No $x$ here is 0 or parallel to $g$. But a network that is sure has so small a $g$ that float32 rounds the
# squares of its entries to 0; scaling $g$ does not change $u$.)


# %%
def predicted_rise(g: np.ndarray, eps: float) -> np.ndarray:
    """How far the tangent at x says that FGSM raises each image's cost, `(N,)`; from its gradient g `(N, D)`."""
    ### BEGIN SOLUTION
    # eps ||g||_1
    return eps * np.abs(g).sum(axis=1)
    ### END SOLUTION


def rotated(x: np.ndarray, g: np.ndarray, angle: float) -> np.ndarray:
    """Each row of x `(N, D)` turned by `angle` (radians) towards its row of g, like x; where g is 0, x stays."""
    ### BEGIN SOLUTION
    g = g / np.maximum(np.abs(g).max(axis=1, keepdims=True), 1e-37)
    squared = (x * x).sum(axis=1, keepdims=True)
    v = g - (g * x).sum(axis=1, keepdims=True) / squared * x
    u = v / np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 1e-37)
    return np.where(g.any(axis=1, keepdims=True), math.cos(angle) * x + math.sin(angle) * np.sqrt(squared) * u, x)
    ### END SOLUTION


# %% [markdown]
# ## Exercises 3 and 4: what to report
#
# *Confidence* is the largest of an image's probabilities. The paper gives its mean over the mistakes alone; without any
# there is no such number, and 0 would be a lie. Pieces are counted at points of a line, in order: wherever a unit's
# winner, or those of several at once, changed since the last point, a piece has ended.


# %%
def confidence_on_mistakes(p: np.ndarray, y: np.ndarray) -> float:
    """The mean largest probability of the misclassified rows of p `(N, K)`, labels y `(N,)`; NaN if there are none."""
    ### BEGIN SOLUTION
    wrong = p.argmax(axis=1) != y
    return float(p[wrong].max(axis=1).mean()) if wrong.any() else math.nan
    ### END SOLUTION


def count_pieces(a: np.ndarray) -> int:
    """How many linear pieces of a layer S points of a line, in order, show; a `(S, P, U)`: P pieces of U units."""
    ### BEGIN SOLUTION
    return 1 + int(np.diff(a.argmax(axis=1), axis=0).any(axis=1).sum())
    ### END SOLUTION


# %% [markdown]
# ## Measuring
#
# Attacked pixels may leave $[0, 1]$: the paper most likely let them; we also report what clipping leaves. The figure's
# middle has three costs at $x + \varepsilon\operatorname{sign}(g)$: the real one, that of $J$'s tangent, and that of
# logits that go on straight, $z + \varepsilon s$. The nearer the third is to the first, the straighter the network. How
# far the third leaves the second shows how much $J$ bends although its logits do not. Below are images on figure 4's
# line, pixels under $-1$ black, above 2 white, each with its $\varepsilon$ and the network's answer. The package finds
# all kinks exactly, layer by layer; points of the line, asked in the first layer, can only see fewer.


# %%
def attack(claim, model, x, y):
    """FGSM beside the paper; then the errors of 2,000 images for each angle of the rotation."""
    g = metrics.in_batches(lambda x, y: attacks.input_gradient(model, x, y), x, y)
    x_adv, values = x + EPS * np.sign(g), {"zero_gradient_share": float(np.mean(g == 0))}
    for ending, images in (("", x_adv), ("_clipped", x_adv.clip(0, 1))):
        p = model.probabilities(metrics.in_batches(model, images))
        values[f"error{ending}"] = float(np.mean(p.argmax(axis=1) != y))
        values[f"confidence_on_mistakes{ending}"] = confidence_on_mistakes(p, y)
    compare(claim, values)
    x, y, turned = x[:2000], y[:2000], [rotated(x[:2000], g[:2000], math.radians(t)) for t in DEGREES]
    assert np.allclose(turned[-1], attacks.rotated(x, g[:2000], math.radians(30)), atol=1e-5), "rotations differ"
    return np.array([metrics.evaluate(model, images, y).error for images in turned])


def cost_along(model, x, y, eps):
    """J at x + eps d, in float64: real, by the tangent of J, with straight logits; `(len(eps), 3, N)`."""
    g, z, t, J = attacks.input_gradient(model, x, y), model(x), losses.targets(y, model(x)), ops.softmax_cross_entropy
    s = (model(x + 1e-6 * np.sign(g)) - z) / 1e-6  # so short a step stays within the piece: this is the slope
    return np.array([[J(model(x + e * np.sign(g)), t), J(z, t) + predicted_rise(g, e), J(z + e * s, t)] for e in eps])


def trace(model, x, y):
    """Lines from eps = -10 to 10 as in figure 4: the logits `(N, 401, 10)` and the directions `(N, 784)`."""
    d, eps, W, b = np.sign(attacks.input_gradient(model, x, y)), np.linspace(-10, 10, 401), *parameters(model)[:2]
    z = np.array([model(start + eps[:, None] * way) for start, way in zip(x, d, strict=True)])
    right = z.argmax(axis=2) == y[:, None]
    exact = [len(pieces_along(model, start, way, -10, 10)[0]) - 1 for start, way in zip(x, d, strict=True)]
    a = (x[0] + np.linspace(-10, 10, 2001)[:, None] * d[0]) @ W.data.reshape(-1, 784).T + b.data
    print(f"One line: its first layer shows {count_pieces(a.reshape(-1, *W.shape[:2]))} pieces; there are {exact[0]}.")
    sides = {"correct_share_up": right[:, eps > 0], "correct_share_down": right[:, eps < 0], "correct_share": right}
    compare("fig4-eps-trace", {name: side.mean() for name, side in sides.items()} | {"linear_pieces": np.mean(exact)})
    return z, d


def main(profile: str = "quick") -> None:
    """Attack, turn, look how straight it is, and draw."""
    networks, size, (x, y) = lab(), scale(profile), mnist().test
    softmax, maxout = (networks.network(r(size, seed=0)) for r in (recipes.softmax_regression, recipes.maxout))
    by_softmax, by_maxout = attack("fgsm-softmax", softmax, x, y), attack("fgsm-maxout", maxout, x, y)
    values = {"error_softmax": by_softmax[-1], "error_maxout": by_maxout[-1]}
    compare("rotation-attack", values, holds=bool(np.minimum(by_softmax, by_maxout).max() > 0.5))
    softmax, maxout, x, eps = in_float64(softmax), in_float64(maxout), x.astype("float64"), np.linspace(0, EPS, 11)
    real, tangent, _ = cost_along(softmax, x[:1000], y[:1000], eps)[-1]
    assert (real >= tangent - 1e-9).all(), "softmax regression's cost fell below its tangent"
    costs, (z, d) = np.median(cost_along(maxout, x[:1000], y[:1000], eps), axis=2), trace(maxout, x[:100], y[:100])
    four = int((y == 4).argmax())
    with figure("lesson06_deep.png", width=12, height=5.2) as canvas:
        grid = canvas.add_gridspec(2, 9, height_ratios=[2.6, 1])
        logits, straight, turned = (canvas.add_subplot(grid[0, i : i + 3]) for i in (0, 3, 6))
        logits.plot(np.linspace(-10, 10, 401), z[four], color=GREY, linewidth=1)
        logits.plot(np.linspace(-10, 10, 401), z[four, :, 4], color=BLUE, linewidth=3)
        logits.set(xlabel="ε, in units of pixels", ylabel="logit", title="maxout: a 4 (blue), other classes")
        straight.plot(eps, costs[:, 0], "o-", color=BLUE, label="real")
        straight.plot(eps, costs[:, 1], "s--", color=ORANGE, label="tangent of J")
        straight.plot(eps, costs[:, 2], "^:", color=GREEN, label="straight logits")
        straight.set(xlabel="ε, in units of pixels", ylabel="median of J, nats", title="maxout: cost of 1,000 images")
        turned.plot(DEGREES, 100 * by_softmax, "o-", color=BLUE, label="softmax regression")
        turned.plot(DEGREES, 100 * by_maxout, "s--", color=ORANGE, label="maxout")
        turned.set(xlabel="angle of the rotation, degrees", ylabel="error, %", title="turned to the gradient", ylim=0)
        straight.legend(frameon=False)
        turned.legend(frameon=False)
        for i, e in enumerate((-10, -2, -0.5, -0.1, 0, 0.1, 0.25, 2, 10)):
            panel, image = canvas.add_subplot(grid[1, i]), x[four] + e * d[four]
            show_image(panel, image, f"ε = {e:g}: {maxout(image[None]).argmax()}", -1, 2)


# %%
if __name__ == "__main__":
    main()

# %% [markdown]
# **To think about.** Figure 4's caption says that the right class is found on a thin manifold around the data only. The
# table has the two sides of $\varepsilon = 0$ apart. Which of them fits, and why not the other?
#
# ### BEGIN SOLUTION
# **For the teacher**, 3 points. 1: $\varepsilon > 0$ raises the cost of the true class, and it is soon lost. 1:
# $\varepsilon < 0$ lowers it, as long as the slopes stay: often far out, on images that are no digits any more. 1: both
# are one straightness: out there the logits just go on along their last pieces, right or wrong (lesson 13).
# ### END SOLUTION
#
# **What this cannot explain yet.** One gradient is cheap enough to attack at every step of training. What does a model
# learn that is trained at its own worst case? For a linear model that can be written down, so the next lesson does it.
