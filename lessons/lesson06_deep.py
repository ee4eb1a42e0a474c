"""FGSM on deep networks: how far one gradient reaches

The paper's section 4 and its figure 4, on softmax regression and a maxout network: FGSM by a quarter of a pixel's
range, how straight a deep network's logits are on the way, and an attack that turns an image instead of adding to it.
"""

# %% [markdown]
# # Lesson 6. FGSM on deep networks: how far one gradient reaches
#
# **Time:** about 90 minutes. **You need:** lessons 3 and 5.
#
# **After this lesson you can**
#
# - attack a deep network, and report error and confidence the way the paper does;
# - say what "piecewise linear" means for a maxout network, and see it in figure 4;
# - attack by turning an image instead of adding to it.
#
# ## The claims
#
# The paper (Goodfellow, Shlens and Szegedy 2015, section 4) attacks two models by FGSM with $\varepsilon = 0.25$ on the
# MNIST test images. One is *softmax regression*: a single linear layer with softmax on top. The other is a maxout
# network, which is not linear even before the softmax. How often is each of them wrong then, and how sure is it of its
# mistakes? The paper also says that turning an image by a small angle towards the gradient works too. Its figure 4
# (section 8) shows how the logits of a maxout network change along the line
# $x + \varepsilon\operatorname{sign}(\nabla_x J)$.

# %%
import math

import numpy as np

from tinyadv import attacks, losses, metrics, ops, parameters
from tinyadv.course import compare, figure, lab, profile, scale
from tinyadv.paper import recipes
from tinyadv.paper.draw import BLUE, GREEN, GREY, ORANGE, show_image
from tinyadv.paper.measure.common import in_float64
from tinyadv.paper.measure.section8 import pieces_along

EPS = 0.25
DEGREES = (0, 5, 10, 15, 20, 25, 30)

# %% [markdown]
# ## Two networks
#
# From here on lessons take trained networks from `lab()`. A *recipe* says which network is trained, on which images,
# with which cost and for how long. `lab()` trains the network of a recipe when a lesson first asks for it, and keeps it
# in the folder `tinyadv-results` for later lessons. `scale(profile())` says how large the networks are and how long
# they train. In the *profile* "quick", a small network trains for a few epochs. In "lesson" and "paper", networks are
# larger and train for longer.

# %%
if __name__ == "__main__":
    networks, size = lab(), scale(profile())
    softmax = networks.network(recipes.softmax_regression(size, seed=0))
    maxout = networks.network(recipes.maxout(size, seed=0))
    x, y = networks.data.test
    for name, model in (("softmax regression", softmax), ("maxout", maxout)):
        print(f"{name}: {metrics.evaluate(model, x, y).error:.2%} of {len(x):,} clean test images are wrong")

# %% [markdown]
# ## What to report
#
# How sure is a network? Its *confidence* in an answer is the largest of the ten probabilities. The paper gives the
# mean confidence over the *mistakes* alone. If there are no mistakes there is no such number; 0 would be a lie, so it
# is NaN, "not a number".
#
# ## Exercise 1 (easy): the confidence on mistakes
#
# Row $n$ of `p` has the ten probabilities that the network gives to the classes of image $n$. Return the mean
# confidence over the images that it gets wrong, or NaN if there are none.


# %%
def confidence_on_mistakes(p: np.ndarray, y: np.ndarray) -> float:
    """The mean largest probability over the misclassified rows of p `(N, K)`.

    The labels y are `(N,)`. NaN if nothing is misclassified.
    """
    ### BEGIN SOLUTION
    wrong = p.argmax(axis=1) != y
    return float(p[wrong].max(axis=1).mean()) if wrong.any() else math.nan
    ### END SOLUTION


# %% [markdown]
# Attacked pixels may leave the range from 0 to 1. The paper does not clip them back, so neither do we. But a picture
# has no pixels of $-0.25$, so we also report what is left of the attack after clipping.
#
# One more number belongs in the table: the share of the gradient's entries that are exactly 0. Their sign is 0, so
# those pixels do not move.


# %%
def attack(claim, model, x, y):
    """Attack the images x by FGSM, show the table of `claim`, and return the gradients `(N, 784)`."""
    # in_batches takes a thousand images at a time, so that they fit into memory
    g = metrics.in_batches(lambda x, y: attacks.input_gradient(model, x, y), x, y)
    x_adv = x + EPS * np.sign(g)
    values = {"zero_gradient_share": float(np.mean(g == 0))}
    for ending, images in (("", x_adv), ("_clipped", x_adv.clip(0, 1))):
        p = model.probabilities(metrics.in_batches(model, images))
        values[f"error{ending}_exact"] = float(np.mean(p.argmax(axis=1) != y))
        values[f"confidence_on_mistakes{ending}_exact"] = confidence_on_mistakes(p, y)
    compare(claim, values)
    return g


