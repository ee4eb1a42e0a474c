"""Does the table find a wrong formula? Mutants are planted into every gradient formula, one at a time.

The formulas are those of ops.py and images.py. A mutant is killed if gradcheck, or the engine's own check of shapes,
refuses it on one of the operation's cases. What survives must stand in EQUIVALENT, with the proof that it is no error
at all. Mutants of what a formula never reads are not planted; that it does not is shown by handing it a stand-in that
has a shape and no values.
"""

from itertools import combinations

import cases
import pytest

from tinyadv import ops
from tinyadv.gradcheck import GradientError, KinkError, gradcheck
from tinyadv.tensor import Tensor, raw

OPS = cases.all_ops()

# (operation, argument, mutant): why it computes the same. "*": every mutant of that kind.
ORDER_ONLY = "the argument only says in which order the gradient lies in memory"
LOCALLY_CONSTANT = "the argument only enters through a mask or a sign, constant but for kinks"
SLOPE_ZERO = "the formula is zero everywhere, whatever factor it has"
EQUIVALENT = {
    **{("sign", 0, kind): SLOPE_ZERO for kind in ("zeroed", "sign", "factor 1.01", "factor 1.0001", "constant g")},
    ("absolute", 0, "constant x"): LOCALLY_CONSTANT,
    ("relu", 0, "constant x"): LOCALLY_CONSTANT,
    ("clip", 0, "constant x"): LOCALLY_CONSTANT,
    ("_matmul", 1, "constant b"): ORDER_ONLY,
    ("linear", 0, "constant x"): ORDER_ONLY,
    ("linear", 0, "arguments 0, 2 swapped"): ORDER_ONLY,
    ("reduce_max", 0, "constant x"): LOCALLY_CONSTANT,
    ("reduce_max", 0, "constant y"): LOCALLY_CONSTANT,
    ("_window_max", 0, "constant x"): LOCALLY_CONSTANT,
    ("_window_max", 0, "constant y"): LOCALLY_CONSTANT,
}

# Killed by their shapes alone, since gradcheck has nothing to find where shapes agree; so is every dropped sum_to.
BY_SHAPES = {
    ("add", 0, "formulas 0, 1 swapped"): "the two are alike",
    ("linear", 0, "arguments 1, 2 swapped"): "a vector in place of a matrix",
    ("linear", 0, "formulas 0, 2 swapped"): "a vector in place of a matrix",
    ("linear", 1, "formulas 1, 2 swapped"): "a vector in place of a matrix",
    ("linear", 1, "arguments 0, 2 swapped"): "a vector in place of a matrix",
}


def constant(value):
    """What a formula sees that was kept from the forward: right in value, no history."""
    return Tensor(value.data) if isinstance(value, Tensor) else value


def with_constant(formula, place):
    """`formula` with its parameter `place` (0 is g, 1 is y, then the arguments) kept from the forward."""

    def mutant(*parameters, **settings):
        kept = [constant(p) if i == place else p for i, p in enumerate(parameters)]
        return formula(*kept, **settings)

    return mutant


def with_swapped(formula, i, j):
    """`formula` with its arguments i and j exchanged."""

    def mutant(g, y, *args, **settings):
        args = list(args)
        args[i], args[j] = args[j], args[i]
        return formula(g, y, *args, **settings)

    return mutant


def with_sum_to(formula, replacement):
    """`formula` with another function in place of `sum_to`, which undoes broadcasting."""

    def mutant(*parameters, **settings):
        right = ops.sum_to
        ops.sum_to = replacement
        try:
            return formula(*parameters, **settings)
        finally:
            ops.sum_to = right

    return mutant


def first_instead_of_sum(x, shape):
    """Of the right shape, but only the first of what was to be summed."""
    x = x[(0,) * (x.ndim - len(shape))]
    return x[tuple(slice(0, 1) if n == 1 else slice(None) for n in shape)]


class Unreadable:
    """Has the shape of an array, and no values: a formula that runs on it has not read it."""

    __array_ufunc__ = None

    def __init__(self, x):
        self.shape, self.ndim, self.size, self.dtype = x.shape, x.ndim, x.size, x.dtype

    def __eq__(self, other):
        raise TypeError("no values to compare")

    __hash__ = None


