"""The report: one page of everything measured, to open or print.

It stands alone: style, figures and numbers are inside, nothing is fetched, nothing runs. `tables` shows the same rows
as text. A reader may skip the style sheet at the end.
"""

from __future__ import annotations

import base64
import math
import os
import struct
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from typing import Any

from ..bench import summary
from ..bench.summary import Summary
from ..storage import write_atomically
from . import variations
from .registry import Claim, Quantity
from .results import CONTROL, EXPLAINED, STATUSES, Figure, Measurement, Result, Status, format_value, statuses
from .tables import ROUNDED, ROUNDING, ROUNDING_TITLE, kind, nearer, rounded, rows, tally
from .verdict import CLAIM as AUDITED
from .verdict import verdict

PAPER = "https://arxiv.org/abs/1412.6572"
TITLE = "Explaining and Harnessing Adversarial Examples, measured again"
SYMBOLS: dict[Status, str] = {"reproduced": "✓", "close": "≈", "differs": "✗", "not run": "–"}


class Html(str):
    """Text that is HTML already."""


def tag(name: str, /, *children: str | None, **attributes: object) -> Html:
    """`<name attributes>children</name>`: whatever is not Html is escaped, so that no text can become markup.

    An attribute that is False is left out; a trailing underscore keeps `class_` from being a keyword.
    """
    listed = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{escape(str(value))}"'
        for key, value in attributes.items()
        if value is not False
    )
    if name in ("img", "meta"):
        return Html(f"<{name}{listed}>")
    inner = "".join(child if isinstance(child, Html) else escape(child) for child in children if child)
    return Html(f"<{name}{listed}>{inner}</{name}>{_BREAKS.get(name, '')}")


_BREAKS = dict.fromkeys(
    ("tr", "thead", "tbody", "p", "section", "header", "main", "figure", "li", "dd", "style", "nav", "h3"), "\n"
)
_Measured = list[tuple[Claim, Result, Status]]


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
    everything = list(statuses(results))
    measured = [(claim, result, word) for claim, result, word in everything if result]
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        # the page asks nothing of anybody, and the browser is told to see to that
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag("title", TITLE),
        tag("style", Html(_CSS)),
    )
    sections = {
        "claims": _measured_section(measured, manifest),
        "audit": _audit_section(results.get(AUDITED)),
        "rounding": _rounding_section(results),
        "figures": _figures_section(measured, figures_dir),
        "speed": _speed_section(summary.committed(), summary.growth_plot()),
        "not-run": _not_run_section([claim for claim, result, _ in everything if not result]),
        "manifest": _manifest_section(measured, manifest),
    }
    contents = _contents(measured, [name for name, section in sections.items() if section])
    main = tag("main", contents if len(measured) > _LONG else None, *sections.values())
    header = _header([word for *_, word in everything], len(measured), manifest)
    return "<!doctype html>\n" + tag("html", head, tag("body", header, main), lang="en") + "\n"


_LONG = 10  # claims: a page of more has a table of contents


def _contents(measured: _Measured, present: list[str]) -> Html:
    """Links to the parts of the page, and to every claim with the mark of its status."""
    lines = []
    for section, claimed in _by_section(measured).items():
        links = [tag("a", claim.id, f"\u00a0{SYMBOLS[word]}", href=f"#{claim.id}") for claim, _, word in claimed]
        spaced = [part for link in links for part in (link, " ")]
        lines.append(tag("li", tag("a", _section_title(section), href=f"#section-{section}"), ": ", *spaced))
    lines += [tag("li", tag("a", title, href=f"#{name}")) for name, title in _PARTS.items() if name in present]
    return tag("nav", tag("h2", "Contents"), tag("ul", *lines), aria_label="Contents", class_="contents")


_PARTS = {
    "audit": "What the audit does to the paper’s 17.9\u00a0%",
    "rounding": ROUNDING_TITLE,
    "figures": "Figures",
    "speed": "How fast it is",
    "not-run": "Claims not run",
    "manifest": "How these numbers were made",
}
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


