"""The engine: how a program is differentiated, and then its gradient

Automatic differentiation in NumPy: a Tensor that remembers, operations with their formulas, and `grad`, which walks the
memory backwards. Compared with the package's engine on the gradient of an attack, and a gradient through an attack.
"""

# %% [markdown]
# # Lesson 4. The engine: how a program is differentiated, and then its gradient
#
# **The claims** (Goodfellow, Shlens and Szegedy 2015, sections 5 and 6). To train logistic regression on its FGSM
# examples *is* to minimise $\mathbb E\,\zeta(\varepsilon\lVert w\rVert_1 - y(w^\top x + b))$: two programs that look
# nothing alike, one gradient. And since the sign's derivative is 0, a model trained so cannot "anticipate how the
# adversary will react"; with smoother attacks it could. To see this, programs are differentiated that take gradients.
#
# **The formula.** A program computes arrays from arrays, and at the end one number $L$. For each array $t$ on the way
# let $g_t = \partial L/\partial t$; it has the shape of $t$. If $a$ went into several operations, $L$ hears of it from
# each of their results $t$, and by the chain rule the parts add up: $g_a = \sum_t g_t\,\partial t/\partial a$. So an
# operation only has to know how to turn the $g$ of its result into parts for its arguments. Begin with $g_L = 1$ and
# go backwards, to each array after all that was computed from it. An example: in the matrix product $y = ab$ of shapes
# `(n, k)` and `(k, m)`, $y_{il} = \sum_j a_{ij} b_{jl}$ changes with $a_{ij}$ by $b_{jl}$, so with $g$ `(n, m)`
#
# $$\frac{\partial L}{\partial a_{ij}} = \sum_l g_{il}\,b_{jl}, \qquad
# \frac{\partial L}{\partial b_{jl}} = \sum_i a_{ij}\,g_{il} .$$
#
# **The memory.** For this we must know who was computed from whom. A *Tensor* is an array that knows its operation and
# its arguments, which again may be Tensors: `(x * w).sum()` remembers `sum_to` and the product, the product remembers
# `times`, `x` and `w`. No tape and no switch: the history hangs on the result, and goes when nobody holds it any more.

# %%
from __future__ import annotations

from types import SimpleNamespace

import numpy as np

import tinyadv
from tinyadv.course import compare, figure
from tinyadv.datasets import mnist, pair
from tinyadv.paper.figures import show_image

EPS, IMAGES = 0.25, {"quick": 1000, "lesson": 5000, "paper": 10_000}


class Tensor:
    """An array `data`, and how it was computed: by the operation `op` from `args`, or given (None)."""

    def __init__(self, data, op=None, args=()):
        self.data, self.op, self.args, self.shape = data, op, args, np.shape(data)

    __add__ = __radd__ = lambda a, b: ops.add(a, b)
    __mul__ = __rmul__ = lambda a, b: ops.times(a, b)
    __neg__, __sub__, __rsub__ = lambda a: -1.0 * a, lambda a, b: a + -1.0 * b, lambda a, b: b + -1.0 * a
    __matmul__, __rmatmul__ = lambda a, b: ops.matmul(a, b), lambda b, a: ops.matmul(a, b)
    __array_ufunc__ = None  # of `array + tensor` the Tensor takes care
    T, sum = property(lambda a: ops.transpose(a)), lambda a: ops.sum_to(a, ())


def raw(a):
    """The array inside a Tensor; anything else as it is."""
    return a.data if isinstance(a, Tensor) else a


def operation(forward, backward):
    """An operation: `forward` on arrays; with a Tensor among its arguments, the result is one that remembers."""

    def op(*args):
        y = forward(*map(raw, args))
        return Tensor(y, op, args) if any(isinstance(a, Tensor) for a in args) else y

    op.backward = backward  # (g, y, *args) -> a tuple, the part of each argument
    return op


# %% [markdown]
# ## Exercises 1 and 2: what an operation does backwards
#
# NumPy repeats a bias `(K,)` for N rows. Then $L$ hears of each entry N times, and the $g$ that comes back, `(N, K)`,
# must be summed to `(K,)`. A sum's own $g$ is repeated: each of the two is the backward of the other. The formulas use
# *operations*, not NumPy's functions: from arrays they make arrays, from Tensors a gradient that remembers how it was
# computed, so that it can be differentiated again. A formula that reads a Tensor's `.data` gives the right gradient,
# and then a second derivative that is silently wrong, because to that derivative what was read is a constant.
#
# ## Exercise 3: backwards through all of them
#
# `history(y)` has $y$ and all Tensors that it came from, each once, and each *after* its arguments. From its end to
# its beginning: the $g$ of $t$ is complete when its turn comes, `t.op.backward` splits it into parts, and each goes to
# an argument. With `create_graph` the formulas are given Tensors instead of arrays, and that is all. Then come programs
# that take gradients: they move images along the gradient $g$ of their cost, or along its sign, and take the cost at
# that place. They are told which engine `E` to use, ours or the package's. If $g$ counts as a constant, we learn how to
# lower the cost where the attack went; what comes through the attack tells where else it would then have gone (figure).


