"""What the masking audit does to the paper's 17.9 %, in sentences that follow from the numbers of adv-robust-1600.

The paper's figure is the error under one step of FGSM. Whether it says that a network is robust depends on what
attacks that look further make of the same network: each sentence here compares two measured errors and says which way
it came out, so that another run gives another text.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

from .registry import claims
from .results import Interval, Result, format_paper, format_value

CLAIM = "adv-robust-1600"


def verdict(result: Result) -> list[str]:
    """Paragraphs, the most important first.

    Parameters
    ----------
    result : Result
        Of the claim adv-robust-1600; what it did not measure is not spoken of.
    """
    return [" ".join(sentences) for part in (_one_step, _many_steps, _other_order) if (sentences := [*part(result)])]


def _said(result: Result, name: str) -> str:
    """A quantity's mean over the seeds with its interval, "28.6 % [27.7, 29.5]"."""
    quantity = next(q for q in claims()[CLAIM].quantities if q.name == name)
    return format_value(quantity, result.mean(name), result.interval(name)).replace(" %", "\u00a0%")


def _paper(claim: str, name: str) -> str:
    return format_paper(next(q for q in claims()[claim].quantities if q.name == name)).replace(" %", "\u00a0%")


def _span(result: Result, name: str) -> Interval:
    return result.interval(name) or (result.mean(name), result.mean(name))


def _measured(result: Result, *names: str) -> bool:
    return all(math.isfinite(result.mean(name)) for name in names)


def _one_step(result: Result) -> Iterator[str]:
    """What FGSM gives, the paper's and ours."""
    if not _measured(result, "error"):
        return
    smaller = f" ({result.scale})" if result.scale else ""
    yield f"After adversarial training the paper reports an error of {_paper(CLAIM, 'error')} under FGSM(.25)."
    yield f"Ours{smaller} is {_said(result, 'error')}."
    if _measured(result, "naive_error"):
        helps = result.mean("naive_error") > result.mean("error")
        yield f"Without adversarial training it is {_said(result, 'naive_error')}" + (
            ": against one step the training helps." if helps else ": the training does not even help against one step."
        )


def _many_steps(result: Result) -> Iterator[str]:
    """PGD against FGSM on the same images: the audit's first question."""
    if not _measured(result, "pgd_error", "error_first"):
        return
    fgsm, pgd = result.mean("error_first"), result.mean("pgd_error")
    yield (
        f"PGD looks in the same box of ±.25 around each image, but takes 20 steps from a random start. On the first "
        f"1,000 test images its error is {_said(result, 'pgd_error')}, that of FGSM {_said(result, 'error_first')}."
    )
    yield from _hundred_steps(result)
    spared = (pgd - fgsm) / (1.0 - fgsm) if fgsm < 1 else 0.0
    paper = _paper(CLAIM, "error")
    if pgd < fgsm:
        yield "The stronger attack errs less often: here neither figure can be trusted, and both are flagged."
    elif _span(result, "pgd_error")[0] > _span(result, "error_first")[1]:
        yield (
            f"Of the images that withstand one step at least {math.floor(100 * spared + 1e-9)}\u00a0% do not withstand "
            f"twenty. A figure like the paper’s {paper} is therefore no more than a lower bound: it tells how often "
            f"one step fools the network, and not how often some change of that size does."
        )
    else:
        yield (
            f"Twenty steps find hardly more than one, by no more than chance would: on this evidence {paper} would be "
            f"a fair figure for the whole box."
        )


def _hundred_steps(result: Result) -> Iterator[str]:
    """The audit's longest attack, where its table is there."""
    tables = [m.details["audit"]["rows"] for m in result.measurements if "audit" in m.details]
    errors = [row[3] for rows in tables for row in rows if row[1].startswith("PGD, 100") and row[0] != "naive"]
    images = {row[2] for rows in tables for row in rows if row[1].startswith("PGD, 100") and row[0] != "naive"}
    if errors and len(images) == 1 and None not in errors:
        mean = 100 * math.fsum(errors) / len(errors)
        yield f"A hundred steps, on the first {images.pop():,} images, give {mean:.1f}\u00a0%."


def _smaller_steps(result: Result) -> Iterator[str]:
    """FGSM of every size up to that of the training, which is no more than the box allows."""
    if _measured(result, "error_some_size", "error_first"):
        taught = _span(result, "error_some_size")[0] > _span(result, "error_first")[1]
        yield (
            f"On the first 1,000 test images the full step alone fools {_said(result, 'error_first')}, some step of "
            f".05 to .25 along the same gradient {_said(result, 'error_some_size')}: "
        ) + (
            "the training taught the network the size of the step that it was shown."
            if taught
            else "shorter steps hardly add to it."
        )


def _other_order(result: Result) -> Iterator[str]:
    """Noise, examples from another network, gradients that are exactly 0: whether the gradient misleads."""
    if not _measured(result, "error"):
        return
    error = result.mean("error")
    if _measured(result, "noise_error"):
        less = result.mean("noise_error") <= error
        yield f"Random signs of the same size give {_said(result, 'noise_error')}: " + (
            "less than FGSM, as it has to be." if less else "more than FGSM, whose direction is then of no use."
        )
    yield from _smaller_steps(result)
    if _measured(result, "transfer_error"):
        papers = f"{_paper('adv-transfer', 'error_naive_to_trained')} to {_paper(CLAIM, 'error')}"
        yield f"FGSM examples made on the naive network give {_said(result, 'transfer_error')}: " + (
            "more than the network’s own. An attacker who does not see the network does better than one who does, so "
            f"its gradient partly misleads the attack; the paper’s own figures, {papers}, show the same."
            if result.mean("transfer_error") > error
            else f"less than the network’s own, as it is where the gradient shows the way; in the paper it is the "
            f"other way round, {papers}, which is a sign of a masked gradient."
        )
    if _measured(result, "zero_gradient_share"):
        share = _said(result, "zero_gradient_share")
        yield f"Of the entries of the input gradients {share} are exactly 0: there FGSM moves nothing."
