"""Images: both ways of convolution agree with each other and with PyTorch on random shapes, pooling too; bad input.

Values and gradients of every operation to second order, in every library, are checked in test_ops, test_mutants and
test_oracles, by the table of cases.py.
"""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tinyadv import images
from tinyadv.gradcheck import gradcheck
from tinyadv.tensor import Tensor, grad


def value_and_gradients(f, *xs):
    """y, a random cotangent g, and the gradients of <g, y>."""
    tensors = [Tensor(x) for x in xs]
    y = f(*tensors)
    g = np.random.default_rng(1).normal(size=y.shape).astype(y.dtype)
    return y.data, g, grad(y, tensors, g)


def in_torch(torch, f, x, *others, g):
    """The same of a function of PyTorch; x and g are images `(H, W, N, C)`, others kernels `(K, J, C, O)`."""
    there = [torch.tensor(x.transpose(2, 3, 0, 1).copy(), requires_grad=True)]
    there += [torch.tensor(w.transpose(3, 2, 0, 1).copy(), requires_grad=True) for w in others]
    y = f(*there)
    found = torch.autograd.grad(y, there, torch.tensor(g.transpose(2, 3, 0, 1).copy()))
    dx, *rest = [d.numpy() for d in found]
    return y.detach().numpy().transpose(2, 3, 0, 1), [
        dx.transpose(2, 3, 0, 1),
        *(d.transpose(2, 3, 1, 0) for d in rest),
    ]


sizes = st.integers(1, 9)
few = st.integers(1, 4)


@settings(max_examples=60, deadline=None)
@given(image=st.tuples(sizes, sizes), kernel=st.tuples(st.integers(1, 6), st.integers(1, 6)), n=few, c=few, o=few,
       stride=st.integers(1, 4), padding=st.integers(0, 4))  # fmt: skip
def test_convolution_agrees_with_torch_on_random_shapes(torch, image, kernel, n, c, o, stride, padding):
    assume(all(k <= size + 2 * padding for k, size in zip(kernel, image, strict=True)))
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(*image, n, c)), rng.normal(size=(*kernel, c, o))
    ways = [
        lambda x, w: images.conv2d(x, w, stride, padding),
        lambda x, w: images._correlate(x, w, stride, padding),
    ]
    if stride == 1:
        ways.append(lambda x, w: images._spectral(x, w, padding))
    for way in ways:
        y, g, found = value_and_gradients(way, x, w)
        y_torch, wanted = in_torch(
            torch, lambda x, w: torch.nn.functional.conv2d(x, w, stride=stride, padding=padding), x, w, g=g
        )
        for a, b in zip([y, *found], [y_torch, *wanted], strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-12 * max(1.0, np.abs(b).max()))


@settings(max_examples=60, deadline=None)
@given(image=st.tuples(sizes, sizes), n=few, c=few, size=st.integers(1, 5), stride=st.integers(1, 6),
       padding=st.integers(0, 2), whole=st.booleans())  # fmt: skip
def test_pooling_agrees_with_torch_on_random_shapes(torch, image, n, c, size, stride, padding, whole):
    """Whole numbers tie often: the first winner of several gets the gradient, in PyTorch as here."""
    assume(2 * padding <= size <= min(image) + 2 * padding)
    rng = np.random.default_rng(0)
    x = rng.normal(size=(*image, n, c))
    x = np.round(x) if whole else x
    y, g, found = value_and_gradients(lambda x: images.max_pool(x, size, stride, padding), x)

    def pool(x):
        return torch.nn.functional.max_pool2d(x, size, stride, padding, ceil_mode=True)

    y_torch, wanted = in_torch(torch, pool, x, g=g)
    np.testing.assert_array_equal(y, y_torch)
    np.testing.assert_allclose(found[0], wanted[0], rtol=0, atol=1e-12)

    def mean(x):
        return torch.nn.functional.avg_pool2d(x, size, stride, padding, ceil_mode=True, count_include_pad=False)

    y, g, found = value_and_gradients(lambda x: images.mean_pool(x, size, stride, padding), x)
    y_torch, wanted = in_torch(torch, mean, x, g=g)
    np.testing.assert_allclose(y, y_torch, rtol=0, atol=1e-12)
    np.testing.assert_allclose(found[0], wanted[0], rtol=0, atol=1e-12)


# the published network's three layers, with fewer examples and channels
LAYERS = {"h0": (32, 3, 8, 12, 4), "h1": (16, 6, 8, 10, 3), "h2": (7, 8, 5, 10, 3)}


@pytest.mark.parametrize("layer", LAYERS)
def test_both_ways_are_equal_in_float32_to_rounding(layer):
    n, C, K, maps, padding = LAYERS[layer]
    rng = np.random.default_rng(0)
    x = rng.normal(size=(n, n, 8, C)).astype("float32")
    w = rng.normal(size=(K, K, C, maps)).astype("float32")
    y, _, found = value_and_gradients(lambda x, w: images._spectral(x, w, padding), x, w)
    exact = [a.astype("float64") for a in (x, w)]
    wide, _, wanted = value_and_gradients(lambda x, w: images._correlate(x, w, 1, padding), *exact)
    for a, b in zip([y, *found], [wide, *wanted], strict=True):
        assert a.dtype == "float32"
        assert np.abs(a - b).max() < 2e-5 * np.abs(b).max()


