"""gradcheck itself: right formulas pass, planted errors are found and named, and kinks are no verdict."""

import numpy as np
import pytest

from tinyadv import ops
from tinyadv.backend import generator
from tinyadv.gradcheck import GradientError, KinkError, gradcheck
from tinyadv.tensor import Op, Tensor, raw


def planted(forward, *formulas):
    op = Op(forward)
    op.gradients(*formulas)
    return op


def times(*formulas):
    """y = a b^2, with these formulas."""

    def times(a, b):
        return a * b * b

    return planted(times, *formulas)


def right_a(g, y, a, b):
    return ops.sum_to(g * b * b, a.shape)


def right_b(g, y, a, b):
    return ops.sum_to(2.0 * g * a * b, b.shape)


@pytest.fixture
def a(rng):
    return rng.normal(size=(3, 2))


@pytest.fixture
def b(rng):
    return rng.normal(size=(3, 2)) + 3.0


def test_the_right_formulas_pass(xp, a, b):
    a, b = xp.asarray(a), xp.asarray(b)
    assert gradcheck(times(right_a, right_b), a, b, order=3) is None
    gradcheck(times(right_a, right_b), Tensor(a), Tensor(b))


def test_it_is_public():
    import tinyadv

    assert tinyadv.gradcheck is gradcheck


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            lambda g, y, a, b: 0.0 * right_a(g, y, a, b),
            "the engine gives 0, finite differences give .*: the formula gives zero",
        ),
        (lambda g, y, a, b: -right_a(g, y, a, b), "ratio -1: the sign is wrong"),
        (lambda g, y, a, b: 1.01 * right_a(g, y, a, b), r"ratio 1\.01$"),
        (lambda g, y, a, b: 1.0001 * right_a(g, y, a, b), r"ratio 1\.0001$"),
        (lambda g, y, a, b: 6.0 * right_a(g, y, a, b), "ratio 6: 6 times too large, is a 1/6 missing"),
        (lambda g, y, a, b: right_a(g, y, a, b) * 0.2, r"ratio 0\.2: 5 times too small"),
        (lambda g, y, a, b: g * b, "ratio"),
        (lambda g, y, a, b: right_a(g, y, a, b) + 1e-3, "argument 0: the engine gives"),
        (lambda g, y, a, b: right_a(g, y, a, b) / 0.0, "divides by zero or overflows"),
        (
            lambda g, y, a, b: right_a(g, y, a, b) * (1 + 3e-7),
            r"ratio 1: nearly right, is something computed in float32\?",
        ),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero:RuntimeWarning", "ignore:invalid value:RuntimeWarning")
def test_planted_errors_are_found_and_named(a, b, wrong, message, order):
    with pytest.raises(GradientError, match=message) as caught:
        gradcheck(times(wrong, right_b), a, b, order=order)
    assert str(caught.value).startswith("times, order 1, argument 0: the engine gives ")


def test_a_wrong_formula_of_the_second_argument_is_named(a, b):
    with pytest.raises(GradientError, match=r"times, order 1, argument 1: .*ratio -1"):
        gradcheck(times(right_a, lambda *args: -right_b(*args)), a, b)


def test_swapped_formulas_are_found(a, b):
    with pytest.raises(GradientError, match="argument 0"):
        gradcheck(times(right_b, right_a), a, b)


def test_swapped_arguments_are_found(a, b):
    with pytest.raises(GradientError, match="argument 0"):
        gradcheck(times(lambda g, y, a, b: right_a(g, y, b, a), right_b), a, b)
    with pytest.raises(GradientError, match="argument 1"):
        gradcheck(times(right_a, lambda g, y, a, b: g * a * a), a, b)


def test_a_cached_constant_is_found_in_the_second_order_only(a, b):
    """b^2 kept from the forward: right in the first order, a constant to the second."""
    cached = times(lambda g, y, a, b: g * raw(b * b), right_b)
    gradcheck(cached, a, b, order=1)
    with pytest.raises(
        GradientError, match="order 2, gradient for argument 0, differentiated by argument 1: the engine gives 0"
    ):
        gradcheck(cached, a, b)


