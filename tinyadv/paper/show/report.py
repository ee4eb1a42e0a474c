"""The report: one page of everything measured, to open or print.

It stands alone: style, figures and numbers are inside, nothing is fetched, nothing runs. Its text is the template
`report.html.j2`, its style `report.css`; here is what both are filled with.
"""

from __future__ import annotations

import base64
import math
import os
import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from ...bench import summary
from ...storage import write_atomically
from .. import audit
from ..claims import Quantity
from ..draw import drawings
from ..results import Measurement, Result, Status, statuses
from ..results_file import CONTROL
from . import GRADIENTS, GRADIENTS_TITLE, Entry, duration, entry, gradients, nearer, seeds, tally
from .costs import PROGRAMS, UNKNOWN, costs
from .numbers import digits, format_share

PAPER = "https://arxiv.org/abs/1412.6572"
TITLE = "Explaining and Harnessing Adversarial Examples, measured again"
SYMBOLS: dict[Status, str] = {"reproduced": "✓", "close": "≈", "differs": "✗", "not run": "–"}
SECTIONS = {
    "2": "Related work",
    "3": "The linear explanation",
    "4": "Linear perturbation of non-linear models",
    "5": "Adversarial training of linear models",
    "6": "Adversarial training of deep networks",
    "7": "Different kinds of model capacity",
    "8": "Why adversarial examples generalize",
    "9": "Alternative hypotheses",
    "A": "Appendix: rubbish class examples",
}
_PARTS = {
    "rounding": GRADIENTS_TITLE,
    "figures": "Figures",
    "speed": "How fast it is",
    "not-run": "Claims not run",
    "cost": "What it cost",
    "manifest": "How these numbers were made",
}
_GROWTH = (
    "Microseconds per example of a step of adversarial training against the number of units, pieces, examples in a "
    "batch and layers, everything else as in train240; all axes logarithmic."
)
_CONVOLUTION = (
    "Microseconds of one thread's work per example for a convolution and both of its gradients, against the size of "
    "the kernel, the channels (there are twice as many kernels) and the batch: by spectra, by windows, as chosen, and "
    "in PyTorch. What is not on the axis is 5 x 5, 32 channels, 32 images of 16 x 16; all axes logarithmic."
)


def write_report(
    path: str | os.PathLike[str],
    results: Mapping[str, Result],
    manifest: Mapping[str, Any],
    figures_dir: str | os.PathLike[str],
) -> None:
    """Write the page of all claims to `path`: self-contained, whole or not at all.

    Parameters
    ----------
    results : mapping
        Results by claim id; claims without one are listed as not run.
    manifest : mapping
        What the run was: command, profile, seeds, device, started, seconds, versions, machine, and anything else.
    figures_dir : path
        Where the results' figures lie. One that is not there is named in its place.

    Raises
    ------
    OSError
        If the page cannot be written.
    """
    text = CONTROL.sub("\ufffd", page(results, manifest, Path(figures_dir)))
    write_atomically(path, text.encode(errors="replace"))


def page(results: Mapping[str, Result], manifest: Mapping[str, Any], figures_dir: Path) -> str:
    """The page as text."""
    import jinja2

    everything = [entry(claim, result) for claim, result, _ in statuses(results)]
    measured = [one for one in everything if one.result]
    found, figures = gradients(results), _figures(measured, figures_dir)
    speed, growth = summary.committed(), summary.growth_plot()
    images, convolution = summary.committed_of_images(), summary.convolution_plot()
    here = files("tinyadv.paper.show")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    environment.filters |= {
        "class": lambda word: word.replace(" ", "-"),
        "cut": lambda text: text.partition(" ["),
        "fixed": lambda text: text.replace(" %", "\u00a0%"),
        "hashes": _hashes,
        "ran": lambda one: " · ".join(_ran(one, manifest)),
        "section_title": _section_title,
        "tally": tally,
        "tolerance": _tolerance,
    }
    unmeasured = [one.claim for one in everything if not one.result]
    present = {
        "rounding": found,
        "figures": figures,
        "speed": speed,
        "not-run": unmeasured,
        "cost": measured,
        "manifest": True,
    }
    return environment.from_string(here.joinpath("report.html.j2").read_text("utf-8")).render(
        title=TITLE,
        paper=PAPER,
        css=here.joinpath("report.css").read_text("utf-8"),
        symbols=SYMBOLS,
        parts=_PARTS,
        present=[name for name, there in present.items() if there],
        words=[one.status for one in everything],
        facts=_facts(manifest),
        measured=measured,
        sections=_by_section(measured),
        unmeasured=unmeasured,
        figures=figures,
        audit=_audit,
        gradients=found,
        gradients_text=GRADIENTS,
        gradients_nearer=nearer(found),
        speed=speed,
        growth=_source(growth, "png") if growth else None,
        growth_caption=_GROWTH,
        images=images,
        convolution=_source(convolution, "png") if convolution else None,
        convolution_caption=_CONVOLUTION,
        costs=costs({one.claim.id: one.result for one in measured if one.result}),
        unknown=UNKNOWN,
        programs=PROGRAMS,
        manifest=_flat(manifest),
    )


def _section_title(section: str) -> str:
    title = SECTIONS.get(section, "")
    return title if section == "A" else f"Section\u00a0{section}. {title}"