def _section_title(section: str) -> str:
    title = SECTIONS.get(section, "")
    return title if section == "A" else f"Section\u00a0{section}. {title}"


def _by_section(measured: _Measured) -> dict[str, _Measured]:
    """The claims by the one section of the paper under which the page lists them.

    Of several, as in "2, 8", that is the one that the claims before it have, so that the paper's order stays.
    """
    found: dict[str, _Measured] = {}
    current = ""
    for entry in measured:
        listed = entry[0].section.replace(" ", "").split(",")
        current = current if current in listed else listed[0]
        found.setdefault(current, []).append(entry)
    return found


_POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def _header(words: list[Status], measured: int, manifest: Mapping[str, Any]) -> Html:
    facts = [f"profile {manifest['profile']}"] if "profile" in manifest else []
    facts += [_seeds(manifest["seeds"])] if isinstance(manifest.get("seeds"), list | tuple) else []
    facts += [f"on {manifest['device']}"] if "device" in manifest else []
    facts += [f"in {_duration(manifest['seconds'])}"] if isinstance(manifest.get("seconds"), int | float) else []
    facts += [f"started {str(manifest['started'])[:16].replace('T', ' ')}"] if "started" in manifest else []
    lead = tag(
        "p",
        "What the claims of Goodfellow, Shlens and Szegedy (",
        tag("a", "arXiv 1412.6572", href=PAPER),
        f", ICLR 2015) come to when they are measured again. Of the paper’s {tally(words)}. The last run: ",
        f"{', '.join(facts) or 'unknown'}.",
        class_="lead",
    )
    tiles = [tag("li", tag("strong", str(words.count(w))), f" {SYMBOLS[w]} {w}", class_=_class(w)) for w in STATUSES]
    return tag("header", tag("h1", TITLE), lead, tag("ul", *tiles, class_="tally"))


def _head(*columns: str) -> Html:
    return tag("thead", tag("tr", *(tag("th", column, scope="col") for column in columns)))


def _measured_section(measured: _Measured, manifest: Mapping[str, Any]) -> Html:
    if not measured:
        return tag("section", tag("h2", "Claims measured"), tag("p", "None yet."), id="claims")
    head = _head("Claim", "Quantity", "Paper", "Ours [95 % interval]", "Status")
    parts: list[Html] = []
    for section, claimed in _by_section(measured).items():
        groups = [_group(claim, result, word, manifest) for claim, result, word in claimed]
        parts.append(tag("h3", _section_title(section), id=f"section-{section}", class_="of-the-paper"))
        parts.append(tag("table", head, *groups, class_="measured"))
    return tag("section", tag("h2", "Claims measured"), _LEGEND, *parts, id="claims")


def _group(claim: Claim, result: Result, word: Status, manifest: Mapping[str, Any]) -> Html:
    """The rows of one measured claim: its description and its status span them all."""
    lines = rows(claim, result)
    span = len(lines) + 1
    about = tag("th", _about(claim), _run(result, word, manifest), scope="rowgroup", rowspan=span)
    judged = tag("td", _badge(word), class_="status", rowspan=span)
    body = []
    for i, row in enumerate(lines):
        cells = [
            tag("td", row.label, class_="label"),
            tag("td", row.paper.replace(" %", "\u00a0%"), class_="paper"),
            tag("td", _mark(row.status), _ours(row.ours), class_="ours"),
        ]
        cells = [about, *cells, judged] if i == 0 else cells
        body.append(tag("tr", *cells, class_="compared" if row.status else "context"))
    # the description is often higher than its lines: an empty line takes up the rest, so that they stay together
    body.append(tag("tr", tag("td", colspan=3), class_="rest", aria_hidden="true"))
    if tables := [entry for entry in (_variations(result, word), _audit(result)) if entry]:
        body.append(tag("tr", tag("td", *tables, colspan=5), class_="more"))
    return tag("tbody", *body, id=claim.id)


