"""The engine: what `grad` gives, what it never does, that no path loses a gradient silently, and memory."""

import copy
import gc
import math
import operator
import pickle
import subprocess
import sys
import tracemalloc
import weakref
from functools import partial

import cases
import numpy as np
import pytest
from placed import host_data as host

from tinyadv import ops
from tinyadv.backend import full_like
from tinyadv.tensor import Op, Tensor, grad, raw


@pytest.fixture
def x(xp):
    return Tensor(xp.asarray(np.array([0.5, -1.0, 2.0])))


@pytest.fixture
def tracked():
    """No cycle collector: what is freed is freed by reference counts alone."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def counted(op, monkeypatch):
    """The numbers of the arguments of `op` whose formulas are called from now on."""
    calls = []

    def count(i, formula):
        def counting(*args, **settings):
            calls.append(i)
            return formula(*args, **settings)

        return counting

    monkeypatch.setattr(op, "formulas", tuple(f and count(i, f) for i, f in enumerate(op.formulas)))
    return calls


# ---------------------------------------------------------------------------------------------------------
# What grad gives


def test_a_gradient_by_hand(x):
    (g,) = grad((x * x * 3.0).sum(), [x])
    assert host(g).tolist() == [3.0, -6.0, 12.0]


def test_the_same_tensor_used_twice_gets_both_contributions(x):
    assert host(grad((x * x).sum(), [x])[0]).tolist() == (2 * host(x)).tolist()
    assert host(grad((x + x).sum(), [x])[0]).tolist() == [2, 2, 2]
    assert host(grad((x / x).sum(), [x])[0]).tolist() == [0, 0, 0]


def test_the_same_x_asked_for_twice(x):
    a, b = grad((x * x).sum(), [x, x])
    assert host(a).tolist() == host(b).tolist() == (2 * host(x)).tolist()


def test_intermediate_results_can_be_asked_for(x):
    z = x * 2.0
    y = (z * z).sum()
    assert host(grad(y, [z])[0]).tolist() == (2 * host(z)).tolist()


def test_an_x_and_what_was_computed_from_it(x):
    z = x * 2.0
    y = (z * z + x).sum()
    for xs in ([x, z], [z, x]):
        found = dict(zip(map(id, xs), grad(y, xs), strict=True))
        assert host(found[id(z)]).tolist() == (2 * host(z)).tolist()
        assert host(found[id(x)]).tolist() == (4 * host(z) + 1).tolist()  # its whole gradient, through z too


def test_y_itself_can_be_asked_for(x):
    y = x.sum()
    assert [float(d) for d in grad(y, [y])] == [1.0]
    dy, dx = grad(y, [y, x], 3.0)
    assert float(dy) == 3.0
    assert host(dx).tolist() == [3, 3, 3]


def test_the_cotangent_weighs_the_entries_of_y(xp, x):
    g = np.array([1.0, 10.0, 100.0])
    expected = (2 * host(x) * g).tolist()
    assert host(grad(x * x, [x], xp.asarray(g))[0]).tolist() == expected
    assert host(grad(x * x, [x], Tensor(xp.asarray(g)))[0]).tolist() == expected


def test_a_scalar_cotangent_for_a_scalar_y(x):
    assert host(grad(x.sum(), [x], 2.5)[0]).tolist() == [2.5] * 3


def test_a_y_of_one_entry_needs_no_cotangent_whatever_its_shape(x):
    assert host(grad(x.sum(keepdims=True), [x])[0]).tolist() == [1, 1, 1]


def test_nothing_is_stored_so_nothing_accumulates(x):
    y = (x * x).sum()
    first, second = (host(grad(y, [x])[0]).tolist() for _ in range(2))
    assert first == second
    assert not hasattr(x, "grad")


def test_arrays_without_create_graph_and_tensors_with_it(x):
    y = (x * x).sum()
    assert not isinstance(grad(y, [x])[0], Tensor)
    assert isinstance(grad(y, [x], create_graph=True)[0], Tensor)


def test_the_gradient_of_something_linear_is_a_tensor_too(x):
    """Its second derivative is zero, and says so instead of failing."""
    (g,) = grad((x * 2.0).sum(), [x], create_graph=True)
    assert host(grad(g.sum(), [x], allow_unused=True)[0]).tolist() == [0, 0, 0]


def test_hessian_vector_products_of_a_polynomial(x):
    """f = sum x^4 / 12 + (sum x)^2 / 2 has H = diag(x^2) + 1 1^T."""
    v = np.array([1.0, 2.0, -3.0])
    f = (x**4).sum() / 12.0 + x.sum() ** 2 * 0.5
    (g,) = grad(f, [x], create_graph=True)
    (Hv,) = grad(g, [x], full_like(x.data, v))
    np.testing.assert_allclose(host(Hv), host(x) ** 2 * v + v.sum(), rtol=1e-13)


def test_hessian_vector_products_of_a_network(rng):
    """Against the whole Hessian, column by column from differences of gradients; and the Hessian is symmetric."""
    x, t = rng.normal(size=(6, 3)), np.eye(4)[[0, 1, 2, 3, 0, 1]]
    W = rng.normal(size=(4, 3))

    def J(W):
        return ops.softmax_cross_entropy(ops.linear(x, W, np.zeros(4)), t).sum()

    def hessian_times(v):
        T = Tensor(W)
        (g,) = grad(J(T), [T], create_graph=True)
        return grad(g, [T], v)[0]

    def slope(W):
        T = Tensor(W)
        return grad(J(T), [T])[0]

    basis = [e.reshape(W.shape) for e in np.eye(W.size)]
    H = np.stack([hessian_times(e).ravel() for e in basis])
    h = 1e-5
    differences = np.stack([(slope(W + h * e) - slope(W - h * e)).ravel() / (2 * h) for e in basis])
    np.testing.assert_allclose(H, differences, atol=1e-9)
    np.testing.assert_allclose(H, H.T, atol=1e-14)
    v = rng.normal(size=W.shape)
    np.testing.assert_allclose(hessian_times(v).ravel(), H @ v.ravel(), rtol=1e-12, atol=1e-14)


def test_third_derivatives(x):
    (first,) = grad((x**5).sum(), [x], create_graph=True)
    (second,) = grad(first.sum(), [x], create_graph=True)
    (third,) = grad(second.sum(), [x])
    np.testing.assert_allclose(host(third), 60 * host(x) ** 2, rtol=1e-13)


def test_the_penalty_on_a_gradient_has_a_gradient(x):
    """d/dx |df/dx|^2 for f = sum x^3 is 36 x^3: what a double backward is for."""
    (g,) = grad((x**3).sum(), [x], create_graph=True)
    np.testing.assert_allclose(host(grad((g * g).sum(), [x])[0]), 36 * host(x) ** 3, rtol=1e-13)


# ---------------------------------------------------------------------------------------------------------
# What is not asked for is not computed


def test_an_attack_does_not_pay_for_the_weights(monkeypatch, rng):
    calls = counted(ops.linear, monkeypatch)
    x, W, b = (Tensor(rng.normal(size=s)) for s in [(5, 3), (2, 3), (2,)])
    y = ops.linear(x, W, b).sum()
    grad(y, [x])
    assert calls == [0]
    calls.clear()
    grad(y, [W, b])
    assert calls == [1, 2]


def test_paths_that_do_not_lead_to_an_x_are_not_walked(monkeypatch, x):
    calls = counted(ops.exp, monkeypatch)
    y = (ops.exp(Tensor(x.data)) * x).sum()
    grad(y, [x])
    assert calls == []


def test_what_lies_before_an_x_is_not_walked(monkeypatch, x):
    calls = counted(ops.exp, monkeypatch)
    z = ops.exp(x)
    grad((z * z).sum(), [z])
    assert calls == []


def test_a_shared_result_is_walked_once(monkeypatch, x):
    calls = counted(ops.exp, monkeypatch)
    z = ops.exp(x)
    for _ in range(5):
        z = z + z
    grad(z.sum(), [x])
    assert calls == [0]


def test_nothing_is_recorded_of_arrays(xp):
    a = xp.asarray(np.ones(3))
    assert not isinstance(ops.exp(a) * 2.0 + ops.softmax(a), Tensor)


# ---------------------------------------------------------------------------------------------------------
# No silent paths


@pytest.mark.parametrize(
    "call",
    [
        np.exp,
        np.asarray,
        np.array,
        np.sum,
        np.max,
        np.isnan,
        np.add.reduce,
        np.linalg.norm,
        lambda t: np.concatenate([t, t]),
        lambda t: np.concatenate([t]),
        lambda t: np.stack([t.data, t]),
        lambda t: np.array([t, t]),
        lambda t: np.where(t.data > 0, t, 0.0),
        lambda t: np.clip(t, 0, 1),
        lambda t: np.add(np.ones(3), t),
        lambda t: np.multiply(t.data, 2.0, out=t),
        lambda t: np.dot(np.ones(3), t),
        lambda t: np.ones(3).dot(t),
        lambda t: np.copyto(np.ones(3), t),
        lambda t: np.ones(3).__setitem__(slice(None), t),
        lambda t: np.full(3, t),
        lambda t: np.zeros(3)[t],
        lambda t: t % 2.0,
        lambda t: t // 2.0,
    ],
)
def test_computing_past_the_engine_raises(call):
    with pytest.raises(TypeError, match=r"Tensor|return arrays must be of ArrayType"):
        call(Tensor(np.array([0.5, 1.0, 2.0])))


NUMBERS_READ = {
    "float": float,
    "int": int,
    "complex": complex,
    "round": round,
    "math.sqrt": math.sqrt,
    "math.exp": math.exp,
    "math.floor": math.floor,
    "math.isfinite": math.isfinite,
    "np.float64": np.float64,
    "range": range,
    "format": lambda t: "%.3f" % t,  # noqa: UP031
    "divmod": lambda t: divmod(t, 2.0),
    "sum of floats": lambda t: math.fsum([t, 1.0]),
}
COPIES = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "deepcopy of a list": lambda t: copy.deepcopy([t]),
    "pickle": pickle.dumps,
}


@pytest.mark.parametrize("read", NUMBERS_READ.values(), ids=NUMBERS_READ)
def test_a_number_is_not_read_off_unasked(read):
    w = Tensor(np.array([3.0, 4.0]))
    with pytest.raises(TypeError, match="Tensor"):
        read((w * w).sum())


@pytest.mark.parametrize("name", ["float", "int", "complex", "math.sqrt", "math.isfinite", "format", "sum of floats"])
def test_what_reads_a_number_off_names_item(name):
    w = Tensor(np.array([3.0, 4.0]))
    with pytest.raises(TypeError, match=r"Tensor that remembers reduce_sum .*\.item\(\)"):
        NUMBERS_READ[name]((w * w).sum())


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
def test_a_tensor_that_remembers_is_not_copied(copied):
    with pytest.raises(TypeError, match=r"a copy of a Tensor that remembers reduce_sum would cut its gradient.*\.data"):
        copied(Tensor(np.ones(2)).sum())


@pytest.mark.parametrize(
    "copied", [copy.copy, copy.deepcopy, lambda t: pickle.loads(pickle.dumps(t))], ids=["copy", "deepcopy", "pickle"]
)
def test_a_tensor_that_remembers_nothing_is_copied(copied, x):
    if copied is not copy.copy and not isinstance(x.data, np.ndarray):
        pytest.skip("the stand-in for CuPy does not copy itself")
    other = copied(x)
    assert (other is x, other.op) == (False, None)
    assert host(grad((other * x).sum(), [other, x])[0]).tolist() == host(x).tolist()


def test_item_reads_the_number(xp):
    w = Tensor(xp.asarray(np.array([3.0, 4.0], dtype="float32")))
    number = (w * w).sum().item()
    assert (type(number), number) == (float, 25.0)
    assert Tensor(xp.asarray(np.full((1, 1), 2.0))).item() == 2.0
    with pytest.raises(ValueError, match="size"):
        w.item()


def test_a_number_of_a_tensor_that_remembers_nothing_is_read_as_of_an_array(xp):
    t = Tensor(xp.asarray(np.array(2.25)))
    assert (float(t), int(t), math.sqrt(t)) == (2.25, 2, 1.5)


@pytest.mark.parametrize(
    "function", [np.exp, np.isnan, np.asarray, np.sum, np.max, np.transpose, np.linalg.norm, np.shape, np.zeros_like]
)
def test_a_function_of_numpy_says_what_to_use_instead(function):
    with pytest.raises(TypeError, match=r"a Tensor is not an array: use an operation of tinyadv\.ops, or"):
        function(Tensor(np.ones((2, 2))))


@pytest.mark.parametrize("name", ["astype", "copy", "grad", "backward", "std", "numpy"])
def test_there_is_no_attribute_that_answers_none(name):
    with pytest.raises(AttributeError, match=name):
        getattr(Tensor(np.ones(3)), name)


def test_nothing_can_be_stored_on_a_tensor():
    with pytest.raises(AttributeError):
        Tensor(np.ones(3)).grad = 1.0
    with pytest.raises(TypeError):
        Tensor(np.ones(3))[0] = 1.0


@pytest.mark.parametrize("name", ["add", "sub", "mul", "truediv", "pow", "matmul"])
def test_operators_with_arrays_on_either_side_give_tensors(xp, name):
    function = getattr(operator, name)
    a = xp.asarray(np.array([[0.5, 1.0], [2.0, 0.2]]))
    t = Tensor(xp.asarray(np.array([[1.0, 3.0], [2.0, 0.1]])))
    for left, right in ((a, t), (t, a)):
        y = function(left, right)
        assert isinstance(y, Tensor)
        np.testing.assert_allclose(host(y), function(host(left), host(right)))
        assert grad(y.sum(), [t])[0].shape == (2, 2)


@pytest.mark.parametrize("name", ["add", "sub", "mul", "truediv", "pow"])
@pytest.mark.parametrize("number", [2, 2.5, np.float64(2.5), np.float32(2.5)], ids=repr)
def test_operators_with_numbers_on_either_side_give_tensors(name, number):
    t = Tensor(np.array([1.0, 3.0, 2.0]))
    for left, right in ((number, t), (t, number)):
        y = getattr(operator, name)(left, right)
        assert isinstance(y, Tensor)
        np.testing.assert_allclose(y.data, getattr(operator, name)(raw(left), raw(right)))
        assert grad(y.sum(), [t])[0].shape == (3,)


@pytest.mark.parametrize("name", ["iadd", "isub", "imul", "itruediv", "ipow", "imatmul"])
def test_an_array_is_not_changed_in_place_by_a_tensor(name):
    a = np.ones(3)
    y = getattr(operator, name)(a, Tensor(np.full(3, 2.0)))
    assert isinstance(y, Tensor)
    assert a.tolist() == [1, 1, 1]


@pytest.mark.parametrize("start", [0, 0.0, np.zeros(()), np.float64(0.0)], ids=repr)
def test_losses_are_summed_by_augmented_assignment(start):
    w, total = Tensor(np.array([1.0, 2.0])), start
    for _ in range(3):
        total += (w * w).sum()
    assert total.item() == 15.0
    assert grad(total, [w])[0].tolist() == [6.0, 12.0]


@pytest.mark.parametrize("name", ["iadd", "isub", "imul", "itruediv", "ipow"])
def test_augmented_assignment_of_what_was_computed_makes_a_new_tensor(name, x):
    before = x * 1.0
    data, values = before.data, host(before).copy()
    after = getattr(operator, name)(before, 2.0)
    assert (after is before, before.data is data) == (False, True)
    assert host(before).tolist() == values.tolist()
    assert host(after).tolist() == getattr(operator, name)(values, 2.0).tolist()


@pytest.mark.parametrize(
    ("name", "sign"),
    [("iadd", "+"), ("isub", "-"), ("imul", "*"), ("itruediv", "/"), ("ipow", "**"), ("imatmul", "@")],
)
@pytest.mark.parametrize("step", [np.ones(3), 0.1, Tensor(np.ones(3))], ids=["array", "number", "tensor"])
def test_augmented_assignment_of_a_parameter_raises_with_the_line_to_write(name, sign, step):
    W = Tensor(np.ones(3))
    with pytest.raises(TypeError) as error:
        getattr(operator, name)(W, step)
    assert f"W.data {sign}= step changes its numbers, W = W {sign} step makes a new Tensor" in str(error.value)
    assert (W.op, W.data.tolist()) == (None, [1, 1, 1])


def test_steps_on_data_keep_no_history(tracked):
    W = Tensor(np.ones(1000))
    tracemalloc.start()
    try:
        for step in range(200):
            W.data -= 0.01 * grad((W * W).sum(), [W])[0]
            if step == 20:
                early = tracemalloc.get_traced_memory()[0]
        assert tracemalloc.get_traced_memory()[0] < early + 8000
    finally:
        tracemalloc.stop()


# ---------------------------------------------------------------------------------------------------------
# Data that was set between a forward and its gradients

LATE = {
    "rebound": lambda W: setattr(W, "data", W.data * 10),
    "augmented": lambda W: setattr(W, "data", operator.imul(W.data, 10)),  # what `W.data *= 10` does
    "set to itself": lambda W: setattr(W, "data", W.data),
}


@pytest.mark.parametrize("change", LATE.values(), ids=LATE)
@pytest.mark.parametrize("create_graph", [False, True])
def test_data_set_after_its_use_is_noticed(change, create_graph, xp):
    W = Tensor(xp.asarray(np.array([1.0, 2.0])))
    J = (W * W * W).sum()
    change(W)
    with pytest.raises(ValueError, match=r"the \.data of an argument of multiply was set after its use"):
        grad(J, [W], create_graph=create_graph)


def test_data_of_another_argument_counts_too():
    x, W = Tensor(np.ones(2)), Tensor(np.ones(2))
    J = (x * W).sum()
    W.data *= 2.0
    with pytest.raises(ValueError, match="set after its use"):
        grad(J, [x])


def test_data_of_which_no_gradient_on_the_way_depends_does_not_count():
    x, W = Tensor(np.ones(2)), Tensor(np.full(2, 3.0))
    h = x * W
    J = (h * h).sum()
    W.data = np.zeros(2)
    assert grad(J, [h])[0].tolist() == [6, 6]


def test_data_may_be_set_after_the_gradients_and_before_the_next_forward():
    W = Tensor(np.array([4.0]))
    for _ in range(3):
        (g,) = grad((W * W).sum(), [W])
        W.data -= 0.25 * g
    assert W.data.tolist() == [0.5]
    W.data = np.array([3.0])
    assert grad((W * W).sum(), [W])[0].tolist() == [6.0]


def test_the_data_of_what_was_computed_cannot_be_set(x):
    y = x * 2.0
    with pytest.raises(TypeError, match=r"data of a Tensor that remembers multiply cannot be set: Tensor\(\.\.\.\)"):
        y.data = x.data


@pytest.mark.parametrize("data", [np.arange(3), np.array(["a"]), [1, 2]], ids=repr)
def test_data_is_checked_as_in_the_constructor(data, x):
    with pytest.raises(TypeError, match="wants native floating point numbers"):
        x.data = data
    with pytest.raises(TypeError, match="a Tensor is not an array"):
        x.data = Tensor(np.ones(3))


# ---------------------------------------------------------------------------------------------------------
# Subclasses


class Parameter(Tensor):
    """A Tensor of somebody else's."""


