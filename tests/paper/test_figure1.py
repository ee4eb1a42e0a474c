"""Figure 1 on a thin network: what is reported of it, and that no pixel of a photograph gets into the results."""

from __future__ import annotations

import json

import numpy as np
import pytest
from test_googlenet import thin_weights

from tinyadv.attacks import fgsm
from tinyadv.datasets import DataError
from tinyadv.googlenet import GoogLeNet
from tinyadv.paper.measure import figure1
from tinyadv.paper.measure.figure1 import measured
from tinyadv.paper.results import check_names
from tinyadv.photographs import GREY_LEVEL, Photograph


@pytest.fixture
def model(rng, monkeypatch):
    """A thin network of three classes, of which the last is the panda."""
    monkeypatch.setattr(figure1, "PANDA", 2)
    for module in ("tinyadv.photographs", "tinyadv.paper.measure.figure1"):
        monkeypatch.setattr(f"{module}.class_names", lambda: ("tench", "gibbon", "giant panda"))
    return GoogLeNet(thin_weights(rng, classes=3))


def photos(rng, *labels, selected=-1):
    x = rng.random((len(labels), 1, 3 * 224 * 224)).astype(np.float32)
    return [Photograph(f"{i}.png", x[i], label, f"author {i}", i == selected) for i, label in enumerate(labels)]


def test_numbers_are_those_of_the_network(model, rng):
    shown = photos(rng, 0, 2, 1, selected=2)
    measurement = measured(model, shown)
    check_names("fig1-imagenet", measurement)
    counted = shown[:2]
    x_adv = [fgsm(model, photo.x, np.array([photo.label]), GREY_LEVEL) for photo in counted]
    p = [model.probabilities(model(x))[0] for x in x_adv]
    wrong = [row.argmax() != photo.label for row, photo in zip(p, counted, strict=True)]
    assert measurement.values["photographs"] == 2
    assert measurement.values["error"] == np.mean(wrong)
    assert measurement.values["adversarial_confidence"] == pytest.approx(float(p[1].max()), rel=1e-5)
    assert measurement.values["clean_confidence"] == pytest.approx(
        float(model.probabilities(model(counted[1].x)).max()), rel=1e-5
    )
    assert measurement.holds is False  # random weights
    assert [row["photograph"] for row in measurement.details["photographs"]] == ["0.png", "1.png", "2.png"]
    assert len(json.dumps(measurement.details)) < 2000, "no pixels"


def test_without_a_panda_there_is_no_figure_1(model, rng):
    for shown in (photos(rng, 0, 1), photos(rng, 0, 2, selected=1)):
        with pytest.raises(DataError, match="wants a photograph of a giant panda, class 2; there is none among 2"):
            measured(model, shown)
