"""The engine: differentiate a program, and then its gradient

Automatic differentiation in NumPy: a Tensor that remembers, operations with their formulas, and `grad`, which goes back
through what was remembered. It is compared with the package's engine on gradients of attacks and through attacks.
"""

# %% [markdown]
# # Lesson 4. The engine: differentiate a program, and then its gradient
#
# **Time:** about 75 minutes. **You need:** lessons 2 and 3; Python classes.
#
# **After this lesson you can**
#
# - draw the computation graph of a small program, and walk through it backwards;
# - write the heart of an automatic differentiation engine: `grad`;
# - take the gradient of a gradient, and say why that matters for adversarial training.
#
# ## The claims
#
# The paper (Goodfellow, Shlens and Szegedy 2015, section 5) compares two ways to train logistic regression: on its own
# FGSM examples, and by minimising the mean of $\zeta(\varepsilon\lVert w\rVert_1 - y(w^\top x + b))$, the worst cost of
# lesson 3. The two programs look nothing alike. One makes attacked images and computes their cost; the other never
# makes an image. Do they have the same gradient?
#
# In section 6 the paper says that a model trained on FGSM examples cannot "anticipate how the adversary will react",
# because the derivative of the sign is 0. With a smoother attack it could. To check both claims we need to
# differentiate a program that itself takes a gradient.

# %%
from __future__ import annotations

from types import SimpleNamespace

import numpy as np

import tinyadv
from tinyadv.course import compare, figure, profile
from tinyadv.course.graph import draw_graph
from tinyadv.datasets import mnist, pair
from tinyadv.paper.draw import show_image

EPS = 0.25
IMAGES = {"quick": 1000, "lesson": 5000, "paper": 10_000}

# %% [markdown]
# ## An array that remembers
#
# To differentiate a computation we have to know what was computed from what. So let a *Tensor* be an array which knows
# the operation that made it, and the arguments of that operation. These may be Tensors too, which know their own
# arguments, and so on: the *history* of the Tensor. It is stored nowhere else. There is no list of operations, and no
# switch to turn on, and when the result is no longer needed, its history goes with it.
#
# (`ops` is the table of operations, and comes below. Here it is enough that `t + u` calls `ops.add`.)


# %%
class Tensor:
    """An array `data`, and how it was computed: by the operation `op` from `args`, or given (None)."""

    def __init__(self, data, op=None, args=()):
        self.data = data
        self.op = op
        self.args = args
        self.shape = np.shape(data)

    def __add__(self, other):
        return ops.add(self, other)

    def __mul__(self, other):
        return ops.times(self, other)

    def __matmul__(self, other):
        return ops.matmul(self, other)

    def __rmatmul__(self, other):
        return ops.matmul(other, self)

    def __neg__(self):
        return -1.0 * self

    def __sub__(self, other):
        return self + -1.0 * other

    def __rsub__(self, other):
        return other + -1.0 * self

    __radd__, __rmul__ = __add__, __mul__
    __array_ufunc__ = None  # in `array + tensor` NumPy leaves the work to the Tensor

    @property
    def T(self):
        return ops.transpose(self)

    def sum(self):
        return ops.sum_to(self, ())


# %% [markdown]
# An *operation* has two parts. The forward part is ordinary NumPy code. The backward part turns a gradient for the
# result into gradients for the arguments; the next section says how. Called with a Tensor among its arguments, an
# operation returns a Tensor that remembers the call. Called with plain arrays, it returns a plain array, and nothing is
# recorded.


# %%
def raw(a):
    """The array inside a Tensor; anything else as it is."""
    return a.data if isinstance(a, Tensor) else a


def operation(forward, backward, name=""):
    """An operation. backward(g, y, *args) gives a tuple, one part of the gradient for each argument.

    y is the operation's result, and g the gradient for it.
    """

    def op(*args):
        y = forward(*map(raw, args))
        if any(isinstance(a, Tensor) for a in args):
            return Tensor(y, op, args)
        return y

    op.name, op.backward = name, backward
    return op


