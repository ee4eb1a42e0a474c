"""The exercises of lesson 16."""

import numpy as np
import pytest

from tinyadv import attacks, models, parameters
from tinyadv.backend import generator
from tinyadv.course.judging import LEAK, called, judge, leaks

EPS, D, K, N = 0.2, 12, 5, 4
MEAN = (104.0, 117.0, 123.0)


def network(dtype="float64", seed=1):
    """A small maxout network with random weights, and inputs."""
    model = models.maxout_network(units=6, pieces=2, inputs=D, classes=K, keep=(1.0, 1.0), rng=generator(0))
    rng = np.random.default_rng(seed)
    for p in parameters(model.to(dtype=dtype)):
        p.data = rng.standard_normal(p.shape).astype(dtype)
    parameters(model)[0].data[..., 3] = 0  # an input whose weights are all 0: its gradient is 0
    return model, rng.random((N, D)).astype(dtype)


# ---------------------------------------------------------------------------------------------------------
# grey_levels


@pytest.mark.exercise("grey_levels", points=2)
def test_units_of_the_weights(lesson):
    x = np.random.default_rng(0).random((2, 3, 4, 3))
    mean = np.array(MEAN).reshape(1, 3, 1, 1)
    judge(called(lesson.grey_levels, x, MEAN), x[:, ::-1] * 255 - mean, [
        ("red is still first: blue comes first, so turn the axis of the colours around", x * 255 - mean),
        ("the means are those of blue, green and red, in this order: subtract after the colours are turned around",
         (x * 255 - mean)[:, ::-1]),
        ("the image was turned upside down: the colours are axis 1", x[:, :, ::-1] * 255 - mean),
        ("the image was mirrored: the colours are axis 1", x[..., ::-1] * 255 - mean),
        ("the images were put in another order: the colours are axis 1", x[::-1] * 255 - mean),
        ("the pixels are still from 0 to 1: times 255", x[:, ::-1] - mean),
        ("pixels and means are both divided by 255: the weights expect them from 0 to 255, so times 255",
         x[:, ::-1] - mean / 255),
        ("the means were added: subtract them", x[:, ::-1] * 255 + mean),
        ("the means are missing", x[:, ::-1] * 255),
        ("this is times 256: white is 255, so times 255", x[:, ::-1] * 256 - mean),
        ("the mean was subtracted before the units changed: it is in grey levels", (x[:, ::-1] - mean) * 255),
        ("the means lie along the last axis, the columns of pixels: the colours are axis 1, so reshape the means to "
         "(1, 3, 1, 1)", x[:, ::-1] * 255 - np.array(MEAN)),
        ("one mean for all colours: each has its own", x[:, ::-1] * 255 - np.mean(MEAN)),
    ])  # fmt: skip


@pytest.mark.exercise("grey_levels", points=1)
def test_units_stay_in_float32(lesson):
    x = np.random.default_rng(1).random((1, 3, 3, 3)).astype("float32")
    given = called(lesson.grey_levels, x, MEAN)
    assert not leaks(given), LEAK


# ---------------------------------------------------------------------------------------------------------
# step_towards


@pytest.mark.exercise("step_towards", points=2)
def test_the_target_becomes_more_probable(lesson):
    model, x = network()
    target = int(model(x).sum(axis=0).argmin())

    def gradient(labels):
        return attacks.input_gradient(model, x, labels)

    g = gradient(np.full(N, target))
    right = x - EPS * np.sign(g)
    own = model(x).argmax(axis=1)
    given = called(lesson.step_towards, model, x, target, EPS)
    finite = np.isfinite(given).all()
    assert finite, "g / |g| is 0 / 0 where the gradient is 0: there np.sign(g) is 0"
    judge(given, right, [
        ("this moves away from the target: its cost has to fall, so minus", x + EPS * np.sign(g)),
        ("this moves away from the network's own answer: the labels should be the target",
         x + EPS * np.sign(gradient(own))),
        ("this moves towards the network's own answer: the labels should be the target",
         x - EPS * np.sign(gradient(own))),
        ("where the gradient is 0 the input moved: the sign of 0 is 0", x - EPS * np.where(g >= 0, 1, -1)),
        ("where the gradient is 0 the input moved: the sign of 0 is 0", x - EPS * np.where(g > 0, 1, -1)),
        ("the sign is missing: the gradient itself was followed", x - EPS * g),
        ("eps is missing: each entry moved by 1", x - np.sign(g)),
        ("this is the change alone: return x plus the change", -EPS * np.sign(g)),
        ("clipped to the range from 0 to 1: nothing is clipped here", right.clip(0, 1)),
        ("label off by one: classes count from 0", x - EPS * np.sign(gradient(np.full(N, (target + 1) % K)))),
        ("label off by one: classes count from 0", x - EPS * np.sign(gradient(np.full(N, (target - 1) % K)))),
        ("nothing moved", x),
    ])  # fmt: skip


@pytest.mark.exercise("step_towards", points=1)
def test_the_step_stays_in_float32(lesson):
    model, x = network("float32", seed=2)
    given = called(lesson.step_towards, model, x, 3, EPS)
    assert not leaks(given), LEAK


# ---------------------------------------------------------------------------------------------------------
# after_saving


@pytest.mark.exercise("after_saving", points=2)
def test_whole_grey_levels_in_range(lesson):
    x = np.random.default_rng(3).uniform(-0.1, 1.1, (3, 7))
    x[0, :4] = [-0.3, 1.3, 0.4 / 255, 254.6 / 255]
    right = np.rint(x * 255).clip(0, 255) / 255
    judge(called(lesson.after_saving, x), right, [
        ("rounded down: round to the nearer grey level", np.floor(x * 255).clip(0, 255) / 255),
        ("rounded down: round to the nearer grey level", np.trunc(x * 255).clip(0, 255) / 255),
        ("rounded up: round to the nearer grey level", np.ceil(x * 255).clip(0, 255) / 255),
        ("values below 0 and above 1 are still there: clip them", np.rint(x * 255) / 255),
        ("values below 0 came back near 1, and values above 1 near 0: clip before the numbers become bytes",
         (np.rint(x * 255) % 256) / 255),
        ("clipped, and not rounded to whole grey levels", x.clip(0, 1)),
        ("these are still grey levels from 0 to 255: divide by 255", np.rint(x * 255).clip(0, 255)),
        ("256 levels run from 0 to 255: times 255, not 256", np.rint(x * 256).clip(0, 255) / 256),
        ("256 levels run from 0 to 255: times 255, not 256", np.rint(x * 256).clip(0, 256) / 256),
        ("rounded to 0 and 1: multiply by 255 first", np.rint(x).clip(0, 1)),
        ("nothing was rounded", x),
    ])  # fmt: skip


@pytest.mark.exercise("after_saving", points=1)
def test_saving_keeps_float32_and_a_photograph(lesson):
    photo = (np.random.default_rng(4).integers(0, 256, (2, 9)) / 255).astype("float32")
    given = called(lesson.after_saving, photo)
    assert not leaks(given), LEAK
    assert np.abs(np.asarray(given) - photo).max() < 1e-6, (
        "your function changes a photograph that has whole grey levels already: nothing should change there"
    )
