"""RBF networks: capacity to say "I don't know"

The paper's section 7: units that respond in one place alone, backward by hand down to the input, why FGSM makes them
err without confidence, and an attack that asks for confidence.
"""

# %% [markdown]
# # Lesson 10. RBF networks: capacity to say "I don't know"
#
# **The claims** (Goodfellow, Shlens and Szegedy 2015, section 7 and appendix). A shallow network of *radial basis
# function* (RBF) units errs on 55.4 % of MNIST under FGSM with $\varepsilon = .25$, but where it errs its mean
# confidence is 1.2 %, against 60.6 % on clean images. It takes no Gaussian noise for a digit. Deep networks of such
# units that resist are left with a high *training* error by gradient descent.
#
# **The unit.** Class $k$ has a centre $\mu_k$ `(D,)` and a matrix $\beta_k$ `(D, D)`, and says "this is mine" with
#
# $$p_{nk} = p(y = k \mid x_n) = e^{a_{nk}}, \qquad a_{nk} = -(x_n - \mu_k)^\top \beta_k\,(x_n - \mu_k) .$$
#
# (In print the minus sign is missing.) Nothing makes the $p_{nk}$ of an image sum to 1: if all are tiny, the network
# says that it does not know. Its answer is still the largest, that of $a_{nk}$, since tiny $p$ are rounded to 0.
#
# **Backward.** Write $d = x_n - \mu_k$. A small change $\delta$ of it changes $d^\top\beta d$ by
# $\delta^\top\beta d + d^\top\beta\delta = \delta^\top(\beta + \beta^\top)d$, up to $\delta^\top\beta\delta$, which is
# of second order. $x_n$ moves $d$ for all classes, $\mu_k$ moves it the other way for all images, and
# $d^\top\beta d = \sum_{ij}\beta_{ij}d_i d_j$ has the slope $d_i d_j$ in $\beta_{ij}$. With
# $g_{nk} = \partial J/\partial a_{nk}$ `(N, K)` this gives
#
# $$\frac{\partial J}{\partial x_n} = -\sum_k g_{nk}(\beta_k + \beta_k^\top)\,d_{nk}, \qquad
# \frac{\partial J}{\partial \mu_k} = \sum_n g_{nk}(\beta_k + \beta_k^\top)\,d_{nk}, \qquad
# \frac{\partial J}{\partial \beta_k} = -\sum_n g_{nk}\,d_{nk} d_{nk}^\top .$$
#
# **Three costs.** The paper names no $J$, and the attack differentiates it. With $t_{nk} = 1$ for the label, else 0,
# an image's cost may be the sum over $k$ of the squared errors $(p_k - t_k)^2$; or of the binary cross-entropies
# $-t_k\log p_k - (1 - t_k)\log(1 - p_k)$; or $-\log p_y$, which asks only the label's unit. As $p = e^a$ has the slope
# $p$ in $a$, the slopes $\partial J_n / \partial a_k$ of the three are
#
# $$2\,(p_k - t_k)\,p_k, \qquad -t_k + (1 - t_k)\,\frac{p_k}{1 - p_k}, \qquad -t_k .$$

# %%
from __future__ import annotations

import numpy as np

from tinyadv import Tensor, attacks, grad, metrics, ops, parameters
from tinyadv.course import compare, figure, lab, scale
from tinyadv.datasets import mnist
from tinyadv.paper import recipes
from tinyadv.paper.figures import BLUE, GREEN, ORANGE
from tinyadv.paper.measuring import under_fgsm

EPS = 0.25
NAMES = {"rbf-squared": "", "rbf": "_cross_entropy", "rbf-true-class": "_true_class"}  # J, as the registry calls it
MEASURED = ("error", "confidence_on_mistakes", "clean_confidence")


# %% [markdown]
# ## Exercises 1 to 3: the unit, its costs, and a page of backward
#
# In an array `(K, N, D)` of all $d_{nk}$ a product with a stack of matrices `(K, D, D)` serves every class at once.


# %%
def rbf(x: np.ndarray, mu: np.ndarray, beta: np.ndarray) -> np.ndarray:
    """log p, the a `(N, K)`, of x `(N, D)` for centres mu `(K, D)` and any matrices beta `(K, D, D)`."""
    ### BEGIN SOLUTION
    d = x - mu[:, None]
    # a = -d^T beta d
    return -((d @ beta) * d).sum(axis=2).T
    ### END SOLUTION