def reads(op, i, place):
    """Whether the formula of argument `i` reads the values of its parameter `place`, on some case."""
    for f, xs in bound(op):
        y = f(*map(Tensor, xs))
        parameters = [y.data, y.data, *(raw(a) for a in y.args)]
        if isinstance(y.args[i], Tensor) and hasattr(parameters[place], "shape"):
            parameters[place] = Unreadable(parameters[place])
            try:
                op.formulas[i](*parameters, **y.settings)
            except (TypeError, AttributeError):
                return True
    return False


def bound(op):
    """The cases of `op`, less undemanding ones: without entries, or of a single number."""
    found = [case.bind() for case in cases.CASES if case.function is op]
    return [(f, xs) for f, xs in found if all(x.size for x in xs) and max(x.size for x in xs) > 1]


def names(op):
    code = op.forward.__code__
    return ["g", "y", *code.co_varnames[: code.co_argcount]]


def mutants(op):
    """(argument, what was done, formulas) for every mutant of every formula of `op`."""
    differentiable = [i for i, formula in enumerate(op.formulas) if formula]
    for i in differentiable:
        formula = op.formulas[i]

        def planted(mutant, i=i):
            return tuple(mutant if j == i else right for j, right in enumerate(op.formulas))

        yield i, "zeroed", planted(lambda *p, f=formula, **s: f(*p, **s) * 0.0)
        yield i, "sign", planted(lambda *p, f=formula, **s: -f(*p, **s))
        yield i, "factor 1.01", planted(lambda *p, f=formula, **s: f(*p, **s) * 1.01)
        yield i, "factor 1.0001", planted(lambda *p, f=formula, **s: f(*p, **s) * 1.0001)
        yield i, "constant g", planted(with_constant(formula, 0))
        for place in [1, *(2 + j for j in differentiable)]:
            if reads(op, i, place):
                yield i, f"constant {names(op)[place]}", planted(with_constant(formula, place))
        if "sum_to" in formula.__code__.co_names:
            yield i, "sum_to dropped", planted(with_sum_to(formula, lambda x, shape: x))
            yield i, "sum_to first", planted(with_sum_to(formula, first_instead_of_sum))
        for a, b in combinations(differentiable, 2):
            if reads(op, i, 2 + a) or reads(op, i, 2 + b):
                yield i, f"arguments {a}, {b} swapped", planted(with_swapped(formula, a, b))
    for a, b in combinations(differentiable, 2):
        formulas = list(op.formulas)
        formulas[a], formulas[b] = formulas[b], formulas[a]
        yield a, f"formulas {a}, {b} swapped", tuple(formulas)


def killer(op):
    """Who refuses `op` as it is now: gradcheck on some case; else the engine or NumPy, for its shapes; else no one.

    That gradcheck finds a kink, and gives no verdict, does not count.
    """
    found = None
    for f, xs in bound(op):
        try:
            gradcheck(f, *xs)
        except GradientError:
            return "gradcheck"
        except KinkError:
            pass
        except (TypeError, ValueError, IndexError, AttributeError):
            found = "shapes"
    return found


def test_the_formulas_as_they_are_pass():
    assert [name for name, op in OPS.items() if killer(op)] == []
    assert {name for name, _, _ in EQUIVALENT} <= set(OPS)


@pytest.mark.parametrize("name", OPS)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # of powers and quotients with their arguments swapped
def test_no_mutant_survives(name, monkeypatch, record_property):
    op = OPS[name]
    assert bound(op), f"{name} has no case"
    killers = {}
    for i, what, formulas in list(mutants(op)):
        with monkeypatch.context() as patch:
            patch.setattr(op, "formulas", formulas)
            killers[name, i, what] = killer(op)
    survivors = {key for key, by in killers.items() if by is None}
    equivalent = {key for key in EQUIVALENT if key[0] == name}
    record_property("mutants", (len(killers), len(killers) - len(survivors), len(survivors & equivalent)))
    assert survivors == equivalent
    by_shapes = {key for key, by in killers.items() if by == "shapes" and key[2] != "sum_to dropped"}
    assert by_shapes == {key for key in BY_SHAPES if key[0] == name}
