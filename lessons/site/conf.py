"""Sphinx's configuration for the read-along site, which `tinyadv course site DIR` builds.

What depends on the build (where lessons' results are kept, whether they are run) is set by `tinyadv.course.site`.
"""

import logging
import re
import sys
from dataclasses import replace
from pathlib import Path

from docutils import nodes
from myst_nb.core.render import NbElementRenderer

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))
logging.getLogger("traitlets").setLevel(logging.WARNING)  # who runs the lessons says each step

project = "tinyadv"
author = "the tinyadv authors"
copyright = author  # noqa: A001
language = "en"
extensions = ["mathml", "myst_nb", "sphinx.ext.autodoc", "numpydoc", "sphinx_copybutton"]
exclude_patterns = ["extra", "pictures", "lessons/files", "lessons/tinyadv-results", "**.ipynb_checkpoints"]

# Lessons
myst_enable_extensions = ["dollarmath", "colon_fence", "deflist"]
myst_heading_anchors = 3
nb_execution_timeout = 1800  # seconds a cell, on a slow machine; a lesson is meant to take less than 60
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_output_stderr = "remove"  # the progress of trainings
nb_merge_streams = True

# Formulas
html_math_renderer = "mathml"

# Reference
default_role = "code"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
add_module_names = False
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False
numpydoc_xref_param_type = False

# Pages
html_theme = "furo"
html_title = "tinyadv"
html_static_path = [str(HERE / "static")]
html_css_files = ["site.css"]
html_js_files = ["scroll.js", "predict.js", "filter.js"]
html_show_sourcelink = False
html_copy_source = False
html_show_sphinx = False
html_use_index = False  # the search and the reference's contents do what an index would
html_domain_indices = False
# The theme's own; that of the formulas for signs that it lacks, which Chinese fonts make wide; for Chinese what each
# system has
FONTS = [
    "-apple-system", "BlinkMacSystemFont", "Segoe UI", "Helvetica", "Arial", "sans-serif", "Formulas",
    "Noto Sans CJK SC", "Source Han Sans SC", "PingFang SC", "Microsoft YaHei",
]  # fmt: skip
html_theme_options = {
    "navigation_with_keys": False,
    "light_css_variables": {
        "color-brand-primary": "#0b4f8a",
        "color-brand-content": "#0b4f8a",
        "font-stack": ", ".join(FONTS),
    },
    "dark_css_variables": {"color-brand-primary": "#8ec5ff", "color-brand-content": "#8ec5ff"},
}
html_favicon = "static/favicon.svg"
pygments_style = "a11y-high-contrast-light"
pygments_dark_style = "a11y-high-contrast-dark"
copybutton_selector = ":not(.output) > div.highlight > pre"
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True


def _with_text_and_dark(render):
    """MyST-NB's pictures of a lesson, with what `tinyadv.course.figure` adds: a text, and one for dark pages."""

    def render_image(self, data):
        about = data.output_metadata.get(data.mime_type, {})
        pictures = render(self, data)
        if "dark" in about:
            for picture in pictures:
                picture["classes"].append("only-light")
            for picture in render(self, replace(data, content=about["dark"])):
                picture["classes"].append("only-dark")
                pictures.append(picture)
        for picture in pictures:
            picture["alt"] = about.get("alt", picture.get("alt", ""))
        return pictures

    return render_image


NbElementRenderer.render_image = _with_text_and_dark(NbElementRenderer.render_image)


def _languages(app, pagename, templatename, context, doctree):
    """Chinese terms of the glossary are marked as Chinese: for the right characters, and for whoever reads aloud."""
    if pagename == "glossary" and "body" in context:
        context["body"] = re.sub(r'(<dt id="[^"]*")(>[\u4e00-\u9fff])', r'\1 lang="zh-Hans"\2', context["body"])


def _percent(app, doctree, docname):
    """A number and its per cent sign are on one line."""
    for text in list(doctree.findall(nodes.Text)):
        if re.search(r"\d %", text) and not isinstance(text.parent, nodes.literal | nodes.literal_block):
            text.parent.replace(text, nodes.Text(re.sub(r"(?<=\d) (?=%)", "\u00a0", text)))


def _plain(app, what, name, obj, options, lines):
    """Docstrings are written to be read in the file: blocks that are set in stay as they are, and so do bars."""
    if what == "module":
        for i in reversed(range(2, len(lines))):
            if lines[i].startswith("    ") and not lines[i - 1] and not lines[i - 2].startswith((" ", ".. ")):
                lines[i:i] = ["::", ""]
    bar = re.compile(r"(?<=\S)\||\|(?=\S)")
    lines[:] = [line if "`" in line or ">>>" in line else bar.sub(r"\\|", line) for line in lines]


def setup(app):
    """Register with Sphinx."""
    app.connect("autodoc-process-docstring", _plain)
    app.connect("doctree-resolved", _percent)
    app.connect("html-page-context", _languages)
    if app.config.html_context.get("runnable"):  # tinyadv.course.web.build writes these
        app.add_js_file("runnable/page.js", type="module")
        app.add_css_file("runnable/page.css")