# %% [markdown]
# **Predict.** A maxout network is not linear. Does FGSM with $\varepsilon = 0.25$ work on it?
#
# - no: a step of 0.25 is far too long for one gradient to know where it leads
# - on about half of the images
# - on most images, almost as well as on a linear model

# %%
if __name__ == "__main__":
    g_softmax = attack("fgsm-softmax", softmax, x, y)
    g_maxout = attack("fgsm-maxout", maxout, x, y)

# %% [markdown]
# It works on almost all images, and the network is sure of its mistakes. Why does one gradient reach so far? That is
# what the rest of the lesson is about.
#
# (Without clipping each table has two rows for the error, and two for the confidence. In the first of the two the
# attack follows the gradient *as the paper's software computed it*, with rounding. In the second it follows the *exact*
# gradient, as this lesson does. The two differ, and the paper's 89.4 % depends on it: lesson 14 explains why.)
#
# ## What the gradient promises
#
# A gradient is a promise about small steps: for a small $\eta$ the cost rises by $\eta^\top g$, with $g = \nabla_x J$.
# The linear function $J(x) + \eta^\top g$ is the *tangent* of the cost. FGSM relies on the promise for a large step,
# $\eta = \varepsilon\operatorname{sign}(g)$. How far does the tangent rise over this step?
#
# ## Exercise 2 (easy): what the tangent promises
#
# Put FGSM's $\eta$ into $\eta^\top g$, simplify, and return the result for each of N images.


# %%
def predicted_rise(g: np.ndarray, eps: float) -> np.ndarray:
    """How far the tangent at x says that FGSM raises each image's cost, `(N,)`; float32 if g is.

    g is the gradient `(N, D)`.
    """
    ### BEGIN SOLUTION
    # eps ||g||_1
    return eps * np.abs(g).sum(axis=1)
    ### END SOLUTION


# %% [markdown]
# It is $\varepsilon\lVert g\rVert_1$, as for the linear model of lesson 1. Below we compare it with what the cost
# really does.
#
# ## A network in pieces
#
# The value of a maxout unit is the largest of its pieces, the winner. As long as no unit's winner changes, every layer
# multiplies by fixed weights and adds a fixed bias. So the whole network is linear there: $z(x + \eta) = z(x) + A\eta$
# with the logits $z$, of shape `(10,)`, and some matrix $A$ of shape `(10, 784)`.
#
# Now walk along a line. Each logit is straight until some unit's winner changes. At that point the old and the new
# winner are equal, so the logit does not jump; it only gets another slope: a kink. Such a function is called
# *piecewise linear*, and a stretch of the line without a kink is a *linear piece*. (The pieces of a maxout unit are
# something else: the unit takes the largest of them.)
#
# ## Exercise 3 (medium): count the pieces
#
# You are given the values of all pieces of a layer's units at S points of a line, in order. Count the linear pieces
# that these points show. A new linear piece begins wherever the winner of at least one unit has changed since the point
# before.
#
# <details><summary>Hint 1</summary>
#
# `a.argmax(axis=1)`, of shape `(S, U)`, has the winner of each unit at each point.
#
# </details>
# <details><summary>Hint 2</summary>
#
# A new linear piece begins at a point if the winner of *any* unit differs from that at the point before. `np.diff`
# along the points is not 0 where a winner has changed.
#
# </details>


# %%
def count_pieces(a: np.ndarray) -> int:
    """The number of linear pieces of a layer that S points of a line show.

    a is `(S, P, U)`: at each point, in order, the values of the P pieces of U units.
    """
    ### BEGIN SOLUTION
    return 1 + int(np.diff(a.argmax(axis=1), axis=0).any(axis=1).sum())
    ### END SOLUTION


# %% [markdown]
# The paper's figure 4 takes the FGSM direction, and lets $\varepsilon$ run from $-10$ to $10$. That is absurdly far:
# pixels are between 0 and 1. The figure shows a 4, so we take the first 100 fours of the test images. We count the
# linear pieces of the whole network exactly, with a function of the package. For the first of the lines we also count
# those of the first layer, at 2,001 points, with `count_pieces`.


