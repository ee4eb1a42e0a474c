"""Measures and draws the claim of own_claims.toml."""

from tinyadv.metrics import evaluate
from tinyadv.paper import recipes
from tinyadv.paper.attacking import attack
from tinyadv.paper.draw import draws
from tinyadv.paper.measure import measures
from tinyadv.paper.measure.common import Values


@measures("half-the-size", lambda profile, seed: {"softmax": recipes.softmax_regression(profile, seed)})
def half_the_size(lab, seed, softmax):
    (x, y), values, sizes = lab.data.test, Values(), [0.025, 0.05, 0.125, 0.25]
    found = [evaluate(softmax.network, attack(softmax.network, x, y, eps), y) for eps in sizes]
    values.add(found[2], error="error")
    return values.measurement(holds=found[2].error > 0.5, details={"eps": sizes, "error": [e.error for e in found]})


@draws("half-the-size", "FGSM of other sizes", "Error of softmax regression on attacked test images, against the size.")
def draw_sizes(canvas, details):
    canvas.subplots().plot(details["eps"], details["error"], "o-")
