"""Adversarial training of linear models against L1 decay: a penalty that fades and one that does not

The paper's section 5: adversarial training of logistic regression as a formula, with its penalty inside the cost.
"""

# %% [markdown]
# # Lesson 7. Adversarial training of linear models against L1 decay: a penalty that fades and one that does not
#
# **Time:** about 75 minutes. **You need:** lessons 2 and 3; what an engine and a maxout network are (lessons 4 and 5).
#
# **After this lesson you can**
#
# - write adversarial training of a linear model as a formula, and train with it;
# - compare it with L1 weight decay: what each of them pushes on, and how hard;
# - say which of the two penalties fades when the model becomes sure, and why.
#
# ## The claims
#
# To *regularise* a model is to make training prefer simpler weights, in the hope that it does better on new images. A
# common way is *weight decay*: a penalty for large weights is added to the cost. *L1 decay* adds $\lambda\lVert
# w\rVert_1$, where the *coefficient* $\lambda$ (lambda) says how much the penalty counts.
#
# The paper (Goodfellow, Shlens and Szegedy 2015, section 5) compares L1 decay with adversarial training of logistic
# regression. L1 decay adds its penalty *to the cost*. Adversarial training subtracts a similar term *from the
# activation* (and adds it for a three, whose activation should be negative). So, the paper says, the adversarial
# penalty can fade once predictions are sure, and the L1 penalty cannot. L1 decay is the more pessimistic of the two.
#
# The paper also tried L1 decay on the first layer of a maxout network. A coefficient of 0.0025 was already too large:
# training got stuck above 5 % training error. With smaller coefficients training succeeded, but the penalty brought no
# gain on new images.

# %%
import math

import numpy as np

from tinyadv import Tensor, grad, losses, ops
from tinyadv.course import compare, figure, profile, tabulate
from tinyadv.datasets import Split, mnist, pair
from tinyadv.paper.draw import BLUE, GREEN, GREY, ORANGE

EPOCHS = {"quick": 10, "lesson": 20, "paper": 100}
EPS = 0.25
GRID = (0.0, 0.001, 0.0025, 0.01, 0.025, 0.1, 0.25)  # eps of adversarial training, lambda of L1 decay; 0: no penalty
SHOWN = 5  # the figures show GRID[SHOWN] in detail

# %% [markdown]
# ## The adversarial objective
#
# Let $m_n = y_n(w^\top x_n + b)$ be the *margin* of an image: positive if the answer is right, and large if the model
# is sure of it. The cost of the image is $\zeta(-m_n)$, with the softplus $\zeta$ of lesson 2.
#
# FGSM moves the image by $-\varepsilon\,y_n\operatorname{sign}(w)$ (lesson 3). This lowers its margin by
# $\varepsilon\lVert w\rVert_1$, the same amount for every image. So training on attacked images alone minimises the
# first of these two costs. L1 decay minimises the second:
#
# $$J_{\rm adv}(w, b) = \frac1N \sum_n \zeta\bigl(\varepsilon\lVert w\rVert_1 - m_n\bigr) , \qquad
# J_{L1}(w, b) = \frac1N \sum_n \zeta(-m_n) + \lambda\lVert w\rVert_1 .$$
#
# The same norm appears in both, once inside $\zeta$ and once outside. (In the paper's formula, $y$ multiplies
# $\varepsilon\lVert w\rVert_1$ too. That would reward large weights where $y = -1$; it is a slip.)

# %% [markdown]
# ## What the attack adds to the cost of one image
#
# The *adversarial penalty* $r_n$ of an image is its cost in $J_{\rm adv}$, minus its cost without any attack.
#
# ## Exercise 1 (easy): the penalty of each image
#
# Return $r_n$ for N images. As in lesson 2, it has to be finite for every margin. It also has to be right where it is
# tiny: in float64 a penalty of about $e^{-300}$ must not become 0.


# %%
def added_penalty(w: np.ndarray, b: float, x: np.ndarray, y: np.ndarray, eps: float) -> np.ndarray:
    """r `(N,)`: what an attack of size eps adds to the cost of each image x `(N, D)`.

    The labels y `(N,)` are -1 or 1.
    """
    ### BEGIN SOLUTION
    m = y * (x @ w + b)
    # zeta(eps ||w||_1 - m) - zeta(-m)
    return np.logaddexp(0, eps * np.abs(w).sum() - m) - np.logaddexp(0, -m)
    ### END SOLUTION