def _variations(result: Result, word: Status) -> Html | None:
    """What comes out if a choice on which the paper is silent is made otherwise; open where the claim differs."""
    tables = _tables(result, "variations")
    if not tables or [row[0] for row in tables[0]["rows"]] == ["as defined"]:
        return None
    columns, formats = tables[0]["columns"], tables[0].get("formats", [])
    names = [[row[0] for row in entry["rows"]] for entry in tables]
    together = all(entry["columns"] == columns for entry in tables) and all(other == names[0] for other in names)
    chosen = tables if together else tables[:1]
    lines = []
    for same in zip(*(entry["rows"] for entry in chosen), strict=True):
        means = [_mean_of(values) for values in zip(*(row[1:] for row in same), strict=True)]
        shown = [_formatted(value, form) for value, form in zip(means, formats[1:], strict=False)]
        lines.append(tag("tr", tag("th", str(same[0][0]), scope="row"), *(tag("td", text) for text in shown)))
    of = "" if len(tables) == 1 else f", mean of {len(tables)} seeds" if together else f", seed {result.seeds[0]}"
    inner = tag("table", _head(*map(str, columns)), tag("tbody", *lines), class_="inner")
    summary = tag("summary", f"Variations of what the paper leaves open{of}")
    return tag(
        "details",
        summary,
        tag("div", inner, class_="scroll", tabindex="0"),
        open=word == "differs",
        class_="variations",
    )


def _tables(result: Result, name: str) -> list[dict[str, Any]]:
    """A table among the details of every seed's measurement; none, where one of them lacks it or has no rows."""
    found = [entry for m in result.measurements if isinstance(entry := m.details.get(name), dict) and entry.get("rows")]
    return found if len(found) == len(result.measurements) else []


def _mean_of(values: Iterable[Any]) -> Any:
    """The mean of numbers; None where one is missing, and what is not a number as it stands."""
    listed = list(values)
    if all(isinstance(value, int | float) and not isinstance(value, bool) for value in listed):
        return math.fsum(listed) / len(listed)
    return listed[0] if isinstance(listed[0], str) else None


def _formatted(value: Any, form: str) -> str:
    if value is None or isinstance(value, str):
        return value or "—"
    return format_value(Quantity("", "", None, None, "percent" if form == "percent" else "number"), value).replace(
        " %", "\u00a0%"
    )


def _audit(result: Result) -> Html | None:
    """The masking audit's table, and whatever breaks the order of attacks, flagged by a word and a symbol."""
    tables = _tables(result, "audit")
    if len({len(entry["rows"]) for entry in tables}) != 1:
        return None  # there is none, or it is not the same for all seeds
    seeds, lines = result.seeds, []
    for same in zip(*(entry["rows"] for entry in tables), strict=True):
        network, attack, images = same[0][:3]
        one = [Measurement({"": _finite(row[3])}, {"": (_finite(row[4]), _finite(row[5]))}) for row in same]
        of_row = Result(result.claim, result.profile, result.device, seeds, one)
        error = format_value(_SHARE, of_row.mean(""), of_row.interval(""))
        named = tag("th", str(network), scope="row")
        lines.append(
            tag("tr", named, *(tag("td", text) for text in (str(attack), f"{images:,}")), tag("td", _ours(error)))
        )
    several = len(tables) > 1
    found = [
        tag("li", "⚠ ", tag("b", "order broken"), f", seed {seed}: {text}" if several else f": {text}")
        for seed, entry in zip(seeds, tables, strict=True)
        for text in entry.get("violations", [])
    ]
    verdict = tag("ul", *found, class_="violations") if found else tag("p", "✓ The order of attacks holds everywhere.")
    head = _head("Network", "Attack", "Images", "Error [95 % interval]")
    summary = tag("summary", "Masking audit" + (f", mean of {len(tables)} seeds" if several else ""))
    inner = tag("table", head, tag("tbody", *lines), class_="inner")
    return tag("details", summary, verdict, tag("div", inner, class_="scroll", tabindex="0"), open=True, class_="audit")


