"""Adversarial training of linear models against L1 decay: a penalty that fades and one that does not

The paper's section 5: adversarial training of logistic regression as a formula; its penalty inside of the loss.
"""

# %% [markdown]
# # Lesson 7. Adversarial training of linear models against L1 decay: a penalty that fades and one that does not
#
# **The claims** (Goodfellow, Shlens and Szegedy 2015, section 5). L1 decay adds its penalty to the cost, adversarial
# training of logistic regression subtracts it from the activation: once predictions saturate, that penalty can fade,
# and L1's cannot. In the first layer of a maxout network an L1 coefficient of .0025 was already too large: training got
# stuck above 5 % training error. Smaller ones trained, but did not regularise.
#
# **The adversarial objective.** Images $x$ `(N, D)`, labels $y_n \in \{-1, 1\}$ `(N,)`, weights $w$ `(D,)`, a number
# $b$. Let $m_n = y_n(w^\top x_n + b)$ be the *margin* of an image, positive if the answer is right. Its cost is
# $\zeta(-m_n)$ with the softplus $\zeta(a) = \log(1 + e^a)$. FGSM moves it to
# $\tilde x_n = x_n - \varepsilon\,y_n\operatorname{sign}(w)$ (lesson 3). As $y_n^2 = 1$ and
# $w^\top\operatorname{sign}(w) = \lVert w\rVert_1$, its margin falls by $\varepsilon\lVert w\rVert_1$, whatever $x_n$
# is. To train at the worst case, here without the clean images, is to minimise
#
# $$J_{\rm adv}(w, b) = \frac1N \sum_n \zeta\bigl(\varepsilon\lVert w\rVert_1 - m_n\bigr) , \qquad\text{against}\qquad
# J_{L1}(w, b) = \frac1N \sum_n \zeta(-m_n) + \lambda\lVert w\rVert_1 .$$
#
# (In print $y$ multiplies $\varepsilon\lVert w\rVert_1$ too, which would reward large weights where $y = -1$.)
#
# ## Exercises 1 and 2: the gradients
#
# $\zeta$ has the slope $\sigma(a) = 1/(1 + e^{-a})$, $|w_i|$ has $\operatorname{sign}(w_i)$, and at the kink $w_i = 0$
# any slope from -1 to 1 is a *subgradient*. We take 0: weights of always dark pixels stay 0. Let
# $s_n = \sigma(\varepsilon\lVert w\rVert_1 - m_n)$, `(N,)`, the probability of the wrong class at $\tilde x_n$. With
# $\partial m_n/\partial w = y_n x_n$ and $\partial m_n/\partial b = y_n$ the chain rule gives
#
# $$\nabla_w J_{\rm adv} = \frac1N \sum_n s_n\bigl(\varepsilon\operatorname{sign}(w) - y_n x_n\bigr), \qquad
# \frac{\partial J_{\rm adv}}{\partial b} = -\frac1N \sum_n s_n\,y_n .$$
#
# These are lesson 2's gradients at $\tilde x$: nothing is lost if training takes $\tilde x$ as a constant. L1 decay has
# the *clean* $\sigma(-m_n)$ in place of $s_n$, and its push $\lambda\operatorname{sign}(w)$ outside of the mean.

# %%
import numpy as np

from tinyadv import Tensor, grad, losses, ops
from tinyadv.course import compare, figure
from tinyadv.datasets import Split, mnist, pair
from tinyadv.paper.figures import BLUE, GREEN, GREY, ORANGE

EPOCHS, EPS, SHOWN = {"quick": 10, "lesson": 20, "paper": 100}, 0.25, 5  # the figure shows GRID[5]
GRID = (0.0, 0.001, 0.0025, 0.01, 0.025, 0.1, 0.25)  # eps of adversarial training, lambda of L1 decay; 0: neither


def adversarial_gradients(w: np.ndarray, b: float, x: np.ndarray, y: np.ndarray, eps: float) -> tuple:
    """dJ_adv/dw `(D,)` and dJ_adv/db, one number; float32 if w, b, x, y are; the slope of |w_i| is 0 at w_i = 0."""
    ### BEGIN SOLUTION
    s = ops.sigmoid(eps * np.abs(w).sum() - y * (x @ w + b))
    # mean_n s_n (eps sign(w) - y_n x_n), -mean_n s_n y_n
    return eps * s.mean() * np.sign(w) - x.T @ (s * y) / len(x), -(s * y).mean()
    ### END SOLUTION


def l1_gradients(w: np.ndarray, b: float, x: np.ndarray, y: np.ndarray, lam: float) -> tuple:
    """dJ_L1/dw `(D,)` and dJ_L1/db, one number; float32 if w, b, x, y are; the slope of |w_i| is 0 at w_i = 0."""
    ### BEGIN SOLUTION
    s = ops.sigmoid(-y * (x @ w + b))
    return lam * np.sign(w) - x.T @ (s * y) / len(x), -(s * y).mean()
    ### END SOLUTION