# %% [markdown]
# So $r_n = \zeta\bigl(\varepsilon\lVert w\rVert_1 - m_n\bigr) - \zeta(-m_n)$. It is never negative, because $\zeta$
# only rises. And it is at most $\varepsilon\lVert w\rVert_1$, because the slope of $\zeta$ is at most 1. Two cases:
#
# - The answer is wrong by far, $m_n \ll 0$. The slope is near 1 all the way, so $r_n$ is near
#   $\varepsilon\lVert w\rVert_1$. For such images adversarial training acts like L1 decay with $\lambda = \varepsilon$.
# - The answer is right, and the model is sure of it even after the attack, $m_n \gg \varepsilon\lVert w\rVert_1$. Both
#   costs are near 0. The penalty *fades* like $e^{-(m_n - \varepsilon\lVert w\rVert_1)}$.
#
# L1 decay charges every image the full amount, whatever its margin. That is what the paper means by pessimistic.

# %% [markdown]
# ## The gradient of the adversarial objective
#
# The softplus has the slope $\sigma(a) = 1/(1 + e^{-a})$. The size of a weight, $|w_i|$, has the slope
# $\operatorname{sign}(w_i)$. At $w_i = 0$ it has a kink, where any slope from $-1$ to $1$ would do; we take 0, so that
# the weights of pixels that are always dark stay 0.
#
# Let $s_n = \sigma(\varepsilon\lVert w\rVert_1 - m_n)$. This is the probability that the model gives to the wrong class
# *after* the attack, and it is the slope of the softplus at its argument $\varepsilon\lVert w\rVert_1 - m_n$. What
# remains is the gradient of that argument with respect to $w$ and $b$.
#
# ## Exercise 2 (medium): the adversarial gradients
#
# Return $\nabla_w J_{\rm adv}$, of shape `(D,)`, and $\partial J_{\rm adv}/\partial b$, one number. Both have to be
# finite for every margin.
#
# <details><summary>Hint 1</summary>
#
# First $s$, of shape `(N,)`. `ops.sigmoid` does not overflow.
#
# </details>
# <details><summary>Hint 2</summary>
#
# In the part with $\operatorname{sign}(w)$ only the factor $s_n$ differs from image to image: it needs only the mean of
# $s$.
#
# </details>


# %%
def adversarial_gradients(w: np.ndarray, b: float, x: np.ndarray, y: np.ndarray, eps: float) -> tuple:
    """dJ_adv/dw `(D,)` and dJ_adv/db, one number; float32 if w, b, x, y are.

    Images x `(N, D)`, labels y `(N,)` of -1 or 1. The slope of |w_i| is 0 at w_i = 0.
    """
    ### BEGIN SOLUTION
    s = ops.sigmoid(eps * np.abs(w).sum() - y * (x @ w + b))
    # mean_n s_n (eps sign(w) - y_n x_n), -mean_n s_n y_n
    return eps * s.mean() * np.sign(w) - x.T @ (s * y) / len(x), -(s * y).mean()
    ### END SOLUTION


# %% [markdown]
# By the chain rule, with $\partial m_n/\partial w = y_n x_n$ and $\partial m_n/\partial b = y_n$,
#
# $$\nabla_w J_{\rm adv} = \frac1N \sum_n s_n\bigl(\varepsilon\operatorname{sign}(w) - y_n x_n\bigr), \qquad
# \frac{\partial J_{\rm adv}}{\partial b} = -\frac1N \sum_n s_n\,y_n .$$
#
# ## The gradient of L1 decay
#
# Here the penalty stands outside the mean. It does not depend on the images: it always pushes every weight towards 0
# with the same force $\lambda$. The rest is the clean gradient of lesson 2, with the *clean* probability of the wrong
# class, $\sigma(-m_n)$, in place of $s_n$.
#
# ## Exercise 3 (medium): the gradients of L1 decay
#
# Return the gradients of $J_{L1}$ for $w$ and $b$, in the same form as in exercise 2.
#
# <details><summary>Hint 1</summary>
#
# The mean in lesson 2's gradient stays; the penalty's slope is added once, outside the mean. $b$ has no penalty.
#
# </details>


