"""The exercises of lesson 15."""

import re
import sys
from contextlib import contextmanager

import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from tinyadv import images
from tinyadv.course.judging import LEAK, called, judge, leaks


def example(dtype="float64"):
    """An image and a kernel, neither square nor symmetric."""
    rng = np.random.default_rng(15)
    # nor are there as many places along both axes: 7 and 5
    return rng.standard_normal((9, 6)).astype(dtype), rng.standard_normal((3, 2)).astype(dtype)


def right(x, w):
    return np.einsum("pqij,ij->pq", sliding_window_view(x, w.shape), w)


def placed(function, *args):
    """What a student's function gives; errors as of a window that is not whole are explained."""
    try:
        return called(function, *args)
    except (IndexError, ValueError) as error:
        if not re.search("out of bounds|broadcast|inhomogeneous|same shape", str(error)):
            raise
        raise AssertionError(
            "is one of your places outside of the image, or of the result? There are H - K + 1 places along the first "
            f"axis and W - J + 1 along the second. {error}"
        ) from error


@pytest.mark.exercise("by_loops", points=2)
def test_the_kernel_is_laid_on_every_place(lesson):
    x, w = example()
    y = right(x, w)
    padded = np.pad(x, [(0, n - 1) for n in w.shape])
    mistakes = [
        (
            "the kernel is mirrored: the pixel at p + i belongs to the weight at i, not at K - 1 - i",
            right(x, w[::-1, ::-1]),
        ),
        ("rows and columns of the kernel are exchanged", right(x, w.T) if w.T.shape == w.shape else None),
        ("the last row and column are missing: there are H - K + 1 places along the first axis", y[:-1, :-1]),
        ("as many places along the second axis as along the first: there are W - J + 1", np.pad(y, [(0, 0), (0, 2)])),
        ("as many places along the first axis as along the second: there are H - K + 1", y[:5]),
        ("the kernel sticks out of the image: only places where it lies inside are wanted", right(padded, w)),
        ("these are means over the window: a convolution adds up", y / w.size),
        (
            "the largest product was taken: a convolution adds them up",
            (sliding_window_view(x, w.shape) * w).max((2, 3)),
        ),
        ("the windows were added up without the kernel's weights", sliding_window_view(x, w.shape).sum(axis=(2, 3))),
    ]
    given = placed(lesson.by_loops, x, w)
    judge(given, y, [(mistake, value) for mistake, value in mistakes if value is not None])


@pytest.mark.exercise("by_loops", points=1)
def test_it_keeps_float32(lesson):
    x, w = example("float32")
    y = called(lesson.by_loops, x, w)
    assert not leaks(y), LEAK
    whole = called(lesson.by_loops, w.astype("float64"), w.astype("float64"))
    judge(
        whole,
        [[(w.astype("float64") ** 2).sum()]],
        [("a kernel as large as the image fits in one place", np.zeros((0, 0)))],
    )


@pytest.mark.exercise("windows", points=2)
def test_rows_are_windows(lesson):
    x, _ = example()
    rows = sliding_window_view(x, (3, 2)).reshape(-1, 6)
    given = placed(lesson.windows, x, 3, 2)
    mistakes = [
        ("windows are columns here: each window should be a row", rows.T),
        ("the pixels of a window should go row by row; yours go column by column",
         sliding_window_view(x, (3, 2)).swapaxes(2, 3).reshape(-1, 6)),
        ("the windows should go row by row, with row number p Q + q; yours go column by column",
         sliding_window_view(x, (3, 2)).swapaxes(0, 1).reshape(-1, 6)),
        ("K and J are exchanged: a window has K rows and J columns", sliding_window_view(x, (2, 3)).reshape(-1, 6)),
        ("as many windows along the first axis as along the second: P is H - K + 1, and Q is W - J + 1",
         sliding_window_view(x[:7], (3, 2)).reshape(-1, 6)),
        ("windows do not overlap here: they start at every pixel",
         sliding_window_view(x, (3, 2))[::3, ::2].reshape(-1, 6)),
        ("two axes are missing: a matrix (P Q, K J) is wanted", sliding_window_view(x, (3, 2))),
    ]  # fmt: skip
    judge(given, rows, mistakes)
    in_float32 = called(lesson.windows, x.astype("float32"), 3, 2)
    assert not leaks(in_float32), LEAK