# %%
def trace(model, x, y):
    """Lines from eps = -10 to 10 as in figure 4: the logits `(N, 401, 10)` and the directions `(N, 784)`."""
    directions = np.sign(attacks.input_gradient(model, x, y))
    eps = np.linspace(-10, 10, 401)
    z = np.array([model(start + eps[:, None] * way) for start, way in zip(x, directions, strict=True)])
    right = z.argmax(axis=2) == y[:, None]
    exact = []  # the number of linear pieces of each line
    for start, way in zip(x, directions, strict=True):
        knots, _ = pieces_along(model, start, way, -10, 10)  # both ends of the line, and its kinks
        exact.append(len(knots) - 1)

    W, b = parameters(model)[:2]
    points = x[0] + np.linspace(-10, 10, 2001)[:, None] * directions[0]
    a = (points @ W.data.reshape(-1, 784).T + b.data).reshape(-1, *W.shape[:2])
    shown = count_pieces(a)
    print(f"One line: 2,001 points show {shown} linear pieces of the first layer; the whole network has {exact[0]}.")
    values = {
        "correct_share_up_exact": right[:, eps > 0].mean(),
        "correct_share_down_exact": right[:, eps < 0].mean(),
        "correct_share_exact": right.mean(),
        "linear_pieces_exact": np.mean(exact),
    }
    # along the gradient of the paper's software: rows of the table that only our longer runs have
    for name in ("correct_share", "correct_share_up", "correct_share_down"):
        values[name] = math.nan
    compare("fig4-eps-trace", values)
    return z, directions


# %% [markdown]
# **Predict.** From $\varepsilon = -10$ to $10$ a line crosses hundreds of linear pieces. What will the ten logits look
# like?
#
# - wild curves: with so many pieces the network can bend as it likes
# - almost straight lines, with small kinks

# %%
if __name__ == "__main__":
    maxout64, x64 = in_float64(maxout), x.astype("float64")
    z, directions = trace(maxout64, x64[y == 4][:100], y[y == 4][:100])

# %% tags=["hide-input"]
if __name__ == "__main__":
    four = int((y == 4).argmax())
    with figure("lesson06_figure4.png", width=10, height=5.2) as canvas:
        grid = canvas.add_gridspec(2, 9, height_ratios=[2.6, 1])
        axes = canvas.add_subplot(grid[0, :])
        axes.plot(np.linspace(-10, 10, 401), z[four], color=GREY, linewidth=1)
        axes.plot(np.linspace(-10, 10, 401), z[four, :, 4], color=BLUE, linewidth=3)
        axes.set(xlabel="ε (pixels: 0 to 1)", ylabel="logit", title="maxout: a 4 (blue), other classes (grey)")
        for i, e in enumerate((-10, -2, -0.5, -0.1, 0, 0.1, 0.25, 2, 10)):
            panel, image = canvas.add_subplot(grid[1, i]), x64[four] + e * directions[four]
            show_image(panel, image, f"ε = {e:g}: {maxout64(image[None]).argmax()}", -1, 2)

# %% [markdown]
# The logits are almost straight lines with one bend, at the image. More than four in five of the kinks lie where
# $|\varepsilon| < 1$, and farther out hardly anything changes. Even at the bend a single kink is small: out of hundreds
# of units only one changes its slope at a time, and the sum hardly notices.
#
# Below the curves are images on the line, each with its $\varepsilon$ and the network's answer. The network has an
# opinion about every one of them. Uphill it is right only near $\varepsilon = 0$. The table says how often it is right
# on each side of 0, on average over the hundred fours. (Here too the rows without the words "exact gradient" are about
# the gradient of the paper's software. This lesson does not measure them.)
#
# ## How much does the cost rise?
#
# The logits are nearly straight; the cost is not. Let the logit of class $k$ grow along the line with the slope $s_k$.
# The cost of an image is $J = \log\sum_k e^{z_k} - z_y$. By lesson 5 the first term has the slope $p_k$ in $z_k$, with
# the probabilities $p$ of softmax. And $p_k$ itself changes along the line by $p_k\,(s_k - \sum_j p_j s_j)$. So the
# cost has the slope and the curvature
#
# $$\frac{dJ}{d\varepsilon} = \sum_k p_k s_k - s_y, \qquad
# \frac{d^2 J}{d\varepsilon^2} = \sum_k p_k s_k^2 - \Bigl(\sum_k p_k s_k\Bigr)^2 \ge 0 .$$
#
# The curvature is the variance of the slopes under $p$, so it is never negative: within a linear piece, $J$ bends
# upwards and lies above its tangent. For softmax regression, which is a single linear piece, the cost therefore rises
# by *at least* what the tangent promises.
#
# Now compare three costs at $x + \varepsilon\operatorname{sign}(g)$: the real one; what the tangent of $J$ promises;
# and the cost of logits that just go on straight, $z + \varepsilon s$. If the third is near the first, the network is
# nearly linear, even though the tangent of $J$ says little.