# %%
def l1_gradients(w: np.ndarray, b: float, x: np.ndarray, y: np.ndarray, lam: float) -> tuple:
    """dJ_L1/dw `(D,)` and dJ_L1/db, one number; float32 if w, b, x, y are.

    Images x `(N, D)`, labels y `(N,)` of -1 or 1. The slope of |w_i| is 0 at w_i = 0.
    """
    ### BEGIN SOLUTION
    s = ops.sigmoid(-y * (x @ w + b))
    return lam * np.sign(w) - x.T @ (s * y) / len(x), -(s * y).mean()
    ### END SOLUTION


# %% [markdown]
# Are they right? At random weights, some of them exactly 0, they must agree with the engine's. And training on explicit
# FGSM examples, with the attacked images as constants, must give the same gradient as the formula for $J_{\rm adv}$.


# %%
def compare_with_engine(w, x, y):
    """At these weights our gradients are the engine's, and those of training on explicit FGSM examples."""
    W, B = Tensor(w), Tensor(0.1)
    x_adv = x - EPS * y[:, None] * np.sign(w)
    expected = [
        (l1_gradients, losses.logistic_loss(x @ W + B, y) + EPS * abs(W).sum()),
        (adversarial_gradients, losses.adversarial_logistic_loss(W, B, x, y, EPS)),
        (adversarial_gradients, losses.logistic_loss(x_adv @ W + B, y)),
    ]
    for gradients, J in expected:
        for ours, engine in zip(gradients(w, 0.1, x, y, EPS), grad(J, [W, B]), strict=True):
            assert np.allclose(ours, engine), "not the engine's gradients"


# %%
if __name__ == "__main__":
    train = pair(mnist().train, positive=7, negative=3)
    test = pair(mnist().test, positive=7, negative=3)
    double = Split(train.x.astype("float64"), train.y.astype("float64"))
    rng = np.random.default_rng(0)
    w = rng.standard_normal(784) * (rng.random(784) < 0.7) / 28
    compare_with_engine(w, double.x[:200], double.y[:200])
    print("The gradients are the engine's, and those of training on FGSM examples.")

# %% [markdown]
# ## Training with both
#
# Now train with seven values of $\varepsilon$ and with seven values of $\lambda$. During training the learning rate
# falls to a hundredth: a constant one would throw weights back and forth across the kink at 0.


# %%
def descend(gradients, coefficient, data, epochs):
    """w, b and, at the start and after each epoch, the mean of adversarial training's s; batches of 100 at random."""
    rng = np.random.default_rng(0)
    w, b = np.zeros_like(data.x[0]), np.zeros_like(data.y[0])
    log = [0.5]  # at w = 0 and b = 0 every s is sigmoid(0)
    batches = math.ceil(len(data.x) / 100)
    for epoch in range(epochs):
        for i, rows in enumerate(np.array_split(rng.permutation(len(data.x)), batches)):
            rate = 0.2 * 0.01 ** ((epoch + i / batches) / epochs)
            dw, db = gradients(w, b, data.x[rows], data.y[rows], coefficient)
            w, b = w - rate * dw, b - rate * db
        s = ops.sigmoid(coefficient * np.abs(w).sum() - data.y * (data.x @ w + b))
        log.append(s.mean())
    return w, b, log


def measured(w, b, train, test):
    """||w||_1 and the errors: training, test, and test after FGSM, which takes EPS ||w||_1 off each margin."""
    norm = np.abs(w).sum()
    m_train = train.y * (train.x @ w + b)
    m_test = test.y * (test.x @ w + b)
    return float(norm), np.mean(m_train <= 0), np.mean(m_test <= 0), np.mean(m_test <= EPS * norm)


# %% [markdown]
# **Predict.** With the same coefficient, $\varepsilon = \lambda = 0.1$: which model has the smaller weights, and
# which the larger training error?
#
# - L1 decay has the smaller weights and the larger error
# - adversarial training has the smaller weights and the larger error
# - there is hardly a difference

# %%
if __name__ == "__main__":
    both = {"adversarial, ε": adversarial_gradients, "L1 decay, λ": l1_gradients}
    trained, table, lines = {}, {}, []
    for name, gradients in both.items():
        trained[name] = [descend(gradients, coefficient, train, EPOCHS[profile()]) for coefficient in GRID]
        table[name] = np.array([measured(w, b, train, test) for w, b, _ in trained[name]])
        for coefficient, (norm, *errors) in zip(GRID, table[name], strict=True):
            lines.append([f"{name} = {coefficient:g}", f"{norm:.2f}", *(f"{e:.2%}" for e in errors)])
    tabulate("after training", ["", "‖w‖₁", "training error", "test error", "test error under FGSM"], lines)