@contextmanager
def without_fft():
    """NumPy's own transforms fail: here the spectrum is to be computed by two products of matrices."""

    def refused(*_, **__):
        raise AssertionError("np.fft is not allowed here: compute the spectrum with two products of matrices, A x B^T")

    with pytest.MonkeyPatch.context() as patch:  # not a fixture: grading looks whether NumPy is as it was after those
        for name in ("fft", "ifft", "rfft", "irfft", "fft2", "ifft2", "rfft2", "fftn", "ifftn", "rfftn", "hfft"):
            patch.setattr(np.fft, name, refused)
        # what all of those call, for a lesson that has imported one of them by its name
        inside = sys.modules.get("numpy.fft._pocketfft")
        if inside is not None:
            patch.setattr(inside, "_raw_fft", refused, raising=False)
        yield


@pytest.mark.exercise("spectrum", points=3)
def test_it_is_the_transform_of_the_filled_up_array(lesson):
    x, w = example()
    for a in (x, w):
        wanted = np.fft.fft2(a, (9, 6))
        filled = np.pad(a, [(0, 9 - a.shape[0]), (0, 6 - a.shape[1])])
        mistakes = [
            ("the sign of the exponent is wrong: it is e^(-2 pi i u p / L)", np.conj(wanted)),
            ("it is divided by L1 L2: that belongs to the way back", wanted / 54),
            ("only one direction is transformed, axis 0: transform along axis 1 too", np.fft.fft(filled, axis=0)),
            ("only one direction is transformed, axis 1: transform along axis 0 too", np.fft.fft(filled, axis=1)),
            ("this is the real part alone: the spectrum is complex", wanted.real),
            ("this is the absolute value: the spectrum is complex", abs(wanted)),
            ("the exponent lacks its factor 2 pi: it is -2 pi i u p / L", _without(a, 9, 6)),
        ]  # fmt: skip
        if a is w:
            mistakes.append(
                ("the exponent is divided by the size of the array: divide it by L1 and L2", _own_size(a, 9, 6))
            )
        with without_fft():
            given = called(lesson.spectrum, a, 9, 6)
        judge(given, wanted, mistakes)


def _without(a, L1, L2):
    """The transform whose exponent has no 2 pi."""
    A, B = (np.exp(-1j * np.outer(np.arange(L), np.arange(n)) / L) for L, n in ((L1, len(a)), (L2, a.shape[1])))
    return A @ a @ B.T


def _own_size(a, L1, L2):
    """The transform whose exponent is divided by the array's own size."""
    A, B = (np.exp(-2j * np.pi * np.outer(np.arange(L), np.arange(n)) / n) for L, n in ((L1, len(a)), (L2, a.shape[1])))
    return A @ a @ B.T


@pytest.mark.exercise("spectrum", points=1)
def test_a_convolution_is_a_product_of_spectra(lesson):
    x, w = example()
    with without_fft():
        given = lesson.by_spectra(x, w)
    judge(given, right(x, w))


def pooled(x, size, stride):
    return images.max_pool(x[:, :, None, None], size, stride)[:, :, 0, 0]


@pytest.mark.exercise("max_pool", points=2)
@pytest.mark.parametrize(("size", "stride"), [(2, 2), (4, 2), (3, 2), (3, 1), (3, 3)])
def test_windows_that_stick_out_count_with_what_they_hold(lesson, size, stride):
    x = example()[0] - 5.0  # all below 0: zeros beyond the edge would win
    y = pooled(x, size, stride)
    inside = sliding_window_view(x, (size, size))[::stride, ::stride]
    filled = np.pad(x, [(0, size)] * 2)
    zeros = sliding_window_view(filled, (size, size))[::stride, ::stride][: y.shape[0], : y.shape[1]].max(axis=(2, 3))
    mistakes = [
        ("windows that stick out at the far edge are missing: they count with what they hold", inside.max(axis=(2, 3))),
        ("beyond the edge there are no zeros: a window holds what lies inside of the image", zeros),
        ("this is the mean of each window: max-pooling keeps the largest", inside.mean(axis=(2, 3))),
        ("this is the smallest of each window: max-pooling keeps the largest", -pooled(-x, size, stride)),
        ("the stride is ignored: a window starts every `stride` pixels", pooled(x, size, 1)),
        ("windows start every `size` pixels here: they start every `stride` pixels", pooled(x, size, size)),
    ]  # fmt: skip
    judge(called(lesson.max_pool, x, size, stride), y, mistakes)
    in_float32 = called(lesson.max_pool, x.astype("float32"), size, stride)
    assert not leaks(in_float32), LEAK
