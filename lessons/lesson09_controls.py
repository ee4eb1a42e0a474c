"""Controls: noise, the gradient through the attack, hidden layers

The paper's section 6 once more, one thing changed at a time: noise of the attack's size, attacks that have a derivative
(and second derivatives for them), perturbed hidden layers.
"""

# %% [markdown]
# # Lesson 9. Controls: noise, the gradient through the attack, hidden layers
#
# **The claims** (Goodfellow, Shlens and Szegedy 2015, section 6). Trained with noise in the place of the attack, a
# maxout network still errs under FGSM of $\varepsilon = .25$: on 86.2 % where each pixel had moved by $+\varepsilon$ or
# $-\varepsilon$ at random, on 90.4 % where by anything in between. Attacks that have a derivative, so that training can
# go through them, regularise less than FGSM. And FGSM on hidden activations is answered by making these large; on the
# last hidden layer it underfits.
#
# **Noise.** Let $g = \nabla_x J$ for one image, `(D,)`, and let the entries of $\eta$ be independent, with mean 0 and
# variance $s^2$. That is $\varepsilon^2$ for signs, and $\int_{-\varepsilon}^{\varepsilon} t^2\,dt / 2\varepsilon =
# \varepsilon^2/3$ for the uniform kind. To first order $J$ changes by $g^\top\eta$, and
#
# $$\mathbb E\,g^\top\eta = \sum_i g_i\,\mathbb E\,\eta_i = 0, \qquad
# \mathbb E\,(g^\top\eta)^2 = \sum_{i, j} g_i g_j\,\mathbb E\,\eta_i\eta_j = s^2 \lVert g\rVert_2^2 ,$$
#
# since only the terms with $i = j$ are left. Half of all noise even makes the cost *fall*, and its typical effect is $s
# \lVert g\rVert_2$. FGSM's is $\varepsilon\lVert g\rVert_1$, always upward, and up to $\sqrt D = 28$ times as large
# (equal $|g_i|$): lesson 1's $n$ against $\sqrt n$. Noise hardly ever shows a network what FGSM shows it at each step.
#
# **Through the attack.** For the attacked half of the objective, lesson 8 found two terms,
#
# $$\frac{d}{d\theta} J(\theta, \tilde x(\theta)) = \frac{\partial J}{\partial\theta}(\theta, \tilde x)
# + \Bigl(\frac{\partial\tilde x}{\partial\theta}\Bigr)^{\!\top} v, \qquad v = \nabla_{\tilde x} J(\theta, \tilde x) ,$$
#
# and with the sign in $\tilde x$ the second is 0. Leave the sign out, and keep FGSM's Euclidean length,
# $c = \varepsilon\sqrt D$: the *scaled gradient* is $\tilde x = x + c\,g/\lVert g\rVert_2$. Now the second term lives.
# Were $\lVert g\rVert_2$ constant, it would be $(c / \lVert g\rVert_2)\,(\partial g/\partial\theta)^\top v$. The matrix
# $\partial g/\partial\theta$ of second derivatives of $J$ has a row for each pixel and a column for each weight. Nobody
# needs it: with $v$ held fixed, its product with $v$ is the gradient of one *number*, $g^\top v$,
#
# $$\Bigl(\frac{\partial g}{\partial\theta}\Bigr)^{\!\top} v = \nabla_\theta\,\bigl(g(\theta)^\top v\bigr) .$$
#
# The engine does it if $g$ is a Tensor that remembers how it came about: `grad(..., create_graph=True)`. That also the
# length $\lVert g\rVert_2$ depends on $\theta$ is then taken care of, if it is computed from this very $g$.
#
# **A danger.** The attack is made with the true label $y$. A network that can shape its own attack may give the
# perturbation a form that *tells* $y$. Then it errs less on attacked images than on clean ones: look for that below.

# %%
from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from tinyadv import Tensor, attacks, grad, losses, metrics, models, ops, parameters
from tinyadv.backend import generator
from tinyadv.course import compare, figure, lab, scale
from tinyadv.paper import recipes
from tinyadv.paper.figures import BLUE, GREEN, GREY, ORANGE

EPS, QUANTITIES = 0.25, ("clean_error", "error", "pgd_error")
TRAINED = ("clean\nimages", "noise ±ε", "FGSM", "scaled\ngradient", "hidden:\nfirst", "hidden:\nlast")
SMALL = {"units": 60, "pieces": 2, "scale": 0.05, "keep": [0.9, 0.8]}  # of "quick": learns within its two epochs