def test_a_subclass_is_a_tensor_everywhere():
    X, w = Tensor(np.ones((2, 3))), Parameter(np.array([1.0, 2.0, 3.0]))
    assert grad((X * w).sum() + 0.5 * (w * w).sum(), [w])[0].tolist() == [3, 4, 5]
    assert grad((np.ones((2, 3)) * w).sum(), [w])[0].tolist() == [2, 2, 2]
    (g,) = grad((w * w * w).sum(), [w], create_graph=True)
    assert grad(g.sum(), [w])[0].tolist() == [6, 12, 18]
    with pytest.raises(TypeError, match="by keyword"):
        ops.exp(x=w)
    assert isinstance(copy.deepcopy(w), Parameter)


def test_comparisons_give_plain_arrays(xp, x):
    for mask in (x < 1.0, x <= x, x > 1.0, x >= x.data, x == 0.5, x != 0.5):
        assert not isinstance(mask, Tensor)
        assert mask.dtype == bool
    assert host(x > 0.6).tolist() == [False, False, True]
    assert host(x.data > Tensor(x.data * 0.0)).tolist() == [True, False, True]
    assert len({x, Tensor(x.data)}) == 2  # hashed by identity: == compares the entries


def test_methods_and_operators_are_the_operations(xp, rng):
    a = rng.normal(size=(2, 3, 4))
    x = Tensor(xp.asarray(a))
    pairs = [
        (x.sum(), a.sum()),
        (x.sum(axis=1, keepdims=True), a.sum(axis=1, keepdims=True)),
        (x.mean(axis=(0, 2)), a.mean(axis=(0, 2))),
        (x.mean(axis=0, keepdims=True), a.mean(axis=0, keepdims=True)),
        (x.max(axis=-1), a.max(axis=-1)),
        (x.max(axis=(0, 1), keepdims=True), a.max(axis=(0, 1), keepdims=True)),
        (x.reshape(6, 4), a.reshape(6, 4)),
        (x.reshape((6, 4)), a.reshape(6, 4)),
        (x.reshape(-1), a.reshape(-1)),
        (x.transpose(), a.T),
        (x.transpose(2, 0, 1), a.transpose(2, 0, 1)),
        (x.T, a.T),
        (-x, -a),
        (abs(x), abs(a)),
        (x[0, ..., 1:], a[0, ..., 1:]),
        (x[None], a[None]),
    ]
    for ours, theirs in pairs:
        assert isinstance(ours, Tensor)
        np.testing.assert_allclose(host(ours), theirs, rtol=1e-13)
    assert (x.shape, x.ndim, x.size, x.dtype, len(x)) == ((2, 3, 4), 3, 24, np.dtype("float64"), 2)
    assert [host(part).tolist() for part in x] == a.tolist()