def test_the_spectral_way_to_second_order():
    rng = np.random.default_rng(0)
    for x, w, padding in [
        ((4, 5, 2, 2), (3, 2, 2, 2), 1),
        ((3, 3, 1, 1), (1, 3, 1, 2), 0),
        ((2, 2, 1, 2), (4, 4, 2, 1), 2),
    ]:
        gradcheck(lambda x, w, p=padding: images._spectral(x, w, p), rng.normal(size=x), rng.normal(size=w))


def test_which_way_is_taken():
    """Large kernels on many examples by spectra, small kernels, single images and strides by windows."""
    assert images._spectral_is_cheaper((16, 16, 128, 48), (8, 8, 48, 256), 1, 3)
    assert images._spectral_is_cheaper((7, 7, 128, 128), (5, 5, 128, 256), 1, 3)
    assert not images._spectral_is_cheaper((56, 56, 1, 64), (3, 3, 64, 192), 1, 1)
    assert not images._spectral_is_cheaper((224, 224, 16, 3), (7, 7, 3, 64), 2, 3)
    assert not images._spectral_is_cheaper((28, 28, 16, 256), (1, 1, 256, 64), 1, 0)
    assert not images._spectral_is_cheaper((32, 32, 128, 3), (8, 8, 3, 96), 1, 4)  # few channels: outputs weigh more
    assert images._spectral_is_cheaper((28, 28, 16, 16), (5, 5, 16, 32), 1, 2)


def test_windows_in_blocks_are_windows(monkeypatch):
    rng = np.random.default_rng(0)
    x, w = rng.normal(size=(9, 8, 3, 2)), rng.normal(size=(3, 3, 2, 4))
    whole = value_and_gradients(lambda x, w: images._correlate(x, w, 2, 1), x, w)
    monkeypatch.setattr(images, "slices", lambda like, n, each: (slice(i, i + 1) for i in range(n)))
    blocks = value_and_gradients(lambda x, w: images._correlate(x, w, 2, 1), x, w)
    for a, b in zip([whole[0], *whole[2]], [blocks[0], *blocks[2]], strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13)


def test_the_maximum_of_a_window_with_a_nan_is_nan():
    """As the maximum along an axis is: a network that has diverged does not look sound after pooling."""
    x = np.zeros((3, 4, 1, 1))
    x[1, 1] = np.nan
    assert np.isnan(images.max_pool(x, 2, 1)[:, :, 0, 0]).tolist() == 2 * [[True, True, False]]


def test_rows_are_channel_major_as_in_the_data_set():
    x = np.arange(2 * 3 * 2 * 4).reshape(2, 24).astype("float64")
    image = images.from_rows(x, (3, 2, 4))
    assert image.shape == (2, 4, 2, 3)
    assert image[1, 2, 1, 2] == x[1, 2 * 8 + 1 * 4 + 2]
    assert np.array_equal(images.to_rows(image), x)


IMAGE = np.zeros((5, 4, 2, 3))


def kernels(*shape):
    return np.zeros(shape)


BAD = [
    (lambda: images.conv2d(IMAGE, kernels(7, 3, 3, 2)), "the kernel, 7 x 3, is larger than the padded image, 5 x 4"),
    (lambda: images.conv2d(IMAGE, kernels(3, 5, 3, 2)), "the kernel, 3 x 5, is larger than the padded image, 5 x 4"),
    (lambda: images.conv2d(IMAGE, kernels(3, 3, 4, 2)), "kernels are for images of 4 channels, the images have 3"),
    (lambda: images.conv2d(IMAGE, kernels(3, 3, 3, 2), stride=0), "stride is at least 1"),
    (lambda: images.conv2d(IMAGE, kernels(3, 3, 3, 2), padding=-1), "padding at least 0"),
    (lambda: images.conv2d(IMAGE[0], kernels(3, 3, 3, 2)), r"images \(H, W, N, C\)"),
    (lambda: images.conv2d(IMAGE, kernels(0, 3, 3, 2)), "at least 1 x 1"),
    (lambda: images.conv2d(IMAGE, kernels(3, 3, 3, 2).astype("float32")), "one dtype, got float64 and float32"),
    (lambda: images.max_pool(IMAGE, 6, 1), "the window, 6 x 6, is larger than the padded image, 5 x 4"),
    (lambda: images.max_pool(IMAGE, 2, 0), "stride is at least 1"),
    (lambda: images.max_pool(IMAGE, 2, 1, 2), "padding is smaller than the window"),
    (lambda: images.max_pool(IMAGE[0], 2, 1), r"images \(H, W, N, C\)"),
    (lambda: images.mean_pool(IMAGE, 0, 1), "at least 1 x 1"),
    (lambda: images.local_response_normalisation(IMAGE, 4), "odd number of channels"),
    (lambda: images.local_response_normalisation(IMAGE, -1), "odd number of channels"),
    (lambda: images.local_response_normalisation(IMAGE[0], 3), r"images \(H, W, N, C\)"),
    (lambda: images.from_rows(np.zeros((2, 10)), (3, 2, 2)), "rows of 12 numbers; got"),
    (lambda: images.from_rows(np.zeros((2, 12, 1)), (3, 2, 2)), r"rows of 12 numbers; got \(2, 12, 1\)"),
]


@pytest.mark.parametrize(("call", "said"), BAD)
def test_bad_input_is_named(call, said):
    with pytest.raises((ValueError, TypeError), match=said):
        call()
