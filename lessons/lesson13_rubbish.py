"""Rubbish and fooling images: sure that noise is a digit

The paper's appendix: what networks say about noise that shows no digit at all, why a linear one has to say something,
what sigmoids or RBF units change, and how one gradient step turns noise into a class of our choice.
"""

# %% [markdown]
# # Lesson 13. Rubbish and fooling images: sure that noise is a digit
#
# **Time:** about 60 minutes. **You need:** lessons 3, 5 and 10.
#
# **After this lesson you can**
#
# - measure what a network says about inputs that show nothing;
# - predict this for a linear model from its weights alone;
# - turn noise into a class of your choice with one gradient step.
#
# ## The claims
#
# Give a classifier noise: 784 independent normal numbers of mean 0 and variance 1. Such an input shows no digit, so it
# is an error if some class gets a probability above one half. The paper (Goodfellow, Shlens and Szegedy 2015, appendix)
# calls these inputs *rubbish class examples*, and shows 10,000 of them to four networks: maxout with a softmax on top,
# maxout with independent sigmoids on top, softmax regression and an RBF network. How often does each see a digit, and
# how sure is it?
#
# The errors are very unevenly spread over the classes: 45.3 % of the maxout network's errors are fives, and none is an
# eight. And the paper takes one gradient step from a sample of noise, towards a *wanted* class.

# %%
from __future__ import annotations

import math

import numpy as np

from tinyadv import attacks, metrics, models, ops, parameters
from tinyadv.backend import generator
from tinyadv.course import compare, figure, lab, profile, scale
from tinyadv.paper import recipes
from tinyadv.paper.draw import BLUE, GREEN, GREY, ORANGE, show_image

EPS = 0.25  # of the fooling step, as of all attacks on MNIST
SAMPLES = 10_000  # of noise
TRIES = 500  # samples of noise to start from, for each wanted class

# %% [markdown]
# ## What is counted
#
# A network gives N samples the probabilities $p$, of shape `(N, K)` for K classes. A sample is an error if its largest
# probability is above one half. It counts once, even if several sigmoids are above one half. The *error* is the number
# of these samples, divided by N. The *confidence on mistakes* is the mean of their largest probabilities. If there are
# no errors, this mean is not 0: it does not exist, and we write NaN.
#
# ## Exercise 1 (easy): errors on rubbish
#
# Return three things: the error, the confidence on mistakes, and the number of errors of each class. An error belongs
# to the class with the largest probability.


# %%
def rubbish_error(p: np.ndarray) -> tuple[float, float, np.ndarray]:
    """Error, confidence on mistakes (NaN without any), and the number of errors of each class, integers `(K,)`.

    p `(N, K)` are probabilities; rows need not add up to 1.
    """
    ### BEGIN SOLUTION
    largest = p.max(axis=1)
    claimed = largest > 0.5
    confidence = largest[claimed].mean() if claimed.any() else math.nan
    by_class = np.bincount(p[claimed].argmax(axis=1), minlength=p.shape[1])
    return claimed.mean(), confidence, by_class
    ### END SOLUTION


# %% [markdown]
# **Predict.** All four networks get the same noise. In what share of the samples does the maxout network with a softmax
# see a digit?
#
# - hardly any: noise is far from all training images
# - about half
# - nearly all

# %%
if __name__ == "__main__":
    networks, size = lab(), scale(profile())
    x = generator(0, "rubbish").standard_normal((SAMPLES, 784), dtype="float32")
    wanted = {
        "rubbish-softmax": ("softmax regression", recipes.softmax_regression(size, 0)),
        "rubbish-maxout-softmax": ("maxout", recipes.maxout(size, 0)),
        "rubbish-maxout-sigmoid": ("maxout, sigmoids", recipes.maxout(size, 0, top="sigmoid")),
        "rubbish-rbf": ("RBF", recipes.rbf_network(size, 0)),
    }
    trained, largest, counts = {}, {}, {}
    for claim, (name, recipe) in wanted.items():
        network = trained[name] = networks.network(recipe)
        p = network.probabilities(metrics.in_batches(network, x))
        largest[name] = p.max(axis=1)
        error, confidence, counts[name] = rubbish_error(p)
        package = metrics.evaluate_rubbish(network, x)
        assert error == package.error, "our error and the package's differ"
        assert np.array_equal(counts[name], package.by_class), "our counts and the package's differ"
        compare(claim, {"error": float(error), "confidence_on_mistakes": float(confidence)}, package.intervals)
    share = counts["maxout"] / max(1, counts["maxout"].sum())
    compare("rubbish-skew", {"share_fives": share[5], "share_eights": share[8], "share_most_frequent": share.max()})