def signal(a: np.ndarray, y: np.ndarray, J: str) -> np.ndarray:
    """dJ_n/da `(N, K)` of each image's own cost, no 1/N; a `(N, K)` below 0, labels y `(N,)`; J is a key of NAMES."""
    ### BEGIN SOLUTION
    p, t = np.exp(a), y[:, None] == np.arange(a.shape[1])
    if J == "rbf-squared":
        return 2 * (p - t) * p
    if J == "rbf":
        return np.where(t, -1.0, -p / np.expm1(a))  # expm1(a) = e^a - 1, exact also where p is nearly 1
    return -t.astype(a.dtype)
    ### END SOLUTION


def rbf_backward(g: np.ndarray, x: np.ndarray, mu: np.ndarray, beta: np.ndarray) -> tuple[np.ndarray, ...]:
    """dJ/dx `(N, D)`, dJ/dmu `(K, D)` and dJ/dbeta `(K, D, D)` of `rbf`, from g = dJ/da `(N, K)`."""
    ### BEGIN SOLUTION
    d, g = x - mu[:, None], g.T[:, :, None]  # (K, N, D) and (K, N, 1)
    pull = g * (d @ (beta + beta.swapaxes(1, 2)))
    return -pull.sum(axis=0), pull.sum(axis=1), -(g * d).swapaxes(1, 2) @ d
    ### END SOLUTION


# %% [markdown]
# ## Why errors come without confidence
#
# The trained $\beta_k$ are diagonal, with positive entries $\beta_{ki}$. Move the pixels by $\varepsilon s_i$,
# $s_i = \pm 1$. Then $a_k = -\sum_i\beta_{ki}d_{ki}^2$ changes exactly by
#
# $$-2\varepsilon\sum_i \beta_{ki} d_{ki} s_i - \varepsilon^2\sum_i\beta_{ki} .$$
#
# A linear unit has only the first sum. It is 0 on average over random signs; the second divides *every* $p_k$ by
# $e^{\varepsilon^2\sum_i\beta_{ki}}$: noise makes this network say "I don't know". So does FGSM. Where the $p_k$ of all
# wrong classes are tiny, so are their slopes above, or 0; what is left of $\nabla_x J$ points along
# $\beta_y (x - \mu_y)$, away from the right class and towards no other. (The same factor $p$ makes stacked units hard
# to train: one that is far from all its inputs has hardly any gradient that could bring it near.)
#
# **But who says that the attacker has to climb $J$?** In the box $\lvert\tilde x_i - x_i\rvert\le\varepsilon$ each term
# $\beta_{ki}(\tilde x_i - \mu_{ki})^2$ is smallest where $\tilde x_i$ is as near to $\mu_{ki}$ as it can get: there if
# it can, else $\varepsilon$ nearer. So the surest that class $k$ can be made, whatever the attack, is
#
# $$\max_{\tilde x} a_k = -\sum_i\beta_{ki}\max(\lvert d_{ki}\rvert - \varepsilon,\,0)^2 .$$
#
# ## Exercise 4: the surest in the box


# %%
def surest(x: np.ndarray, mu: np.ndarray, beta: np.ndarray, eps: float) -> np.ndarray:
    """The largest a `(N, K)` of each class if each pixel may move by eps; beta `(K, D)` is the diagonal."""
    ### BEGIN SOLUTION
    short = np.maximum(abs(x - mu[:, None]) - eps, 0)  # (K, N, D)
    # -sum_i beta_ki max(|d_ki| - eps, 0)^2
    return -(beta[:, None] * short**2).sum(axis=2).T
    ### END SOLUTION


def aimed(x: np.ndarray, y: np.ndarray, mu: np.ndarray, beta: np.ndarray, eps: float) -> np.ndarray:
    """x moved to the point of the box where the wrong class that can be made surest is at its surest."""
    a = metrics.in_batches(lambda part: surest(part, mu, beta, eps), x)
    wrong = np.where(y[:, None] == np.arange(len(mu)), -np.inf, a).argmax(axis=1)
    return mu[wrong].clip(x - eps, x + eps)


def check(J, x: np.ndarray, y: np.ndarray, mu: np.ndarray, beta: np.ndarray) -> float:
    """How far, relative to the largest entry, our gradients are from the engine's; in float64."""
    T = [Tensor(v) for v in (x, mu, beta)]
    ours = rbf_backward(signal(rbf(x, mu, beta), y, J.top) / len(x), x, mu, beta)
    return max(abs(h - e).max() / abs(e).max() for h, e in zip(ours, grad(J.loss(ops.rbf(*T), y), T), strict=True))


