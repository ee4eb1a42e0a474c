"""What the read-along site says that is not typed: lessons as notebooks, claims, the map, points, known mistakes.

Everything here is text made of the lesson files, the registry of claims, the committed results and the tests' marks;
nothing needs Sphinx. Pages are MyST Markdown: `(name)=` is a target, `[text](#name)` a link to it.
"""

from __future__ import annotations

import ast
import inspect
import json
import re
import runpy
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from html import escape
from importlib import import_module
from pathlib import Path
from textwrap import indent
from typing import Any

from ..paper.claims import Claim, claims
from ..paper.draw import drawing_of
from ..paper.results import Result, status, statuses
from ..paper.results_file import committed
from ..paper.show import entry, rows, tally
from ..paper.show import seeds as seeds_of
from ..paper.show.numbers import format_paper
from ..paper.show.report import SECTIONS, SYMBOLS
from ..tensor import Op
from . import PACKAGE, lessons, title
from .contents import answers
from .exercises import BEGIN, END, exercises, spans, stub, without_rubrics
from .export import graded_lessons, notebook, tests_folder
from .grade import tests_of
from .notebook import together

PREDICT = "**Predict.**"
WEEKS = {1: (1, 2, 3), 2: (4, 5, 6), 3: (7, 8, 9, 10), 4: (11, 12, 13, 14, 15, 16)}
# What readers of the code meet first, in the order in which it is best read.
MODULES = {
    "The engine": ["tensor", "ops", "backend", "gradcheck"],
    "Networks, costs, attacks": [
        "layers", "images", "models", "losses", "attacks", "dbm", "googlenet", "photographs",
        "torch_model",
    ],
    "Training and measuring": [
        "optim", "training", "metrics", "datasets", "preprocessing", "storage", "progress", "machine",
    ],
    "The evidence": [
        "paper.claims", "paper.results", "paper.results_file", "paper.profiles", "paper.recipes", "paper.lab",
        "paper.measure.common", "paper.audit", "paper.run", "paper.show.numbers", "paper.show.text",
        "paper.show.report",
    ],
    "The course": [
        "course", "course.exercises", "course.submissions", "course.feedback", "course.export", "course.grade",
        "course.judging", "course.scores",
    ],
}  # fmt: skip


def text(said: object) -> str:
    """Text on one line in which Markdown and HTML find nothing to take for markup."""
    line = escape(" ".join(str(said).split()), quote=False)
    return "".join(f"\\{c}" if c in r"\`*_{}[]|#~$" else c for c in line)


def with_code(said: str) -> str:
    """`text`, but what stands between backticks stays code."""
    return "`".join(part if i % 2 else text(f".{part}.")[1:-1] for i, part in enumerate(said.split("`")))


def table(head: Iterable[str], lines: Iterable[Iterable[str]]) -> str:
    """A Markdown table of cells that are Markdown already."""
    head = list(head)
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, ["---"] * len(head), *lines]) + "\n"


def claim_link(claim: Claim) -> str:
    """A link to what the site says of a claim."""
    return f"[`{claim.id}`](#claim-{claim.id})"


def lesson_link(number: int) -> str:
    """A link to a lesson's page, by its title; of one that there is not (yet), its number."""
    path = lessons().get(number)
    return f"[{number}. {text(title(path))}](#lesson-{number:02})" if path else f"lesson {number}"


def _source(number: int) -> str:
    return lessons()[number].read_text(encoding="utf-8")


# ---------------------------------------------------------------------------------------------------------
# Lessons


def downloads(number: int) -> dict[str, str]:
    """What a reader may take away of a lesson, by file name: script, notebook, and the notebook with open exercises."""
    path, source = lessons()[number], without_rubrics(_source(number))
    return {
        path.name: source,
        f"{path.stem}.ipynb": notebook(source),
        f"{path.stem}_exercises.ipynb": notebook(stub(_source(number))),
    }