def test_a_partly_cached_constant_is_named(a, b):
    """One b of b^2 kept: half of the second derivative is lost."""
    cached = times(lambda g, y, a, b: g * b * raw(b), right_b)
    with pytest.raises(GradientError, match=r"differentiated by argument 1: .*ratio 0\.5: 2 times too small"):
        gradcheck(cached, a, b)

    def softmax_from_its_result(z):
        return ops.softmax.forward(z)

    softmax = planted(softmax_from_its_result, lambda g, p, z: raw(p) * (g - (g * p).sum(axis=-1, keepdims=True)))
    gradcheck(softmax, a, order=1)
    with pytest.raises(GradientError, match="is a value kept from the forward, and so a constant to this derivative"):
        gradcheck(softmax, a)


def test_a_cotangent_that_is_lost_is_found(a, b):
    lost = times(lambda g, y, a, b: Tensor(raw(g)) * b * b if isinstance(g, Tensor) else g * b * b, right_b)
    gradcheck(lost, a, b, order=1)
    with pytest.raises(GradientError, match=r"gradient for argument 0, differentiated by cotangent 0: .*gives zero"):
        gradcheck(lost, a, b)


def test_a_missing_sum_over_a_broadcast_argument_is_found(a):
    """Right in shape, wrong in value: one row's gradient instead of the sum over the rows."""
    b = np.array([1.5, 2.5])

    def first_row(g, y, a, b):
        return (2.0 * g * a * b)[0]

    with pytest.raises(GradientError, match="argument 1"):
        gradcheck(times(right_a, first_row), a, b)


def test_a_gradient_that_should_be_zero_is_found(a):
    constant = planted(lambda a: 0.0 * a + 3.0, lambda g, y, a: g)
    constant.__name__ = "constant"
    with pytest.raises(GradientError, match=r"constant, order 1, argument 0: .*: it should be zero"):
        gradcheck(constant, a)


def test_a_random_cotangent_finds_what_all_ones_would_miss(a):
    """The gradient of sum(softmax(z)) is 0: where softmax's formula is zeros, an all-ones cotangent sees no error."""
    zeroed = planted(lambda z: ops.softmax.forward(z), lambda g, y, z: 0.0 * g)
    gradcheck(lambda z: zeroed(z).sum(axis=-1), a)
    with pytest.raises(GradientError):
        gradcheck(zeroed, a)


def test_one_wrong_entry_of_many_is_found(rng):
    x = rng.normal(size=1000)

    def formula(g, y, x):
        spoiled = 1.0 + 1e-3 * (np.arange(1000) == 371)
        return 2.0 * g * x * spoiled

    square = planted(lambda x: x * x, formula)
    with pytest.raises(GradientError):
        gradcheck(square, x, order=1)


def test_values_past_the_engine_are_found(a):
    with pytest.raises(TypeError, match="wants <lambda> to give a Tensor of float64, got ndarray"):
        gradcheck(lambda x: np.exp(x.data), a)
    with pytest.raises(GradientError, match="the formula gives zero"):
        gradcheck(lambda x: ops.exp(Tensor(x.data)), a)
    with pytest.raises(TypeError, match="got float32"):
        gradcheck(lambda x: Tensor(x.data.astype("float32")), a)


# ---------------------------------------------------------------------------------------------------------
# Kinks, ties and jumps


@pytest.mark.parametrize(
    ("f", "x"),
    [
        (ops.relu, [1.0, 0.0]),
        (ops.absolute, [0.0]),
        (ops.absolute, [1e-9]),
        (ops.absolute, [1e-4, 3.0]),
        (ops.absolute, [-3e-4]),
        (ops.sign, [0.0, 1.0]),
        (ops.sign, [2e-4, 1.0]),
        (lambda x: ops.clip(x, 0.0, 1.0), [0.5, 1.0]),
        (lambda x: ops.reduce_max(x), [2.0, 2.0, 1.0]),
        (lambda x: ops.reduce_max(x), [2.0, 2.0 + 1e-5, 1.0]),
        (lambda x: x * ops.relu(x), [0.0]),  # smooth in the first order, not in the second
        (lambda x: x * x * ops.relu(x), [0.0]),
    ],
)
def test_a_kink_is_named_and_no_verdict(f, x):
    with pytest.raises(KinkError, match=r"a kink, a tie or a jump at x or within 0\.00\d of it.*no verdict"):
        gradcheck(f, np.array(x))


def test_a_kink_out_of_reach_is_no_matter():
    gradcheck(ops.relu, np.array([0.02, -0.02, 3.0]))
    gradcheck(ops.absolute, np.array([1e-4]), step=1e-5)


def test_a_small_kink_is_named_where_it_explains_a_difference():
    """The slopes 1 and 1.000002 on the two sides: neither is what a central difference measures."""
    with pytest.raises(KinkError):
        gradcheck(lambda x: x + 2e-6 * ops.relu(x), np.array([0.0]))