def main(profile: str = "quick") -> None:
    """Check by hand against the engine, attack networks of three costs, try noise and depth."""
    (x, y), size, values, intervals, rng = mnist().test, scale(profile), {}, {}, np.random.default_rng(0)
    trained, kinds = lab().network, [recipes.rbf_network(size, 0), *recipes.rbf_otherwise(size, 0)[:2]]
    for model in map(trained, kinds):
        some, mu, s = (a.astype("float64") for a in (x[:20], *(p.data for p in parameters(model))))
        full = np.exp(s)[:, None] * np.eye(784) + 1e-4 * rng.standard_normal((10, 784, 784))  # not even symmetric
        print(f"J {model.top!r}: by hand and by the engine differ by {check(model, some, y[:20], mu, full):.0e}")
        found, _ = under_fgsm(model, x, y)
        for these, kept in ((found.values, values), (found.intervals, intervals)):
            kept.update({name + NAMES[model.top]: these[name] for name in MEASURED if name in these})
    compare("rbf-fgsm", values, intervals)
    model, noise = trained(kinds[0]), rng.standard_normal(x.shape, dtype="float32")
    compare("rubbish-rbf", {"error": metrics.evaluate_rubbish(model, noise).error})
    deep = trained(recipes.quadratic(size, 0)[-2])  # RBF units on RBF units
    resists = metrics.evaluate(deep, attacks.fgsm(deep, x[:1000], y[:1000], EPS), y[:1000]).confidence_on_mistakes < 0.1
    compare("rbf-deep", {"training_error": metrics.evaluate(deep, *mnist().train).error} if resists else {})
    draw(model, trained(recipes.softmax_regression(size, 0)), x[:1000], y[:1000], noise[:1000])


def draw(model, softmax, x, y, noise) -> None:
    """Confidence of an RBF and a softmax network: clean, under attacks, on noise; and on mistakes, against eps."""
    mu, s = (p.data for p in parameters(model))
    ways = {"FGSM": lambda m, eps: attacks.fgsm(m, x, y, eps), "aimed": lambda m, eps: aimed(x, y, mu, np.exp(s), eps)}
    looks, sizes = (("#bbbbbb", "-"), (BLUE, "-"), (ORANGE, "--"), (GREEN, "-.")), (0.05, 0.1, 0.15, 0.2, EPS)
    with figure("lesson10_confidence.png", width=13, height=3.8) as canvas:
        *panels, right = canvas.subplots(1, 3)
        kinds = ((model, "RBF network", ways, ORANGE), (softmax, "softmax regression", ["FGSM"], BLUE))
        for axes, (network, name, tried, first) in zip(panels, kinds, strict=True):
            images = {"noise N(0, I)": noise, "clean": x, **{way: ways[way](network, EPS) for way in tried}}
            for (kind, part), (colour, line) in zip(images.items(), looks, strict=False):
                style = {"color": colour, "linestyle": line, "label": kind, "fill": part is noise}
                p, share = network.probabilities(network(part)).max(axis=1), np.full(len(part), 100 / len(part))
                axes.hist(p, np.linspace(0, 1, 21), weights=share, histtype="step", linewidth=2, alpha=0.8, **style)
            axes.set(xlabel="largest probability", ylabel="share of images, %", ylim=(0, 105), title=name)
            axes.legend(frameon=False, fontsize=10)
            for way, colour, look in zip(tried, (first, GREEN), ("o-", "^-."), strict=False):
                at = [metrics.evaluate(network, ways[way](network, eps), y) for eps in sizes]
                sure = [100 * e.confidence_on_mistakes for e in at]
                right.plot(sizes, sure, look, color=colour, label=f"{name}, {way}")
                print(f"{name}, {way}: error {at[-1].error:.1%}, on mistakes {sure[-1]:.1f} % confident")
        right.set(xlabel="ε, in units of pixels", ylabel="confidence on mistakes, %", ylim=(0, 119))
        right.legend(frameon=False, fontsize=10)


# %%
if __name__ == "__main__":
    main()

# %% [markdown]
# **To think about.** An RBF network can say that it does not know. Does that make it safe where a wrong answer costs
# more than none? What does the aimed attack say about judging a defence by one attack, and what would you report?
#
# ### BEGIN SOLUTION
# **For the teacher**, 3 points. 1: against FGSM and noise a threshold on $p$ turns errors into refusals, at the price
# of refusing clean images too; the figure's left pane says how many. 1: the aimed attack is of the same size, and is
# about what hurts, which $J$ need not be. 1: report the bound on $p$ beside FGSM: it holds for every attack.
# ### END SOLUTION
#
# **What this cannot explain yet.** Softmax, maxout and RBF networks are of very different shapes. The paper still finds
# that examples made on one fool the others, and often into the same wrong class: how can they know of each other?
