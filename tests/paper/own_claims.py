"""How a claim of one's own is measured and drawn: see own_claims.toml, and the command in its first line."""

from tinyadv.metrics import evaluate
from tinyadv.paper import recipes
from tinyadv.paper.attacking import attack
from tinyadv.paper.draw import BLUE, draws
from tinyadv.paper.measure import measures
from tinyadv.paper.measure.common import Values

SIZES = (0.025, 0.05, 0.125, 0.25)


@measures("half-the-size", lambda profile, seed: {"softmax": recipes.softmax_regression(profile, seed)})
def half_the_size(lab, seed, softmax):
    """Error under FGSM of half the paper's size, and of other sizes."""
    (x, y), values = lab.data.test, Values()
    found = {eps: evaluate(softmax.network, attack(softmax.network, x, y, eps), y) for eps in SIZES}
    values.add(found[0.125], error="error")
    varied = {f"eps:{eps:g}": {"error": evaluation.error} for eps, evaluation in found.items()}
    curve = {"eps": list(SIZES), "error": [evaluation.error for evaluation in found.values()]}
    return values.measurement(holds=found[0.125].error > 0.5, variations=varied, details=curve)


@draws(
    "half-the-size", "FGSM of other sizes", "Error of softmax regression on attacked test images, against the size ε."
)
def draw_sizes(canvas, details):
    axes = canvas.subplots()
    axes.plot(details["eps"], [100 * e for e in details["error"]], "o-", color=BLUE)
    axes.set(xlabel="ε", ylabel="error, %", ylim=(0, 100))