def _by_section(measured: list[Entry]) -> dict[str, list[Entry]]:
    """The claims by the one section of the paper under which the page lists them.

    Of several, as in "2, 8", that is the one that the claims before it have, so that the paper's order stays.
    """
    found: dict[str, list[Entry]] = {}
    current = ""
    for one in measured:
        listed = one.claim.section.replace(" ", "").split(",")
        current = current if current in listed else listed[0]
        found.setdefault(current, []).append(one)
    return found


def _facts(manifest: Mapping[str, Any]) -> list[str]:
    facts = [f"profile {manifest['profile']}"] if "profile" in manifest else []
    facts += [_seeds(manifest["seeds"])] if isinstance(manifest.get("seeds"), list | tuple) else []
    facts += [f"on {manifest['device']}"] if "device" in manifest else []
    facts += [f"in {duration(manifest['seconds'])}"] if isinstance(manifest.get("seconds"), int | float) else []
    return facts + ([f"started {str(manifest['started'])[:16].replace('T', ' ')}"] if "started" in manifest else [])


def _ran(one: Entry, manifest: Mapping[str, Any]) -> list[str]:
    """How a claim was run, as far as that is not said of the whole page."""
    if one.result is None:
        return []
    parts = [text for key in ("profile", "device") if (text := getattr(one.result, key)) != manifest.get(key)]
    return [*parts, seeds(one.result), duration(one.result.seconds)]


def _tolerance(quantity: Quantity) -> str:
    tolerance = quantity.tolerance or 0.0
    return f"{100 * tolerance:g} points" if quantity.format != "number" else f"{tolerance:g}"


# ---------------------------------------------------------------------------------------------------------
# The masking audit


def _audit(result: Result) -> dict[str, Any] | None:
    """The lines of the audit's table, means over seeds, and what breaks the order of attacks; None without any."""
    tables = [m.details.get("audit") for m in result.measurements]
    sound = [table for table in tables if isinstance(table, dict) and table.get("rows")]
    rows = {tuple(tuple(row[:3]) for row in table["rows"]) for table in sound}
    if len(sound) < len(tables) or len(rows) != 1:
        return None  # there is none, or it is not the same for all seeds
    lines, broken = [], []
    for same in zip(*(table["rows"] for table in sound), strict=True):
        network, attack, images = same[0][:3]
        one = [Measurement({"": _finite(row[3])}, {"": (_finite(row[4]), _finite(row[5]))}) for row in same]
        of_row = Result(result.claim, result.profile, result.device, result.seeds, one)
        error = format_share(of_row.mean(""), of_row.interval(""))
        lines.append([network, audit.label(attack), f"{images:,}", error])
    for seed, table in zip(result.seeds, sound, strict=True):
        for network, stronger, weaker, images, more, less in table.get("violations", []):
            weak, strong = (f"{audit.label(name)} {100 * e:.2f} %" for name, e in ((weaker, less), (stronger, more)))
            of_seed = f", seed {seed}" if len(sound) > 1 else ""
            broken.append(f"{of_seed}: {network}: {weak}, {strong} only, on the same {images:,} images")
    return {"lines": lines, "broken": broken, "seeds": len(sound)}


def _finite(value: Any) -> float:
    return math.nan if value is None else float(value)


# ---------------------------------------------------------------------------------------------------------
# Figures


@dataclass(frozen=True)
class _Figure:
    """A figure on the page; without a source it was not drawn."""

    name: str
    title: str
    caption: str
    source: str = ""
    width: int = 0
    height: int = 0

    @property
    def wide(self) -> bool:
        return self.width > 1.7 * self.height


def _figures(measured: list[Entry], folder: Path) -> dict[str, _Figure]:
    """The figures of measured claims, by claim."""
    found = {}
    for one in measured:
        drawing = drawings().get(one.claim.id)
        if drawing is None or one.result is None:
            continue
        caption = drawing.caption_of(len(one.result.seeds))
        found[one.claim.id] = _Figure(drawing.file, drawing.title, caption)
        try:
            data = (folder / drawing.file).read_bytes()
            size = struct.unpack(">II", data[16:24]) if data[:8] == b"\x89PNG\r\n\x1a\n" else (0, 0)
        except (OSError, struct.error):
            continue
        found[one.claim.id] = _Figure(drawing.file, drawing.title, caption, _source(data, "png"), *size)
    return found


def _source(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


# ---------------------------------------------------------------------------------------------------------
# The manifest


def _hashes(result: Result) -> list[str]:
    used = (network.get("hash", "") for m in result.measurements for network in m.networks.values())
    return list(dict.fromkeys(map(str, used)))


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """A nested mapping as texts by "outer: inner"."""
    flat: dict[str, str] = {}
    for key, part in value.items():
        if isinstance(part, Mapping):
            flat |= _flat(part, f"{prefix}{key}: ")
        elif isinstance(part, list | tuple):
            flat[f"{prefix}{key}"] = ", ".join(map(str, part))
        else:
            flat[f"{prefix}{key}"] = digits(part) if isinstance(part, float) else str(part)
    return flat


def _seeds(listed: Iterable[Any]) -> str:
    texts = [str(seed) for seed in listed]
    return f"seed{'s' * (len(texts) != 1)} {', '.join(texts)}"
