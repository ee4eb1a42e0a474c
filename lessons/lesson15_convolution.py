"""Convolution: the same weights everywhere, three ways to compute it, and airplanes out of noise

The network behind the paper's CIFAR-10 numbers: a convolution by loops, as one product of matrices and as a product of
spectra, all equal; then a trained convolutional maxout network, and what it sees in noise.
"""

# %% [markdown]
# # Lesson 15. Convolution: the same weights everywhere, three ways to compute it, and airplanes out of noise
#
# **Time:** about 90 minutes. **You need:** lessons 5 and 13; complex numbers for the third part.
#
# **After this lesson you can**
#
# - compute a convolution by loops, as a product of matrices, and as a product of spectra;
# - say which of them is cheapest, and why;
# - turn noise into an "airplane" with one gradient step, as figure 5 of the paper does.
#
# ## The claims
#
# CIFAR-10 is a set of small colour photographs, 32 by 32 pixels, of ten kinds of things. For its experiments on them
# the paper (Goodfellow, Shlens and Szegedy 2015) has a *convolutional* maxout network.
#
# - FGSM with $\varepsilon = 0.1$ fools it on 87.15 % of the test images (section 4).
# - It is shown 1,000 samples of Gaussian noise. In how many does it see something? Half of its answers are frogs
#   (appendix).
# - One gradient step turns a sample of noise into a frog or a truck every time, and into an airplane less often
#   (appendix and figure 5). How often?

# %%
from __future__ import annotations

import math

import numpy as np

from tinyadv import attacks, images, metrics, models, parameters
from tinyadv.backend import generator
from tinyadv.course import compare, figure, profile, tabulate
from tinyadv.datasets import mnist
from tinyadv.paper.draw import show_image

SAMPLES = {"quick": 100, "lesson": 1000, "paper": 1000}  # of noise

# %% [markdown]
# ## The same weights everywhere
#
# The networks so far had a weight for each pixel and unit. If a digit moves by one pixel, it meets entirely different
# weights. A *convolution* is a linear layer that uses the same small set of weights, the *kernel*, at every place of
# the image. For an image $x$ of shape `(H, W)` and a kernel $w$ of shape `(K, J)`,
#
# $$y_{pq} = \sum_{i=0}^{K-1} \sum_{j=0}^{J-1} x_{p+i,\,q+j}\,w_{ij} .$$
#
# Lay the kernel on the image with its upper left corner at $(p, q)$, multiply each of its weights by the pixel under
# it, and add up. The kernel has to lie inside the image, so $y$ has the shape `(H - K + 1, W - J + 1)`. (Strictly
# this is a *correlation*. Mathematicians mirror the kernel in a convolution; neural networks do not.)
#
# ## Exercise 1 (easy): by loops
#
# Return $y$, in the dtype of $x$, with loops over $p$ and $q$.