# %% [markdown]
# **Exercises 1 to 4:** noise of both kinds; a product with second derivatives; the objective through the scaled
# gradient; and the objective with a perturbed hidden layer. There the activations $h$ `(N, U)` become
# $h + \varepsilon \operatorname{sign} \nabla_h J$, with $\nabla_h J$ a constant, from the network without dropout; $h$
# itself stays in the graph, since the layers below shall learn. `model(x, after={i: f})` puts a function `f` of yours
# behind layer `i`: it is given the layer's outputs, and what it returns goes on.
#
# **Why hidden units grow.** If a maxout unit's weights and bias are multiplied by $c > 0$, so is its value,
# $\max_p (c\,w_p^\top x + c\,b_p) = c \max_p (w_p^\top x + b_p)$. With the next layer's weights divided by $c$ the
# network computes what it did, but the perturbation is worth only $\varepsilon / c$. Max-norm alone limits $c$. Above
# the *last* hidden layer there is softmax regression, $z_k = w_k^\top h + b_k$: whatever $h$ is, FGSM moves $z_k - z_y$
# by up to $\varepsilon \lVert w_k - w_y\rVert_1$. No hidden unit is left that could learn to bend away from that.


# %%
def noise(rng: np.random.Generator, shape: tuple, eps: float, kind: str) -> np.ndarray:
    """float32, each entry for itself: of the kind "sign" +eps or -eps with equal probability, else U(-eps, eps)."""
    ### BEGIN SOLUTION
    eta = rng.choice([-eps, eps], shape) if kind == "sign" else rng.uniform(-eps, eps, shape)
    return eta.astype("float32")
    ### END SOLUTION


def hessian_vector(f, x: np.ndarray, v: np.ndarray) -> np.ndarray:
    """H v `(D,)` for x, v `(D,)` and the matrix H `(D, D)` of second derivatives at x of f(Tensor), one number."""
    ### BEGIN SOLUTION
    X = Tensor(x)
    (g,) = grad(f(X), [X], create_graph=True)
    # H v = grad (g^T v), v held fixed
    return grad((g * v).sum(), [X])[0]
    ### END SOLUTION


def through_objective(model, x, y, rng, eps: float, alpha: float) -> tuple[float, list[np.ndarray]]:
    """alpha J(x) + (1 - alpha) J(x + eps sqrt(D) g / ||g||_2), and its gradients, through g too; g without dropout."""
    ### BEGIN SOLUTION
    X = Tensor(x)
    (g,) = grad(model.loss(model(X), y), [X], create_graph=True)
    x_adv = x + eps * x.shape[1] ** 0.5 * (g / ops.sqrt((g * g).sum(axis=1, keepdims=True)))
    J = alpha * model.loss(model(Tensor(x), rng=rng), y) + (1 - alpha) * model.loss(model(x_adv, rng=rng), y)
    return J.item(), grad(J, parameters(model))
    ### END SOLUTION


def hidden_objective(model, x, y, rng, layer: int, eps: float, alpha: float) -> tuple[float, list[np.ndarray]]:
    """alpha J + (1 - alpha) J with the outputs h of a layer perturbed, h + eps sign(grad_h J); and its gradients."""
    ### BEGIN SOLUTION
    found: dict[str, Tensor] = {}
    J = model.loss(model(Tensor(x), after={layer: lambda h: found.setdefault("h", h)}), y)
    (g,) = grad(J, [found["h"]])
    z = model(Tensor(x), rng=rng, after={layer: lambda h: h + eps * np.sign(g)})
    J = alpha * model.loss(model(Tensor(x), rng=rng), y) + (1 - alpha) * model.loss(z, y)
    return J.item(), grad(J, parameters(model))
    ### END SOLUTION


def check(x: np.ndarray, y: np.ndarray) -> None:
    """Our objectives against the package's, and H v against a quotient, in float64 on a small network."""
    model = models.maxout_network(8, 2, keep=(1.0, 1.0), scale=0.1, rng=generator(0)).to(dtype="float64")
    pairs = ((through_objective, partial(losses.through_attack_objective, attack="scaled-gradient")),
             (partial(hidden_objective, layer=model.hidden[0]), losses.hidden_objective))  # fmt: skip
    for pair in pairs:
        assert all(map(partial(np.allclose, rtol=1e-9), *(f(model, x, y, None, eps=EPS, alpha=0.3)[1] for f in pair)))
    f, (z, v), h = (lambda Z: ops.softplus(Z * Z).sum()), np.random.default_rng(0).standard_normal((2, 10)), 1e-5
    ahead, behind = (grad(f(Z), [Z])[0] for Z in (Tensor(z + h * v), Tensor(z - h * v)))
    off = np.abs(hessian_vector(f, z, v) - (ahead - behind) / (2 * h)).max()
    print(f"Our objectives are the package's; H v differs from a quotient of gradients by {off:.0e}.")