def lesson_page(number: int) -> str:
    """A lesson as the notebook that its page is made of.

    Its docstring becomes the lead, and the body of each exercise is folded away under the exercise as students get it.
    """
    path, source = lessons()[number], without_rubrics(_source(number))
    book = json.loads(notebook(source))
    _, *cells = book["cells"]  # the first is the docstring
    book["cells"] = [_with_lead(cells[0], number, path, source)]
    for cell in cells[1:]:
        if BEGIN in "".join(cell["source"]):
            book["cells"] += _folded(cell)
        elif cell["cell_type"] == "markdown" and PREDICT in "".join(cell["source"]):
            book["cells"] += [{**cell, "source": _prediction("".join(cell["source"]))}]
        else:
            book["cells"].append(cell)
    for i, cell in enumerate(book["cells"]):
        cell["id"] = f"cell-{i}"
    return json.dumps(book, indent=1, ensure_ascii=False) + "\n"


def _with_lead(cell: dict[str, Any], number: int, path: Path, source: str) -> dict[str, Any]:
    """A lesson's first cell, with what it is about and what can be downloaded under the heading."""
    heading, _, rest = "".join(cell["source"]).partition("\n")
    said = (ast.get_docstring(ast.parse(source)) or "").split("\n\n")[1:]
    answered = " ".join(map(claim_link, answers(source)))
    lead = [
        f"(lesson-{number:02})=", heading.replace("Lesson ", "", 1), "", ":::{container} lead", "\n\n".join(said), "",
        f"**Take it along:** {{download}}`notebook <files/{path.stem}.ipynb>`, "
        f"{{download}}`notebook with its exercises open <files/{path.stem}_exercises.ipynb>`, "
        f"{{download}}`script <files/{path.name}>`; or run it with `tinyadv lesson {number}`.",
        "", f"**Claims:** {answered}" if answered else "", ":::", "",
    ]  # fmt: skip
    return {**cell, "source": "\n".join(lead) + rest}


def _prediction(source: str) -> str:
    """A cell that ends in a question: the page hides the next output until the reader has chosen an answer."""
    before, mark, question = source.partition(PREDICT)
    return f"{before}:::{{container}} predict\n{mark}{question}\n:::\n"


def _folded(cell: dict[str, Any]) -> list[dict[str, Any]]:
    """A cell with solutions: each exercise as students get it, then its solution, on demand; between them the rest."""
    found: list[dict[str, Any]] = []
    for code in _parts("".join(cell["source"])):
        if BEGIN not in code:
            found.append({**cell, "source": code})
            continue
        (name,) = exercises(code)
        block = f"```{{code-block}} python\n{stub(code).strip()}\n```"
        given = f":::{{container}} exercise\n:name: exercise-{name}\n{block}\n:::\n"
        prompts = {f"code_prompt_{verb}": f"{verb.capitalize()} the solution of {name}" for verb in ("show", "hide")}
        metadata = {**cell["metadata"], "tags": ["hide-input", "solution"], "mystnb": prompts}
        solved = "\n".join(line for line in code.splitlines() if line.strip() not in (BEGIN, END))
        found.append({"cell_type": "markdown", "metadata": {}, "source": given})
        found.append({**cell, "metadata": metadata, "source": solved})
    return found


def _parts(code: str) -> list[str]:
    """Code, parted before and after each function or class that has a solution; comments go with what is below them."""
    lines, parts, begun = code.splitlines(), [], 0
    for start, end in spans(code):
        parts += ["\n".join(lines[begun:start]), "\n".join(lines[start:end])]
        begun = end
    return [part.strip("\n") for part in [*parts, "\n".join(lines[begun:])] if part.strip()]


def lesson_list() -> str:
    """A table of all lessons, and the hidden list from which the site knows their order."""
    lines = []
    for number in lessons():
        names = exercises(_source(number))
        answered = "<br>".join(map(claim_link, answers(_source(number))))
        exercised = ", ".join(f"`{name}`" for name in names)
        lines.append([lesson_link(number), minutes(_source(number)), answered, exercised, _points(number)])
    entries = "\n".join(
        f"{number}. {title(path).partition(':')[0]} <{path.stem}>" for number, path in lessons().items()
    )
    shown = table(["Lesson", "Time", "Claims", "Exercises", "Points"], lines)
    return f"{shown}\n```{{toctree}}\n:hidden:\n\n{entries}\n```\n"


def minutes(source: str) -> str:
    """How long a lesson says that it takes."""
    found = re.search(r"\*\*Time:\*\* about (\d+) minutes", source)
    return f"{found[1]}\u00a0min" if found else "—"