_SHARE = Quantity("", "", None, None, "percent")


def _finite(value: Any) -> float:
    return math.nan if value is None else float(value)


def _audit_section(result: Result | None) -> Html | None:
    """What the audit does to the paper's number for a robust network, in words that follow from ours."""
    if result is None or not (parts := verdict(result)):
        return None
    at = tag("p", "The numbers: ", tag("a", AUDITED, href=f"#{AUDITED}"), class_="run")
    return tag(
        "section", tag("h2", _PARTS["audit"]), *(tag("p", part) for part in parts), at, id="audit", class_="prose"
    )


def _rounding_section(results: Mapping[str, Result]) -> Html | None:
    """Published numbers beside ours, with the gradient as it is and as float32 rounds it."""
    if not (found := variations.rounding(results)):
        return None
    lines = [
        tag(
            "tr",
            tag("th", tag("a", r.claim, href=f"#{r.claim}"), kind(r), scope="row"),
            *(tag("td", text) for text in rounded(r)),
        )
        for r in found
    ]
    inner = tag("table", _head("Number", *ROUNDED), tag("tbody", *lines), class_="inner")
    parts = [tag("p", ROUNDING), tag("p", nearer(found))]
    scroll = tag("div", inner, class_="scroll", tabindex="0")
    return tag("section", tag("h2", _PARTS["rounding"]), *parts, scroll, id="rounding")


def _speed_section(speed: Summary | None, growth: bytes | None) -> Html | None:
    """The committed run of the benchmark, which is not of this run's machine."""
    if speed is None:
        return None
    heading, lines = speed.table()
    note = tag(
        "p",
        "The run of ", tag("code", "tinyadv bench"), f" that is published with the package, on {speed.around}. Median "
        "time of a call; in parentheses the ratio to PyTorch eager in the same turns; “of floor” compares ours with "
        "the job’s matrix products alone.",
    )  # fmt: skip
    body = [tag("tr", tag("th", line[0], scope="row"), *(tag("td", cell) for cell in line[1:])) for line in lines]
    jobs = tag("div", tag("table", _head(*heading), tag("tbody", *body), class_="inner"), class_="scroll", tabindex="0")
    parts: list[Html] = [tag("h2", _PARTS["speed"]), note, jobs]
    if growth:
        caption = (
            "Microseconds per example of a step of adversarial training against the number of units, pieces, examples "
            "in a batch and layers, everything else as in train240; all axes logarithmic."
        )
        source = f"data:image/png;base64,{base64.b64encode(growth).decode()}"
        image = tag("img", src=source, alt=f"Growth of the time with size. {caption}")
        parts.append(tag("figure", image, tag("figcaption", caption), class_="wide"))
    return tag("section", *parts, id="speed")


def _mark(word: Status | None) -> Html | None:
    return tag("span", SYMBOLS[word], class_="mark", title=word) if word else None


def _ours(text: str) -> Html:
    """A value, and its interval in smaller type."""
    value, bracket, interval = text.replace(" %", "\u00a0%").partition(" [")
    return tag("span", value, " " if bracket else "", tag("small", f"[{interval}") if bracket else None)


def _about(claim: Claim) -> Html:
    """Id, section and sentence of a claim; definition, predicate and tolerances on demand."""
    more = [tag("p", claim.definition)]
    if claim.predicate is not None:
        more.append(tag("p", tag("b", "Has to hold, for every seed: "), claim.predicate))
    if claim.published:
        near = "; ".join(f"{q.label}, within {_tolerance(q)}" for q in claim.published)
        more.append(tag("p", tag("b", "Counts as close: "), f"{near} of the paper’s value."))
    return tag(
        "div",
        tag("span", claim.id, class_="id"),
        " ",
        tag("span", f"§{claim.section}" + (f" · on {claim.data}" if claim.data != "MNIST" else ""), class_="where"),
        tag("p", claim.claim, class_="claim"),
        tag("details", tag("summary", "Definition"), *more),
    )