# %% [markdown]
# ## Exercise 3: what the attack adds to the cost of one image
#
# $$r_n = \zeta\bigl(\varepsilon\lVert w\rVert_1 - m_n\bigr) - \zeta(-m_n), \qquad
# 0 \le r_n \le \varepsilon\lVert w\rVert_1\,\sigma\bigl(\varepsilon\lVert w\rVert_1 - m_n\bigr) ,$$
#
# because $\zeta$ rises along a way of $\varepsilon\lVert w\rVert_1$ with a slope that is largest at its end. Two cases:
#
# - $m_n \gg \varepsilon\lVert w\rVert_1$: $\sigma(a) < e^a$, so the penalty *fades* like
#   $e^{-(m_n - \varepsilon\lVert w\rVert_1)}$. If $w$ and $b$ grow by a factor, this exponent grows with them.
# - $m_n \ll 0$: the slope is near 1 all along and $r_n$ near $\varepsilon\lVert w\rVert_1$: for images that are wrong
#   anyway this *is* L1 decay with $\lambda = \varepsilon$, the pessimist that charges all images this much.
#
# **The push.** In $\nabla_w J_{\rm adv}$ the factor of $\operatorname{sign}(w)$ is $\lambda_{\rm eff} =
# \varepsilon\,\frac1N \sum_n s_n$: weights are pushed to 0 as by L1 decay with this *effective coefficient*. It starts
# at $\varepsilon/2$, where $w = 0$ and $b = 0$, and follows the fit. At $w = 0$ let $g$ be the gradient of the clean
# cost. A small step of $w_i$ from 0 gains at most $|g_i|$ and costs $\lambda$ for each unit of its length: if all
# $|g_i| \le \lambda$, then 0 is the minimum, and L1 decay learns nothing; adversarial training only if all
# $|g_i| \le \lambda_{\rm eff}$. `main` prints both limits. With many outputs L1 decay is more pessimistic still: it
# sums the worst cases of all units, as if one $\eta$ suited each.
#
# **Training.** Batches of 100; the learning rate falls to a hundredth, since a constant one throws weights to and fro
# across the kink at 0. Equal coefficients are not the only fair comparison: see rows of equal $\lVert w\rVert_1$ too.


# %%
def added_penalty(w: np.ndarray, b: float, x: np.ndarray, y: np.ndarray, eps: float) -> np.ndarray:
    """r `(N,)`: what an attack of size eps adds to the cost of each image; the labels y `(N,)` are -1 or 1."""
    ### BEGIN SOLUTION
    m = y * (x @ w + b)
    # zeta(eps ||w||_1 - m) - zeta(-m)
    return np.logaddexp(0, eps * np.abs(w).sum() - m) - np.logaddexp(0, -m)
    ### END SOLUTION


def check(w, x, y):
    """At these weights our gradients are the engine's, and those of training on explicit FGSM examples."""
    W, B, x_adv = Tensor(w), Tensor(0.1), x - EPS * y[:, None] * np.sign(w)
    l1 = losses.logistic_loss(x @ W + B, y) + EPS * abs(W).sum()
    adversarial = losses.adversarial_logistic_loss(W, B, x, y, EPS), losses.logistic_loss(x_adv @ W + B, y)
    for gradients, J in zip([l1_gradients] + 2 * [adversarial_gradients], [l1, *adversarial], strict=True):
        assert all(map(np.allclose, gradients(w, 0.1, x, y, EPS), grad(J, [W, B]))), "not the engine's gradients"


