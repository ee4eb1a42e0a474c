"""Figure 1 on a thin network: what is reported of it, and that no pixel of a photograph gets into the results.

And on invented answers: every part of the predicate can fail, and each number is of what it names.
"""

from __future__ import annotations

import json

import numpy as np
import pytest
from test_googlenet import thin_weights

from tinyadv.attacks import fgsm
from tinyadv.datasets import DataError
from tinyadv.googlenet import GoogLeNet
from tinyadv.metrics import mean_interval
from tinyadv.paper.measure import figure1
from tinyadv.paper.measure.figure1 import measured
from tinyadv.paper.results import check_names
from tinyadv.photographs import GREY_LEVEL, Answer, Attacked, Photograph


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


# ---------------------------------------------------------------------------------------------------------
# Invented answers

PANDA, GIBBON = 388, 368
NAMES = {PANDA: "giant panda", GIBBON: "gibbon"}


def attacked(name, label=PANDA, before=(PANDA, 0.9), after=(GIBBON, 0.8), moved=GREY_LEVEL, selected=False):
    said = [Answer(k, NAMES[k], p) for k, p in (before, after)]
    photo = Photograph(name, np.full((1, 3), 0.5, "float32"), label, "author", selected)
    return Attacked(photo, *said, 0.6, 0.1, moved)


def measured_of(monkeypatch, one_level, wider=None):
    """What is measured where the attack of one grey level, and the wider one, find this."""
    wider = wider or one_level
    wider = [each._replace(photograph=one.photograph) for each, one in zip(wider, one_level, strict=True)]
    sizes = []

    def attack_each(model, photos, eps):
        sizes.extend(eps)
        return [one_level, wider]

    monkeypatch.setattr(figure1, "attack_each", attack_each)
    monkeypatch.setattr(figure1, "input_gradient", lambda model, x, y: np.array([[-2.0, 0.0, 3.0]]))
    monkeypatch.setattr(figure1, "class_names", lambda: NAMES)
    monkeypatch.setattr(figure1, "answer", lambda model, x: Answer(0, "pattern", float(x[0] @ [1.0, 10.0, 100.0])))
    m = measured(None, [each.photograph for each in one_level])
    assert sizes == [1 / 255, 0.007]
    return m


FOOLED, RIGHT = attacked("fooled", GIBBON, (GIBBON, 0.7), (PANDA, 0.6)), attacked("right", after=(PANDA, 0.6))
WRONG = attacked("wrong", before=(GIBBON, 0.5), after=(GIBBON, 0.4))


@pytest.mark.parametrize(
    ("found", "holds"),
    [
        ([attacked("panda"), FOOLED, RIGHT], True),
        ([attacked("panda"), RIGHT], False),  # a half, not more
        ([attacked("panda"), FOOLED, RIGHT, WRONG], True),  # what was wrong before counts on neither side
        ([attacked("panda", after=(PANDA, 0.8)), FOOLED, FOOLED], False),  # the panda itself is not fooled
        ([attacked("panda", before=(PANDA, 0.5)), FOOLED], False),  # not sure before
        ([attacked("panda", after=(GIBBON, 0.5)), FOOLED], False),  # not sure afterwards
        ([attacked("panda"), FOOLED._replace(moved=2 / 255)], False),  # moved by more than a grey level
        ([attacked("panda"), attacked("s", moved=1.0, selected=True)], True),  # a selected one is an example alone
    ],
)
def test_each_part_of_the_predicate_can_fail(monkeypatch, found, holds):
    assert measured_of(monkeypatch, found).holds is holds


def test_each_number_is_of_the_photographs_and_the_attack_that_it_names(monkeypatch):
    found = [attacked("panda"), FOOLED, RIGHT, WRONG, attacked("s", selected=True)]
    wider = [attacked("panda", after=(GIBBON, 0.95)), *3 * [attacked("o", after=(GIBBON, 0.65))], attacked("s")]
    m = measured_of(monkeypatch, found, wider)
    assert m.values == {
        "photographs": 4,
        "clean_error": 1 / 4,
        "error": 3 / 4,
        "all_clean_confidence": pytest.approx((0.9 + 0.7 + 0.9 + 0.5) / 4),
        "confidence_on_mistakes": pytest.approx((0.8 + 0.6 + 0.4) / 3),
        "clean_confidence": 0.9,
        "adversarial_confidence": 0.8,
        "pattern_confidence": pytest.approx(0.0 + 5.0 + 100.0),  # the signs -1, 0, 1 as pixels 0, 1/2, 1
    }
    assert m.intervals["all_clean_confidence"] == mean_interval(np.array([0.9, 0.7, 0.9, 0.5]))
    assert m.intervals["confidence_on_mistakes"] == mean_interval(np.array([0.8, 0.6, 0.4]))
    assert m.variations["share-of-the-range"] == {  # the gibbon is said to be one: all others err
        "error": 3 / 4,
        "confidence_on_mistakes": pytest.approx((0.95 + 0.65 + 0.65) / 3),
        "adversarial_confidence": 0.95,
    }
    assert m.details["photographs"][1] == {
        "photograph": "fooled", "credit": "author", "selected": False, "class": "gibbon", "before": "gibbon",
        "before_probability": 0.7, "after": "giant panda", "after_probability": 0.6, "true_before": 0.6,
        "true_after": 0.1,
    }  # fmt: skip