def measured(network: models.Network, x: np.ndarray, y: np.ndarray) -> dict[str, float]:
    """Errors: clean, under FGSM, of the first 1,000 images under PGD; mean activation of the first hidden layer."""
    attacked = metrics.evaluate(network, metrics.in_batches(partial(attacks.fgsm, network, eps=EPS), x, y), y)
    pgd = metrics.predict(network, attacks.pgd(network, x[:1000], y[:1000], EPS, rng=generator(0))) != y[:1000]
    clean, h = metrics.evaluate(network, x, y).error, network.layers[network.hidden[0]](x)
    return {"clean_error": clean, "error": attacked.error, "pgd_error": pgd.mean(), "h": abs(h).mean(),
            "confidence_on_mistakes": attacked.confidence_on_mistakes}  # fmt: skip


def main(profile: str = "quick") -> None:
    """Check; train a network for each control, all equally long, or load them; errors, and two pictures."""
    networks, control = lab(), partial(recipes.control, scale(profile), 0)
    (x, y), seen = networks.data.test, networks.data.train
    check(x[:50].astype("float64"), y[:50])
    chosen = {
        "naive": control("clean"),
        "noise": recipes.noise_control(scale(profile), 0, "sign"),
        "fgsm": control(),
        "scaled": control("through-attack", attack="scaled-gradient"),
        **{k: control("hidden-layer", kind="additive", layers=[i]) for k, i in (("first", 0), ("last", -1))},
    }
    if profile == "quick":
        chosen = {k: replace(r, arguments={**r.arguments, **SMALL}, epochs=2) for k, r in chosen.items()}
    found = {name: networks.network(recipe) for name, recipe in chosen.items()}
    m = {name: measured(network, x, y) for name, network in found.items()}
    compare("noise-sign", {q: m["noise"][q] for q in ("error", "confidence_on_mistakes", "clean_error")})
    compare("noise-uniform")
    compare("through-attack", {f"{q}_{k}": m[k][q] for q in QUANTITIES for k in ("fgsm", "scaled")})
    compare("hidden-additive", {"activation_growth": m["first"]["h"] / m["fgsm"]["h"]})
    compare("hidden-last", {f"training_error_{k}": metrics.evaluate(found[k], *seen).error for k in ("first", "last")})
    draw(attacks.input_gradient(found["naive"], x[:1000], y[:1000]), m)


def draw(g: np.ndarray, m: dict[str, dict[str, float]]) -> None:
    """What noise does to J to first order, as a share of what FGSM does; and the errors of all networks."""
    with figure("lesson09_controls.png", width=11, height=4.2) as canvas:
        (left, right), bins = canvas.subplots(1, 2, width_ratios=[2, 3]), np.linspace(-0.3, 0.3, 61)
        for kind, colour, style in (("sign", BLUE, "-"), ("uniform", GREEN, "--")):
            eta = noise(np.random.default_rng(0), g.shape, EPS, kind)
            share = (g * eta).sum(axis=1) / np.maximum(EPS * abs(g).sum(axis=1), 1e-30)
            left.hist(share, bins, histtype="step", color=colour, linestyle=style, lw=2, label=f"noise, {kind}")
        left.axvline(1, color=ORANGE, linewidth=3, label="FGSM")
        left.set(xlabel="change of J to first order; FGSM's is 1", ylabel=f"of {len(g)} images", xlim=(-0.4, 1.1))
        left.legend(frameon=False)
        for i, (q, colour) in enumerate(zip(QUANTITIES, (BLUE, ORANGE, GREY), strict=True)):
            at, heights = np.arange(len(m)) + 0.3 * (i - 1), [100 * of[q] for of in m.values()]
            right.bar_label(right.bar(at, heights, 0.28, color=colour, label=q), fmt="%.0f", fontsize=9)
        right.set(xticks=range(len(m)), xticklabels=TRAINED, xlabel="trained with", ylabel="error, %", ylim=(0, 120))
        right.legend(["clean", "under FGSM", "under PGD"], frameon=False, ncols=3, loc="upper left")


# %%
if __name__ == "__main__":
    main()

# %% [markdown]
# **To think about.** Suppose a network errs less under FGSM with true labels than on clean images. How would you find
# out whether it resists, or reads the label off the perturbation? Why does FGSM training invite this less?
#
# ### BEGIN SOLUTION
# **For the teacher**, 3 points. 1: take away what tells the label: attack with the network's own prediction, or show it
# examples made on another network. 1: or use a stronger attack, such as PGD; a network that resists, resists it too.
# 1: with the sign nothing in the gradient rewards a network for shaping its attack; it may still learn by chance.
# ### END SOLUTION
#
# **What this cannot explain yet.** All these networks are sure of themselves far from any digit, trained so or not.
# Must a network say something about every input? The next lesson has units that can decline.