def descend(gradients, coefficient, data, epochs):
    """w, b and, before each epoch and at the end, the mean of s, for batches of 100 in random order."""
    rng, w, b = np.random.default_rng(0), np.zeros_like(data.x[0]), np.zeros_like(data.y[0])
    log, batches = [0.5], -(-len(data.x) // 100)
    for epoch in range(epochs):
        for i, rows in enumerate(np.array_split(rng.permutation(len(data.x)), batches)):
            rate = 0.2 * 0.01 ** ((epoch + i / batches) / epochs)
            dw, db = gradients(w, b, data.x[rows], data.y[rows], coefficient)
            w, b = w - rate * dw, b - rate * db
        log.append(ops.sigmoid(coefficient * np.abs(w).sum() - data.y * (data.x @ w + b)).mean())
    return w, b, log


def measured(w, b, train, test):
    """||w||_1 and the errors: training, test, and test after FGSM, which takes EPS ||w||_1 off each margin."""
    l1, (m, m_test) = np.abs(w).sum(), (y * (x @ w + b) for x, y in (train, test))
    return float(l1), np.mean(m <= 0), np.mean(m_test <= 0), np.mean(m_test <= EPS * l1)


def left(w, b, x, y, eps):
    """The penalty of the images with m > eps ||w||_1, at 64 times w and b, as a share of its maximum on the way."""
    chosen = y * (x @ w + b) > eps * np.abs(w).sum()
    curve = [added_penalty(2.0**k * w, 2.0**k * b, x[chosen], y[chosen], eps).sum() for k in range(-3, 7)]
    return curve[-1] / max(curve) if max(curve) > 0 else np.nan


def main(profile: str = "quick") -> None:
    """Check the gradients, train over both grids, follow the penalties, compare."""
    train, test = (pair(split, positive=7, negative=3) for split in (mnist().train, mnist().test))
    double, rng = Split(*(a.astype("float64") for a in train)), np.random.default_rng(0)
    check(rng.standard_normal(784) * (rng.random(784) < 0.7) / 28, double.x[:200], double.y[:200])
    both = {"adversarial, ε": adversarial_gradients, "L1 decay, λ": l1_gradients}
    trained = {name: [descend(f, c, train, EPOCHS[profile]) for c in GRID] for name, f in both.items()}
    table = np.array([[measured(*m[:2], train, test) for m in ms] for ms in trained.values()])
    print("After training: ‖w‖₁, and errors in training, test, test after FGSM(.25)")
    for i, (norm, *errors) in enumerate(table.reshape(-1, 4)):
        print(f"  {[*both][i // len(GRID)]} = {GRID[i % len(GRID)]:<6g} {norm:6.2f} ", *(f"{e:7.2%}" for e in errors))
    p = np.mean(train.y > 0)  # of sevens; at w = 0 the best b is log p / (1 - p), and then s is 1 - p or p
    g = np.abs(l1_gradients(0 * double.x[0], np.log(p / (1 - p)), *double, 0.0)[0]).max()
    print(f"w = 0 is the minimum for L1 decay from λ = {g:.3f}, adversarially from ε = {g / (2 * p * (1 - p)):.3f} on.")
    compare("logistic-3v7", {"clean_error": table[1, 0, 2], "error": table[1, 0, 3]})
    share = np.max([left(*m[:2], *double, c) for m, c in zip(trained["adversarial, ε"], GRID, strict=True)][1:])
    compare("l1-pessimism", {"adversarial_penalty_share": share}, holds=bool(share < 0.1))
    compare("l1-maxout-stuck")
    draw(trained, table, train)


def draw(trained, table, train):
    """The penalty of each image against its margin; effective coefficients; norm and errors over the grids."""
    models, eps, labels = trained["adversarial, ε"], GRID[SHOWN], [f"{c:g}" for c in GRID]
    w, b, _ = models[SHOWN]
    m, bound = train.y * (train.x @ w + b), eps * np.abs(w).sum()
    with figure("lesson07_penalties.png", width=11, height=7.5) as canvas:
        (penalty, push), (norm, error) = canvas.subplots(2, 2)
        penalty.axhline(bound, color=ORANGE, linestyle="--", label=f"L1 decay, λ = {eps}")
        penalty.plot(m, added_penalty(w, b, *train, eps), ".", color=BLUE, label=f"adversarial, ε = {eps}")
        penalty.set(xlabel="margin of a training image", ylabel="added to its cost, nats", ylim=(0, 1.4 * bound))
        push.axhline(1, color=ORANGE, linestyle="--", label="L1 decay with λ = ε")
        for k, colour, style in ((-1, GREY, "v:"), (SHOWN, BLUE, "o-"), (3, GREEN, "^-.")):
            push.plot(models[k][2], style, color=colour, label=f"adversarial, ε = {GRID[k]}")
        push.set(xlabel="epochs", ylabel="effective coefficient / ε", ylim=(0, 1.5))
        for name, rows, colour, style in zip(trained, table, (BLUE, ORANGE), "os", strict=True):
            norm.plot(labels, rows[:, 0], style + "-", color=colour, label=name)
            error.plot(labels, 100 * rows[:, 1], style + "-", color=colour, label=f"{name}: training")
            error.plot(labels, 100 * rows[:, 2], style + ":", color=colour, alpha=0.6, label=f"{name}: test")
        norm.set(xlabel="ε or λ (0: neither)", ylabel="‖w‖₁ after training", ylim=0)
        error.set(xlabel="ε or λ (0: neither)", ylabel="error on clean images, %", ylim=(1.5, 60))
        error.set_yscale("log", subs=[])
        error.set_yticks([2, 5, 10, 20, 50], ["2", "5", "10", "20", "50"])
        for axes in canvas.axes:
            axes.legend(frameon=False, fontsize=9)


# %%
if __name__ == "__main__":
    main()

# %% [markdown]
# **To think about.** Some sevens look so much like threes that every good model has them wrong, with margins far below
# 0. What does either regulariser add for them? And if $w$ and $b$ are doubled? Why is underfitting made worse?
#
# ### BEGIN SOLUTION
# **For the teacher**, 3 points. 1: both add about $\varepsilon\lVert w\rVert_1$, with slope 1: no discount for the
# wrong. 1: doubling doubles it; where margins are large it makes the penalty fade. 1: a model that has many images
# wrong is pushed to small weights; they keep margins small, nothing saturates, the penalty never fades.
# ### END SOLUTION
#
# **What this cannot explain yet.** All of this needed the worst case as a formula, and a deep network has none: there
# the examples must be made anew at every step. Does training on them still help, and does the penalty fade there too?