# %%
def by_loops(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """y `(H - K + 1, W - J + 1)`, the convolution of x `(H, W)` with w `(K, J)`, in the dtype of x."""
    ### BEGIN SOLUTION
    H, W = x.shape
    K, J = w.shape
    y = np.zeros((H - K + 1, W - J + 1), x.dtype)
    for p in range(H - K + 1):
        for q in range(W - J + 1):
            # y_pq = sum_ij x_(p+i)(q+j) w_ij
            y[p, q] = (x[p : p + K, q : q + J] * w).sum()
    return y
    ### END SOLUTION


# %% [markdown]
# A kernel that subtracts each pixel from its right neighbour finds vertical edges:

# %%
if __name__ == "__main__":
    digit = mnist().test.x[0].reshape(28, 28)
    vertical = np.array([[-1, 1], [-1, 1], [-1, 1]], "float32")
    edges = by_loops(digit, vertical)
    print(f"image {digit.shape}, kernel {vertical.shape}, result {edges.shape}")

# %% tags=["hide-input"]
if __name__ == "__main__":
    with figure("lesson15_edges.png", width=6, height=3) as canvas:
        left, right = canvas.subplots(1, 2)
        show_image(left, digit.reshape(-1), "a digit", 0, 1, "gray")
        right.imshow(edges, cmap="PuOr", vmin=-3, vmax=3)
        right.set(xticks=[], yticks=[], title="its vertical edges")
        right.spines[:].set_visible(True)

# %% [markdown]
# ## Pooling
#
# The result of a convolution is nearly as large as the image, and a network makes many of them. *Max-pooling* keeps the
# largest value of each window of `size` by `size` pixels, and moves the window by `stride` pixels. The result is
# smaller, and the exact place of an edge matters less. A window may stick out of the image at the right or at the
# bottom: then take the largest of the pixels that lie inside.
#
# ## Exercise 2 (medium): max-pooling
#
# Return the largest value of each window. The number of windows is in the function's description.
#
# <details><summary>Hint 1</summary>
#
# `math.ceil(a / b)` is $a/b$, rounded up.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `x[p * stride : p * stride + size, ...]` may reach beyond the edge: NumPy then takes what is there.
#
# </details>


# %%
def max_pool(x: np.ndarray, size: int, stride: int) -> np.ndarray:
    """The largest entry of each window of size by size of x `(H, W)`, windows starting every `stride` pixels.

    A window that sticks out at the far edge counts with what it holds. Windows are made until every pixel is in one:
    there are ceil((H - size) / stride) + 1 of them along the first axis, and likewise with W along the second. `size`
    is at most H and W, and `stride` at most `size`. The result has the dtype of x.
    """
    ### BEGIN SOLUTION
    H, W = x.shape
    P = math.ceil((H - size) / stride) + 1
    Q = math.ceil((W - size) / stride) + 1
    y = np.zeros((P, Q), x.dtype)
    for p in range(P):
        for q in range(Q):
            y[p, q] = x[p * stride : p * stride + size, q * stride : q * stride + size].max()
    return y
    ### END SOLUTION


# %%
if __name__ == "__main__":
    pooled = max_pool(edges, 4, 2)
    package = images.max_pool(edges[:, :, None, None], 4, 2)[:, :, 0, 0]
    print(
        f"{edges.shape} pooled by 4 with stride 2: {pooled.shape}; equal to the package's: {(pooled == package).all()}"
    )

# %% [markdown]
# ## One product of matrices
#
# Back to the convolution itself. Loops in Python are slow. But a convolution is linear, so it is a product of matrices.
# Write the window at each place as a row of K · J numbers. All windows together are a matrix of shape `(P Q, K J)`,
# with $P = H - K + 1$ and $Q = W - J + 1$. This matrix times the kernel, as a column, is the result: a column of P · Q
# numbers, the rows of $y$ one after another. The trick is called *im2col*, "image to columns", since in other programs
# the windows are columns.
#
# ## Exercise 3 (medium): the windows as a matrix
#
# Return this matrix. Its row number $p\,Q + q$ has the pixels of the window at $(p, q)$: first those of the window's
# first row, then those of its second, and so on.
#
# <details><summary>Hint 1</summary>
#
# Loops over all windows would be slow. Make the matrix column by column: which pixels of the image meet the weight
# $w_{ij}$, for fixed $i$ and $j$?
#
# </details>
# <details><summary>Hint 2</summary>
#
# For fixed $i$ and $j$, column number $i\,J + j$ is the image, shifted: `x[i : i + P, j : j + Q]`, as one long column.
#
# </details>


# %%
def windows(x: np.ndarray, K: int, J: int) -> np.ndarray:
    """All windows of K by J pixels of x `(H, W)`, as rows of a matrix `(P * Q, K * J)`, in the dtype of x."""
    ### BEGIN SOLUTION
    P, Q = x.shape[0] - K + 1, x.shape[1] - J + 1
    columns = [x[i : i + P, j : j + Q].reshape(-1) for i in range(K) for j in range(J)]
    return np.stack(columns, axis=1)
    ### END SOLUTION


# %%
if __name__ == "__main__":
    product = (windows(digit, 3, 2) @ vertical.reshape(-1)).reshape(edges.shape)
    print(f"By loops and by one product: they differ by {abs(product - edges).max():.0e}.")

# %% [markdown]
# But it costs memory: each pixel stands in the matrix up to K · J times.
#
# ## A product of spectra
#
# Now for the surprising way. Take one dimension first. The *discrete Fourier transform* of $L$ numbers $x_p$ is
#
# $$X_u = \sum_{p=0}^{L-1} x_p\,e^{-2\pi i\,u p/L} ,$$
#
# where $i$ is the imaginary unit now, and no longer an index. The $X_u$ are complex numbers, the *spectrum* of $x$. The
# transform is a product with a constant matrix, and it can be undone:
# $x_p = \frac1L \sum_u X_u\,e^{2\pi i\,u p/L}$. Let $L$ be the length of the image, and $W_u$ the spectrum of a kernel
# $w$ of real numbers, filled up with zeros to the length $L$. Its complex conjugate is $\overline{W_u}$. Which numbers
# have the spectrum $X_u \overline{W_u}$? Put the sums in:
#
# $$\frac1L \sum_u X_u \overline{W_u}\,e^{2\pi i\,u p/L}
# = \sum_{p'} \sum_j x_{p'} w_j \Bigl[\frac1L \sum_u e^{2\pi i\,u (p - p' + j)/L}\Bigr]
# \qquad = \sum_j x_{p + j}\,w_j ,$$
#
# because the bracket is 1 where $p' = p + j$ (up to multiples of $L$), and 0 otherwise: then the terms of its sum are
# spread evenly around the unit circle, and cancel. That is the convolution! Where the kernel sticks out of the image at
# one end, it meets the pixels of the other end. But we don't want those places anyway.
#
# In two dimensions we do the same along the rows and along the columns. So the convolution becomes four steps:
# transform the image, transform the kernel (and conjugate it), multiply number by number, transform back. Each
# transform is two products with small constant matrices.
#
# ## Exercise 4 (hard): the spectrum
#
# Return the two-dimensional spectrum $X_{uv} = \sum_{pq} x_{pq}\,e^{-2\pi i\,(u p/L_1 + v q/L_2)}$ of an array, as if
# it were filled up with zeros to the shape $(L_1, L_2)$; as products of matrices, without `np.fft`.
#
# <details><summary>Hint 1</summary>
#
# $e^{-2\pi i\,(u p/L_1 + v q/L_2)}$ is a product of two factors. So $X = A\,x\,B^\top$, with one matrix for each
# direction. Zeros that are added to $x$ meet columns of $A$ that you need not make.
#
# </details>
# <details><summary>Hint 2</summary>
#
# `np.outer(np.arange(L1), np.arange(H))` has all $u\,p$. So `A` has the shape `(L1, H)`, and `B` the shape `(L2, W)`.
#
# </details>


# %%
def spectrum(x: np.ndarray, L1: int, L2: int) -> np.ndarray:
    """X `(L1, L2)`, complex: the spectrum of x `(H, W)`, filled up with zeros; H is at most L1, W at most L2."""
    ### BEGIN SOLUTION
    H, W = x.shape
    A = np.exp(-2j * np.pi * np.outer(np.arange(L1), np.arange(H)) / L1)
    B = np.exp(-2j * np.pi * np.outer(np.arange(L2), np.arange(W)) / L2)
    # X = A x B^T
    return A @ x @ B.T
    ### END SOLUTION


# %%
def by_spectra(x: np.ndarray, w: np.ndarray) -> np.ndarray:
    """The convolution of x `(H, W)` with w `(K, J)` as a product of spectra."""
    (H, W), (K, J) = x.shape, w.shape
    product = spectrum(x, H, W) * np.conj(spectrum(w, H, W))
    # the way back is the same sum with the other sign, which is what two conjugations do
    y = np.conj(spectrum(np.conj(product), H, W)).real / (H * W)
    return y[: H - K + 1, : W - J + 1].astype(x.dtype)


# %%
if __name__ == "__main__":
    print(f"By loops and by spectra: they differ by {abs(by_spectra(digit, vertical) - edges).max():.0e}.")
    package = images.conv2d(digit[:, :, None, None], vertical[:, :, None, None])[:, :, 0, 0]
    print(f"By loops and by the package: they differ by {abs(package - edges).max():.0e}.")

# %% [markdown]
# ## Which is cheapest?
#
# In a network an image has several numbers for every pixel, the *channels*. C channels go into a convolution, and F
# come out. Each pair of an input channel $c$ and an output channel $f$ has its own kernel, and the sum runs over the
# input channels too. For image number $n$: $y_{pqnf} = \sum_{ijc} x_{p+i,q+j,nc}\,w_{ijcf}$. Count multiplications for
# one image.
#
# - By windows: $P Q \cdot K J \cdot C F$.
# - By spectra: about $H W \cdot C F$ for the products, times a small number because they are complex. The transforms
#   come on top. There is one for each of the C channels that go in, and one for each of the F that come out. Those of
#   the $C F$ kernels are made once, for all images of a batch.
#
# The number of these products does not grow with the kernel. With 8 by 8 kernels, as in the paper's network, windows
# need 64 multiplications for each pixel and each pair of channels; spectra need a few.
#
# **Predict.** The second layer of the paper's network: 16 by 16 pixels, filled up with zeros to 22 by 22, kernels of 8
# by 8, 96 channels in, 384 out. How many multiplications do spectra need, compared with windows?
#
# - about as many
# - about 10 times fewer
# - 64 times fewer


# %%
def multiplications(H: int, K: int, C: int, F: int, batch: int = 128) -> tuple[float, float]:
    """For images of H x H and kernels of K x K: multiplications an image by windows, and by spectra."""
    P, U, V = H - K + 1, H, H // 2 + 1  # half of the frequencies are enough, since images are real
    by_windows = P * P * K * K * C * F
    products = 3 * U * V * C * F  # a complex product is three real ones
    of_x = (2 * V * H * H + 3 * U * 2 * H * V) * C
    of_w = (2 * V * K * K + 3 * U * 2 * K * V) * C * F / batch  # once for all images of a batch
    of_y = (2 * P * 3 * U * V + P * 2 * V * P) * F
    return by_windows, products + of_x + of_w + of_y


# %%
if __name__ == "__main__":
    lines = []
    for K in (1, 3, 5, 8, 11):
        direct, spectral = multiplications(22, K, 96, 384)
        lines.append([f"{K} × {K}", f"{direct / 1e6:.0f}", f"{spectral / 1e6:.0f}", f"{direct / spectral:.1f}"])
    tabulate("millions of multiplications", ["kernel", "by windows", "by spectra", "ratio"], lines)

# %% [markdown]
# For 1 by 1 kernels windows are the better way. In this table the spectra save more the larger the kernel is. (That
# ends at kernels half as wide as the image: larger ones fit in few places, and windows need less.) The package's
# `conv2d` counts much as this cell does, and also the numbers that have to be written to memory, and takes the cheaper
# way. Both are made of products of matrices, so the engine differentiates them like everything else.

# %% [markdown]
# ## The network
#
# The convolutional maxout network has three layers of convolution, each followed by a maximum over two pieces (lesson
# 5) and a max-pool, then one maxout layer without convolution, and a softmax on top. The package carries a trained one.
# It is smaller than the paper's and was trained for far fewer epochs; its file tells how.

# %%
if __name__ == "__main__":
    network = models.embedded("conv-maxout")
    about = models.provenance("conv-maxout")
    print(f"{sum(p.size for p in parameters(network)):,} numbers in {len(parameters(network))} arrays")
    error = about["figures"]["clean_error"]
    print(f"after {len(about['log'])} epochs it is wrong on {error:.1%} of the clean test images of CIFAR-10")
    compare("fgsm-conv-maxout")

# %% [markdown]
# (The table has no column for this lesson: the test images of CIFAR-10 are not in the package. With them,
# `tinyadv reproduce --only fgsm-conv-maxout` measures it.)
#
# The network does not see photographs as they are. They are first *whitened*: each image gets the same contrast, and
# then a fixed matrix takes away what neighbouring pixels have in common. After this the numbers are around 0, with a
# standard deviation of about 0.5. Every $\varepsilon$ on CIFAR-10 is in these units, also the 0.1 of the claims. The
# noise is drawn in them too: its standard deviation of 1 is only twice what the network is used to.
#
# ## Frogs in noise
#
# As in lesson 13, it is an error if some class gets a probability above one half.
#
# **Predict.** In what share of the samples of noise does the network see something?
#
# - about one in ten: it has ten classes
# - about half
# - nearly all

# %%
if __name__ == "__main__":
    CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
    noise = generator(0, "noise for CIFAR-10").standard_normal((SAMPLES[profile()], 3072), dtype="float32")
    found = metrics.evaluate_rubbish(network, noise)
    compare("rubbish-conv", {"error": found.error, "confidence_on_mistakes": found.confidence_on_mistakes})
    for count, name in sorted(zip(found.by_class, CLASSES, strict=True), reverse=True)[:3]:
        if count > 0:
            print(f"{count:4} of {len(noise)} samples are taken for: {name}")

# %% [markdown]
# The errors are unevenly spread over the classes, as on MNIST. Networks differ in *which* class they see: the paper's
# network saw frogs, and so does this one.

# %%
if __name__ == "__main__":
    compare("rubbish-skew-conv")

# %% [markdown]
# ## Airplanes out of noise
#
# One step towards a wanted class, as in lesson 13:
# $\tilde x = x - \varepsilon\operatorname{sign}\nabla_x J(\theta, x, k)$. The paper does not say how large its
# $\varepsilon$ was; here it is 0.1, as in its FGSM on CIFAR-10. (The first numbers in the table below are about the
# other step of lesson 13, which is as long but follows the gradient itself.)
#
# **Predict.** What share of the samples does one step of 0.1 turn into an airplane?
#
# - less than 1 %
# - about a tenth
# - nearly all

# %%
if __name__ == "__main__":
    eps = 0.1
    airplane = np.zeros(len(noise), int)
    step = noise - eps * np.sign(attacks.input_gradient(network, noise, airplane))
    p = network.probabilities(metrics.in_batches(network, step))[:, 0]
    print(f"An airplane with a probability of at least 0.5: {np.mean(p >= 0.5):.1%} of {len(noise)} samples.")
    compare("fooling-step")

# %% tags=["hide-input"]
if __name__ == "__main__":
    with figure("lesson15_airplanes.png", width=9, height=3.4) as canvas:
        for axes, image, share in zip(canvas.subplots(2, 6).flat, step, p, strict=False):
            picture = image.reshape(3, 32, 32).transpose(1, 2, 0)
            axes.imshow(((picture + 4) / 8).clip(0, 1))
            axes.set(xticks=[], yticks=[], title=f"{share:.2f}")
            axes.spines[:].set(visible=True, color="#009E73" if share >= 0.5 else "#999999", linewidth=3)
        canvas.suptitle(
            "noise after one step: its probability of being an airplane, green if at least 0.5", fontsize=10
        )

# %% [markdown]
# This is the paper's figure 5, drawn from the whitened numbers. Nobody would see an airplane in any of these. The
# network answers as it does because, along whole directions of its input, it is nearly linear; convolution has not
# changed that.
#
# ## To think about
#
# A convolutional network uses the same weights everywhere. Does that make it easier or harder to fool than a network
# that has a weight for each pixel and unit? What would you measure?
#
# ### BEGIN SOLUTION
# **For the teacher**, 3 points. 1: sharing limits how the weights can be arranged, not how the output depends on the
# input: it is still piecewise linear, and the sum of many small products still adds up. 1: a reasoned guess with the
# right quantity: the change of a logit is $\varepsilon\lVert g\rVert_1$, so compare $\lVert\nabla_x z\rVert_1$ with the
# distances between logits. 1: a fair comparison: same data, same clean error, several $\varepsilon$, several attacks.
# ### END SOLUTION
#
# ## Summary
#
# - A convolution is a linear layer with one small kernel for all places. By loops, as one product of matrices, or as a
#   product of spectra: the results are the same, up to rounding.
# - With large kernels the product of spectra needs about ten times fewer multiplications.
# - A convolutional network is sure about noise, and one step turns noise into other classes.
#
# **What this cannot explain yet.** These photographs are small, and the classes are few. The paper's first figure
# shows a photograph of a panda that a network for a thousand classes takes for a gibbon. Lesson 16 makes that figure.