# %% [markdown]
# Nobody had to search for these samples: the maxout network is sure about pure noise. Nor does it take a deep network:
# softmax regression errs on more than half of the samples. (How *often* a network sees each digit depends on its random
# start. Compare this lesson's numbers in the last table with *ours*: the intervals over random starts are wide.)
#
# ## Why a linear model sees something in noise
#
# Softmax regression has the logits $z = Wx + b$, with $W$ of shape `(K, D)` for D pixels. A sum of *independent* normal
# numbers is normal, also if each has a factor. So the K logits are normal too, and so is every sum of them, with any
# factors. For such numbers the means and covariances determine everything else. The *covariance* of two logits is the
# mean of the product of their deviations,
#
# $$\mathbb E\bigl[(z_k - \mathbb E z_k)(z_l - \mathbb E z_l)\bigr] ,$$
#
# and for $k = l$ it is the variance. About the noise we know two things: the mean of $x_i$ is 0, and the mean of
# $x_i x_j$ is 1 if $i = j$, and 0 otherwise.
#
# ## Exercise 2 (medium): logits on noise
#
# Return the means, the standard deviations and the covariances of the logits, in this order, from $W$ and $b$ alone.
#
# <details><summary>Hint 1</summary>
#
# Write $z_k$ as $b_k + \sum_i W_{ki} x_i$. In the product of two such sums only the terms with $i = j$ have a mean that
# is not 0.
#
# </details>


