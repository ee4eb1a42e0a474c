"""The figures: what is drawn is what the saved result holds, read back from the drawing, in the stated colours."""

import io
import json
import math
import struct
import subprocess
import sys
from dataclasses import replace
from functools import cache

import matplotlib as mpl
import numpy as np
import pytest
from figures import lines
from matplotlib.colors import same_color, to_hex, to_rgb
from matplotlib.figure import Figure as Canvas
from matplotlib.lines import Line2D
from matplotlib.text import Text
from PIL import Image
from tiny import TINY, GivenLab, tiny_mnist, use

import tinyadv.paper.run  # noqa: F401  (it imports all sections, and so fills MEASURES)
from tinyadv.paper import audit
from tinyadv.paper.claims import claims
from tinyadv.paper.draw import (
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PAPER,
    STYLE,
    darken,
    draw_figure,
    drawing_of,
    drawings,
    rendered,
    show_image,
)
from tinyadv.paper.measure import MEASURES, appendix, cifar10, section2
from tinyadv.paper.results import Result, encoded, pixels
from tinyadv.paper.results_file import committed, from_json, to_json


@cache
def in_json(claim):
    """A result of a claim, as it stands in the results file."""
    with pytest.MonkeyPatch.context() as patch:
        use(patch, tiny_mnist())
        for module, name, few in (
            (appendix, "SAMPLES", 500),
            (appendix, "MOVED", 20),
            (appendix, "STEPS", 2),
            (cifar10, "RUBBISH", 100),
            (cifar10, "A_CLASS", 10),
            (cifar10, "A_DIGIT", 10),
            (cifar10, "FEW", 5),
            (audit, "FIRST", 40),
            (audit, "FEW", 10),
            (audit, "FEWEST", 2),
            (section2, "IMAGES", 5),
        ):
            patch.setattr(module, name, few)
        measurement = MEASURES[claim](GivenLab(dtype="float32"), TINY, 0)
    result = Result(claim, "tiny", "cpu", [0], [measurement])
    return json.dumps(to_json(result), allow_nan=False)


# what is drawn from the reader's own photographs, and from CIFAR-10: see test_figure1, test_cifar10
DRAWN = sorted(drawings().keys() - {"fig1-imagenet", "fgsm-conv-maxout"})


def saved(claim):
    """A result of a claim, as it comes back from the results file."""
    return from_json(json.loads(in_json(claim)))


def drawn(claim):
    """The axes of a claim's figure, and the details that it was drawn from."""
    details = saved(claim).measurements[0].details
    with mpl.rc_context(STYLE):
        canvas = Canvas()
        drawings()[claim].draw(canvas, details)
    return canvas.axes, details


def numbers(pictures):
    """Images of a result as lists of numbers."""
    return [pixels(picture).tolist() for picture in pictures]


def image(axes):
    """The one image in axes, as 784 numbers or as rows of pixels, and the values that are black and white."""
    (shown,) = axes.get_images()
    return np.asarray(shown.get_array()), shown.get_clim()


def texts(legend):
    return [text.get_text() for text in legend.get_texts()]


# ---------------------------------------------------------------------------------------------------------
# The data in each figure


def test_linear_growth():
    (axes,), details = drawn("linear-growth")
    n = [10, 32, 100, 316, 1000, 3162, 10000, 31623, 100000]
    assert lines(axes) == {
        "η = ε sign(w)": (n, [row["growth"] for row in details["rows"]], BLUE),
        "η = ±ε at random, root mean square": (n, [row["random"] for row in details["rows"]], ORANGE),
    }
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "log")
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("dimension n", "change of the activation wᵀx")