def test_a_kink_is_not_blamed_on_a_wrong_formula():
    """Nor does a wrong formula pass as a kink, where there is none."""
    wrong = planted(ops.relu.forward, lambda g, y, x: 1.01 * g * (raw(x) > 0))
    with pytest.raises(KinkError):
        gradcheck(wrong, np.array([0.0, 1.0]))
    with pytest.raises(GradientError):
        gradcheck(wrong, np.array([0.5, 1.0]))


@pytest.mark.filterwarnings("ignore:invalid value:RuntimeWarning")
def test_what_is_not_finite_nearby_is_no_verdict():
    with pytest.raises(KinkError, match=r"not finite within 0\.001 of x"):
        gradcheck(ops.log, np.array([1e-4, 2e-4, 3e-4, 4e-4]))
    with pytest.raises(KinkError, match=r"not finite within 0\.001 of x"):
        gradcheck(ops.log, np.array([-0.5, 1.0]))


# ---------------------------------------------------------------------------------------------------------
# Bad input, and how exact it is


def test_float32_is_refused(xp):
    x = xp.asarray(np.ones(3, dtype="float32"))
    for value in (x, Tensor(x)):
        with pytest.raises(
            TypeError, match=r"wants float64, got float32 as argument 1 of add: use \.astype\('float64'\)"
        ):
            gradcheck(ops.add, xp.asarray(np.ones(3)), value)
    with pytest.raises(TypeError, match="got int64 as argument 0 of exp"):
        gradcheck(ops.exp, np.arange(3))


def test_a_function_that_is_not_deterministic_is_refused(a, rng):
    def noisy(x):
        return x * rng.normal(size=x.shape)

    with pytest.raises(ValueError, match="wants a deterministic function, noisy gave two results"):
        gradcheck(noisy, a)


def test_the_engines_own_errors_come_through(a):
    @Op
    def without(x):
        return 2.0 * x

    with pytest.raises(TypeError, match="without has no gradient formula for its argument 0"):
        gradcheck(without, a)


def test_arguments_that_do_not_matter_are_fine(a, b):
    gradcheck(lambda a, b: a * a, a, b)
    gradcheck(lambda a: Tensor(np.ones(2)), a)


def test_shapes_without_entries_and_without_axes():
    gradcheck(ops.exp, np.ones((0, 3)))
    gradcheck(ops.exp, 0.5)
    gradcheck(ops.multiply, np.array(0.5), np.ones((2, 2)))


def test_it_is_repeatable_and_takes_a_generator(a):
    def message(**options):
        with pytest.raises(GradientError) as caught:
            gradcheck(planted(lambda x: x * x, lambda g, y, x: g * x), a, **options)
        return str(caught.value)

    assert message() == message()
    assert message() != message(rng=generator(1))


@pytest.mark.parametrize("scale", [1e-2, 1.0, 1e3, 1e6])
def test_entries_of_any_size(scale, a, b):
    """The step grows with x: right formulas pass, and an error of 1e-5 is found, at every scale."""
    gradcheck(ops.multiply, scale * a, scale * b)
    wrong = planted(lambda x: x * x, lambda g, y, x: 2.00002 * g * x)
    with pytest.raises(GradientError):
        gradcheck(wrong, scale * a)


@pytest.mark.parametrize("seed", range(20))
def test_it_is_exact_to_nine_digits(seed):
    """The tolerance is not lax since it need not be: smooth functions pass with rtol 1e-9 too."""
    r = np.random.default_rng(seed)
    x, W, b = r.normal(size=(4, 3)), r.normal(size=(5, 3)), r.normal(size=5)
    gradcheck(lambda x, W, b: ops.tanh(ops.linear(x, W, b)), x, W, b, rng=generator(seed), rtol=1e-9)
    gradcheck(lambda x, W, b: ops.log_softmax(ops.linear(x, W, b)), x, W, b, rng=generator(seed), rtol=1e-9)


@pytest.mark.parametrize(("xs", "settings"), [((), {}), ((np.ones(2),), {"order": 0}), ((np.ones(2),), {"step": 0.0})])
def test_a_check_of_nothing_is_refused(xs, settings):
    with pytest.raises(ValueError, match="gradcheck wants an x, order >= 1 and step > 0"):
        gradcheck(lambda *args: ops.exp(args[0]), *xs, **settings)
