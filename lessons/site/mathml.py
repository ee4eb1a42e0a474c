"""Formulas of the site as MathML, made from LaTeX when the site is built.

So that a page needs no script to show mathematics, and screen readers find formulas instead of pictures. Docutils
translates; what it leaves to be wished in spacing is mended here. The font, which browsers need for roots and brackets
that grow, comes with the package ziamath (STIX Two Math, SIL Open Font License); only the characters that the pages
have are kept.
"""

from __future__ import annotations

import logging
import re
from html import unescape
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.util.math import wrap_displaymath

NAMESPACE = "http://www.w3.org/1998/Math/MathML"
SAME = {
    r"\dots": r"\ldots",
    r"\dfrac": r"\frac",
    r"\iff": r"\Leftrightarrow",
    r"\big": r"\bigl",
    r"\bar": r"\overline",  # the accent would lie on the letter
    r"\texttt": r"\mathtt",
}
BRACKETS = ("|", "‖", "∥", "{", "}")
NAMED = re.compile(r"\w{2,}")  # log, sign, min
ACCENTS = ("~", "˜", "ˆ", "^", "¯", "‾", "→", "˙")
APPLIED = "\u2061"  # stands unseen between a function and its argument
CLOSING = (")", "]", "}", "|", "‖")
FONT = "STIXTwoMath-Regular.ttf"
IMPLIED = {"msqrt": "√", "mroot": "√"}  # what an element draws although it is not in the text

ElementTree.register_namespace("", NAMESPACE)


def mathml(tex: str, block: bool = False) -> str:
    """A formula in LaTeX as MathML.

    Raises
    ------
    ValueError
        If it is not understood.
    """
    same = re.sub(r"\\[A-Za-z]+", lambda match: SAME.get(match[0], match[0]), tex)
    same = re.sub(r"\{\\rm ([^{}]*)\}", r"{\\mathrm{\1}}", same)
    same = re.sub(r"frac(\d)(\d)", r"frac{\1}{\2}", same)
    same = re.sub(r"(?<![\w.}])\.(\d)", r"0.\1", same)  # docutils takes the point of .25 for one of a sentence
    try:
        # what has a name in HTML alone becomes the character itself
        said = re.sub(r"&(?!amp;|lt;|gt;)\w+;", lambda match: unescape(match[0]), tex2mathml(same, as_block=block))
        tree = ElementTree.fromstring(said)
    except (MathError, ElementTree.ParseError) as error:
        raise ValueError(f"the formula {tex!r} cannot be shown: {error}") from error
    for parent in list(tree.iter()):
        _mend_accents(parent)
        _mend_roots(parent)
        _mend_brackets(parent)
        _mend_names(parent)
        if "{,}" in tex:
            _mend_thousands(parent)
    tree.set("alttext", " ".join(tex.split()))
    return ElementTree.tostring(tree, encoding="unicode")


def _mend_accents(parent: ElementTree.Element) -> None:
    """An index of a letter with an accent stands beside it, not below."""
    if _is(parent, "munderover") and len(parent) == 3 and _is(parent[2], "mo") and parent[2].text in ACCENTS:
        letter, index, accent = list(parent)
        accented = ElementTree.Element(f"{{{NAMESPACE}}}mover", {"accent": "true"})
        accented.extend([letter, accent])
        parent.tag, parent[:] = f"{{{NAMESPACE}}}msub", [accented, index]


def _mend_roots(parent: ElementTree.Element) -> None:
    """A root is at least as tall as a line: browsers hang the one of a small letter below it, its bar on the letter."""
    if _is(parent, "msqrt"):
        if len(parent) == 1 and len(parent[0]) == 0:
            parent.set("class", "short")
        parent.append(ElementTree.Element(f"{{{NAMESPACE}}}mspace", {"width": "0", "height": "0.85em"}))


def _mend_brackets(parent: ElementTree.Element) -> None:
    """Bars and braces in a row are no taller than a letter, and close to what they enclose; −1 after one is a sign."""
    found = [child for child in parent if _is(child, "mo") and (child.text or "") in BRACKETS]
    ends = [child for child in found if child is parent[0] or child is parent[-1]]
    plain = any(child.get("class") == "mathopen" for child in ends)  # \lvert and \lVert, not \left|
    grows = _is(parent, "mrow") and ((len(ends) == 2 and not plain) or any(_is(child, "mtable") for child in parent))
    for bracket in found:
        if not (grows and bracket in ends):  # \left| ... \right|
            bracket.attrib |= {"stretchy": "false", "lspace": "0", "rspace": "0"}
    for before, after in pairwise(parent):
        core = before[0] if _is(before, "munder", "munderover", "msub", "msubsup") and len(before) else before
        if _is(core, "mo") and (core.text or "") in "([{,∑" and _is(after, "mo") and (after.text or "") in "−+±":
            after.set("form", "prefix")
    for child in parent:
        if _is(child, "mo") and child.get("minsize"):  # \bigl( and its like
            child.attrib |= {"lspace": "0", "rspace": "0"}


