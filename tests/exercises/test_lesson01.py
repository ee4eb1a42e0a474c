"""The exercises of lesson 1."""

import itertools

import numpy as np
import pytest

from tinyadv.course.judging import called


def corners(eps, n):
    """All 2^n changes that move every one of n inputs by eps, up or down."""
    return eps * np.array(list(itertools.product((-1.0, 1.0), repeat=n)))


def weights(n=9):
    return np.random.default_rng(n).standard_normal(n)


@pytest.mark.exercise("worst_change", points=1)
def test_the_change_stays_in_the_box_and_uses_it_up(lesson):
    w = weights()
    eta = np.asarray(called(lesson.worst_change, w, 0.25))
    assert eta.shape == w.shape, (
        f"w has the shape {w.shape}, your eta {eta.shape}: every input has its own change, no sum and no norm"
    )
    sizes = np.abs(eta)
    assert not np.allclose(sizes, 1), "the size eps is missing: each input moves by 1 and not by eps"
    assert not np.allclose(sizes * np.abs(w).max(), np.abs(w) * sizes.max()), (
        "your eta is proportional to w: but an input with a small weight may move just as far as one with a large "
        "weight, so only the sign of each weight matters"
    )
    assert sizes.max() < 0.25 + 1e-12, f"an entry of eta has the size {sizes.max():.3g}: more than eps, which is 0.25"
    assert np.allclose(sizes, 0.25), (
        "some inputs move by less than eps: if they moved the whole way, w @ x would rise further"
    )


@pytest.mark.exercise("worst_change", points=1)
def test_no_other_change_raises_the_output_more(lesson):
    w = weights()
    rise, best = float(w @ called(lesson.worst_change, w, 0.25)), float((corners(0.25, 9) @ w).max())
    assert rise > -best + 1e-9, "the sign is wrong: your change lowers w @ x as far as it can"
    assert not np.isclose(rise, 0.25 * w.sum()) or np.isclose(rise, best), (
        "every input moves up: where a weight is negative, that lowers w @ x"
    )
    assert np.isclose(rise, best), (
        f"your change raises w @ x by {rise:.4g}; another change, with no entry larger than eps, by {best:.4g}"
    )


@pytest.mark.exercise("worst_change", points=1)
@pytest.mark.parametrize("n", [1, 100, 10_000])
def test_the_rise_is_eps_times_the_sum_of_sizes(lesson, n):
    w = weights(n)
    w[: n // 2] = 0  # pixels that are always dark
    with np.errstate(all="ignore"):
        eta = np.asarray(called(lesson.worst_change, w, 0.1))
    assert np.isfinite(eta).all(), "w / |w| is 0 / 0 where a weight is 0: there np.sign(w) is 0"
    assert np.abs(eta).max() < 0.1 + 1e-12, "an entry of eta is larger than eps where some weights are 0"
    rise, wanted = w @ eta, 0.1 * np.abs(w).sum()
    assert np.isclose(rise, wanted), f"w @ eta is {rise:.4g}, but eps sum |w_i| is {wanted:.4g}"


@pytest.mark.exercise("typical_change", points=2)
def test_it_is_the_standard_deviation_over_all_coins(lesson):
    w = weights()
    yours = called(lesson.typical_change, w, 0.25)
    assert np.shape(yours) == (), f"one number is wanted, yours has the shape {np.shape(yours)}: sum over the inputs"
    right, yours = float((corners(0.25, 9) @ w).std()), float(yours)
    named = {
        "this is the variance, not the standard deviation: the square root is missing": right**2,
        "this is the worst case, eps sum |w_i|: a coin does not know the sign of w_i, and it is the variances that add "
        "up": (0.25 * np.abs(w).sum()),
        "eps is missing": right / 0.25,
        "eps is squared once too often: the root of the variance has eps, not eps^2": right * 0.25,
        "the weights are missing: this is for weights of 1": 0.25 * 3,
        "this is eps √n times the mean size of a weight: square the weights before they are added up": (
            0.25 * 3 * np.abs(w).mean()
        ),
        "this is the mean of the w_i^2 where their sum is wanted: a factor 1/n too many": right / 3,
        "eps is not squared under the square root: Var(eta_i) is eps^2": right / 0.25**0.5,
        "the terms were added before they were squared: (sum w_i)^2 is not sum w_i^2": 0.25 * abs(w.sum()),
        "np.std(w) measures how the weights spread about their mean: here the coins are random, not the weights": (
            0.25 * w.std()
        ),
        "np.std(w) takes the mean of the weights away first: here the coins are random, not the weights": (
            0.25 * 3 * w.std()
        ),
    }
    for mistake, value in named.items():
        assert not np.isclose(yours, value), mistake
    assert np.isclose(yours, right), (
        f"over all tosses of 9 coins w @ eta has the deviation {right:.4g}, not {yours:.4g}"
    )


@pytest.mark.exercise("typical_change", points=1)
def test_it_grows_with_the_root_of_the_dimension(lesson):
    small, large = (float(called(lesson.typical_change, np.ones(n), 0.5)) for n in (100, 10_000))
    ratio = large / small
    assert np.isclose(ratio, 10), (
        f"with 100 times as many equal weights it should be √100 = 10 times as large, yours is {ratio:.4g} times"
    )
    assert np.isclose(small, 5), f"for 100 weights of 1 and eps = 0.5 it should be 0.5 √100 = 5, yours is {small:.4g}"
