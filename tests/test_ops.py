"""Every operation in every library: its values, its gradients to second order, and that it stays where its array is.

The operations and their cases are the table of cases.py; what it leaves out (ties, kinks, extreme values, properties
of broadcasting) is below it.
"""

import math
import tracemalloc
import warnings

import cases
import numpy as np
import pytest
import strict
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from placed import host

from tinyadv import ops
from tinyadv.backend import full_like, to_device
from tinyadv.gradcheck import gradcheck
from tinyadv.tensor import Tensor, grad


def gradients(f, xs, seed=0, **options):
    """All gradients of f at the arrays xs, for one random cotangent."""
    xs = [Tensor(x) for x in xs]
    y = f(*xs)
    g = Tensor(full_like(y.data, np.random.default_rng(seed).normal(size=y.shape)))
    return [g, *xs], grad(y, xs, g, allow_unused=True, **options)


def second_gradients(f, xs):
    """The gradients of every gradient, for random cotangents: in all arguments and in the first cotangent."""
    inputs, firsts = gradients(f, xs, create_graph=True)
    found = []
    for k, d in enumerate(firsts):
        g = full_like(d.data, np.random.default_rng(k).normal(size=d.shape))
        found += grad(d, inputs, g, allow_unused=True)
    return found


def belongs(x, xp):
    """Whether `x` is an array of `xp`; NumPy itself turns 0-d results into scalars."""
    return isinstance(x, (np.ndarray, np.generic) if xp is np else xp.ndarray)


def test_every_operation_is_in_the_table():
    assert set(cases.TABLE) == cases.operations()


def test_every_operation_says_its_shapes_or_what_it_computes():
    for name in cases.operations() - {"_matmul", "_join"}:
        assert len(cases.function_of(name).__doc__ or "") >= len("y = -a."), name


def test_every_argument_has_a_formula_or_none_for_a_reason():
    without = {
        (name, i) for name, op in cases.all_ops().items() for i, formula in enumerate(op.formulas) if formula is None
    }
    constants = {(name, i) for name in ("_to_winners", "_of_winners") for i in (1, 2)}  # they say who has won
    assert without == {("where", 0), *constants}
    assert all(op.formulas for op in cases.all_ops().values())


@cases.each
def test_value_and_shape(xp, case):
    f, xs = case.bind(xp)
    y = f(*xs)
    expected = case.expected(*case.args, **case.settings)
    assert belongs(y, xp)
    assert y.shape == np.shape(expected)
    np.testing.assert_allclose(host(y), expected, rtol=1e-12, atol=1e-14)


@cases.each
def test_gradients_to_second_order(xp, case):
    f, xs = case.bind(xp)
    gradcheck(f, *xs)


@cases.each
def test_arrays_in_array_out_tensors_in_the_same_in_a_tensor(xp, case):
    f, xs = case.bind(xp)
    y = f(*xs)
    assert not isinstance(y, Tensor)
    for mixed in range(len(xs) + 1):  # all of them Tensors, or all but one
        t = f(*(x if i == mixed and len(xs) > 1 else Tensor(x) for i, x in enumerate(xs)))
        assert isinstance(t, Tensor)
        assert belongs(t.data, xp)
        assert np.array_equal(host(t.data), host(y))


@cases.each
def test_arguments_are_left_as_they_are(xp, case):
    f, xs = case.bind(xp)
    before = [host(x).copy() for x in xs]
    second_gradients(f, xs)
    assert all(np.array_equal(host(x), b) for x, b in zip(xs, before, strict=True))


@cases.each
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_dtype_stays(xp, case, dtype):
    f, xs = case.bind(xp, dtype)
    assert f(*xs).dtype == dtype
    firsts = gradients(f, xs, create_graph=True)[1]
    assert [d.dtype for d in firsts] == [dtype] * len(xs)
    assert [d.shape for d in firsts] == [x.shape for x in xs]
    assert {d.dtype.name for d in second_gradients(f, xs)} == {dtype}
    assert all(belongs(d.data, xp) for d in firsts)


@cases.each
def test_float32_is_float64_rounded(case):
    """Not only the type: no step loses more than float32 must."""
    f64, xs64 = case.bind()
    f32, xs32 = case.bind(dtype="float32")
    xs64 = [x.astype("float64") for x in xs32]
    wide = [f64(*xs64), *gradients(f64, xs64)[1]]
    narrow = [f32(*xs32), *gradients(f32, xs32)[1]]
    for a, b in zip(narrow, wide, strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6)