@pytest.mark.parametrize("claim", ["fgsm-softmax", "fgsm-maxout"])
def test_examples(claim):
    axes, details = drawn(claim)
    examples, frames = details["examples"], set()
    for row, kind in enumerate(("clean", "attacked")):
        for k in range(10):
            panel = axes[10 * row + k]
            shown, limits = image(panel)
            assert shown.ravel().tolist() == numbers(examples[kind])[k]
            assert shown.shape == (28, 28)
            assert limits == (-0.25, 1.25)  # of both rows alike
            assert panel.get_title() == f"says {examples[f'said_{kind}'][k]}"
            right = examples[f"said_{kind}"][k] == k == examples["label"][k]
            assert all(same_color(s.get_edgecolor(), GREEN if right else ORANGE) for s in panel.spines.values())
            assert all(s.get_visible() and s.get_linewidth() == (1.5 if right else 3) for s in panel.spines.values())
            frames.add(right)
    assert frames == {True, False}
    assert [axes[i].get_ylabel() for i in (0, 10)] == ["clean", "FGSM(0.25)"]


def test_figure_2():
    axes, details = drawn("fig2-logistic")
    bound = max(abs(v) for v in details["w"])
    assert [panel.get_title() for panel in axes] == ["a) weights", "b) their sign", "c) clean", "d) FGSM(0.25)"]
    for panel, key, limit in ((axes[0], "w", bound), (axes[1], "sign", 1)):
        shown, limits = image(panel)
        assert (shown.ravel().tolist(), limits) == (details[key], (-limit, limit))
        colours = panel.get_images()[0].get_cmap()
        assert [to_hex(colours(v)) for v in (0.0, 1.0)] == [ORANGE.lower(), BLUE.lower()]
        assert to_hex(colours(0.5)) > "#fafafa"  # 0 is white
    for panel, key in ((axes[2], "clean"), (axes[3], "attacked")):
        shown, limits = image(panel)
        assert (shown.shape, limits) == ((112, 112), (-0.25, 1.25))
        for i, picture in enumerate(numbers(details[key])):  # four to a row: two rows of 3s, two of 7s
            top, left = 28 * (i // 4), 28 * (i % 4)
            assert shown[top : top + 28, left : left + 28].ravel().tolist() == picture


def test_robustness():
    (axes, _), details = drawn("adv-robust-1600")
    shown = lines(axes)
    assert list(shown) == ["naive training", "adversarial training", "ε used in training"]
    assert shown["naive training"] == (details["eps"], [100 * e for e in details["curves"]["naive"]], ORANGE)
    assert shown["adversarial training"] == (details["eps"], [100 * e for e in details["curves"]["trained"]], BLUE)
    assert shown["ε used in training"][0] == [0.25, 0.25]
    assert axes.get_ylim() == (0, 100)
    assert not axes.get_lines()[0].get_clip_on()  # a mark at 100 % is whole


@pytest.mark.parametrize(
    ("claim", "networks", "paper"),
    [
        ("adv-train-240", ("naive", "trained", "unmasked"), (0.94, 0.84)),
        ("maxout-1600-naive", ("naive",), (1.14,)),
        ("adv-train-1600", ("trained", "unmasked"), (0.782,)),
    ],
)
def test_clean_errors_over_training(claim, networks, paper):
    (axes,), details = drawn(claim)
    curves = list(lines(axes).values())
    assert tuple(details["logs"]) == networks
    for (epochs, errors, _), name in zip(curves, networks, strict=False):
        log = details["logs"][name]
        assert (epochs, errors) == (log["epoch"], [100 * e for e in log["error"]])
    assert [y for _, y, _ in curves[len(networks) :]] == [pytest.approx([p, p]) for p in paper]
    if claim == "adv-train-240":  # the paper's numbers in the colours of the networks that they are of
        assert [colour for *_, colour in curves] == [ORANGE, BLUE, GREEN, ORANGE, BLUE]


def test_training_with_noise_stands_beside_the_papers_numbers():
    details = saved("noise-sign").measurements[0].details
    errors = {"sign": [0.5, 0.75], "uniform": [0.625, 0.875]}
    for logs, panels in (({}, 2), ({name: {"epoch": [1, 2], "software_error": e} for name, e in errors.items()}, 3)):
        details["logs"] = logs  # none in results of an earlier program
        with mpl.rc_context(STYLE):
            drawings()["noise-sign"].draw(canvas := Canvas(), details)
        assert len(canvas.axes) == panels
    shown = [list(map(float, y)) for _, y, _ in lines(canvas.axes[-1]).values()]
    assert shown == [[50, 75], pytest.approx([86.2] * 2), [62.5, 87.5], pytest.approx([90.4] * 2)]


@pytest.mark.parametrize("claim", ["rubbish-softmax", "rubbish-maxout-softmax"])
def test_rubbish(claim):
    (axes,), details = drawn(claim)
    counts = details["by_class"]
    total = sum(counts)
    assert [bar.get_height() for bar in axes.patches] == pytest.approx([100 * c / total for c in counts])
    assert [round(bar.get_center()[0]) for bar in axes.patches] == list(range(10))
    assert [text.get_text() for text in axes.texts] == [f"{100 * c / total:.1f}" for c in counts]
    assert axes.get_ylabel() == f"share of {total} errors, %"


def test_rubbish_without_errors():
    with mpl.rc_context(STYLE):
        drawings()["rubbish-softmax"].draw(canvas := Canvas(), {"by_class": [0] * 10})
    assert [bar.get_height() for bar in canvas.axes[0].patches] == [0] * 10


def test_confidences():
    (left, _, _), details = drawn("rbf-fgsm")
    stairs = {patch.get_label(): patch for patch in left.patches}
    for kind, colour in (("clean", BLUE), ("attacked", ORANGE)):
        values, edges, _ = stairs[kind].get_data()
        assert list(values) == pytest.approx([100 * s for s in details["confidence_shares"][kind]])
        assert list(edges) == pytest.approx([k / 20 for k in range(21)])
        assert same_color(stairs[kind].get_edgecolor(), colour)
    assert details["log"][0]["adversarial_confidence_on_mistakes"] is None  # JSON knows no NaN
    details["log_cross_entropy"] = [{**entry, "error": 0.3} for entry in details["log"]]
    with mpl.rc_context(STYLE):
        drawings()["rbf-fgsm"].draw(canvas := Canvas(), details)
    panels = canvas.axes[1:]
    for panel, clean, title in zip(
        panels, ([20, 10], [30, 30]), ("squared errors", "binary cross-entropies"), strict=True
    ):
        shown = {label: y for label, (_, y, _) in lines(panel).items()}
        assert math.isnan(shown.pop("confidence\non its mistakes")[0])
        assert shown == {"clean error": clean, "clean confidence": [70, 60], "FGSM error": [0, 50]}
        assert lines(panel)["FGSM error"][0] == [1, 2]
        assert panel.get_ylim() == (0, 100)
        assert panel.get_title() == f"J: {title}"


def test_the_trajectory_of_a_long_training_is_legible():
    details = saved("rbf-fgsm").measurements[0].details
    details["log"] = [{**details["log"][1], "epoch": epoch} for epoch in range(1, 101)]
    with mpl.rc_context(STYLE):
        drawings()["rbf-fgsm"].draw(canvas := Canvas(), details)
    assert len(canvas.axes[1].get_xticks()) < 12
    assert all(line.get_markevery() == 10 for line in canvas.axes[1].get_lines())


# ---------------------------------------------------------------------------------------------------------
# All figures


def test_every_figure_belongs_to_a_measured_claim_and_says_what_it_shows():
    assert drawings().keys() <= MEASURES.keys()
    for drawing in drawings().values():
        assert drawing.title
        assert drawing.caption.endswith(".")
        assert len(drawing.caption) > 60, f"{drawing.claim}: wanted a caption that says what is drawn against what"
        assert drawing.title != drawing.caption


def test_the_colours_are_those_of_okabe_and_ito_and_a_grey():
    assert (BLUE, ORANGE, GREEN) == ("#0072B2", "#D55E00", "#009E73")
    red, green, blue = (GREY[i : i + 2] for i in (1, 3, 5))
    assert red == green == blue


def colours_of(axes):
    """What lines, patches and frames are drawn in."""
    of_lines = [line.get_color() for panel in axes for line in panel.get_lines()]
    of_patches = [c for panel in axes for p in panel.patches for c in (p.get_facecolor(), p.get_edgecolor()) if c[3]]
    frames = [s.get_edgecolor() for panel in axes for s in panel.spines.values()]
    return {to_hex(colour).upper() for colour in of_lines + of_patches + frames}


MINE = {"figure.facecolor": "black", "font.size": 30, "lines.linewidth": 9, "savefig.dpi": 33}
SOME = {"linear-growth", "fgsm-maxout", "fig5-fooling", "l1-pessimism", "hidden-last"}  # lines, images, bars


def the_same_whatever_the_reader_s_settings(claim, content, folder):
    """Drawn once more, under other settings, the figure has the same bytes."""
    with mpl.rc_context(MINE):
        again = draw_figure(saved(claim), folder)
        assert {key: mpl.rcParams[key] for key in MINE} == MINE  # and they are left as they were
    assert content == again.read_bytes()


@pytest.mark.parametrize("claim", DRAWN)
def test_a_figure_fits_a_page_in_the_stated_colours(claim, tmp_path, monkeypatch):
    """And, of some claims, has the same bytes whatever the reader's settings."""
    drawing, canvases = drawings()[claim], []
    noted = replace(drawing, draw=lambda canvas, details: canvases.append(canvas) or drawing.draw(canvas, details))
    monkeypatch.setitem(drawings(), claim, noted)
    path = draw_figure(saved(claim), tmp_path)
    assert colours_of(canvases[0].axes) <= {BLUE, ORANGE, GREEN, GREY, "#000000", "#FFFFFF"}
    assert path == tmp_path / f"{claim}.png" == tmp_path / drawing.file
    content = path.read_bytes()
    width, height = struct.unpack(">II", content[16:24])
    assert 1200 <= width <= 1800  # enough for print, not too much for a page
    assert 300 <= height <= 800
    assert b"Software" not in content
    assert len(content) < 160_000  # thirty of them go into one page
    shown = Image.open(io.BytesIO(content)).convert("RGB")
    assert {shown.getpixel((x, y)) for x in (0, width - 1) for y in (0, height - 1)} == {(255, 255, 255)}  # as the page
    if claim in SOME:
        the_same_whatever_the_reader_s_settings(claim, content, tmp_path / "again")


@pytest.mark.slow
@pytest.mark.parametrize("claim", sorted(set(DRAWN) - SOME))
def test_the_same_result_gives_the_same_bytes_whatever_the_reader_s_settings(claim, tmp_path):
    content = draw_figure(saved(claim), tmp_path / "a").read_bytes()
    the_same_whatever_the_reader_s_settings(claim, content, tmp_path / "b")


def test_a_figure_for_dark_pages_has_its_greys_turned_round_and_the_rest_as_it_was():
    canvas = Canvas()
    curves, shown = canvas.subplots(1, 2)
    (black,) = curves.plot([1, 2], "D-", color="black", label="paper")
    (blue,) = curves.plot([2, 1], "o-", color=BLUE, label="ours")
    dots = curves.scatter([1], [1], color="black")
    bar = curves.bar([1], [1], color=GREY, edgecolor="white")[0]
    shown.imshow([[0.0, 1.0]], cmap="gray")
    on_image = shown.text(0, 0, "on white", color="black")
    in_white, in_blue = (curves.text(1, 1, "boxed", bbox={"facecolor": face}) for face in ("white", "#DCEBF7"))
    arrow = curves.annotate("", (1, 1), (2, 2), arrowprops={"arrowstyle": "->", "color": "black"}).arrow_patch
    curves.legend()
    before = np.asarray(Image.open(io.BytesIO(rendered(canvas))).convert("L"))
    darken(canvas)
    after = np.asarray(Image.open(io.BytesIO(rendered(canvas))).convert("L"))

    ink, paper = (str(level) for level in (INK, PAPER))
    for colour in (black.get_color(), black.get_markerfacecolor(), black.get_markeredgecolor()):
        assert same_color(colour, ink)
    for colour in (blue.get_color(), blue.get_markerfacecolor(), blue.get_markeredgecolor()):
        assert same_color(colour, BLUE)
    assert same_color(dots.get_facecolor()[0], ink)
    assert same_color(bar.get_edgecolor(), paper)
    assert same_color(in_white.get_color(), ink)
    assert same_color(in_white.get_bbox_patch().get_facecolor(), paper)
    assert same_color(in_blue.get_color(), "black"), "a pale box keeps its dark text"
    assert same_color(arrow.get_edgecolor(), ink)
    texts = [curves.title, curves.xaxis.label, *curves.get_xticklabels(), *curves.get_legend().get_texts()]
    assert all(same_color(text.get_color(), ink) for text in texts)
    assert all(same_color(spine.get_edgecolor(), ink) for spine in curves.spines.values())
    assert same_color(canvas.get_facecolor(), paper)
    assert same_color(curves.get_facecolor(), paper)
    assert same_color(on_image.get_color(), "black"), "an image keeps its colours, and so does what stands on it"
    assert (np.bincount(before.ravel()).argmax(), np.bincount(after.ravel()).argmax()) == (255, round(255 * PAPER))


@pytest.mark.parametrize(
    "claim", [c if c == "fooling-step" else pytest.param(c, marks=pytest.mark.slow) for c in DRAWN]
)
def test_nothing_black_is_left_on_a_dark_page(claim, tmp_path):
    path = draw_figure(saved(claim), tmp_path, dark=True)
    assert path.name == drawings()[claim].file
    dark = Image.open(tmp_path / drawings()[claim].dark_file).convert("RGB")
    assert dark.size == Image.open(path).size
    corners = {dark.getpixel((x, y)) for x in (0, dark.width - 1) for y in (0, dark.height - 1)}
    assert all(abs(level - 255 * PAPER) <= 3 for corner in corners for level in corner)
    canvas = Canvas(figsize=(8, 4), layout="constrained")
    drawings()[claim].draw(canvas, saved(claim).measurements[0].details)
    darken(canvas)
    drawn_on_images = {text for axes in canvas.axes if axes.images for text in axes.texts}
    colours = [text.get_color() for text in canvas.findobj(Text) if text not in drawn_on_images]
    colours += [colour for line in canvas.findobj(Line2D) for colour in (line.get_color(), line.get_markeredgecolor())]
    colours += [spine.get_edgecolor() for axes in canvas.axes for spine in axes.spines.values()]
    assert not [colour for colour in colours if max(to_rgb(colour)) < 0.3]


def test_another_result_gives_another_picture(tmp_path):
    result = saved("rubbish-softmax")
    draw_figure(result, tmp_path / "a")
    result.measurements[0].details["by_class"][3] += 50
    draw_figure(result, tmp_path / "b")
    assert (tmp_path / "a/rubbish-softmax.png").read_bytes() != (tmp_path / "b/rubbish-softmax.png").read_bytes()


def test_of_several_seeds_the_first_is_drawn(tmp_path):
    one = saved("rubbish-softmax")
    other = replace(one.measurements[0], details={"by_class": [1] * 10})
    result = replace(one, seeds=[0, 1], measurements=[one.measurements[0], other])
    two, first = draw_figure(result, tmp_path / "two"), draw_figure(one, tmp_path / "one")
    assert two.read_bytes() == first.read_bytes()


def test_a_claim_without_a_figure(tmp_path):
    assert draw_figure(saved("logistic-3v7"), tmp_path / "none") is None
    assert not (tmp_path / "none").exists()


def test_an_image_is_784_numbers_or_rows_of_pixels():
    counted = list(range(784))
    for given in (counted, np.reshape(counted, (28, 28)).tolist()):
        axes = Canvas().subplots()
        show_image(axes, given, "title", low=0, high=783)
        shown, limits = image(axes)
        assert shown[3].tolist() == list(range(84, 112))
        assert (limits, axes.get_title()) == ((0, 783), "title")


def test_images_survive_the_results_file_to_half_a_level():
    x = np.array([[0.12345, -0.25, 0.0], [1.0, 1.25, 0.7]], dtype="float32")
    texts = json.loads(json.dumps(encoded(x)))
    assert [text.split(" ")[:3] for text in texts] == [["picture", "-0.25", "1.25"]] * 2  # one range for all
    back = np.stack([pixels(text) for text in texts])
    assert abs(back - x).max() <= 1.5 / 255 / 2 + 1e-6
    assert (back[0, 1], back[1, 1]) == (-0.25, 1.25)  # nothing is cut off
    assert (back != x).any()  # this is how coarse it is
    many = np.random.default_rng(1).random((1, 784))
    assert abs(pixels(encoded(many)[0]) - many).max() <= 0.5 / 255  # rounded, not cut
    assert np.array_equal(pixels(encoded(np.full((1, 4), 0.5))[0]), np.full(4, 0.5))
    assert encoded(np.zeros((0, 784))) == []
    assert len(encoded(np.random.default_rng(0).random((1, 784)))[0]) < 1100  # a results file holds many


def test_only_the_first_seed_s_images_are_saved():
    images = encoded(np.random.default_rng(0).random((2, 784)))
    details = {"label": ["picture book", "7"], "deep": [{"images": images, "said": [1, 2]}], "images": images}
    measurement = replace(saved("rubbish-softmax").measurements[0], details=details)
    result = Result("rubbish-softmax", "tiny", "cpu", [0, 1], [measurement, measurement])
    first, second = (m.details for m in from_json(to_json(result)).measurements)
    assert first == details
    assert second == {"label": ["7"], "deep": [{"images": [], "said": [1, 2]}], "images": []}
    assert result.measurements[1].details == details  # what was measured is left as it was
    assert to_json(from_json(to_json(result))) == to_json(result)


@pytest.mark.parametrize("text", ["picture 0 1", "picture a b AAAA", "picture 0 1 ?", "something"])
def test_a_text_that_is_no_image_is_refused(text):
    with pytest.raises(ValueError, match="an image is numbers, or a text that begins with 'picture '"):
        pixels(text)


def test_matplotlib_is_imported_where_a_figure_is_drawn_and_not_before():
    program = "import sys, tinyadv.paper.run; sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


def test_a_result_without_details_has_no_figure_and_one_without_logs_has_the_papers_lines(tmp_path):
    """A network that was trained without a log, by an earlier program or on a machine that gave only its numbers."""
    result = saved("maxout-1600-naive")
    bare = replace(result, measurements=[replace(result.measurements[0], details={})])
    assert drawing_of(bare) is None
    assert draw_figure(bare, tmp_path / "none") is None
    assert not (tmp_path / "none").exists()
    for claim in ("adv-train-240", "maxout-1600-naive", "adv-train-1600"):
        drawings()[claim].draw(canvas := Canvas(), {"logs": {}})
        assert len(canvas.axes[0].get_lines()) == len(claims()[claim].published)
        assert canvas.axes[0].get_yscale() == "log"


@pytest.mark.parametrize("claim", sorted(drawings().keys() & committed().keys()))
def test_the_committed_results_can_be_drawn(claim):
    """They come from several machines and earlier programs, which may not have kept all that today's figures show."""
    if drawing := drawing_of(committed()[claim]):
        with mpl.rc_context(STYLE):
            drawing.draw(canvas := Canvas(), committed()[claim].measurements[0].details)
        assert canvas.axes
