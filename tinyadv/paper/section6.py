"""Section 6, adversarial training: a lower clean error, a much lower error under FGSM, and what PGD makes of it."""

from __future__ import annotations

from typing import Any

from .. import metrics
from ..attacks import pgd
from ..backend import generator, noise
from ..models import Network
from ..ops import sign
from . import recipes
from .figures import BLUE, GREY, ORANGE, draws
from .lab import EPS, Lab, Recipe
from .measuring import Values, attack, measures, under_fgsm, weights_l1
from .recipes import Profile
from .results import Measurement

PGD_STEPS, FIRST = 20, 1000  # PGD costs as much as so many FGSMs: it is shown the first test images only
CURVE = (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3)


@measures("adv-train-240", lambda profile, seed: _pair(profile, seed, 240))
def adv_train_240(lab: Lab, seed: int, naive: Network, trained: Network) -> Measurement:
    """Clean test error without and with adversarial training."""
    x, y = lab.data.test
    values = Values()
    values.add(metrics.evaluate(naive, x, y), error="naive_error")
    values.add(metrics.evaluate(trained, x, y), error="adversarially_trained_error")
    return values.measurement(holds=values.values["adversarially_trained_error"] < values.values["naive_error"])


@measures("adv-robust-1600", lambda profile, seed: _pair(profile, seed, profile.units), units=1600)
def adv_robust_1600(lab: Lab, seed: int, naive: Network, trained: Network) -> Measurement:
    """FGSM error of the adversarially trained network, and beside it PGD, noise and the naive network's examples."""
    x, y = lab.data.test
    values, x_adv = under_fgsm(trained, x, y)
    x_naive = attack(naive, x, y)
    values.add(metrics.evaluate(naive, x_naive, y), error="naive_error")
    values.add(metrics.evaluate(trained, x_naive, y), error="transfer_error")
    signs = EPS * sign(noise(generator(seed, "noise"), x, 1.0))
    values.add(metrics.evaluate(trained, x + signs, y), error="noise_error")
    values.values["weights_l1"] = weights_l1(trained)

    some, of_some = x[:FIRST], y[:FIRST]
    values.add(metrics.evaluate(trained, x_adv[:FIRST], of_some), error="error_first")
    x_pgd = pgd(trained, some, of_some, EPS, PGD_STEPS, generator(seed, "pgd"))
    values.add(metrics.evaluate(trained, x_pgd, of_some), error="pgd_error")
    curve = {
        name: [metrics.evaluate(m, attack(m, some, of_some, eps), of_some).error for eps in CURVE]
        for name, m in (("naive", naive), ("adversarial", trained))
    }
    error = values.values
    holds = error["pgd_error"] >= error["error_first"] and error["error"] >= error["noise_error"]
    return values.measurement(holds=holds, details={"eps": list(CURVE), **curve})


def _pair(profile: Profile, seed: int, units: int) -> list[Recipe]:
    """The naive and the adversarially trained network, alike but for the objective and what early stopping watches."""
    return [recipes.maxout(profile, seed, units), recipes.maxout(profile, seed, units, adversarial=True)]


@draws(
    "adv-robust-1600",
    "What adversarial training changes",
    "Error under FGSM against its size, on the first 1,000 test images. FGSM takes one step: see the error under "
    "PGD in the table before calling a network robust.",
)
def _draw_robustness(canvas: Any, details: dict[str, Any]) -> None:
    axes = canvas.subplots()
    for name, colour, style in (("naive", ORANGE, "s--"), ("adversarial", BLUE, "o-")):
        errors = [100 * e for e in details[name]]
        axes.plot(details["eps"], errors, style, color=colour, label=f"{name} training", clip_on=False)
    axes.axvline(EPS, color=GREY, linewidth=1.5, linestyle=":", label="ε used in training")
    axes.set(xlabel="ε of the attack (FGSM)", ylabel="error, %", ylim=(0, 100))
    axes.legend(frameon=False)