def test_a_tensor_says_where_it_comes_from():
    t = Tensor(np.array([1.0, 2.0]))
    assert repr(t) == "Tensor([1. 2.], dtype=float64)"
    assert repr(ops.exp(t * 0.0)) == "Tensor([1. 1.], dtype=float64, from exp)"


# ---------------------------------------------------------------------------------------------------------
# Bad input: each names what was received and what was wanted


@pytest.mark.parametrize("data", [3, [1, 2], np.arange(3), np.array([True]), np.array([1j]), np.array(["a"])], ids=repr)
def test_a_tensor_of_what_has_no_gradient_raises(data):
    with pytest.raises(TypeError, match=r"wants native floating point numbers, got (int64|bool|complex128|<U1): try"):
        Tensor(data)


def test_a_tensor_of_a_tensor_raises(x):
    with pytest.raises(TypeError, match=r"a Tensor is not an array: .* or the Tensor.s .data"):
        Tensor(x)


def test_numbers_and_lists_become_arrays():
    assert Tensor(2.0).shape == ()
    assert Tensor([1.0, 2.0]).shape == (2,)


@pytest.mark.parametrize("call", [lambda t: ops.add(1.0, b=t), lambda t: ops.exp(x=t), lambda t: ops.reduce_sum(x=t)])
def test_tensors_by_keyword_raise(call):
    with pytest.raises(TypeError, match=r"(add|exp|reduce_sum)\(\) got a Tensor by keyword: pass it by position"):
        call(Tensor(np.ones(3)))