# %% [markdown]
# At equal coefficients L1 decay pushes harder, and with 0.25 it learns nothing at all. Adversarial training with
# $\varepsilon = 0.25$ still learns. Equal coefficients are not the only fair comparison, though: look also at rows with
# about the same $\lVert w\rVert_1$.

# %% tags=["hide-input"]
if __name__ == "__main__":
    labels = [f"{coefficient:g}" for coefficient in GRID]
    with figure("lesson07_grids.png", width=10, height=3.8) as canvas:
        norms, errors = canvas.subplots(1, 2)
        for name, colour, mark in (("adversarial, ε", BLUE, "o"), ("L1 decay, λ", ORANGE, "s")):
            rows = table[name]
            norms.plot(labels, rows[:, 0], mark + "-", color=colour, label=name)
            errors.plot(labels, 100 * rows[:, 1], mark + "-", color=colour, label=f"{name}: training")
            errors.plot(labels, 100 * rows[:, 2], mark + ":", color=colour, alpha=0.6, label=f"{name}: test")
        norms.set(xlabel="ε or λ (0: neither)", ylabel="‖w‖₁ after training", ylim=0)
        errors.set(xlabel="ε or λ (0: neither)", ylabel="error on clean images, %", ylim=(1.5, 60))
        errors.set_yscale("log", subs=[])
        errors.set_yticks([2, 5, 10, 20, 50], ["2", "5", "10", "20", "50"])
        for axes in canvas.axes:
            axes.legend(frameon=False)

# %% [markdown]
# ## Why L1 decay can learn nothing
#
# In the adversarial gradient the factor of $\operatorname{sign}(w)$ is $\lambda_{\rm eff} = \varepsilon\,\frac1N \sum_n
# s_n$. So adversarial training pushes weights towards 0 as L1 decay with this *effective coefficient* does. It starts
# at $\varepsilon/2$, where the model knows nothing, and falls as the model becomes sure of its answers on attacked
# images.
#
# Look at $w = 0$, with the $b$ that is best there. Let $g$ be the gradient of the clean cost for $w$. A small step of
# $w_i$ away from 0 gains at most $|g_i|$ for each unit of its length, and L1 decay charges $\lambda$ for it. If all
# $|g_i| \le \lambda$, no step pays, and the model stays at 0.
#
# Now the same with adversarial training. At $w = 0$ the attack changes no margin, so the gain is again at most $|g_i|$.
# But the price is now $\lambda_{\rm eff}$: the model stays at 0 only if all $|g_i| \le \lambda_{\rm eff}$. How large is
# $\lambda_{\rm eff}$ there? Let $p$ be the share of sevens. With the best $b$ the model gives every image the
# probability $p$ of being a seven. So $s_n$ is $1 - p$ for the sevens and $p$ for the threes, and the mean of $s$ is
# $2p(1 - p)$. Hence $\lambda_{\rm eff} = 2p(1 - p)\,\varepsilon$, about $\varepsilon/2$.

# %%
if __name__ == "__main__":
    p = np.mean(train.y > 0)  # the share of sevens
    best_b = np.log(p / (1 - p))  # at w = 0
    g, _ = l1_gradients(np.zeros(784), best_b, double.x, double.y, 0.0)
    lam = np.abs(g).max()
    eps = lam / (2 * p * (1 - p))
    print(f"w = 0 is the minimum for L1 decay from λ = {lam:.3f} on, for adversarial training from ε = {eps:.3f} on.")
    compare("logistic-3v7", {"clean_error": table["adversarial, ε"][0, 2], "error": table["adversarial, ε"][0, 3]})

# %% [markdown]
# (The table shows the model without either penalty, which is the paper's logistic regression.)
#
# ## Does the penalty fade?
#
# Take the images that the model gets right even after the attack, and multiply $w$ and $b$ by larger and larger
# factors, from 1/8 to 64. All margins grow by the factor: the model becomes surer and surer. L1's penalty grows by the
# same factor. What does the adversarial penalty do?