@cases.each
def test_create_graph_gives_the_same_first_gradients(case):
    f, xs = case.bind()
    arrays, tensors = gradients(f, xs)[1], gradients(f, xs, create_graph=True)[1]
    assert all(isinstance(t, Tensor) and not isinstance(a, Tensor) for t, a in zip(tensors, arrays, strict=True))
    for t, a in zip(tensors, arrays, strict=True):
        np.testing.assert_allclose(t.data, a, rtol=1e-14, atol=1e-300)


@cases.each
def test_strict_and_numpy_agree_to_the_last_bit(case):
    """The same code ran in both, so the same numbers come out, to second order."""
    (f, xs), (g, zs) = case.bind(np), case.bind(strict)
    ours = [f(*xs), *gradients(f, xs)[1], *second_gradients(f, xs)]
    theirs = [g(*zs), *gradients(g, zs)[1], *second_gradients(g, zs)]
    for a, b in zip(ours, theirs, strict=True):
        assert isinstance(b, strict.ndarray)
        assert np.array_equal(a, b.get())


# ---------------------------------------------------------------------------------------------------------
# Ties and kinks: conventions, since there is no derivative to compare with


def gradient_at(f, xp, values, dtype="float64"):
    x = Tensor(xp.asarray(np.asarray(values, dtype=dtype)))
    return host(grad(f(x).sum(), [x])[0])


def test_conventions_at_kinks(xp):
    assert gradient_at(ops.relu, xp, [0.0, -1.0, 1.0]).tolist() == [0, 0, 1]
    assert gradient_at(ops.absolute, xp, [0.0, -1.0, 1.0]).tolist() == [0, -1, 1]
    assert gradient_at(ops.sign, xp, [0.0, -1.0, 1.0]).tolist() == [0, 0, 0]
    assert gradient_at(lambda x: ops.clip(x, 0.0, 1.0), xp, [-0.1, 0.0, 0.5, 1.0, 1.1]).tolist() == [0, 1, 1, 1, 0]
    assert gradient_at(lambda x: x**0, xp, [0.0, 2.0]).tolist() == [0, 0]
    assert gradient_at(lambda x: x**1, xp, [0.0, 2.0]).tolist() == [1, 1]
    assert gradient_at(lambda x: x**2, xp, [0.0, 2.0]).tolist() == [0, 4]
    zeros = xp.asarray(np.zeros(2))
    assert gradient_at(lambda b: ops.power(zeros, b), xp, [1.0, 2.0]).tolist() == [0, 0]


@pytest.mark.parametrize(
    ("axis", "winners"),
    [
        (None, [[1, 0, 0], [0, 0, 0]]),
        (0, [[1, 1, 1], [0, 0, 0]]),
        (1, [[1, 0, 0], [1, 0, 0]]),
        (-1, [[1, 0, 0], [1, 0, 0]]),
        ((0, 1), [[1, 0, 0], [0, 0, 0]]),
        ((1, 0), [[1, 0, 0], [0, 0, 0]]),
    ],
)
@pytest.mark.parametrize("keepdims", [False, True])
def test_of_several_equal_maxima_the_first_wins(xp, axis, winners, keepdims):
    found = gradient_at(lambda x: ops.reduce_max(x, axis, keepdims), xp, np.full((2, 3), 7.0))
    assert found.tolist() == winners


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.data())
def test_each_maximum_has_exactly_one_winner(data):
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=4, max_side=4))
    x = data.draw(hnp.arrays("float64", shape, elements=st.integers(0, 2).map(float)))  # few values: many ties
    axes = data.draw(st.none() | hnp.valid_tuple_axes(len(shape), min_size=1))
    g = gradient_at(lambda t: ops.reduce_max(t, axes), np, x)
    assert set(np.unique(g)) <= {0.0, 1.0}
    assert np.all(np.sum(g, axis=axes) == 1)
    assert np.array_equal(np.sum(g * x, axis=axes), np.max(x, axis=axes))
    axes = tuple(range(len(shape))) if axes is None else tuple(sorted(a % len(shape) for a in axes))
    kept = tuple(i for i in range(len(shape)) if i not in axes)
    rows, winners = (a.transpose(kept + axes).reshape(-1, np.prod([shape[i] for i in axes])) for a in (x, g))
    assert np.array_equal(np.argmax(winners, axis=1), np.argmax(rows, axis=1))  # whatever the order of `axis`