def test_a_missing_formula_raises_and_names_operation_and_argument(x):
    @Op
    def cube(a):
        return a * a * a

    with pytest.raises(TypeError, match="cube has no gradient formula for its argument 0"):
        grad(cube(x).sum(), [x])

    @Op
    def half(a, b):
        return a + b

    half.gradients(lambda g, y, a, b: g, None)
    other = Tensor(x.data)
    grad(half(x, other), [x], x.data)  # the other's is not asked for
    with pytest.raises(TypeError, match="half has no gradient formula for its argument 1"):
        grad(half(x, other), [other], x.data)


def test_a_mask_has_no_gradient():
    x = Tensor(np.ones(3))
    mask = Tensor(np.ones(3))
    with pytest.raises(TypeError, match="where wants a mask of truth values, got float64"):
        ops.where(mask, x, 0.0)


def test_a_formula_that_gives_another_shape_or_dtype_is_found(x):
    @Op
    def double(a):
        return 2.0 * a

    double.gradients(lambda g, y, a: (2.0 * g).sum())
    with pytest.raises(TypeError, match=r"the formula of double for its argument 0 gave float64 of shape \(\)"):
        grad(double(x).sum(), [x])
    double.gradients(lambda g, y, a: (2.0 * g).astype("float32"))
    with pytest.raises(TypeError, match=r"gave float32 of shape \(3,\), the argument is float64 of shape \(3,\)"):
        grad(double(x).sum(), [x])