# %%
def cost_along(model, x, y, eps):
    """J at x + e sign(g) for each e of eps, in float64: real, by J's tangent, with straight logits; `(E, 3, N)`."""
    g, z = attacks.input_gradient(model, x, y), model(x)
    t, J = losses.targets(y, z), ops.softmax_cross_entropy
    slopes = (model(x + 1e-6 * np.sign(g)) - z) / 1e-6  # a step this short stays within the linear piece
    costs = []
    for e in eps:
        real = J(model(x + e * np.sign(g)), t)
        tangent = J(z, t) + predicted_rise(g, e)
        straight = J(z + e * slopes, t)
        costs.append([real, tangent, straight])
    return np.array(costs)


# %%
if __name__ == "__main__":
    eps = np.linspace(0, EPS, 11)
    real, tangent, _ = cost_along(in_float64(softmax), x64[:1000], y[:1000], eps)[-1]
    assert (real >= tangent - 1e-9).all(), "softmax regression's cost fell below its tangent"
    costs = np.median(cost_along(maxout64, x64[:1000], y[:1000], eps), axis=2)
    real, tangent, straight = costs[-1]
    print(f"maxout, ε = {EPS}, median of J: real {real:.1f}, tangent {tangent:.1f}, straight logits {straight:.1f}")

# %% tags=["hide-input"]
if __name__ == "__main__":
    with figure("lesson06_straight.png", width=6, height=3.6) as canvas:
        axes = canvas.subplots()
        axes.plot(eps, costs[:, 0], "o-", color=BLUE, label="real")
        axes.plot(eps, costs[:, 1], "s--", color=ORANGE, label="tangent of J")
        axes.plot(eps, costs[:, 2], "^:", color=GREEN, label="straight logits")
        axes.set(xlabel="ε (pixels: 0 to 1)", ylabel="median of J", title="maxout: cost of 1,000 images")
        axes.legend(frameon=False)

# %% [markdown]
# The tangent of $J$ promises almost nothing: a network that is sure has a tiny gradient. The straight logits come much
# closer to the real cost. They give its order of magnitude, but too large a value, because the real logits bend on the
# way. FGSM does not need the size. It only needs the sign, and the sign points the right way.
#
# ## Turning instead of adding
#
# FGSM keeps $\lVert\eta\rVert_\infty$ small. The paper also says that *rotating* an image towards the gradient is a
# reliable attack, but it gives no formula. We turn the image in the plane of $x$ and $g$, and keep its length $\lVert
# x\rVert_2$. Subtract from $g$ its part along $x$, and scale what is left to length 1. This is a direction $u$ at a
# right angle to $x$:
#
# $$v = g - \frac{g^\top x}{x^\top x}\,x, \qquad u = \frac{v}{\lVert v\rVert_2}, \qquad
# x' = \cos(t)\,x + \sin(t)\,\lVert x\rVert_2\,u .$$
#
# Here $t$ is the angle. Since $u^\top x = 0$ and $\lVert u\rVert_2 = 1$, the length stays: $\lVert x'\rVert_2^2 =
# (\cos^2 t + \sin^2 t)\lVert x\rVert_2^2$.
#
# ## Exercise 4 (hard): the rotation
#
# Return $x$ with each row turned by `angle`, in radians, towards its row of $g$. Where a row of $g$ is 0, the image
# stays as it is. (You may assume that no row of $x$ is 0, and that no other row of $g$ is a multiple of its $x$: then
# $v$ is not 0.) Beware of rounding: a network that is sure has so small a gradient that float32 rounds the *squares* of
# its entries to 0. Multiplying $g$ by a positive number does not change $u$, so scale each row of $g$ first.
#
# <details><summary>Hint 1</summary>
#
# Divide each row of $g$ by the size of its largest entry. A row of zeros must not be divided by 0: divide by
# `np.maximum(largest, 1e-37)`.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Every number that belongs to an image ($g^\top x$, $x^\top x$, $\lVert v\rVert_2^2$) is a sum with `axis=1,
# keepdims=True`.
#
# </details>
# <details><summary>Hint 3</summary>
#
# At the end, `np.where(g.any(axis=1, keepdims=True), turned, x)` keeps the images whose $g$ is 0.
#
# </details>