def lesson_cards() -> str:
    """All lessons as cards: number, title, time. A card is a link."""
    cards = []
    for number, path in lessons().items():
        head, _, what = title(path).partition(": ")
        link, what = f"**[{number}. {text(head)}](#lesson-{number:02})**", what[:1].upper() + what[1:]
        cards.append(f":::{{container}} card\n{link}\n\n{text(what)}\n\n{minutes(_source(number))}\n:::")
    inner = "\n\n".join(cards)
    return f"::::{{container}} cards\n{inner}\n::::\n"


@cache
def _tests(number: int) -> dict[str, dict[str, float]]:
    return tests_of(number, exercises(_source(number))) if number in graded_lessons() else {}


def _points(number: int) -> str:
    return f"{sum(sum(tests.values()) for tests in _tests(number).values()):g}" if _tests(number) else "—"


# ---------------------------------------------------------------------------------------------------------
# Claims


def sections() -> dict[str, list[Claim]]:
    """The claims by the sections of the paper; one that belongs to two of them is in both."""
    named = {name: [c for c in claims().values() if name in re.split(r",\s*", c.section)] for name in SECTIONS}
    return {name: found for name, found in named.items() if found}


def section_title(section: str) -> str:
    """What a section of the paper is called."""
    return SECTIONS[section] if section == "A" else f"Section {section}. {SECTIONS[section]}"


def lessons_of(claim: Claim) -> list[int]:
    """The lessons that compare their own numbers with a claim."""
    return [number for number in lessons() if claim in answers(_source(number))]


def badge(claim: Claim, result: Result | None) -> str:
    """A claim's status, as a word and a sign."""
    word = status(claim, result)
    return f"<span class='badge {word.replace(' ', '-')}'>{SYMBOLS[word]}\u00a0{word.replace(' ', chr(0xA0))}</span>"


def claims_table() -> str:
    """Every claim's paper's values, ours, and the status: a line for each value, the first of a claim with its name."""
    results, lines = committed(), []
    for claim in claims().values():
        result = results.get(claim.id)
        name, section = f"{claim_link(claim)} {badge(claim, result)}", text(claim.section)
        for row in rows(claim, result):
            if row.status is not None:
                lines.append([name, text(row.label), _together(row.ours), text(row.paper), section])
                name = section = ""
    return table(["Claim", "What", "Ours \\[95 % interval\\]", "Paper", "§"], lines)


def _together(said: str) -> str:
    return together(text(said)) if "[" in said else text(said)


def claims_details(results: Mapping[str, Result]) -> str:
    """Each claim in full, under the sections of the paper; the figures of `results` lie in the site's `pictures`."""
    seen, parts = set[str](), []
    for section, found in sections().items():
        parts.append(f"## {section_title(section)}\n")
        for claim in found:
            if claim.id not in seen:
                parts.append(_details(claim, results.get(claim.id)))
            seen.add(claim.id)
    return "\n".join(parts)


def _details(claim: Claim, result: Result | None) -> str:
    head = [f"(claim-{claim.id})=\n### {claim.id}", f"{text(claim.claim)} {badge(claim, result)}"]
    parts = []
    lines = [[text(row.label), text(row.paper or "—"), _together(row.ours)] for row in rows(claim, result)]
    parts += [table(["What", "Paper", "Ours \\[95 % interval\\]"], lines)] if lines else []
    if result is not None:
        one = entry(claim, result)
        run = f"profile {result.profile}, {seeds_of(result)}"
        smaller = f"; smaller than the paper’s: {text('; '.join(one.scale))}" if one.scale else ""
        parts.append(f"Measured: {run}{smaller}.")
        parts += [f"**Why it {_VERBS[one.status]}:** {text(one.note)}"] if one.note else []
    if taught := lessons_of(claim):
        parts.append("Lessons: " + "; ".join(map(lesson_link, taught)) + ".")
    if result is not None and (drawing := drawing_of(result)):
        about = f"{text(drawing.title)}. {text(drawing.caption_of(len(result.seeds)))}"
        parts.append(picture(drawing.file, drawing.dark_file, " ".join(drawing.title.split()), about))
    more = [text(claim.definition)]
    more += [f"**Has to hold, for every seed:** {text(claim.predicate)}"] if claim.predicate else []
    near = [f"{text(q.label)} {text(format_paper(q))}" for q in claim.published]
    more += [f"**Published:** {'; '.join(near) if near else text(claim.paper)}."]
    parts += ["**Definition.** " + more[0], *more[1:]]
    return "\n\n".join([*head, _fold("Numbers, figure, definition", parts)])