FLOAT32 = Tensor(np.ones(2, dtype="float32"))
MISMATCHES = {
    "array": (lambda: FLOAT32 * np.ones(2), "multiply .* float32 and float64"),
    "array before": (lambda: np.ones(2) - FLOAT32, "subtract .* float32 and float64"),
    "scalar": (lambda: FLOAT32 * np.float64(2.0), "multiply .* float32 and float64"),
    "tensor": (lambda: FLOAT32 + Tensor(np.ones(2)), "add .* float32 and float64"),
    "tensor before": (lambda: Tensor(np.ones(2)) + FLOAT32, "add .* float32 and float64"),
    "integers": (lambda: FLOAT32 / np.arange(1, 3), "divide .* float32 and int64"),
    "where": (lambda: ops.where(np.array([True, False]), FLOAT32, np.zeros(2)), "where .* float32 and float64"),
    "matmul": (lambda: np.ones((3, 2)) @ FLOAT32.reshape(2, 1), "^matmul .* float32 and float64"),
}  # fmt: skip


@pytest.mark.parametrize(("compute", "message"), MISMATCHES.values(), ids=MISMATCHES)
def test_another_dtype_is_told_where_it_comes_in(compute, message):
    with pytest.raises(TypeError, match=message + r" would give float64: make both alike, .*\.astype\('float32'\)"):
        compute()