# %%
def logits_on_noise(W: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Means `(K,)`, standard deviations `(K,)` and covariances `(K, K)` of the logits W x + b, for noise x.

    The D entries of x are independent, with mean 0 and variance 1. W is `(K, D)`, b is `(K,)`.
    """
    ### BEGIN SOLUTION
    # z ~ N(b, W W^T)
    return b, np.sqrt((W**2).sum(axis=1)), W @ W.T
    ### END SOLUTION


# %% [markdown]
# The mean of $z_k$ is $b_k$, and the covariance of two logits is
#
# $$\sum_{i, j} W_{ki} W_{lj}\,\mathbb E[x_i x_j] = \sum_i W_{ki} W_{li} = (W W^\top)_{kl} .$$
#
# Let $w_k$ be row $k$ of $W$, the weights of class $k$. The logit $z_k$ has the variance $\lVert w_k\rVert_2^2$. That
# is a sum over all D pixels, so many small weights make large logits. Classes with a large $b_k$ tend to win more often
# than others. So do classes with a long $w_k$, because their logits spread further in both directions.
#
# So we can predict the errors of softmax regression without a single sample of noise: draw the ten logits directly,
# with these means and covariances.


# %%
def predicted(W: np.ndarray, b: np.ndarray) -> np.ndarray:
    """p `(SAMPLES, K)` of softmax regression on noise, where only the K logits are drawn, and not the D pixels."""
    mean, _, covariance = logits_on_noise(W.astype("float64"), b.astype("float64"))
    return ops.softmax(np.random.default_rng(0).multivariate_normal(mean, covariance, size=SAMPLES))


# %%
if __name__ == "__main__":
    W, b = (p.data for p in parameters(trained["softmax regression"]))
    error, _, theory = rubbish_error(predicted(W, b))
    measured = np.mean(largest["softmax regression"] > 0.5)
    print(f"Softmax regression errs on {error:.1%} by theory, and on {measured:.1%} of the samples above.")

# %% tags=["hide-input"]
if __name__ == "__main__":
    thresholds, k = np.linspace(0, 1, 201), np.arange(10)
    looks = ((GREY, ":"), (BLUE, "-"), (ORANGE, "--"), (GREEN, "-."))
    with figure("lesson13_rubbish.png", width=10, height=3.8) as canvas:
        curve, bars = canvas.subplots(1, 2)
        for (name, p), (colour, style) in zip(largest.items(), looks, strict=True):
            above = [100 * np.mean(p > threshold) for threshold in thresholds]
            curve.plot(thresholds, above, style, color=colour, label=name, clip_on=False)
        curve.axvline(0.5, color=GREY, linewidth=0.8)
        curve.set(xlabel="threshold for the largest p", ylabel="samples above it, %", xlim=(0, 1), ylim=0)
        shares = 100 * counts["softmax regression"] / SAMPLES
        bars.bar(k - 0.2, shares, 0.38, color=BLUE, label="measured")
        bars.bar(k + 0.2, 100 * theory / SAMPLES, 0.38, color=GREEN, hatch="//", label="theory")
        bars.set(xlabel="class that softmax regression sees", ylabel="samples, %", xticks=k)
        for axes in (curve, bars):
            axes.legend(frameon=False, handlelength=1.5)

# %% [markdown]
# Left: how many samples have a largest probability above a threshold; the paper's is one half. Right: how many errors
# belong to each class. For every class the theory predicts nearly the number that we measured.
#
# **Softmax or sigmoids.** A softmax depends on differences of logits only, and its probabilities always add up to 1:
# it has to give them to some classes, whatever the input. Multiply all logits by a growing factor, as longer training
# does, and the largest probability tends to 1: in the end *every* sample is an error. A sigmoid claims its class if
# $\sigma(z_k) > \tfrac12$, which means $z_k > 0$, whatever the other classes say. All of them may be negative: "none
# of these" is a possible answer. It is only possible: the table above shows that the network with sigmoids still makes
# many errors. Its logits on noise are large too, and often at least one of the ten is above 0.
#
# **RBF units** say $p_k = e^{-E_k}$ with $E_k = \sum_i \beta_{ki}(x_i - \mu_{ki})^2$ (lesson 10). On noise the mean
# of $(x_i - \mu)^2$ is $1 + \mu^2$, so the mean of $E_k$ is $\sum_i \beta_{ki}(1 + \mu_{ki}^2)$. This sum grows with
# D too. But here a large sum means "no". An error would need $E_k < \log 2 \approx 0.7$. And $E_k$ hardly ever comes
# far below its mean, because it is a sum of D independent terms. (The network keeps the logarithms of the
# $\beta_{ki}$: they are `s` in the code.)

# %%
if __name__ == "__main__":
    mu, s = (p.data for p in parameters(trained["RBF"]))
    least = (np.exp(s) * (1 + mu**2)).sum(axis=1).min()
    print(f"The mean of E is at least {least:.0f} for every unit of the RBF network.")

# %% [markdown]
# ## One step to a wanted class
#
# To make $p(y = k \mid x)$ large, follow its gradient $\nabla_x\,p(y = k \mid x)$, as the text of the appendix says,
# or the sign of this gradient, as its figure 5 does. With a softmax $J(\theta, x, k) = -\log p$, so
# $\nabla_x\,p = -p\,\nabla_x J$. The factor $p$ is positive, so it does not change the direction; but it may be rounded
# to 0, so we leave it out. What remains is FGSM with two changes: the label is the *wanted* one, and the sign is minus,
# because the cost of that label has to fall:
#
# $$\tilde x = x - \varepsilon\operatorname{sign} g \qquad\text{or}\qquad
# \tilde x = x - \varepsilon\sqrt D\,\frac{g}{\lVert g\rVert_2}, \qquad g = \nabla_x J(\theta, x, k) .$$
#
# The second follows the gradient itself. The paper does not say how far. We go as far as the first does: D entries of
# size $\varepsilon$ have the length $\varepsilon\sqrt D$.
#
# ## Exercise 3 (medium): the fooling step
#
# Move each sample once towards class $k$: by the first formula if `sign` is true, otherwise by the second.
# `attacks.input_gradient(model, x, y)` is $\nabla_x J$ of each sample, of shape `(N, D)`. A sample whose gradient is 0
# does not move.
#
# <details><summary>Hint 1</summary>
#
# The labels are all $k$: `np.full(len(x), k)`.
#
# </details>
# <details><summary>Hint 2</summary>
#
# Each row has its own length, and a length of 0 must not be divided by.
#
# </details>


# %%
def fooling_step(model: models.Network, x: np.ndarray, k: int, eps: float, sign: bool = True) -> np.ndarray:
    """x `(N, D)`, each row moved once towards the class k.

    With `sign` each entry moves by eps; without it the row moves by eps sqrt(D) along its gradient. A row whose
    gradient is 0 stays. The result is float32 if x is, and x itself is not changed.
    """
    ### BEGIN SOLUTION
    g = attacks.input_gradient(model, x, np.full(len(x), k))
    if sign:
        return x - eps * np.sign(g)
    length = np.sqrt((g**2).sum(axis=1, keepdims=True))
    length = np.where(length > 0, length, 1)
    return x - eps * math.sqrt(x.shape[1]) * g / length
    ### END SOLUTION


# %%
def fool(network: models.Network) -> tuple[np.ndarray, list]:
    """How often noise gets p(y = k) >= 0.5, and examples of it.

    The shares are `(3, 10)`: for each class k without a step, after a step along the gradient, and after one by its
    sign. For each k there is one image after a step by the sign, with its p(y = k).
    """
    shares, shown = np.zeros((3, 10)), []
    for k in range(10):
        x = generator(0, f"to be made a {k}").standard_normal((TRIES, 784), dtype="float32")
        by_gradient = fooling_step(network, x, k, EPS, sign=False)
        by_sign = fooling_step(network, x, k, EPS)
        away = attacks.fgsm(network, x, np.full(TRIES, k), EPS)
        assert np.allclose(2 * x - by_sign, away, atol=1e-6), "not FGSM the other way"
        p = network.probabilities(network(np.concatenate([x, by_gradient, by_sign])))[:, k]
        shares[:, k] = (p.reshape(3, TRIES) >= 0.5).mean(axis=1)
        shown.append((by_sign[0], p[-TRIES]))
    return shares, shown


# %% [markdown]
# **Predict.** Choose a digit. On average over the ten digits, the maxout network gives it a probability of at least 0.5
# on about 1 in 10 samples of noise. On how many does it after one step of $\varepsilon = 0.25$ towards this digit?
#
# - about 1 in 5
# - more than half

# %%
if __name__ == "__main__":
    success, images = fool(trained["maxout"])
    before, by_gradient, by_sign = success
    values = {
        "success_mean_mnist_before": before.mean(),
        "success_mean_mnist": by_gradient.mean(),
        "success_mean_mnist_sign": by_sign.mean(),
        "success_lowest_mnist": by_gradient.min(),
        "success_highest_mnist": by_gradient.max(),
    }
    compare("fooling-step", values)

# %% tags=["hide-input"]
if __name__ == "__main__":
    with figure("lesson13_fooling.png", width=7, height=3.4) as canvas:
        for digit, (axes, (image, p)) in enumerate(zip(canvas.subplots(2, 5).flat, images, strict=True)):
            show_image(axes, image, f"{digit}: {p:.2f}", -4, 4)
            axes.spines[:].set(color=ORANGE if p >= 0.5 else GREY, linewidth=3)
        canvas.suptitle("one step from noise to a digit: its p, orange if at least 0.5", fontsize=10)

# %% [markdown]
# None of these pictures shows a digit, and none looks different from the noise that it was made of. (The paper did this
# with a network for photographs, CIFAR-10; lesson 15 does it as well.)
#
# ## To think about
#
# If one step fails, draw new noise and try again. If each try succeeds with the probability $s$, how many tries are
# needed on average? And are fooling images adversarial examples, or is this another failure?
#
# ### BEGIN SOLUTION
# **For the teacher**, 3 points. 1: try $n$ is the first success with probability $s(1 - s)^{n-1}$, the mean of $n$ is
# $1/s$; all digits succeed in the end if $s > 0$. 1: an adversarial example is near an image and has a true class;
# rubbish has none, so the right answer is to claim nothing. 1: the cause is shared: a score that is linear along whole
# directions goes on growing where there are no data; units that answer only near data refuse both.
# ### END SOLUTION
#
# ## Summary
#
# - A softmax network is sure about pure noise: many small products add up to large logits, and a softmax has to choose
#   some class.
# - For softmax regression the errors follow from $b$ and $W W^\top$ alone.
# - One gradient step often turns noise into the class that we want. Some classes are harder to reach than others.
#
# **What this cannot explain yet.** By this measure the RBF network looks perfect. But the measure does not ask what
# that costs on clean images: one number can mislead. So can the low error under FGSM that adversarial training reached
# in lesson 8. Lesson 14 asks which numbers to trust.