# %% [markdown]
# ## Backwards through one operation
#
# At the end of a program stands one number, $L$. For each Tensor $t$ on the way let $g_t = \partial L/\partial t$: an
# array of the shape of $t$ which says how $L$ changes with each of its entries. Suppose we know $g$ for the *result* of
# an operation. What does each *argument* get?
#
# Take the product of matrices $y = ab$, with shapes `(n, k)` and `(k, m)`. An entry of the result is
# $y_{il} = \sum_j a_{ij} b_{jl}$. It changes with $a_{ij}$ by $b_{jl}$, and with $b_{jl}$ by $a_{ij}$. So by the chain
# rule
#
# $$\frac{\partial L}{\partial a_{ij}} = \sum_l g_{il}\,b_{jl}, \qquad
# \frac{\partial L}{\partial b_{jl}} = \sum_i a_{ij}\,g_{il} .$$
#
# ## Exercise 1 (easy): the product of matrices
#
# Return both gradients, $\partial L/\partial a$ and $\partial L/\partial b$, in this order, with the sums written as
# products of matrices. Use `@` and `.T` only: these work for arrays and for Tensors alike, and we need both.


# %%
def matmul_backward(g, y, a, b):
    """(dL/da, dL/db) for y = a @ b, matrices `(n, k)` and `(k, m)`; g is dL/dy `(n, m)`.

    All of them are arrays; or g and y are Tensors, and at least one of a and b is.
    """
    ### BEGIN SOLUTION
    return g @ b.T, a.T @ g
    ### END SOLUTION


# %% [markdown]
# ## When NumPy repeats an argument
#
# In `x @ w + b`, where `x @ w` has the shape `(N, K)`, NumPy adds one bias to all N rows: it *broadcasts* the bias of
# shape `(K,)` to `(N, K)`. Each entry of the bias is used N times, so its parts of the gradient add up: the $g$ that
# comes back has the shape `(N, K)`, and it has to be summed to `(K,)`. NumPy also repeats an axis of length 1. If the
# argument had the shape `(N, 1)`, then $g$ is summed over the last axis, and the axis stays, with length 1.
#
# ## Exercise 2 (medium): undo a broadcast
#
# Return the array, summed so that it has the given shape. Two kinds of axes are summed: those that the shape lacks *in
# front*, which go away, and those where the shape has a 1, which stay with length 1.
#
# <details><summary>Hint 1</summary>
#
# NumPy lines shapes up at their last axis. How many axes are missing in front?
#
# </details>
# <details><summary>Hint 2</summary>
#
# Two sums: one over the missing axes, and one with `keepdims=True` over those of length 1. `axis` may be a tuple of
# axes, and over the empty tuple nothing is summed.
#
# </details>