def test_numbers_masks_and_lists_take_the_dtype_of_the_tensor():
    for y in (
        FLOAT32 * 2.0,
        FLOAT32 * np.array([True, False]),
        FLOAT32 * [2.0, 3.0],
        (1, 2) - FLOAT32,
        FLOAT32 @ [1, 2],
    ):
        assert y.dtype == "float32"
        assert grad(y.sum(), [FLOAT32])[0].dtype == "float32"
    assert grad((FLOAT32 * [2.0, 3.0]).sum(), [FLOAT32])[0].tolist() == [2, 3]
    assert grad([1, 2] @ FLOAT32, [FLOAT32])[0].tolist() == [1, 2]


def test_an_operation_may_change_the_dtype_itself():
    widen = Op(lambda x: x.astype("float64"))
    widen.gradients(lambda g, y, x: g.astype("float32"))
    assert grad(widen(FLOAT32).sum(), [FLOAT32])[0].dtype == "float32"


@pytest.mark.parametrize("dtype", [">f4", ">f8"])
def test_foreign_byte_order_says_what_to_do(dtype):
    with pytest.raises(
        TypeError, match=rf"wants native floating point numbers, got {dtype}: try \.astype\('float32'\)"
    ):
        Tensor(np.ones(2, dtype))


def test_pixels_from_0_to_255_are_to_be_divided():
    with pytest.raises(TypeError, match=r"got uint8: try \.astype\('float32'\), divided by 255 if they are pixels"):
        Tensor(np.zeros((2, 2), "uint8"))