def _tolerance(quantity: Quantity) -> str:
    tolerance = quantity.tolerance or 0.0
    return f"{100 * tolerance:g} points" if quantity.format == "percent" else f"{tolerance:g}"


def _run(result: Result, word: Status, manifest: Mapping[str, Any]) -> Html:
    """How this claim was run, why it differs, and where its figures are."""
    parts = [text for key in ("profile", "device") if (text := getattr(result, key)) != manifest.get(key)]
    parts += [_seeds(result.seeds), _duration(result.seconds)]
    links = [tag("a", figure.title, href=f"#{figure.name}") for figure in result.figures]
    explained = word in EXPLAINED and result.reason
    return tag(
        "div",
        tag("p", tag("b", "Scale: "), result.scale, class_="scale") if result.scale else None,
        tag("p", tag("b", "Why: "), result.reason, class_=f"reason {_class(word)}-reason") if explained else None,
        tag("p", " · ".join(parts), class_="run"),
        tag("p", "See ", Html(", ".join(links)), class_="run") if links else None,
    )


def _badge(word: Status) -> Html:
    return tag("span", tag("span", SYMBOLS[word], aria_hidden="true"), f" {word}", class_=f"badge {_class(word)}")


def _class(word: Status) -> str:
    return word.replace(" ", "-")


def _figures_section(measured: _Measured, figures_dir: Path) -> Html | None:
    drawn = [_figure(figure, claim, figures_dir) for claim, result, _ in measured for figure in result.figures]
    return (
        tag("section", tag("h2", _PARTS["figures"]), tag("div", *drawn, class_="figures"), id="figures")
        if drawn
        else None
    )


def _figure(figure: Figure, claim: Claim, figures_dir: Path) -> Html:
    width = height = 0
    try:
        data = (figures_dir / figure.name).read_bytes()
        source = f"data:image/{_media_type(figure.name)};base64,{base64.b64encode(data).decode()}"
        if data[:8] == b"\x89PNG\r\n\x1a\n":
            width, height = struct.unpack(">II", data[16:24])
        size = {"width": width, "height": height} if width and height else {}
        image = tag("img", src=source, alt=f"{figure.title}. {figure.caption}", **size)
    except (OSError, struct.error):
        image = tag("p", f"{figure.name} was not drawn.", class_="absent")
    caption = tag("figcaption", figure.caption, " ", tag("a", claim.id, href=f"#{claim.id}"))
    wide = "wide" if width > 1.7 * height else False
    return tag("figure", tag("h3", figure.title), image, caption, id=figure.name, class_=wide)


def _media_type(name: str) -> str:
    return "svg+xml" if name.endswith(".svg") else "png"


def _not_run_section(missing: list[Claim]) -> Html | None:
    if not missing:
        return None
    lines = [
        tag(
            "tr",
            tag("th", _about(claim), scope="row"),
            tag("td", claim.paper, class_="paper"),
            tag("td", _badge("not run"), class_="status"),
            id=claim.id,
        )
        for claim in missing
    ]
    explained = tag("p", "The paper makes these claims too. Here nothing is said for or against them.")
    listed = tag("table", _head("Claim", "Paper", "Status"), tag("tbody", *lines), class_="unmeasured")
    return tag("section", tag("h2", _PARTS["not-run"]), explained, listed, id="not-run")


def _manifest_section(measured: _Measured, manifest: Mapping[str, Any]) -> Html:
    entries = []
    for key, text in _flat(manifest).items():
        entries += [tag("dt", key), tag("dd", tag("code", text) if key == "command" else text)]
    lines = [
        tag(
            "tr",
            tag("th", claim.id, scope="row"),
            tag("td", result.profile),
            tag("td", ", ".join(map(str, result.seeds))),
            tag("td", ", ".join(f"{name} {version}" for name, version in result.versions.items())),
            tag("td", *(tag("code", f"{recipe} ") for recipe in _recipes(result))),
        )
        for claim, result, _ in measured
    ]
    caption = tag("caption", "The trained networks behind each claim, by the hash of the recipe that trains them")
    head = _head("Claim", "Profile", "Seeds", "Versions", "Recipes")
    recipes = tag("table", caption, head, tag("tbody", *lines), class_="recipes") if lines else None
    return tag(
        "section", tag("h2", _PARTS["manifest"]), tag("dl", *entries) if entries else None, recipes,
        id="manifest",
    )  # fmt: skip