# %%
def rotated(x: np.ndarray, g: np.ndarray, angle: float) -> np.ndarray:
    """Each row of x `(N, D)` turned by `angle` (radians) towards its row of g; float32 if x and g are.

    The length of each row stays. Where a row of g is 0, the row of x stays.
    """
    ### BEGIN SOLUTION
    g = g / np.maximum(np.abs(g).max(axis=1, keepdims=True), 1e-37)
    squared = (x * x).sum(axis=1, keepdims=True)
    v = g - (g * x).sum(axis=1, keepdims=True) / squared * x
    u = v / np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 1e-37)
    turned = math.cos(angle) * x + math.sin(angle) * np.sqrt(squared) * u
    return np.where(g.any(axis=1, keepdims=True), turned, x)
    ### END SOLUTION


# %%
def errors_by_angle(model, x, y, g):
    """The error for each angle of DEGREES by which the images x are turned towards their gradients g."""
    turned = [rotated(x, g, math.radians(t)) for t in DEGREES]
    package = attacks.rotated(x, g, math.radians(DEGREES[-1]))
    assert np.allclose(turned[-1], package, atol=1e-5), "rotations differ"
    return np.array([metrics.evaluate(model, images, y).error for images in turned])


# %% [markdown]
# **Predict.** From which angle on is the maxout network wrong on more than half of the images?
#
# - less than 5 degrees
# - between 5 and 15 degrees
# - more than 15 degrees

# %%
if __name__ == "__main__":
    errors = {
        "softmax": errors_by_angle(softmax, x[:2000], y[:2000], g_softmax[:2000]),
        "maxout": errors_by_angle(maxout, x[:2000], y[:2000], g_maxout[:2000]),
    }
    values = {"error_softmax_exact": errors["softmax"][-1], "error_maxout_exact": errors["maxout"][-1]}
    on_both = np.minimum(errors["softmax"], errors["maxout"])  # at each angle, the error that both reach
    compare("rotation-attack", values, holds=bool(on_both.max() > 0.5))

# %% tags=["hide-input"]
if __name__ == "__main__":
    with figure("lesson06_rotation.png", width=6, height=3.6) as canvas:
        axes = canvas.subplots()
        axes.plot(DEGREES, 100 * errors["softmax"], "o-", color=BLUE, label="softmax regression")
        axes.plot(DEGREES, 100 * errors["maxout"], "s--", color=ORANGE, label="maxout")
        axes.set(
            xlabel="angle of the rotation, degrees", ylabel="error, %", title="turned towards g, 2,000 images", ylim=0
        )
        axes.legend(frameon=False)

# %% [markdown]
# The answer is the angle at which the dashed line crosses 50 %. So the attack need not be the step
# $\varepsilon\operatorname{sign}(g)$: turning works too, because it also moves the image to where the gradient says
# that the cost rises.
#
# ## To think about
#
# The caption of the paper's figure 4 says that the right class is found only on a thin *manifold* around the data: a
# thin, curved piece of space. Our table of figure 4 has a row for each side of $\varepsilon = 0$. Take the rows of the
# exact gradient: which side fits the caption, and why does the other not? Now take the rows of the software's gradient,
# in the column *ours* (a network that was trained for long): they fit the caption on both sides. That gradient starts
# from a rounded $p - t$ (lesson 5). What may it lack where the network is sure?
#
# ### BEGIN SOLUTION
# **For the teacher**, 3 points. 1: $\varepsilon > 0$ raises the cost of the true class, and that class soon loses;
# $\varepsilon < 0$ lowers it as long as the slopes stay, often far out, on images that are no digits any more. 1: both
# have the same cause: far out the logits simply go on along their last pieces, right or wrong (lesson 13). 1: it lacks
# the true class, where the network is sure. Downhill it lowers the other logits, but nothing in it makes the true one
# rise, so some other class wins on that side too (lesson 14).
# ### END SOLUTION
#
# ## Summary
#
# - FGSM fools a maxout network almost as well as a linear model, and the network is sure of its mistakes.
# - The reason is that the network is piecewise linear, with kinks so small that its logits are nearly straight.
# - The tangent of the cost says little about the size of the effect, but the gradient's sign gives the direction.
# - Turning an image towards the gradient works too.
#
# **What this cannot explain yet.** One gradient is cheap enough to attack at every step of training. What does a model
# learn if it is trained on its own worst case? For a linear model there is a formula: lesson 7 works it out.