@pytest.mark.parametrize(
    ("forward", "kind"), [(lambda a: 2.0, "float"), (lambda a: (a, a), "tuple"), (lambda a: None, "NoneType")]
)
def test_a_forward_that_gives_no_array_raises(forward, kind, x):
    forward.__name__ = "mine"
    with pytest.raises(TypeError, match=f"the forward of mine gave a {kind}, an array is wanted"):
        Op(forward)(x)


def test_a_table_of_another_library_becomes_an_array():
    class Series:
        dtype, shape = np.dtype("float64"), (2,)

        def __array__(self, dtype=None, copy=None):
            return np.array([1.0, 2.0])

    assert type(Tensor(Series()).data) is np.ndarray
    assert type(Tensor(np.float64(1.0)).data) is np.ndarray  # a scalar could not be changed in place


def test_a_format_is_that_of_the_number():
    w = Tensor(np.array([3.0, 4.0]))
    assert f"{(w * w).sum():.3f}" == "25.000"
    assert f"{w}" == "Tensor([3. 4.], dtype=float64)"


def test_shapes_may_be_lists():
    t = Tensor(np.arange(6.0))
    assert t.reshape([2, 3]).shape == (2, 3)
    assert t.reshape([2, 3]).transpose([1, 0]).shape == (3, 2)


def test_a_y_of_several_numbers_wants_a_cotangent(x):
    with pytest.raises(ValueError, match=r"y of shape \(3,\) wants a cotangent of that shape"):
        grad(x * 2.0, [x])


def test_a_cotangent_of_another_shape_raises(xp, x):
    for cotangent in (np.ones(2), np.ones((3, 1)), np.ones(1), np.array(1.0)):
        with pytest.raises(ValueError, match=r"a cotangent like y, float64 of shape \(3,\), got float64 of shape \("):
            grad(x * 2.0, [x], xp.asarray(cotangent))
    with pytest.raises(ValueError, match=r"got float64 of shape \(2,\)"):
        grad(x * 2.0, [x], Tensor(xp.asarray(np.ones(2))))


def test_an_x_that_y_does_not_depend_on_raises(xp, x):
    other = Tensor(x.data)  # the same array is not the same Tensor
    with pytest.raises(ValueError, match=r"y does not depend on xs\[1\]"):
        grad(x.sum(), [x, other])
    a, b = grad(x.sum(), [x, other], allow_unused=True)
    assert (host(a).tolist(), host(b).tolist()) == ([1, 1, 1], [0, 0, 0])
    assert b.dtype == x.dtype


def test_what_is_computed_later_from_y_is_not_on_the_way(x):
    y = x.sum()
    later = y * 2.0
    with pytest.raises(ValueError, match=r"xs\[0\]"):
        grad(y, [later])


def test_xs_that_are_no_tensors_raise(x):
    y = x.sum()
    for xs, place in (([x.data], 0), ([x, 2.0], 1), ([None], 0)):
        with pytest.raises(TypeError, match=rf"wants a Tensor as xs\[{place}\], got"):
            grad(y, xs)
    with pytest.raises(TypeError, match="wants a Tensor as y, got"):
        grad(x.data, [x])


def test_no_xs_no_gradients(x):
    assert grad(x.sum(), []) == []


# ---------------------------------------------------------------------------------------------------------
# Depth and memory


def test_a_graph_of_20000_nodes_differentiates_and_is_freed(tracked):
    x = Tensor(np.array([1.0, 2.0]))
    y = x
    for _ in range(10_000):
        y = y * 1.0001 + x * 0.0
    assert y.birth - x.birth >= 20_000
    (g,) = grad(y.sum(), [x])
    np.testing.assert_allclose(g, 1.0001**10_000, rtol=1e-10)
    (g,) = grad(y.sum(), [x], create_graph=True)  # what was built for it is as deep again
    middle, last = weakref.ref(y.args[0]), weakref.ref(y)
    del y, g
    assert middle() is None
    assert last() is None