# %%
def unbroadcast(x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """x summed to `shape`: over axes that `shape` lacks in front, and those where it has length 1."""
    ### BEGIN SOLUTION
    x = x.sum(axis=tuple(range(x.ndim - len(shape))))
    return x.sum(axis=tuple(i for i, n in enumerate(shape) if n == 1), keepdims=True)
    ### END SOLUTION


# %% [markdown]
# ## The table of operations
#
# Here are all operations that the lesson needs: forward, backward, and a name for the picture below. `sum_to` is your
# `unbroadcast` as an operation. The backward part of `broadcast` sums, as we have just seen. The backward part of
# `sum_to` repeats: every entry that was summed has the slope 1, so each gets the same $g$.
#
# Look at the backward parts. They use *operations*, not NumPy's functions. Given arrays they compute arrays. Given
# Tensors they compute a gradient that remembers how it was computed, so that it can be differentiated again. A
# backward part that read a Tensor's `.data` would still give the right gradient. But the derivative of this gradient
# would be wrong, without any error message, because what was read counts as a constant.


# %%
class ops:  # named as the package's module of operations
    add = operation(
        np.add,
        lambda g, y, a, b: (ops.sum_to(g, np.shape(a)), ops.sum_to(g, np.shape(b))),
        "add",
    )
    times = operation(
        np.multiply,
        lambda g, y, a, b: (ops.sum_to(g * b, np.shape(a)), ops.sum_to(g * a, np.shape(b))),
        "times",
    )
    matmul = operation(np.matmul, matmul_backward, "matmul")
    transpose = operation(np.transpose, lambda g, y, a: (ops.transpose(g),), "transpose")
    sum_to = operation(unbroadcast, lambda g, y, x, shape: (ops.broadcast(g, x.shape),), "sum_to")
    broadcast = operation(np.broadcast_to, lambda g, y, x, shape: (ops.sum_to(g, x.shape),), "broadcast")
    softplus = operation(lambda x: np.logaddexp(0, x), lambda g, y, x: (g * ops.sigmoid(x),), "softplus")
    sigmoid = operation(lambda x: np.exp(-np.logaddexp(0, -x)), lambda g, y, x: (g * y * (1.0 - y),), "sigmoid")
    absolute = operation(np.abs, lambda g, y, x: (g * ops.sign(x),), "absolute")
    sign = operation(np.sign, lambda g, y, x: (0.0 * g,), "sign")


# %% [markdown]
# ## A graph, and the way back
#
# A small program: the cost of logistic regression for two images of three pixels. The figure shows its *computation
# graph*. The filled boxes were given. Every other box is a Tensor that an operation made, and the arrows lead from its
# arguments to it. Numbers and plain arrays, such as the labels, are not drawn.

# %% tags=["hide-input"]
if __name__ == "__main__":
    images, labels = np.array([[0.0, 0.5, 1.0], [1.0, 0.0, 0.5]]), np.array([[1.0], [-1.0]])
    W, B = Tensor(np.array([[1.0], [-2.0], [0.5]])), Tensor(np.zeros(1))
    L = ops.softplus(-labels * (images @ W + B)).sum() * 0.5
    names = {id(W): "w", id(B): "b", id(L): "L = times"}

    def label(t):
        name = names.get(id(t), t.op.name if t.op else "")
        return f"{name}\n{t.shape}"

    with figure("lesson04_graph.png", width=8, height=2) as canvas:
        draw_graph(canvas.subplots(), L, label)

# %% [markdown]
# Now go backwards, from right to left. Start with $g_L = 1$. At each Tensor, the backward part of its operation turns
# its $g$ into a part for each argument. If a Tensor was an argument of several operations, it gets several parts, and
# by the chain rule they add up. So a Tensor's $g$ is complete only after *all* Tensors computed from it have had
# their turn.
#
# `history(y)` takes care of that order. It lists $y$ and all Tensors that it came from, each once, and each *after* its
# arguments. Read from its end to its beginning, it is the order that we need. (The list is a dictionary of which only
# the keys count: a key is found quickly, and the keys stay in the order in which they were added.)


# %%
def history(y: Tensor, found=None) -> dict[Tensor, None]:
    """y and the Tensors that it was computed from, arguments first, as the keys of a dictionary."""
    found = {} if found is None else found
    for a in y.args:
        if isinstance(a, Tensor) and a not in found:
            history(a, found)
    found[y] = None
    return found


# %%
if __name__ == "__main__":
    walk = [label(t).replace("\n", " ") for t in reversed(history(L))]
    print("the way back: " + " → ".join(walk))

# %% [markdown]
# ## Exercise 3 (hard): backwards through all of them
#
# Write `grad`. It returns a list with the gradient for each Tensor of `xs`, in their order. Keep a dictionary from each
# Tensor to the sum of the parts that it has been given so far. With `create_graph=False` everything is done with plain
# arrays. With `create_graph=True` the backward parts are given Tensors instead, and that is the only difference: the
# gradients are then Tensors with a history of their own. A backward part may give the same array to two arguments. So
# never change a sum in place, as `+=` does: make a new one.
#
# <details><summary>Hint 1</summary>
#
# The first entry of the dictionary is $y$ itself, with an array of ones (with `create_graph`, a Tensor of ones). `raw`
# gives the array inside a Tensor.
#
# </details>
# <details><summary>Hint 2</summary>
#
# For each `t` in `reversed(history(y))` that has an operation: `t.op.backward(g of t, t, *t.args)`, where `t` and its
# arguments are plain arrays unless `create_graph`. Then hand out the parts to those arguments that are Tensors. (There
# may be fewer parts than arguments: the shape that `sum_to` is given comes last, and gets none.)
#
# </details>


# %%
def grad(y: Tensor, xs: list[Tensor], create_graph: bool = False) -> list:
    """dy/dx for each x of xs, of the shape of x; y is one number, computed from all of them.

    The gradients are arrays, or with create_graph Tensors that have a history.
    """
    ### BEGIN SOLUTION

    def given(a):
        """The Tensor a itself if the graph is wanted, or else the array inside it."""
        return a if create_graph else raw(a)

    gs = {y: given(Tensor(np.ones_like(y.data)))}
    for t in reversed(history(y)):
        if t.op is None:
            continue
        parts = t.op.backward(gs[t], given(t), *map(given, t.args))
        for a, part in zip(t.args, parts, strict=False):
            if isinstance(a, Tensor):
                # g_a = sum of its parts
                gs[a] = gs[a] + part if a in gs else part
    return [gs[x] for x in xs]
    ### END SOLUTION


# %%
if __name__ == "__main__":
    dw, db = grad(L, [W, B])
    print(f"dL/dw = {dw.ravel()}, dL/db = {db}")
    c = -labels / (1 + np.exp(labels * (images @ W.data + B.data)))  # lesson 2's c
    print(f"by the formula of lesson 2: {(images.T @ c / 2).ravel()}, {c.mean(axis=0)}")

# %% [markdown]
# ## A program that takes a gradient
#
# Now the two claims. `cost` is the *closed form*, lesson 3's formula for the worst cost; with `eps=0` it is the cost of
# the images as they are. `attacked` moves the images along the gradient of their cost, or along its sign, and returns
# the cost of the moved images. Both are told which engine `E` to use, ours or the package's.
#
# The gradient $g$ inside `attacked` depends on $w$ too. With `through=True` it is a Tensor with a history, so our way
# back from the cost to $w$ also leads *through the attack*. With `through=False` it is a plain array, which counts as a
# constant.


# %%
def cost(E, w, b, x, y, eps=0.0):
    """mean zeta(eps ||w||_1 - y (x w + b)), lesson 3's closed form; w `(D, 1)`, b `(1,)`, x `(N, D)`, y `(N, 1)`."""
    return E.ops.softplus(eps * E.ops.absolute(w).sum() - y * (x @ w + b)).sum() * (1 / len(y))


def attacked(E, w, b, x, y, sign=True, through=True):
    """J at x + eps sign(g), or at x + eps g; unless `through`, g is a constant."""
    X = E.Tensor(x)
    own_costs = cost(E, w, b, X, y) * float(len(y))  # the sum over the images: each has its own gradient
    (g,) = E.grad(own_costs, [X], create_graph=through)
    direction = E.ops.sign(g) if sign else g
    return cost(E, w, b, x + EPS * direction, y)


def gap(a: np.ndarray, b: np.ndarray) -> float:
    """The length of the difference, relative to that of b."""
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


# %% [markdown]
# We differentiate four programs with respect to $w$ and $b$, by both engines. The weights at which we do this are the
# mean of $y_n x_n$. This is about half of the difference between the mean seven and the mean three, and so, up to a
# factor, nearly the $w$ of lesson 1.

# %%
if __name__ == "__main__":
    train = pair(mnist().train, positive=7, negative=3)
    some = IMAGES[profile()]
    x, y = train.x[:some].astype("float64"), train.y[:some].astype("float64")
    w = (y @ x)[:, None] / len(x)
    ours = SimpleNamespace(Tensor=Tensor, grad=grad, ops=ops)
    programs = {
        "the closed form": (cost, {"eps": EPS}),
        "J after FGSM": (attacked, {}),
        "J after x + εg": (attacked, {"sign": False}),
        "the same, g constant": (attacked, {"sign": False, "through": False}),
    }
    gradients = {}
    for name, (program, settings) in programs.items():
        by_engine = []
        for E in (ours, tinyadv):
            W, B = E.Tensor(w), E.Tensor(np.zeros(1))
            found = E.grad(program(E, W, B, x, y[:, None], **settings), [W, B])
            by_engine.append(np.concatenate(found, axis=None))
        gradients[name] = by_engine[0]
        print(f"gradient of {name:24} ours and the package's differ by {gap(*by_engine):.0e}")

# %% [markdown]
# Our engine and the package's agree up to rounding, also where the gradient of a gradient is taken.
#
# **Predict.** How do the gradients of the first two programs, the closed form and the cost after FGSM, differ?
#
# - not at all, up to rounding
# - by a few per cent, because FGSM's sign is not differentiable

# %%
if __name__ == "__main__":
    compare("logistic-exact", {"gradient_difference": gap(gradients["J after FGSM"], gradients["the closed form"])})

# %% [markdown]
# They are the same. The paper's claim holds: adversarial training of logistic regression *is* training on the closed
# form. The sign did no damage. Where an entry of the gradient is not 0, the derivative of its sign is 0, so nothing is
# lost by taking it as 0. Where an entry is exactly 0, as for pixels that are dark in all images, both programs take
# $\operatorname{sign}(0) = 0$, and agree as well.
#
# **Predict.** Move along the gradient itself instead, $x + \varepsilon g$. If $g$ counts as a constant, the part of
# $\nabla_w J$ that comes *through* the attack is lost. How long is that part, compared with the whole gradient?
#
# - nothing, as with the sign
# - about a quarter
# - more than half

# %%
if __name__ == "__main__":
    smooth, constant = gradients["J after x + εg"], gradients["the same, g constant"]
    print(f"{gap(constant, smooth):.1%} of the gradient came through the attack.")

# %% tags=["hide-input"]
if __name__ == "__main__":
    shown = {
        "all of dJ/dw after x + εg": smooth,
        "g constant": constant,
        "through the attack": smooth - constant,
    }
    with figure("lesson04_engine.png", width=9, height=3.2) as canvas:
        for axes, (title, image) in zip(canvas.subplots(1, 3), shown.items(), strict=True):
            show_image(axes, image[:-1], title, -abs(smooth).max(), abs(smooth).max(), "PuOr")

# %% [markdown]
# The part with a constant $g$ says how to lower the cost *where the attack went*. The part through the attack says
# where the attack will go when the weights change. FGSM has no such part. That is what the paper means by a model
# that cannot anticipate its adversary; lesson 9 tries attacks that have it.
#
# ## To think about
#
# Our `grad` also computes gradients that nobody asked for, and `history` calls itself. What does each of these cost in
# a deep network, and how would you avoid it? (The package's engine, `tinyadv.tensor`, avoids both.)
#
# ### BEGIN SOLUTION
# **For the teacher**, 3 points. 1: such gradients cost about as much as those that are wanted: in training the one for
# the pixels, in an attack those for all weights. 1: go back only along the paths from the $x$s to $y$, which one sweep
# finds, and have one formula for each argument. 1: Python ends recursion at about 1000 levels; keep a list of what is
# still to do.
# ### END SOLUTION
#
# ## Summary
#
# - A Tensor is an array that remembers its operation and its arguments: its history.
# - `grad` goes back through the history, to each Tensor after all that was computed from it, and adds up the parts.
# - If the backward parts are written in operations, the gradient can be differentiated again.
# - FGSM training of logistic regression has exactly the gradient of the closed form.
#
# **What this cannot explain yet.** The engine differentiates whatever we write. But what does it do, step by step, in a
# deep network, where units are left out at random, and where a maximum has no derivative when two of its arguments are
# equal? Lesson 5 does that by hand.