def test_tied_maxout_pieces_send_the_gradient_to_the_first(xp):
    W = Tensor(xp.asarray(np.ones((3, 2, 4))))
    b = Tensor(xp.asarray(np.zeros((3, 2))))
    x = Tensor(xp.asarray(np.ones((5, 4))))
    dW, db = grad(ops.maxout(x, W, b).sum(), [W, b])
    assert host(db).tolist() == [[5, 5], [0, 0], [0, 0]]
    assert np.array_equal(host(dW)[0], np.full((2, 4), 5.0))
    assert not host(dW)[1:].any()


# ---------------------------------------------------------------------------------------------------------
# Properties


@settings(max_examples=60, deadline=None, derandomize=True)
@given(hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=4, max_side=3, min_side=0))
def test_sum_to_is_the_adjoint_of_broadcasting(shapes):
    """<g, broadcast x> = <sum_to g, x>, for every pair of shapes that NumPy broadcasts."""
    (small, _), shape = shapes
    rng = np.random.default_rng(0)
    x, g = rng.normal(size=small), rng.normal(size=shape)
    back = ops.sum_to(g, small)
    assert back.shape == small
    np.testing.assert_allclose((g * x).sum(), (back * x).sum(), rtol=1e-10, atol=1e-10)
    np.testing.assert_array_equal(
        gradient_at(lambda t: ops.broadcast_to(t, shape), np, x), ops.sum_to(np.ones(shape), small)
    )


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.data())
def test_put_is_the_adjoint_of_take(data):
    """<take(x, key), g> = <x, put(g, key)>, and take undoes put."""
    shape = data.draw(hnp.array_shapes(min_dims=1, max_dims=3, max_side=4))
    key = data.draw(hnp.basic_indices(shape, allow_newaxis=True))
    rng = np.random.default_rng(0)
    x = rng.normal(size=shape)
    g = np.asarray(rng.normal(size=np.shape(x[key])))
    back = ops.put(g, shape, key)
    np.testing.assert_allclose((ops.take(x, key) * g).sum(), (x * back).sum(), rtol=1e-10, atol=1e-12)
    assert np.array_equal(ops.take(back, key), g)
    assert np.array_equal(gradient_at(lambda t: ops.take(t, key), np, x), ops.put(np.ones_like(g), shape, key))


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.permutations(range(4)), st.integers(0, 15))
def test_transposing_back_gives_the_same(axes, signs):
    x = np.arange(24.0).reshape(1, 2, 3, 4)
    axes = tuple(a - 4 if signs >> i & 1 else a for i, a in enumerate(axes))
    g = np.arange(24.0).reshape(ops.transpose(x, axes).shape) ** 2
    t = Tensor(x)
    (back,) = grad(ops.transpose(t, axes), [t], g)
    assert np.array_equal(ops.transpose(back, axes), g)


def test_softmax_is_invariant_to_a_shift_and_sums_to_one(rng):
    z = rng.normal(size=(4, 5))
    np.testing.assert_allclose(ops.softmax(z + 1000), ops.softmax(z), rtol=1e-12)
    np.testing.assert_allclose(ops.softmax(z).sum(axis=1), 1, rtol=1e-14)
    np.testing.assert_allclose(np.exp(ops.log_softmax(z)), ops.softmax(z), rtol=1e-13)


# ---------------------------------------------------------------------------------------------------------
# Bad input


@pytest.mark.parametrize("key", [[0, 1], np.array([0, 1]), np.array([True, False, True]), True, (0, [1]), 1.0])
def test_indexing_by_arrays_is_refused(key):
    with pytest.raises(TypeError, match="indexed by integers, slices, None and Ellipsis, got"):
        Tensor(np.ones((3, 3)))[key]


def test_shapes_that_do_not_fit_raise(xp):
    a, b = xp.asarray(np.ones((2, 3))), xp.asarray(np.ones((4, 5)))
    for op in (ops.add, ops.multiply, ops.matmul):
        with pytest.raises(ValueError, match=r"shape|broadcast|core dimension|mismatch"):
            op(Tensor(a), b)