def picture(file: str, dark: str, alt: str, caption: str) -> str:
    """A figure of the folder `pictures`; dark pages show another file."""
    return (
        f"```{{image}} /pictures/{dark}\n:alt: {alt}\n:class: only-dark\n```\n"
        f"```{{figure}} /pictures/{file}\n:alt: {alt}\n:class: only-light\n\n{caption}\n```"
    )


_VERBS = {"close": "is only close", "differs": "differs", "not run": "is not run"}


# ---------------------------------------------------------------------------------------------------------
# The map


def paper_map() -> str:
    """For each section of the paper, the lessons that teach it and the claims in it."""
    results, lines = committed(), []
    for section, found in sections().items():
        taught = sorted({number for claim in found for number in lessons_of(claim)})
        listed = "<br>".join(f"{claim_link(claim)} {badge(claim, results.get(claim.id))}" for claim in found)
        lines.append([text(section_title(section)), "<br>".join(map(lesson_link, taught)) or "—", listed])
    return table(["The paper", "Lessons", "Claims"], lines)


def lesson_map() -> str:
    """For each lesson, the sections and claims that it is about."""
    lines = []
    for number in lessons():
        found = answers(_source(number))
        named = {name for claim in found for name in re.split(r",\s*", claim.section)}
        shown = ["appendix" if name == "A" else name for name in SECTIONS if name in named]
        lines.append([lesson_link(number), text(", ".join(shown)), ", ".join(map(claim_link, found))])
    return table(["Lesson", "§", "Claims"], lines)


# ---------------------------------------------------------------------------------------------------------
# For teachers


def plan() -> str:
    """Four weeks, their lessons, exercises and points."""
    lines = []
    for week, numbers in WEEKS.items():
        there = [number for number in numbers if number in lessons()]
        count = sum(len(exercises(_source(number))) for number in there)
        points = sum(sum(tests.values()) for number in there for tests in _tests(number).values())
        lines.append([str(week), "<br>".join(map(lesson_link, numbers)), str(count), f"{points:g}"])
    return table(["Week", "Lessons", "Exercises", "Points"], lines)


def points() -> str:
    """What each exercise is worth, in how many tests, and how many wrong answers to it are known."""
    lines = []
    for number in graded_lessons():
        for i, (name, tests) in enumerate(_tests(number).items()):
            known = len(mistakes(number).get(name, []))
            worth = f"{sum(tests.values()):g}"
            lesson = f"[{number}](#lesson-{number:02})" if i == 0 else ""
            lines.append([lesson, f"`{name}`", worth, str(len(tests)), str(known)])
    return table(["Lesson", "Exercise", "Points", "Tests", "Mistakes known"], lines)


@cache
def mistakes(number: int) -> dict[str, list[tuple[str, str]]]:
    """What students are likely to get wrong in each exercise of a lesson, and words of the feedback they then get."""
    path = tests_folder() / "wrong" / f"lesson{number:02}.py"
    wrong = runpy.run_path(str(path))["WRONG"] if path.exists() else {}
    return {name: [(mistake, words) for mistake, _, words in answers] for name, answers in wrong.items()}


def wrong_answers() -> str:
    """The mistakes that the tests know, lesson by lesson, folded."""
    parts = []
    for number in graded_lessons():
        known = mistakes(number)
        inner = []
        for name, wrong in known.items():
            lines = [[with_code(mistake), f"“{with_code(words)}”"] for mistake, words in wrong]
            inner.append(f"**`{name}`**\n\n{table(['What goes wrong', 'The feedback says'], lines)}")
        counted = f"{len(known)} exercises, {sum(map(len, known.values()))} mistakes"
        parts.append(f"### Lesson {number}. {text(title(lessons()[number]))}\n\n{_fold(counted, inner)}")
    return "\n".join(parts)


def _fold(heading: str, parts: Iterable[str]) -> str:
    """Markdown that stands folded below a line of text."""
    inner = "\n\n".join(parts)
    return f"::::{{admonition}} {heading}\n:collapsible: closed\n:class: definition\n\n{inner}\n::::\n"