def test_a_much_deeper_graph_does_not_overflow_the_stack():
    """In a process of its own: an overflow would end it."""
    code = (
        "import numpy as np; from tinyadv.tensor import Tensor, grad\n"
        "x = y = Tensor(np.array([1.0]))\n"
        "for _ in range(100_000): y = -y\n"
        "print(grad(y, [x])[0]); del y\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "[1.]"), done.stderr


@pytest.mark.parametrize("create_graph", [False, True])
def test_memory_is_freed_without_the_cycle_collector(tracked, create_graph, rng):
    x, W = Tensor(rng.normal(size=(5, 3))), Tensor(rng.normal(size=(4, 3)))
    z = ops.linear(x, W, np.zeros(4))
    y = (ops.softmax(ops.relu(z)) * ops.tanh(z)).sum()
    gradients = grad(y, [x, W], create_graph=create_graph)
    watched = [weakref.ref(t) for t in (z, y)] + [weakref.ref(raw(t)) for t in (z, *gradients)]
    if create_graph:
        gradients = grad((gradients[0] * gradients[0]).sum(), [W])
    del z, y, gradients
    assert [ref() for ref in watched] == [None] * len(watched)


def test_arrays_of_a_finished_step_do_not_accumulate(tracked, rng):
    x, W = rng.normal(size=(200, 100)), rng.normal(size=(100, 100))

    def step():
        T = Tensor(W)
        y = (ops.relu(x @ T) @ T).sum()
        (g,) = grad(y, [T], create_graph=True)
        return raw(grad((g * g).sum(), [T])[0])

    step()
    tracemalloc.start()
    try:
        step()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(10):
            step()
        after = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert after - before < W.nbytes / 4


def test_gradients_on_the_way_are_freed_as_the_walk_goes(rng):
    """The walk back over 50 layers holds a few gradients at a time, not 50."""
    x = Tensor(rng.normal(size=100_000))
    y = x
    for _ in range(50):
        y = ops.tanh(y)
    y = y.sum()
    tracemalloc.start()
    try:
        grad(y, [x])
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 6 * x.data.nbytes


# ---------------------------------------------------------------------------------------------------------
# Whose memory a gradient is


def owners(case):
    """Which gradients of `case` share memory with an argument or the result: pairs of numbers."""
    f, xs = case.bind()
    tensors = [Tensor(x) for x in xs]
    y = f(*tensors)
    g = np.random.default_rng(0).normal(size=y.shape)
    found = [np.asarray(d) for d in grad(y, tensors, g, allow_unused=True)]
    others = [*xs, np.asarray(y.data)]
    return [(i, j) for i, a in enumerate(found) for j, b in enumerate(others) if np.shares_memory(a, b)]


@cases.each
def test_a_gradient_shares_no_memory_with_arguments_and_results(case):
    assert owners(case) == []


def test_one_tensor_instead_of_a_list_says_how_to_call():
    x = Tensor(np.ones(3))
    with pytest.raises(TypeError, match=r"got one Tensor: grad\(y, \[x\]\)"):
        grad(x.sum(), x)


@pytest.mark.parametrize(
    "kind", [list, tuple, iter, reversed, lambda xs: (x for x in xs), partial(map, lambda x: x),
             partial(filter, lambda x: True), lambda xs: dict(enumerate(xs)).values()],
    ids=["list", "tuple", "iter", "reversed", "generator", "map", "filter", "values"],
)  # fmt: skip
def test_the_xs_may_be_anything_that_gives_tensors(kind):
    xs = [Tensor(np.array(2.0)), Tensor(np.array(3.0))]
    wanted = [2.0, 3.0] if kind is reversed else [3.0, 2.0]
    assert [float(g) for g in grad(xs[0] * xs[1], kind(xs))] == wanted


@pytest.mark.parametrize("xs", [None, 3, np.ones(3), "xy", {"W": Tensor(np.ones(3))}], ids=repr)
def test_what_gives_no_tensors_raises(xs):
    with pytest.raises(TypeError, match=r"grad wants a (list of Tensors as xs|Tensor as xs\[0\]), got"):
        grad(Tensor(np.ones(3)).sum(), xs)


def test_methods_take_what_the_array_methods_take():
    x = Tensor(np.arange(6.0).reshape(2, 3))
    assert np.array_equal(x.transpose((1, 0)).data, x.data.T)
    assert np.array_equal(x.transpose(1, 0).data, x.data.T)
    assert np.array_equal(x.transpose().data, x.data.T)
    assert np.array_equal(x[np.int64(1)].data, x.data[1])


def test_a_gradient_that_is_summed_changes_no_other():
    """Formulas may hand on g itself, or a view of it; what is added up in place is a sum that only `grad` has."""
    x0, w0, g0 = np.arange(6.0).reshape(2, 3), np.full((2, 3), 2.0), np.linspace(1.0, 2.0, 6).reshape(2, 3)
    x, w, g = Tensor(x0.copy()), Tensor(w0.copy()), g0.copy()
    h = x + w
    y = x + h + x.reshape(3, 2).reshape(2, 3) + h * x + x
    found = grad(y, [x, w, h, y], g)
    wanted = [g0 * (4 + x0 + h.data), g0 * (1 + x0), g0 * (1 + x0), g0]
    for got, right in zip(found, wanted, strict=True):
        np.testing.assert_allclose(got, right, rtol=1e-14)
    assert (g == g0).all()
    assert (x.data == x0).all()
    assert (w.data == w0).all()
    again = grad(y, [x, w, h, y], Tensor(g0), create_graph=True)
    for got, other in zip(found, again, strict=True):
        assert (got == other.data).all()
