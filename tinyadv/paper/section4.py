"""Section 4, the fast gradient sign method: one step of it against softmax regression and the maxout network."""

from __future__ import annotations

from typing import Any

from ..backend import array_module, to_device
from ..metrics import predict
from ..models import Network
from . import recipes
from .figures import GREEN, ORANGE, draws, show_image
from .lab import Lab
from .measuring import measures, pictures, under_fgsm, weights_l1
from .results import Measurement


@measures("fgsm-softmax", lambda profile, seed: [recipes.softmax_regression(profile, seed)])
def fgsm_softmax(lab: Lab, seed: int, network: Network) -> Measurement:
    """Error and confidence of softmax regression on attacked test images."""
    return _attacked(lab, network)


@measures("fgsm-maxout", lambda profile, seed: [recipes.maxout(profile, seed)])
def fgsm_maxout(lab: Lab, seed: int, network: Network) -> Measurement:
    """Error and confidence of the naively trained maxout network on attacked test images."""
    return _attacked(lab, network)


def _attacked(lab: Lab, network: Network) -> Measurement:
    x, y = lab.data.test
    values, x_adv = under_fgsm(network, x, y)
    values.values["weights_l1"] = weights_l1(network)
    shown = array_module(x).asarray([int((y == k).argmax()) for k in range(10)])  # the first test image of each class
    examples = {
        "label": to_device(y[shown], "cpu").tolist(),
        "clean": pictures(x[shown]),
        "attacked": pictures(x_adv[shown]),
        "said_clean": to_device(predict(network, x[shown]), "cpu").tolist(),
        "said_attacked": to_device(predict(network, x_adv[shown]), "cpu").tolist(),
    }
    return values.measurement(details={"examples": examples})


EXAMPLES = (
    "The first test image of each class, clean and attacked, and what the network says; thick orange frames are "
    "mistakes. Black is −.25 and white 1.25 in both rows, because attacked pixels leave [0, 1]."
)


@draws("fgsm-softmax", "Softmax regression under the fast gradient sign method", EXAMPLES)
@draws("fgsm-maxout", "The maxout network under the fast gradient sign method", EXAMPLES)
def _draw_examples(canvas: Any, details: dict[str, Any]) -> None:
    examples = details["examples"]
    grid = canvas.subplots(2, 10)
    for k in range(10):
        for row, kind in enumerate(("clean", "attacked")):
            said = examples[f"said_{kind}"][k]
            show_image(grid[row, k], examples[kind][k], f"says {said}")
            right = said == examples["label"][k]
            grid[row, k].spines[:].set(color=GREEN if right else ORANGE, linewidth=1.5 if right else 3)
    grid[0, 0].set_ylabel("clean")
    grid[1, 0].set_ylabel("FGSM(.25)")
    canvas.set_size_inches(10, 2.6)