def _recipes(result: Result) -> list[str]:
    return list(dict.fromkeys(recipe for m in result.measurements for recipe in m.recipes))


def _flat(value: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """A nested mapping as texts by "outer: inner"."""
    flat: dict[str, str] = {}
    for key, entry in value.items():
        if isinstance(entry, Mapping):
            flat |= _flat(entry, f"{prefix}{key}: ")
        elif isinstance(entry, list | tuple):
            flat[f"{prefix}{key}"] = ", ".join(map(str, entry))
        else:
            flat[f"{prefix}{key}"] = f"{entry:.4g}" if isinstance(entry, float) else str(entry)
    return flat


def _seeds(seeds: Iterable[Any]) -> str:
    listed = [str(seed) for seed in seeds]
    return f"seed{'s' * (len(listed) != 1)} {', '.join(listed)}"


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"


_LEGEND = tag(
    "details",
    tag("summary", "How to read this table"),
    tag(
        "p",
        tag("b", "Reproduced: "),
        "the paper’s value lies within our 95 % interval over seeds and test images, and a predicate holds for every "
        "seed; where two or three seeds leave the interval wide, that says little. ",
        tag("b", "Close: "),
        "within the tolerance that the definition states. ",
        tag("b", "Differs: "),
        "neither, with the reason where it is known. ",
        tag("b", "Not run: "),
        "nothing, or only what the paper’s numbers are not about. Each line has its own mark; a claim has the worst of "
        "its lines, and no status is given by hand.",
    ),
    tag(
        "p",
        "The lines in small type are context, for which the paper gives no value. The error counts all inputs tried; "
        "the confidence on mistakes is the mean of the largest class probability over the misclassified ones alone. "
        "Pixels are in [0, 1], and attacked images are not clipped unless a line says so.",
    ),
    class_="legend",
)

# The words carry the status; colour, symbol and border repeat it, so that grey print and every eye can tell them apart.
_CSS = """
:root { --ink: #1b1f24; --soft: #57606a; --line: #d5dae0; --paper: #fff; --wash: #f6f7f9; --link: #0b4f8a; }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0 auto; padding: 2rem 1.5rem 4rem; max-width: 76rem; color: var(--ink); background: var(--paper);
  font: 1rem/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", sans-serif; }
h1, h2, h3 { line-height: 1.2; text-wrap: balance; }
h1 { font-size: clamp(1.6rem, 1rem + 2.4vw, 2.5rem); margin: 0 0 .75rem; letter-spacing: -.015em; max-width: 24em; }
h2 { font-size: 1.4rem; margin: 3rem 0 1rem; }
h3 { font-size: 1.05rem; margin: 0 0 .6rem; }
a { color: var(--link); text-underline-offset: .15em; }
code { font: .9em ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; overflow-wrap: anywhere; }
.lead { max-width: 48em; font-size: 1.08rem; margin: 0 0 1.25rem; }
.tally { list-style: none; display: flex; flex-wrap: wrap; gap: .6rem; margin: 0; padding: 0; }
.tally li { padding: .35rem .9rem; border-radius: .5rem; border: 2px solid; }
.tally strong { font-size: 1.35rem; margin-right: .2rem; font-variant-numeric: tabular-nums; }
.badge { display: inline-block; padding: .1rem .55rem; border-radius: .35rem; border: 2px solid; font-size: .85rem;
  font-weight: 600; white-space: nowrap; }
.reproduced { background: #0b5a44; border-color: #0b5a44 !important; color: #fff; }
.close { background: #fdf0cf; border-color: #a8690a !important; color: #4a2f00; }
.differs { background: #fff; border-color: #a3162d !important; color: #a3162d; border-style: double !important;
  border-width: 4px !important; }
.badge.differs { padding: calc(.1rem - 2px) calc(.55rem - 2px); }
.tally .differs { padding: calc(.35rem - 2px) calc(.9rem - 2px); }
.not-run { background: #fff; border-color: #9aa2ab !important; color: #57606a; border-style: dashed !important; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; font-weight: 400; padding: .3rem .6rem; }
thead th { font-size: .8rem; font-weight: 600; color: var(--soft); border-bottom: 2px solid var(--ink);
  vertical-align: bottom; padding-top: 0; }
thead th:first-child { padding-left: 0; }
.measured > tbody { border-bottom: 1px solid var(--line); }
.measured > tbody > tr:first-child > * { padding-top: .9rem; }
.measured > tbody > tr > th, .measured td.status { padding-bottom: .9rem; }
.compared, .context { height: 1px; } .rest { height: auto; } .measured .rest td { padding: 0 0 .9rem; }
.measured > tbody > tr > th { width: 40%; padding-left: 0; }
td.label { width: 24%; }
.measured td.paper, .measured td.ours, td.status { width: 1%; }
td.paper, td.ours { font-variant-numeric: tabular-nums; }
.measured td.ours { white-space: nowrap; } .measured td.paper { min-width: 7rem; }
.compared .ours { font-weight: 600; }
.mark { display: inline-block; width: 1.1em; margin-right: .2em; font-weight: 600; color: var(--soft); }
.context .ours { padding-left: calc(.6rem + 1.3rem); }
.ours small { white-space: nowrap; font-weight: 400; font-size: .88em; color: var(--soft); }
.context { font-size: .82rem; color: var(--soft); }
.context td { padding-top: .08rem; padding-bottom: .08rem; }
.id { font: 600 .95rem ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; }
.where { color: var(--soft); font-size: .85rem; }
.claim { margin: .15rem 0 .25rem; }
.scale, .reason, .run { margin: .3rem 0 0; font-size: .85rem; }
.reason { border-left: 3px solid #a3162d; padding-left: .6rem; overflow-wrap: anywhere; }
.not-run-reason { border-color: #9aa2ab; }
.run { color: var(--soft); }
details { font-size: .88rem; color: var(--soft); }
details p { margin: .4rem 0; max-width: 60em; }
summary { cursor: pointer; width: fit-content; color: var(--link); }
.legend { margin: 0 0 1.25rem; }
.contents ul { list-style: none; margin: 0; padding: 0; }
.contents li { margin: .3rem 0; } .contents li > a:first-child { font-weight: 600; }
.contents li > a:not(:first-child) { font-size: .85rem; white-space: nowrap; margin-right: .5rem; }
.of-the-paper { margin: 2.25rem 0 1rem; font-size: 1.15rem; }
.more > td { padding: 0 0 1rem; }
.more details { margin: 0 0 .6rem; color: inherit; }
.scroll { overflow-x: auto; }
.inner { width: auto; margin: .4rem 0 .2rem; font-size: .82rem; }
.inner th, .inner td { padding: .18rem 1.2rem .18rem 0; } .inner thead th { border-bottom: 1px solid var(--ink); }
.inner td { font-variant-numeric: tabular-nums; white-space: nowrap; }
.inner tbody tr > * { border-bottom: 1px solid var(--line); }
.violations { margin: .4rem 0; padding: .5rem .9rem; list-style: none; border: 2px solid #a3162d; border-radius: .35rem;
  color: #a3162d; width: fit-content; }
.prose p { max-width: 48em; }
.unmeasured, #not-run h2 { color: var(--soft); }
.unmeasured tbody tr > * { border-bottom: 1px solid var(--line); padding-top: .6rem; padding-bottom: .6rem; }
.unmeasured th { width: 68%; } .unmeasured tbody th { padding-left: 0; }
.figures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(100%, 30rem), 1fr)); gap: 1.5rem; }
figure { margin: 0; padding: 1rem; border: 1px solid var(--line); border-radius: .6rem; }
figure.wide { grid-column: 1 / -1; }
figure img { display: block; max-width: 100%; height: auto; margin: 0 auto .75rem; }
figcaption { font-size: .9rem; color: var(--soft); max-width: 60em; }
.absent { padding: 2rem; background: var(--wash); text-align: center; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .3rem 1.25rem; margin: 0 0 1.5rem; }
dt { color: var(--soft); } dd { margin: 0; overflow-wrap: anywhere; }
.recipes { font-size: .85rem; }
.recipes caption { text-align: left; padding-bottom: .6rem; color: var(--soft); }
.recipes tbody tr > * { border-bottom: 1px solid var(--line); }
.recipes tbody th { white-space: nowrap; padding-left: 0; }
:target { scroll-margin-top: 1rem; } tbody:target, tr:target, figure:target { background: #eef5fc; }
@media screen and (max-width: 46rem) {
  body { padding: 1.25rem 1rem 3rem; }
  .measured, .measured > tbody, .measured > tbody > tr, .measured > tbody > tr > *, .unmeasured, .unmeasured tbody,
  .unmeasured tr, .unmeasured th, .unmeasured td, .recipes, .recipes caption, .recipes tbody, .recipes tr, .recipes th,
  .recipes td { display: block; width: auto !important; }
  .measured > thead, .unmeasured thead, .recipes thead { position: absolute; width: 1px; height: 1px; overflow: hidden;
    clip-path: inset(50%); }
  .measured > tbody, .unmeasured tr { border: 1px solid var(--line); border-radius: .6rem; margin: 0 0 1rem;
    padding: .75rem .9rem; }
  .measured > tbody > tr > *, .unmeasured tbody tr > * { padding: 0 !important; border: 0 !important; }
  .measured > tbody > tr { display: grid; grid-template-columns: 1fr auto; column-gap: .75rem; padding: .35rem 0; }
  .measured > tbody > tr.more { display: block; } .inner td, .inner th { padding-right: .8rem; }
  .compared, .context { height: auto; } .measured > tbody > tr.context { padding: .05rem 0; }
  .measured > tbody > tr.rest { display: none; }
  .measured > tbody > tr > th, .measured td.status { grid-column: 1 / -1; }
  .measured td.status { order: -1; margin-bottom: .5rem; }
  .measured > tbody > tr > th { order: -1; margin-bottom: .75rem; }
  .measured td.label { grid-column: 1 / -1; }
  .context td.label { grid-column: 1; }
  .measured td.paper:not(:empty)::before, .unmeasured td.paper::before { content: "paper:\\00a0"; color: var(--soft);
    font-weight: 400; }
  .measured td.paper:empty { display: none; } .compared .ours small { font-size: .8em; }
  .measured tr:has(td.paper:empty) td.label { grid-column: 1; }
  .measured td.paper, .measured td.ours { white-space: normal; } .measured td.ours { text-align: right; }
  .unmeasured td.status { margin-top: .4rem; }
  dl { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: .5rem; }
  .recipes tr { padding: .5rem 0; border-bottom: 1px solid var(--line); } .recipes tr > * { padding: 0 !important;
    border: 0 !important; } .recipes tbody th { font-weight: 600; }
  .recipes td:nth-child(3)::before { content: "seeds: "; } .recipes td:nth-child(5)::before { content: "recipes: "; }
}
@media print {
  @page { margin: 14mm; }
  html { font-size: 8.5pt; }
  body { max-width: none; padding: 0; }
  h1 { font-size: 2.2rem; } h2 { margin-top: 2rem; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
  details:not([open]) { display: none; }
  .measured > tbody, tr, figure { break-inside: avoid; }
  .contents { display: none; }
  h2, h3 { break-after: avoid; }
  thead { display: table-header-group; }
  a { color: inherit; text-decoration: none; }
  figure { border: 0; padding: 0; } figure img { max-height: 100mm; width: auto; }
}
"""
