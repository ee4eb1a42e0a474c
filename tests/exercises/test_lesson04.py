"""The exercises of lesson 4."""

import re

import numpy as np
import pytest

from tinyadv import Tensor, grad, ops
from tinyadv.course.judging import called, close, judge

# ---------------------------------------------------------------------------------------------------------
# unbroadcast


@pytest.mark.exercise("unbroadcast", points=1)
@pytest.mark.parametrize("shape", [(4,), (3, 1), (1, 4), (), (1, 1), (3, 4)])
def test_repeated_entries_are_summed(lesson, shape):
    x = np.random.default_rng(4).standard_normal((3, 4))
    mistakes = [("nothing was summed: what comes back must have the shape that was asked for", x)]
    for axis in (0, 1, None):
        for kept in (True, False):
            mean = x.mean(axis=axis, keepdims=kept)
            mistakes.append(("this is a mean: every use of an entry adds its part, so a sum is wanted", mean))
    mistakes += [
        ("one of the repeated entries was taken: their sum is wanted", x[0]),
        ("one of the repeated entries was taken: their sum is wanted", x[:, :1]),
        ("an axis of length 1 got lost: where `shape` has a 1 it stays, keepdims=True", x.sum(axis=1)),
        ("an axis of length 1 got lost: where `shape` has a 1 it stays, keepdims=True", x.sum(axis=0)),
        ("an axis too many is left: the axes that `shape` lacks in front go away", x.sum(axis=0, keepdims=True)),
        ("everything was summed, also the axes that were not repeated", x.sum()),
    ]
    judge(called(lesson.unbroadcast, x, shape), ops.sum_to(x, shape), mistakes)


@pytest.mark.exercise("unbroadcast", points=1)
def test_it_tells_axes_in_front_from_axes_of_length_1(lesson):
    x = np.random.default_rng(5).standard_normal((3, 3))
    last = "the last axis was summed: NumPy adds missing axes in FRONT, so the first axis was repeated"
    judge(called(lesson.unbroadcast, x, (3,)), ops.sum_to(x, (3,)), [(last, x.sum(axis=1))])
    x = np.random.default_rng(6).standard_normal((2, 3, 4))
    for shape in ((3, 1), (1, 4), (4,), (2, 1, 1)):
        given = called(lesson.unbroadcast, x, shape)
        assert np.shape(given) == shape, f"from {x.shape} to {shape}: your result has the shape {np.shape(given)}"
        judge(given, ops.sum_to(x, shape))


# ---------------------------------------------------------------------------------------------------------
# matmul_backward


def parts(lesson, g, a, b):
    answer = called(lesson.matmul_backward, g, a @ b, a, b)
    two = isinstance(answer, tuple | list) and len(answer) == 2
    assert two, "two parts are wanted: return dL/da, dL/db"
    return answer


@pytest.mark.exercise("matmul_backward", points=1)
def test_both_parts(lesson):
    g, a, b = np.random.default_rng(6).standard_normal((3, 3, 3))  # square: a missing .T gives numbers, not an error
    A, B = Tensor(a), Tensor(b)
    da, db = grad(A @ B, [A, B], cotangent=g)
    for_a, for_b = parts(lesson, g, a, b)
    swapped = close(for_a, db) and close(for_b, da)
    assert not swapped, "the two parts are swapped: first dL/da, then dL/db"
    judge(for_a, da, [
        ("dL/da: b has to be transposed: sum_l g_il b_jl runs over the second index of both", g @ b),
        ("dL/da: the factors are in the wrong order: g (n, m) comes first, and the result has the shape (n, k)",
         b.T @ g),
        ("dL/da is transposed: it has the shape of a", b @ g.T),
        ("dL/da: the g from above is missing", b.T),
        ("dL/da: the product was taken entry by entry: there is a sum over l, a matrix product", g * b),
        ("dL/da has an a in it: y is linear in a, so only g and b are left", g @ a.T),
    ])  # fmt: skip
    judge(for_b, db, [
        ("dL/db: a has to be transposed: sum_i a_ij g_il runs over the first index of both", a @ g),
        ("dL/db: the factors are in the wrong order: g (n, m) comes last, and the result has the shape (k, m)",
         g @ a.T),
        ("dL/db is transposed: it has the shape of b", g.T @ a),
        ("dL/db: the g from above is missing", a.T),
        ("dL/db: the product was taken entry by entry: there is a sum over i, a matrix product", a * g),
    ])  # fmt: skip


@pytest.mark.exercise("matmul_backward", points=1)
def test_from_tensors_it_makes_tensors_that_remember(lesson):
    rng = np.random.default_rng(7)
    g, a, b = (rng.standard_normal(shape) for shape in ((2, 4), (2, 3), (3, 4)))
    arrays = parts(lesson, g, a, b)
    for given, like in zip(arrays, (a, b), strict=True):
        assert np.shape(given) == like.shape, f"for a matrix {like.shape} the gradient's shape is {np.shape(given)}"
    G, A, B = (lesson.Tensor(v) for v in (g, a, b))
    try:
        answer = parts(lesson, G, A, B)
    except (TypeError, ValueError) as error:
        raise AssertionError(f"it fails with Tensors: use @ and .T, and not NumPy's functions ({error})") from error
    for name, given, array, used in zip("ab", answer, arrays, ((G, B), (A, G)), strict=True):
        assert isinstance(given, lesson.Tensor), (
            f"dL/d{name}: Tensors came in, and an array came out: its history is lost, and with it every second "
            "derivative; use @ and .T, and not NumPy's functions or .data"
        )
        known = lesson.history(given)
        assert all(v in known for v in used), (
            f"dL/d{name} does not remember everything that it was computed from: if you read .data, the second "
            "derivative takes that for a constant"
        )
        judge(given.data, array)