@pytest.mark.parametrize("mask", [np.array([1, 0, 2]), np.array([1.0, 0.0, 1.0]), True, [True, False, True]])
def test_where_wants_truth_values(mask):
    with pytest.raises(TypeError, match="where wants a mask of truth values"):
        ops.where(mask, Tensor(np.ones(3)), Tensor(np.zeros(3)))


@pytest.mark.parametrize("transposed", [False, True])
def test_the_gradient_of_a_factor_lies_in_memory_as_the_factor_does(xp, rng, transposed):
    """Used as W and as W^T, as in a Boltzmann machine, W has gradients whose sum is fast: of one memory order."""
    x, W = (Tensor(xp.asarray(rng.standard_normal(shape))) for shape in ((4, 3), (5, 3) if transposed else (3, 5)))
    (g,) = grad((x @ (W.T if transposed else W)).sum(), [W])
    assert g.flags.c_contiguous
    of_one_unit = to_device(x.data, "cpu").sum(axis=0)
    wanted = np.tile(of_one_unit, (5, 1)) if transposed else np.tile(of_one_unit[:, None], (1, 5))
    np.testing.assert_allclose(to_device(g, "cpu"), wanted)


@pytest.mark.parametrize("order", ["C", "F"])
def test_the_outputs_of_a_unit_lie_side_by_side_and_the_gradient_of_x_as_x_does(xp, rng, order):
    """The pieces of a maxout layer are planes then, whose maximum is fast, and so in the layers below."""
    x = Tensor(xp.asarray(np.array(rng.standard_normal((5, 3)), order=order)))
    y = ops.linear(x, xp.asarray(rng.standard_normal((2, 4, 3))), xp.asarray(np.zeros((2, 4))))
    assert y.data.transpose(1, 2, 0).flags.c_contiguous
    (g,) = grad(y.sum(), [x])
    assert (g.flags.c_contiguous, g.flags.f_contiguous) == (order == "C", order == "F")


def test_what_is_broadcast_is_whole_in_memory(xp):
    y = ops.broadcast_to(xp.asarray(np.ones((2, 1))), (4, 2, 3))
    assert y.flags.c_contiguous


@pytest.mark.parametrize(("shape", "axis"), [((0, 3), 0), ((0, 3), 1), ((3, 0), (0, 1)), ((0,), None)])
def test_a_mean_of_nothing_is_as_numpy_s(shape, axis):
    t = Tensor(np.ones(shape))
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        y, wanted = ops.reduce_mean(t, axis), np.ones(shape).mean(axis=axis)
    np.testing.assert_array_equal(y.data, wanted)
    assert grad(y, [t], np.ones(y.shape))[0].shape == shape


@pytest.mark.parametrize("shape", [(0, 4), (5, 0, 4)])
def test_linear_without_units(shape):
    args = [Tensor(np.ones((3, 4))), Tensor(np.ones(shape)), Tensor(np.ones(shape[:-1]))]
    y = ops.linear(*args)
    assert y.shape == (3, *shape[:-1])
    assert [g.shape for g in grad(y, args, np.ones(y.shape))] == [a.shape for a in args]


def test_softmax_cross_entropy_of_many_classes_keeps_nothing_and_is_linear():
    K = 20_000
    z, t = Tensor(np.zeros((2, K), "float32")), np.zeros((2, K), "float32")
    z.data[:, 7] = 40.0
    t[:, 7] = 1.0
    tracemalloc.start()
    try:
        (g,) = grad(ops.softmax_cross_entropy(z, t).sum(), [z])
        kept, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 30 * t.nbytes  # a K x K matrix would be 20,000 / 2 times as large
    assert kept < 2 * t.nbytes
    assert g[0, 7] == pytest.approx(-(K - 1) * math.exp(-40.0), rel=1e-5)  # where p is 1 in float32


@pytest.mark.parametrize(("n", "m"), [(3, 1), (1, 3), (3, 2)])
def test_vectors_of_two_lengths_have_no_product(n, m):
    with pytest.raises(ValueError, match="two of one length"):
        Tensor(np.ones(n)) @ np.ones(m)
    with pytest.raises(ValueError, match="two of one length"):
        ops.matmul(np.ones(n), np.array(2.0))
