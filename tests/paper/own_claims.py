"""Measures and draws the claim of own_claims.toml."""

from tinyadv.metrics import evaluate
from tinyadv.paper import recipes
from tinyadv.paper.attacking import attack, software
from tinyadv.paper.draw import draws
from tinyadv.paper.measure import measures
from tinyadv.paper.measure.common import Values


@measures("half-the-size", lambda profile, seed: {"softmax": recipes.softmax_regression(profile, seed)})
def half_the_size(lab, seed, softmax):
    (x, y), network, values = lab.data.test, softmax.network, Values()
    found = {eps: evaluate(network, attack(software(network), x, y, eps), y) for eps in (0.025, 0.05, 0.125, 0.25)}
    values.add(found[0.125], error="error")  # its `error` is the quantity "error"
    details = {"eps": list(found), "error": [evaluation.error for evaluation in found.values()]}
    return values.measurement(holds=found[0.125].error > 0.5, details=details)


@draws("half-the-size", "FGSM of other sizes", "Error of softmax regression on attacked test images, against the size.")
def draw_sizes(canvas, details):
    canvas.subplots().plot(details["eps"], details["error"], "o-")