def _mend_names(parent: ElementTree.Element) -> None:
    """Names of functions keep a thin space from a letter beside them, and none from a bracket."""
    if not (_is(parent, "mrow") or _is(parent, "math")):
        return
    for i in reversed(range(len(parent))):
        child = parent[i]
        core = child[0] if _is(child, "msub", "msup", "munder", "msubsup") and len(child) else child
        if not (_is(core, "mi", "mo") and NAMED.fullmatch(core.text or "")):
            continue
        if _is(core, "mo"):
            core.attrib |= {"lspace": "0", "rspace": "0"}
        after = i + 2 if i + 1 < len(parent) and parent[i + 1].text == APPLIED else i + 1
        if after < len(parent) and not _is(parent[after], "mo", "mspace") and not _opens(parent[after]):
            parent.insert(after, _space())
        if i and not _is(parent[i - 1], "mspace") and (not _is(parent[i - 1], "mo") or parent[i - 1].text in CLOSING):
            parent.insert(i, _space())


def _opens(element: ElementTree.Element) -> bool:
    """Whether a row begins with a bracket."""
    return _is(element, "mrow") and len(element) > 0 and _is(element[0], "mo") and (element[0].text or "") in ("(", "[")


def _mend_thousands(parent: ElementTree.Element) -> None:
    """100{,}000 is one number: a comma between two numbers, three digits after it, has no space."""
    for i in reversed(range(len(parent) - 2)):
        if i + 2 >= len(parent):
            continue  # what stood here has just become part of a number
        first, comma, last = parent[i : i + 3]
        if (
            _is(first, "mn")
            and _is(comma, "mo")
            and comma.text == ","
            and _is(last, "mn")
            and len(last.text or "") == 3
        ):
            first.text = f"{first.text},{last.text}"
            del parent[i + 1 : i + 3]


def _is(element: ElementTree.Element, *names: str) -> bool:
    return element.tag in {f"{{{NAMESPACE}}}{name}" for name in names}


def _space() -> ElementTree.Element:
    return ElementTree.Element(f"{{{NAMESPACE}}}mspace", {"width": "0.167em"})


# ---------------------------------------------------------------------------------------------------------
# Into Sphinx


END = "\u2060"  # stands after each formula of a line, without width


def together(body: str) -> str:
    """A page where a formula and what stands at it without a space, a bracket or a full stop, are on one line.

    Browsers break lines before and after a formula, whatever the characters beside it.
    """
    formula = r"<math (?:(?!</math>).)*</math>" + END
    whole = re.compile(rf"(?:(?<=[\s>])[^\s<>]+{formula}[^\s<>]*|{formula}[^\s<>]+)", re.DOTALL)
    return whole.sub(r'<span class="together">\g<0></span>', body)


def _page(app: Sphinx, pagename: str, templatename: str, context: dict[str, Any], doctree: Any) -> None:
    if "body" in context:
        context["body"] = together(context["body"])


def _shown(node: nodes.Element, block: bool) -> str:
    tex = node.astext()
    if block and (r"\\" in tex or "&" in tex) and r"\begin" not in tex:
        tex = wrap_displaymath(tex, None, False).replace("split", "aligned")
    try:
        return mathml(tex, block)
    except ValueError as error:
        raise ExtensionError(f"{node.source}: {error}") from error


def _inline(translator, node) -> None:
    translator.body.append(f"{_shown(node, block=False)}{END}")
    raise nodes.SkipNode


def _block(translator, node) -> None:
    shown = "".join(_shown(nodes.math_block(part, part, source=node.source), True) for part in parts(node.astext()))
    translator.body.append(f'<div class="formula">{shown}</div>\n')
    raise nodes.SkipNode


def parts(tex: str) -> list[str]:
    """What stands side by side in a displayed formula, with a wide space between; narrow screens break there."""
    if r"\begin" in tex or r"\\" in tex or "&" in tex:
        return [tex]
    depth, start, found = 0, 0, []
    for match in re.finditer(r"\\qquad|\\left\b|\\right\b|[{}]", tex):
        if match[0] == r"\qquad" and not depth:
            found.append(tex[start : match.start()].strip())
            start = match.end()
        elif match[0] != r"\qquad":
            depth += 1 if match[0] in ("{", r"\left") else -1
    return [*found, tex[start:].strip()]


def characters(formulas: list[str]) -> set[int]:
    """The characters that a browser needs for formulas in MathML: those in them, and those that elements imply."""
    used = {ord(c) for formula in formulas for c in formula}
    for element, character in IMPLIED.items():
        if any(f"<{element}" in formula for formula in formulas):
            used.add(ord(character))
    # a browser shows the letters of formulas as mathematical italics, which are characters of their own
    letters = {*range(0x1D434, 0x1D468), *range(0x1D6E2, 0x1D71C)} - {0x1D455} | {0x210E}  # h has another place
    return used | letters | {*range(0x20, 0x7F)}


def _font(app: Sphinx, exception: Exception | None) -> None:
    """Write the characters that the pages' formulas have as a font."""
    if exception:
        return
    import ziamath
    from fontTools import subset

    logging.getLogger("fontTools").setLevel(logging.WARNING)
    pages = [path.read_text(encoding="utf-8") for path in Path(app.outdir).rglob("*.html")]
    used = characters([formula for page in pages for formula in re.findall(r"<math.*?</math>", page, re.S)])
    options = subset.Options(flavor="woff", layout_features=["*"], notdef_outline=True)
    with subset.load_font(str(Path(ziamath.__file__).parent / "fonts" / FONT), options) as font:
        subsetter = subset.Subsetter(options)
        subsetter.populate(unicodes=used)
        subsetter.subset(font)
        subset.save_font(font, str(Path(app.outdir) / "_static" / "math.woff"), options)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    app.connect("html-page-context", _page)
    app.connect("build-finished", _font)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
