"""Figure 1: one step of the fast gradient sign method on photographs, against GoogLeNet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...attacks import input_gradient
from ...backend import as_array
from ...datasets import DataError
from ...googlenet import GoogLeNet, load_googlenet
from ...metrics import mean_interval
from ...ops import sign
from ...photographs import (
    GREY_LEVEL,
    Attacked,
    Photograph,
    answer,
    at_hand,
    attack_each,
    class_names,
    missing,
    photographs,
)
from ..lab import Lab
from ..results import Measurement
from .common import Values, measures

PANDA = 388  # ImageNet's giant panda
SHARE_OF_THE_RANGE = 0.007  # the paper's ε, if its unit were the whole range of pixels: 1.785 grey levels


@measures("fig1-imagenet", quick=False, missing=missing, at_hand=at_hand)
def fig1_imagenet(lab: Lab, seed: int) -> Measurement:
    """The panda before and after one step of one grey level, and all photographs at hand; the seed changes nothing."""
    return measured(load_googlenet(), photographs())


def measured(model: GoogLeNet, photos: Sequence[Photograph]) -> Measurement:
    """What is measured of a network on these photographs.

    Raises
    ------
    DataError
        If none of them is of a giant panda.
    """
    panda = next((photo for photo in photos if photo.label == PANDA and not photo.selected), None)
    if panda is None:
        raise DataError(
            f"figure 1 wants a photograph of a giant panda, class {PANDA}; there is none among {len(photos)}"
        )
    one_level, wider = attack_each(model, photos, (GREY_LEVEL, SHARE_OF_THE_RANGE))
    (of_panda,) = [each for each in one_level if each.photograph is panda]
    (wider_panda,) = [each for each in wider if each.photograph is panda]
    counted = [each for each in one_level if not each.photograph.selected]
    values = _over_all(counted)
    direction = sign(input_gradient(model, panda.x, as_array([panda.label])))
    pattern = answer(model, (direction + 1) / 2)
    values.values |= {
        "clean_confidence": of_panda.before.probability,
        "pattern_confidence": pattern.probability,
        "adversarial_confidence": of_panda.after.probability,
    }
    fooled = [each for each in counted if each.right_before and not each.right_after]
    holds = (
        of_panda in fooled
        and min(of_panda.before.probability, of_panda.after.probability) > 0.5
        and 2 * len(fooled) > sum(each.right_before for each in counted)
        and max(each.moved for each in counted) <= GREY_LEVEL * (1 + 1e-4)
    )
    over_wider = _over_all([each for each in wider if not each.photograph.selected])
    at_wider = over_wider.among("error", "confidence_on_mistakes")
    at_wider["adversarial_confidence"] = wider_panda.after.probability
    rows = [_row(each) for each in one_level]
    return values.measurement(
        holds=holds,
        variations={"share-of-the-range": at_wider},
        details={"eps": GREY_LEVEL, "panda": panda.name, "pattern": str(pattern), "photographs": rows},
    )


def _over_all(found: Sequence[Attacked]) -> Values:
    """Error, and confidences before and on mistakes, over photographs."""
    values, mistakes = Values(), [each.after.probability for each in found if not each.right_after]
    values.values["clean_error"] = sum(not each.right_before for each in found) / len(
        found
    )  # no interval: they were chosen
    values.share("error", len(mistakes), len(found))
    for name, sample in (("all_clean_confidence", [e.before.probability for e in found]),
                         ("confidence_on_mistakes", mistakes)):  # fmt: skip
        values.values[name] = sum(sample) / len(sample) if sample else float("nan")
        if len(sample) > 1:
            values.intervals[name] = mean_interval(as_array(sample))
    values.values["photographs"] = float(len(found))
    return values


def _row(each: Attacked) -> dict[str, Any]:
    """What the results file says of a photograph: no pixels of it."""
    photo = each.photograph
    return {
        "photograph": photo.name,
        "credit": photo.credit,
        "selected": photo.selected,
        "class": class_names()[photo.label],
        "before": each.before.name,
        "before_probability": each.before.probability,
        "after": each.after.name,
        "after_probability": each.after.probability,
        "true_before": each.true_before,
        "true_after": each.true_after,
    }