# %%
def left(w, b, x, y, eps):
    """The penalty of the images with m > eps ||w||_1 at 64 times w and b, relative to its largest on the way."""
    chosen = y * (x @ w + b) > eps * np.abs(w).sum()
    curve = [added_penalty(2.0**k * w, 2.0**k * b, x[chosen], y[chosen], eps).sum() for k in range(-3, 7)]
    return curve[-1] / max(curve) if max(curve) > 0 else np.nan


# %% [markdown]
# **Predict.** Multiply $w$ and $b$ by 64. What is left of the adversarial penalty of these images, compared with its
# largest value on the way there?
#
# - all of it: it grows with the weights, like L1's, and is largest at 64
# - about half
# - a few per cent or less

# %%
if __name__ == "__main__":
    shares = []
    for (w, b, _), eps in zip(trained["adversarial, ε"], GRID, strict=True):
        if eps > 0:
            shares.append(left(w, b, *double, eps))
    share = float(np.max(shares))
    compare("l1-pessimism", {"adversarial_penalty_share": share}, holds=bool(share < 0.1))

# %% tags=["hide-input"]
if __name__ == "__main__":
    models, eps = trained["adversarial, ε"], GRID[SHOWN]
    w, b, _ = models[SHOWN]
    margins, bound = train.y * (train.x @ w + b), eps * np.abs(w).sum()
    with figure("lesson07_penalties.png", width=10, height=3.8) as canvas:
        penalty, push = canvas.subplots(1, 2)
        penalty.axhline(bound, color=ORANGE, linestyle="--", label=f"L1 decay, λ = {eps}")
        penalty.plot(margins, added_penalty(w, b, *train, eps), ".", color=BLUE, label=f"adversarial, ε = {eps}")
        penalty.set(xlabel="margin of a training image", ylabel="added to its cost", ylim=(0, 1.4 * bound))
        push.axhline(1, color=ORANGE, linestyle="--", label="L1 decay with λ = ε")
        for k, colour, style in ((-1, GREY, "v:"), (SHOWN, BLUE, "o-"), (3, GREEN, "^-.")):
            push.plot(models[k][2], style, color=colour, label=f"adversarial, ε = {GRID[k]}")
        push.set(xlabel="epochs", ylabel="effective coefficient / ε", ylim=(0, 1.5))
        for axes in canvas.axes:
            axes.legend(frameon=False)

# %% [markdown]
# Left: each dot is a training image. L1 decay charges all of them the same; the attack charges those with a large
# margin almost nothing. Right: the effective coefficient during training, divided by $\varepsilon$. This ratio is the
# mean of $s$. With a small $\varepsilon$ it falls at once. With $\varepsilon = 0.25$ it stays high, because many images
# are wrong after the attack, and for those the penalty does not fade.
#
# ## Maxout networks
#
# The paper's experiment with a maxout network takes too long for a lesson. Here is what our longer runs say:

# %%
if __name__ == "__main__":
    compare("l1-maxout-stuck")

# %% [markdown]
# With many outputs L1 decay is more pessimistic still: it adds up the worst cases of all units, as if one change $\eta$
# could be the worst for each of them at once.
#
# ## To think about
#
# Some sevens look so much like threes that every good model gets them wrong, with margins far below 0. What does each
# of the two penalties add to their cost, and what if $w$ and $b$ are doubled? A model *underfits* if it gets many of
# its own training images wrong. The paper says that adversarial training makes underfitting worse. Why?
#
# ### BEGIN SOLUTION
# **For the teacher**, 3 points. 1: both add about $\varepsilon\lVert w\rVert_1$, if $\lambda = \varepsilon$: images
# that are wrong get no discount. 1: doubling doubles it, while for images with large margins it makes the adversarial
# penalty fade. 1: a model that gets many images wrong is pushed towards small weights; these keep the margins small, no
# image becomes sure, and the penalty never fades.
# ### END SOLUTION
#
# ## Summary
#
# - Adversarial training of logistic regression puts $\varepsilon\lVert w\rVert_1$ inside $\zeta$, L1 decay puts
#   $\lambda\lVert w\rVert_1$ outside.
# - Inside, the penalty fades for images whose answer is right and sure. For images that are wrong it acts like L1
#   decay.
# - At equal coefficients L1 decay pushes harder, and can keep a model from learning anything.
#
# **What this cannot explain yet.** All of this needed a formula for the worst case, and a deep network has none. There
# the attacked examples must be made anew at every step. Does training on them still help? Lesson 8 tries it.