# ---------------------------------------------------------------------------------------------------------
# Reference


def reference() -> str:
    """The public modules with their first sentence, and the hidden list of their pages."""
    parts, names = [], []
    for group, modules in MODULES.items():
        lines = [[f"[`{_dotted(name)}`](#module-page-{name.replace('.', '-')})", _summary(name)] for name in modules]
        parts.append(f"## {group}\n\n{table(['Module', ''], lines)}")
        names += modules
    entries = "\n".join(f"{_dotted(name)} <{name}>" for name in names)
    return "\n".join(parts) + f"\n```{{toctree}}\n:hidden:\n\n{entries}\n```\n"


def module_page(name: str) -> str:
    """The page of a module, filled in from its docstrings."""
    target = f"(module-page-{name.replace('.', '-')})="
    described = "\n\n".join(map(_operation, _operations(name)))
    more = f"\n## Operations\n\n```{{eval-rst}}\n{described}\n```\n" if described else ""
    return (
        f"{target}\n# {_dotted(name)}\n\n```{{eval-rst}}\n.. automodule:: {_dotted(name)}\n   :members:\n"
        f"   :member-order: bysource\n```\n{more}"
    )


def _operations(name: str) -> list[Op]:
    """The public operations of a module, in their order there: Sphinx takes them for data, and leaves them out."""
    module = vars(import_module(_dotted(name)))
    return [
        value
        for key, value in module.items()
        if isinstance(value, Op) and not key.startswith("_") and value.forward.__module__ == _dotted(name)
    ]


def _operation(op: Op) -> str:
    """An operation as reStructuredText: how it is called, and its docstring."""
    said = inspect.cleandoc(op.forward.__doc__ or "")
    said = re.sub(r"^Raises\n-+\n(\w+)\n +", r"Raises \1. ", said, flags=re.M)
    said = re.sub(r"(?<!`)`([^`]+)`(?!`)", r"``\1``", said)
    said = re.sub(r"[*|]", r"\\\g<0>", said)
    called = str(inspect.signature(op.forward)).replace("'", "")
    return f".. py:function:: {op.forward.__module__}.{op.forward.__name__}{called}\n\n{indent(said, '   ')}"


def _dotted(name: str) -> str:
    return f"tinyadv.{name}"


def _summary(name: str) -> str:
    place = PACKAGE / name.replace(".", "/")
    path = place.with_suffix(".py") if place.with_suffix(".py").exists() else place / "__init__.py"
    said = (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").partition("\n\n")[0]
    return with_code(said)


# ---------------------------------------------------------------------------------------------------------
# Filling in what is typed


GENERATED: dict[str, Callable[[], str]] = {
    "lessons": lesson_list,
    "cards": lesson_cards,
    "claims": claims_table,
    "map": paper_map,
    "lesson-map": lesson_map,
    "plan": plan,
    "points": points,
    "mistakes": wrong_answers,
    "reference": reference,
    "tally": lambda: f"{tally([word for _, _, word in statuses(committed())])}.",
}


def filled(page: str, more: dict[str, Callable[[], str]] | None = None) -> str:
    """A typed page with its links to lessons and claims made, and `<!-- generated: name -->` replaced.

    Raises
    ------
    ValueError
        If it asks for what is not there.
    """
    known = {**GENERATED, **(more or {})}

    def part(match: re.Match[str]) -> str:
        if match[1] not in known:
            raise ValueError(f"a page asks for {match[1]!r}: there are {', '.join(known)}")
        return known[match[1]]()

    def claim(match: re.Match[str]) -> str:
        if match[1] not in claims():
            raise ValueError(f"a page names the claim {match[1]!r}, which the registry does not know")
        return claim_link(claims()[match[1]])

    page = re.sub(r"<!-- generated: ([\w-]+) -->", part, page)
    page = re.sub(r"\{claim\}`([\w-]+)`", claim, page)
    return re.sub(r"\{([Ll]esson)\}`(\d+)`", _short, page)


def _short(match: re.Match[str]) -> str:
    number = int(match[2])
    return f"[{match[1]} {number}](#lesson-{number:02})" if number in lessons() else f"{match[1]} {number}"