# %%
def unbroadcast(x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """x summed to `shape`: over the axes that `shape` lacks in front, and those where its length is 1."""
    ### BEGIN SOLUTION
    x = x.sum(axis=tuple(range(x.ndim - len(shape))))
    return x.sum(axis=tuple(i for i, n in enumerate(shape) if n == 1), keepdims=True)
    ### END SOLUTION


def matmul_backward(g, y, a, b):
    """(dL/da, dL/db) for y = a @ b, matrices `(n, k)` and `(k, m)`; all arrays, or all Tensors."""
    ### BEGIN SOLUTION
    return g @ b.T, a.T @ g
    ### END SOLUTION


class ops:  # noqa: N801  (a table of each operation's forward and backward, named as the package's)
    add = operation(np.add, lambda g, y, a, b: (ops.sum_to(g, np.shape(a)), ops.sum_to(g, np.shape(b))))
    times = operation(np.multiply, lambda g, y, a, b: (ops.sum_to(g * b, np.shape(a)), ops.sum_to(g * a, np.shape(b))))
    matmul = operation(np.matmul, matmul_backward)
    transpose = operation(np.transpose, lambda g, y, a: (ops.transpose(g),))
    sum_to = operation(unbroadcast, lambda g, y, x, shape: (ops.broadcast(g, x.shape),))
    broadcast = operation(np.broadcast_to, lambda g, y, x, shape: (ops.sum_to(g, x.shape),))
    softplus = operation(lambda x: np.logaddexp(0, x), lambda g, y, x: (g * ops.sigmoid(x),))
    sigmoid = operation(lambda x: np.exp(-np.logaddexp(0, -x)), lambda g, y, x: (g * y * (1.0 - y),))
    absolute = operation(np.abs, lambda g, y, x: (g * ops.sign(x),))
    sign = operation(np.sign, lambda g, y, x: (0.0 * g,))


def history(y: Tensor, found=None) -> dict[Tensor, None]:
    """y and the Tensors that it was computed from, oldest first, as the keys of a dictionary."""
    found = {} if found is None else found
    for a in y.args:
        if isinstance(a, Tensor) and a not in found:
            history(a, found)
    found[y] = None
    return found


def grad(y: Tensor, xs: list[Tensor], create_graph: bool = False) -> list:
    """dy/dx for each x, like x; y is one number. Arrays, or with create_graph Tensors with a history."""
    ### BEGIN SOLUTION
    given = (lambda a: a) if create_graph else raw
    gs = {y: given(Tensor(np.ones_like(y.data)))}
    for t in reversed(history(y)):
        parts = t.op.backward(gs[t], given(t), *map(given, t.args)) if t.op else ()
        for a, part in zip(t.args, parts, strict=False):
            if isinstance(a, Tensor):
                # g_a = sum of its parts
                gs[a] = gs[a] + part if a in gs else part
    return [gs[x] for x in xs]
    ### END SOLUTION


def cost(E, w, b, x, y, eps=0.0):
    """mean zeta(eps ||w||_1 - y (x w + b)): lesson 3's closed form; w `(D, 1)`, b `(1,)`, x `(N, D)`, y `(N, 1)`."""
    return E.ops.softplus(eps * E.ops.absolute(w).sum() - y * (x @ w + b)).sum() * (1 / len(y))


def attacked(E, w, b, x, y, sign=True, through=True):
    """J at x + eps sign(g), or at x + eps g; unless `through`, g is a constant."""
    X = E.Tensor(x)
    (g,) = E.grad(cost(E, w, b, X, y) * float(len(y)), [X], create_graph=through)
    return cost(E, w, b, x + EPS * (E.ops.sign(g) if sign else g), y)


def main(profile: str = "quick") -> None:
    """Differentiate each program for w and b by both engines."""
    x, y = (a[: IMAGES[profile]].astype("float64") for a in pair(mnist().train, positive=7, negative=3))
    w, ours, found = (y @ x)[:, None] / len(x), SimpleNamespace(Tensor=Tensor, grad=grad, ops=ops), []
    programs = {"the closed form": (cost, {"eps": EPS}), "J after FGSM": (attacked, {})}
    programs["J after x + εg"] = attacked, {"sign": False}
    programs["the same, g constant"] = attacked, {"sign": False, "through": False}
    for name, (program, settings) in programs.items():
        for E in (ours, tinyadv):
            W, B = E.Tensor(w), E.Tensor(np.zeros(1))
            found.append(np.concatenate(E.grad(program(E, W, B, x, y[:, None], **settings), [W, B]), axis=None))
        print(f"gradient of {name:24} ours and the package's differ by {gap(*found[-2:]):.0e}")
    closed, fgsm, smooth, constant = found[::2]
    compare("logistic-exact", {"gradient_difference": gap(fgsm, closed)})
    print(f"After x + εg, {gap(constant, smooth):.1%} of the gradient came through the attack.")
    shown = {"all of dJ/dw after x + εg": smooth, "g constant": constant, "through the attack": smooth - constant}
    with figure("lesson04_engine.png", width=9, height=3.2) as canvas:
        for axes, (title, image) in zip(canvas.subplots(1, 3), shown.items(), strict=True):
            show_image(axes, image[:-1], title, -abs(smooth).max(), abs(smooth).max(), "PuOr")


def gap(a: np.ndarray, b: np.ndarray) -> float:
    """The length of the difference, relative to that of b."""
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


# %%
if __name__ == "__main__":
    main()

# %% [markdown]
# **To think about.** Our `grad` also computes gradients that nobody asked for, and `history` calls itself. What does
# each cost with a deep network, and how would you mend it? (The engine of the package, `tinyadv.tensor`, does both.)
#
# ### BEGIN SOLUTION
# **For the teacher**, 3 points. 1: such gradients cost about as much as those wanted: the first layer's product for the
# pixels in training, all weights' in an attack. 1: walk only the paths from the $x$s to $y$, found by one sweep, and
# have one formula for each argument. 1: Python ends recursion at about 1000 levels; keep a list of what is to do.
# ### END SOLUTION
#
# **What this cannot explain yet.** The engine differentiates whatever we write; but what does it do, step by step, in a
# deep network, in which units drop out, and where a maximum of several pieces has no derivative when two of them tie?
