"""Contrast normalisation and whitening: what they promise of their results, and that they are undone."""

from __future__ import annotations

import numpy as np
import pytest

from tinyadv.preprocessing import BIAS, Whitening, contrast, fit_whitening, normalise_contrast


@pytest.fixture
def images(rng):
    """300 images of 12 pixels that vary together, as pixels of photographs do."""
    mixing = rng.normal(size=(12, 12))
    return (rng.normal(size=(300, 12)) @ mixing * 0.1 + 0.5).astype(np.float32)


def test_normalised_images_have_mean_0_and_the_scale_as_norm(images):
    x = normalise_contrast(images, 55.0)
    assert x.dtype == np.float32
    np.testing.assert_allclose(x.mean(axis=1), 0, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(x, axis=1), 55, rtol=1e-5)


def test_units_of_the_pixels_do_not_matter(images):
    np.testing.assert_allclose(normalise_contrast(images), normalise_contrast(images * 255), rtol=1e-3, atol=1e-3)


def test_an_image_of_one_colour_becomes_0():
    x = np.full((1, 12), 0.5)
    assert (normalise_contrast(x) == 0).all()
    mean, norm = contrast(x)
    assert (mean.item(), norm.item()) == (0.5, 1.0)


def test_an_image_of_little_contrast_has_one_nevertheless():
    x = 0.5 + 1e-6 * np.eye(2, 12)
    np.testing.assert_allclose(np.linalg.norm(normalise_contrast(x), axis=1), 55)


def test_the_whitening_is_zca_with_the_bias(images):
    """By the definition, in float64: W is symmetric, and the covariance of the results is C (C + bias I)^-1."""
    x = images.astype(np.float64)
    whitening = fit_whitening(x)
    X = normalise_contrast(x)
    C = np.cov(X.T, bias=True)
    np.testing.assert_allclose(whitening.m, X.mean(axis=0), atol=1e-10)
    np.testing.assert_allclose(whitening.W, whitening.W.T, atol=1e-10)
    assert (np.linalg.eigvalsh(whitening.W) > 0).all()  # of all the square roots, the positive one: ZCA
    expected = C @ np.linalg.inv(C + BIAS * np.eye(12))
    np.testing.assert_allclose(np.cov(whitening(x).T, bias=True), expected, atol=1e-8)


def test_float32_images_are_whitened_in_float32(images):
    whitening = fit_whitening(images)
    z = whitening(images)
    assert z.dtype == whitening.W.dtype == whitening.m.dtype == np.float32
    x = images.astype(np.float64)
    np.testing.assert_allclose(z, fit_whitening(x)(x), atol=2e-3)


def test_more_images_than_a_block_are_whitened_alike(images, monkeypatch):
    whole = fit_whitening(images)
    monkeypatch.setattr("tinyadv.preprocessing.ROWS", 7)
    parts = fit_whitening(images)
    np.testing.assert_allclose(parts.W, whole.W, atol=1e-4)
    np.testing.assert_allclose(parts(images), whole(images), atol=1e-3)


def test_undo_is_the_inverse_given_the_images(images):
    whitening = fit_whitening(images)
    np.testing.assert_allclose(whitening.undo(whitening(images), like=images), images, atol=1e-5)


def test_undo_gives_one_image_s_brightness_and_contrast_to_all(images):
    whitening = fit_whitening(images)
    x = whitening.undo(whitening(images), like=images[:1])
    mean, norm = contrast(images[:1])
    np.testing.assert_allclose(x.mean(axis=1), mean.item(), atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(x - mean, axis=1), norm.item(), rtol=1e-4)


def test_undo_without_images_is_normalised(images):
    whitening = fit_whitening(images)
    np.testing.assert_allclose(whitening.undo(whitening(images)), normalise_contrast(images), atol=1e-3)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (np.zeros(5), r"images are rows \(N, D\) of floating point numbers, got float64 of shape \(5,\)"),
        (np.zeros((0, 5)), r"finite images of shape \(N, D\)"),
        (np.array([[1.0, np.nan]]), r"finite images of shape \(N, D\)"),
    ],
)
def test_bad_images_are_refused(x, message):
    with pytest.raises(ValueError, match=message):
        fit_whitening(x)


def test_nothing_leaves_the_library(xp, images):
    x = xp.asarray(images)
    mean, norm = contrast(x)
    whitening = Whitening(xp.asarray(np.zeros(12, np.float32)), xp.asarray(np.eye(12, dtype=np.float32)))
    assert type(mean) is type(norm) is type(whitening(x)) is type(x)


@pytest.mark.parametrize("use", [fit_whitening, lambda x: fit_whitening(np.eye(12, dtype="float32"))(x)])
@pytest.mark.parametrize("x", [np.arange(36, dtype="uint8").reshape(3, 12), np.ones((3, 3, 4), "float32")])
def test_bytes_and_images_that_are_no_rows_are_refused(use, x):
    with pytest.raises(ValueError, match=r"rows \(N, D\) of floating point numbers, got .*: use x\.astype"):
        use(x)


def test_a_whitening_without_a_bias_is_refused():
    with pytest.raises(ValueError, match=r"a positive bias, got 0\.0"):
        fit_whitening(np.eye(12, dtype="float32"), bias=0.0)


@pytest.mark.parametrize("x", [np.ones((2, 3, 4)), np.ones(4), np.ones((2, 4), "uint8")])
def test_contrast_is_that_of_rows(x):
    with pytest.raises(ValueError, match="images are rows"):
        normalise_contrast(x)