# ---------------------------------------------------------------------------------------------------------
# grad


@pytest.fixture
def others_right(lesson, monkeypatch):
    """The other exercises done right: each is graded for itself."""

    def backward(g, y, x, shape):
        return (lesson.ops.broadcast(g, np.shape(x)),)

    monkeypatch.setattr(lesson.ops, "sum_to", lesson.operation(ops.sum_to, backward))


IN_PLACE = "`+=` changes an array that others share: make a new one, gs[a] = gs[a] + part"
NUMBER = "g has to be an array of the shape of y, not a Python number: begin with np.ones_like(y.data), not with 1.0"
ONE_USE = "x was used twice, and each use adds its part: here only one of them was kept"


def asked(lesson, y, xs, **settings):
    """What grad gives, its exceptions explained."""
    try:
        answer = called(lesson.grad, y, xs, **settings)
    except KeyError as error:
        raise AssertionError(
            "KeyError: a Tensor has no g yet: either its first part was added to a sum that does not exist (begin the "
            "sum with it), or its turn came too early (go through the history from its end to its beginning)"
        ) from error
    except ValueError as error:
        if "read-only" in str(error):
            raise AssertionError(IN_PLACE) from error
        raise
    except (AttributeError, TypeError) as error:
        # what the lesson's backward parts say when g is a number
        if re.search("'(float|int)' object", str(error)):
            raise AssertionError(NUMBER) from error
        raise
    listed = isinstance(answer, list | tuple) and len(answer) == len(xs)
    assert listed, "a list is wanted, with one gradient for each of xs"
    tensors = any(isinstance(d, lesson.Tensor) for d in answer)
    assert settings or not tensors, "arrays are wanted, not Tensors, unless create_graph is given"
    return answer


@pytest.mark.exercise("grad", points=2)
def test_every_use_adds_its_part(lesson, others_right):
    x, w = lesson.Tensor(np.array([0.5, -1.5])), lesson.Tensor(np.array([2.0, 3.0]))
    L = (x * w).sum()
    (dx,) = asked(lesson, L, [x])
    judge(dx, w.data, [
        ("begin with dL/dL = 1, not with the value of L", w.data * L.data),
        ("this is the gradient of the other argument", x.data),
    ])  # fmt: skip
    x = lesson.Tensor(x.data)
    (dx,) = asked(lesson, (x + x).sum(), [x])
    judge(dx, [2.0, 2.0], [(ONE_USE, [1.0, 1.0])])
    x, w = lesson.Tensor(x.data), lesson.Tensor(w.data)
    dx, dw = asked(lesson, (x * w + x).sum() + (w * w).sum(), [x, w])
    judge(dx, w.data + 1, [(ONE_USE, w.data), (ONE_USE, np.ones(2))])
    judge(dw, x.data + 2 * w.data)


@pytest.mark.exercise("grad", points=1)
def test_each_is_passed_on_once_when_it_is_complete(lesson, others_right):
    calls = []

    def backward(g, y, a):
        calls.append(a)
        return (g + g,)

    x = lesson.Tensor(np.array([0.5, -1.5, 2.0]))
    u = lesson.operation(lambda a: a + a, backward)(x)
    v = u * u
    (dx,) = asked(lesson, (u * v).sum(), [x])  # 8 x^3
    assert len(calls) == 1, (
        f"a Tensor that is used three times was passed on {len(calls)} times, before all its parts had come: go "
        "through reversed(history(y)), each Tensor once"
    )
    judge(dx, 24 * x.data**2)


@pytest.mark.exercise("grad", points=1)
def test_asking_twice_gives_the_same(lesson, others_right):
    a, b = lesson.Tensor(np.array([1.0, 2.0])), lesson.Tensor(np.array([3.0, 4.0]))
    L = (a + b).sum() + a.sum()
    first = [np.array(d) for d in asked(lesson, L, [a, b])]
    judge(first[0], [2.0, 2.0])
    judge(first[1], [1.0, 1.0], [(IN_PLACE, [2.0, 2.0])])
    kept = "the second call adds to what the first one left: gradients belong to a call, not to the Tensors"
    for one, again in zip(first, asked(lesson, L, [a, b]), strict=True):
        judge(again, one, [(kept, 2 * one), (kept, 3 * one)])


@pytest.mark.exercise("grad", points=2)
def test_with_create_graph_the_gradient_can_be_differentiated(lesson, others_right):
    x = lesson.Tensor(np.array([0.5, -1.5, 2.0]))
    (dx,) = asked(lesson, (x * x * x).sum(), [x], create_graph=True)
    assert isinstance(dx, lesson.Tensor), "with create_graph the gradients are Tensors"
    judge(dx.data, 3 * x.data**2)
    assert x in lesson.history(dx), (
        "the gradient is a Tensor without a history: with create_graph the backward parts have to be given Tensors (g, "
        "y and the arguments), and not the arrays inside them"
    )
    (ddx,) = asked(lesson, dx.sum(), [x])
    judge(ddx, 6 * x.data)
