"""Claims and notes: every row of the paper's claims is there, and a mistake in a file is named, not read over."""

import ast
import subprocess
import sys
import tomllib
from dataclasses import FrozenInstanceError
from importlib.resources import files

import pytest

from tinyadv.paper.claims import claims, parse, select, with_notes

# Every claim: id, section, kind. Written here once more, so that a row cannot be lost or renamed unnoticed.
ALL = """
linear-growth 3 Q; fgsm-softmax 4 N; fgsm-maxout 4 N; fgsm-conv-maxout 4 N; rotation-attack 4 Q; fig1-imagenet 4 F;
logistic-3v7 5 N; logistic-exact 5 Q; fig2-logistic 5 F; l1-pessimism 5 Q; l1-maxout-stuck 5 N; adv-train-240 6 N;
adv-train-error 6 Q; maxout-1600-naive 6 N; adv-stopping 6 Q; adv-train-1600 6 N; adv-robust-1600 6 N; adv-transfer 6
N; adv-confidence 6 N; fig3-filters 6 F; noise-sign 6 N; noise-uniform 6 N; through-attack 6 Q; hidden-additive 6 Q;
hidden-saturating 6 Q; hidden-rotation 6 Q; hidden-last 6 Q; rbf-fgsm 7 N; rbf-deep 7 Q; transfer-agreement 8 N;
transfer-both-wrong 8 N; transfer-subsets 2,8 Q; fig4-eps-trace 8 F; universal-direction 8,10 Q; mp-dbm 9 N;
ensemble-12 9 N; rubbish-maxout-softmax A N; rubbish-maxout-sigmoid A N; rubbish-conv A N; rubbish-softmax A N;
rubbish-rbf A N; rubbish-skew A N; rubbish-skew-conv A N; fooling-step A N; fig5-fooling A F; rubbish-training A N;
lbfgs-baseline 2 Q
"""

# The published numbers, in percent, typed from the paper and not from claims.toml.
PUBLISHED = {
    "fgsm-softmax": {"error": 99.9, "confidence_on_mistakes": 79.3},
    "fgsm-maxout": {"error": 89.4, "confidence_on_mistakes": 97.6},
    "fgsm-conv-maxout": {"error": 87.15, "wrong_label_probability": 96.6},
    "logistic-3v7": {"clean_error": 1.6, "error": 99},
    "adv-train-240": {"naive_error": 0.94, "adversarially_trained_error": 0.84},
    "maxout-1600-naive": {"clean_error": 1.14},
    "adv-train-1600": {"clean_error": (4 * 0.77 + 0.83) / 5},
    "adv-robust-1600": {"error": 17.9},
    "adv-transfer": {"error_naive_to_trained": 19.6, "error_trained_to_naive": 40.9},
    "adv-confidence": {"confidence_on_mistakes": 81.4},
    "noise-sign": {"error": 86.2, "confidence_on_mistakes": 97.3},
    "noise-uniform": {"error": 90.4, "confidence_on_mistakes": 97.8},
    "rbf-fgsm": {"error": 55.4, "confidence_on_mistakes": 1.2, "clean_confidence": 60.6},
    "transfer-agreement": {"agreement_rbf": 16.0, "agreement_softmax": 54.6},
    "transfer-both-wrong": {
        "agreement_softmax_maxout": 84.6, "agreement_rbf_maxout": 54.3, "agreement_rbf_softmax": 53.6,
    },
    "mp-dbm": {"clean_error": 0.88, "error": 97.5},
    "ensemble-12": {"error_ensemble": 91.1, "error_member": 87.9},
    "rubbish-maxout-softmax": {"error": 98.35, "confidence_on_mistakes": 92.8},
    "rubbish-maxout-sigmoid": {"error": 68, "confidence_on_mistakes": 87.9},
    "rubbish-conv": {"error": 93.4, "confidence_on_mistakes": 84.4},
    "rubbish-softmax": {"error": 59.8, "confidence_on_mistakes": 70.8},
    "rubbish-rbf": {"error": 0},
    "rubbish-skew": {"share_fives": 45.3, "share_eights": 0},
    "rubbish-skew-conv": {"share_frogs": 49.7, "share_absent": 0},
    "fooling-step": {"success_frog": 100, "success_truck": 100, "success_airplane": 24.7, "success_mean": 75.3},
    "rubbish-training": {"error": 0},
}  # fmt: skip

GOOD = """
[some-claim]
section = "4"
kind = "N"
claim = "A sentence."
paper = "99 %"
definition = '''
On two
lines.'''
[some-claim.quantities]
error = { paper = 0.99, tolerance = 0.02, label = "error", format = "percent" }
weights_l1 = { label = "norm", format = "number" }
[some-claim.variations]
clipped = "clipped to [0, 1]"
decay = "decay {0} after {epochs} epochs"
"""


def test_every_claim_is_there_in_the_papers_order():
    rows = [row.split() for row in ALL.replace(",", ", ").replace(", ", ",").split(";")]
    assert [(c.id, c.section.replace(" ", ""), c.kind) for c in claims().values()] == [tuple(row) for row in rows]
    assert all(name == claim.id for name, claim in claims().items())


def test_published_numbers():
    found = {
        claim.id: {q.name: pytest.approx(100 * q.paper) for q in claim.published}
        for claim in claims().values()
        if claim.published
    }
    assert found == PUBLISHED


def test_every_statement_and_every_figure_has_something_that_can_fail():
    assert [c.id for c in claims().values() if c.kind != "N" and c.predicate is None] == []
    assert [c.id for c in claims().values() if not c.published and c.predicate is None] == []


def test_tolerances_follow_the_rule_that_the_file_states():
    for claim in claims().values():
        for q in claim.published:
            p = q.paper
            if p == 0 or p == 1:
                wanted = 0.001 if q.label == "rubbish error" else 0.02
            elif p >= 0.05:
                wanted = max(0.02, round(200 * 0.1 * min(p, 1 - p)) / 200)
            elif claim.id in ("adv-train-240", "maxout-1600-naive", "adv-train-1600", "mp-dbm"):
                wanted = 0.001
            else:
                assert q.tolerance <= p / 2, (claim.id, q.name)
                continue
            assert q.tolerance == pytest.approx(wanted), (claim.id, q.name)


def test_texts_are_one_line_and_end_as_sentences():
    for claim in claims().values():
        for text in filter(None, (claim.claim, claim.definition, claim.predicate)):
            assert text == " ".join(text.split())
            assert text.endswith("."), (claim.id, text)
        labels = [q.label for q in claim.quantities]
        assert len(set(labels)) == len(labels), claim.id


def test_claims_are_frozen_and_read_once():
    assert claims() is claims()
    with pytest.raises(FrozenInstanceError):
        claims()["fgsm-softmax"].kind = "Q"


def test_select():
    assert [c.id for c in select(["rubbish-rbf", "fgsm-softmax"])] == ["rubbish-rbf", "fgsm-softmax"]
    assert select([]) == []
    with pytest.raises(ValueError, match=r"no claim 'fgsm-softmx': did you mean fgsm-softmax .*; no claim 'zzzzz' \("):
        select(["fgsm-softmx", "rubbish-rbf", "zzzzz"])
    assert len(select(iter(["fgsm-softmax"]))) == 1


def test_a_claim_says_where_it_stands():
    found = [claim.where for claim in select(["adv-train-240", "transfer-subsets", "rubbish-skew"])]
    assert found == ["section 6", "sections 2, 8", "appendix"]


def test_a_good_text_is_read():
    claim = parse(GOOD)["some-claim"]
    assert claim.definition == "On two lines."
    assert [(q.name, q.paper, q.tolerance) for q in claim.quantities] == [
        ("error", 0.99, 0.02),
        ("weights_l1", None, None),
    ]
    assert [q.name for q in claim.published] == ["error"]
    assert claim.quantity("weights_l1").label == "norm"
    assert claim.variation_label("clipped") == "clipped to [0, 1]"
    assert claim.variation_label("decay:0.1", 20.0) == "decay 0.1 after 20 epochs"
    assert (claim.units, claim.note) == (None, None)
    assert parse(GOOD.replace('kind = "N"', 'kind = "N"\nunits = 1600'))["some-claim"].units == 1600


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('section = "4"\n', "", r"^some-claim: section is missing"),
        ('definition = ', 'definitoin = ', r"^some-claim: unknown key 'definitoin'"),
        ('kind = "N"', 'kind = "X"', r"^some-claim: kind is one of N, Q, F, got 'X'"),
        ('claim = "A sentence."', 'claim = " "', r"^some-claim: claim is a text that is not empty"),
        ('claim = "A sentence."', "claim = 3", r"^some-claim: claim is a text"),
        (", tolerance = 0.02", "", r"^some-claim\.quantities\.error: tolerance is missing beside paper"),
        ("paper = 0.99, ", "", r"^some-claim\.quantities\.error: paper is missing beside tolerance"),
        ("tolerance = 0.02", "tolerance = 0", r"^some-claim\.quantities\.error: tolerance is a number > 0"),
        ("tolerance = 0.02", "tolerance = -0.1", r"^some-claim\.quantities\.error: tolerance is a number > 0"),
        ("tolerance = 0.02", "tolerance = nan", r"^some-claim\.quantities\.error: tolerance is a finite number"),
        ("tolerance = 0.02", "tolerance = true", r"^some-claim\.quantities\.error: tolerance is a finite number"),
        ("paper = 0.99", 'paper = "99 %"', r"^some-claim\.quantities\.error: paper is a finite number"),
        ("paper = 0.99", "paper = 99.0", r"^some-claim\.quantities\.error: paper is a share between 0 and 1"),
        ('format = "number"', 'format = "points"', r"^some-claim\.quantities\.weights_l1: format is one of"),
        ('label = "norm", ', "", r"^some-claim\.quantities\.weights_l1: label is missing"),
        ('label = "norm"', 'label = "norm", unit = "m"', r"^some-claim\.quantities\.weights_l1: unknown key 'unit'"),
        ("weights_l1 = {", "weights_l1 = 3 # {", r"^some-claim\.quantities\.weights_l1: wanted a table, got 3"),
        ("paper = 0.99, tolerance = 0.02, ", "", r"^some-claim: predicate is missing, and no quantity"),
        ("[some-claim]", "stray = 1\n[some-claim]", r"^stray: wanted a table"),
        ("[some-claim.quantities]", "quantities = 1\n[other]", r"^some-claim: quantities is a table"),
        ('kind = "N"', 'kind = ', "Invalid value"),
        ('kind = "N"', 'kind = "N"\nunits = "1600"', r"^some-claim: units is a number of units, got '1600'"),
        ('kind = "N"', 'kind = "N"\nunits = 0', r"^some-claim: units is a number of units, got 0"),
        ('"clipped to [0, 1]"', "3", r"^some-claim\.variations\.clipped is a text that is not empty, got 3"),
        ('{0} after', '{1} after', r"^some-claim\.variations\.decay: a label has the placeholders .* got 'decay \{1\}"),
        ('{epochs}', '{epoch}', r"^some-claim\.variations\.decay: a label has the placeholders"),
        ('[0, 1]', '{0, 1]', r"^some-claim\.variations\.clipped: a label has .* got 'clipped to \{0, 1"),
        ("[some-claim.variations]", "variations = 1\n[other]", r"^some-claim: unknown key|^some-claim\.quantities"),
        ("A sentence.", "a" * 3000, r"^claims\.toml: a line has at most 2,000 characters, .* got one of 3,010$"),
        ('kind = "N"', "kind = " + 1900 * "[", r"^claims\.toml: tables or lists are nested too deeply"),
        ('kind = "N"', 'kind = "N"\nnote = 3', r"^some-claim: note is a text, got 3"),
        ('kind = "N"', 'kind = "N"\nnote = "{eror}"', r"^the note on some-claim has the placeholder {eror}, but"),
    ],
)  # fmt: skip
def test_a_mistake_in_the_file_is_named(old, new, message):
    assert old in GOOD
    with pytest.raises(ValueError, match=message):
        parse(GOOD.replace(old, new))


def test_the_file_is_what_the_loader_read():
    """Nothing of the file is dropped on the way."""
    raw = tomllib.loads(files("tinyadv.paper").joinpath("claims.toml").read_text("utf-8"))
    for name, table in raw.items():
        assert [q.name for q in claims()[name].quantities] == list(table.get("quantities", {}))


def test_importing_tinyadv_does_not_read_the_claims():
    """Nothing heavy is imported before it is needed: the paper's folder only by the command line."""
    code = (
        "import sys, tinyadv; print([m for m in sys.modules if m.startswith(('tinyadv.paper', 'rich', 'matplotlib'))])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


NOTES = """
some-claim = '''
Ours is {error}, the paper's {paper/error}.
Clipped it is {clipped/error}, with a decay {decay:0.1/weights_l1}.'''
"""


def test_notes_are_read_beside_the_claims():
    (claim,) = with_notes(parse(GOOD), NOTES).values()
    assert claim.note.splitlines()[0] == "Ours is {error}, the paper's {paper/error}."
    assert with_notes(parse(GOOD), "") == parse(GOOD)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("some-claim =", "some-clam =", r"^notes\.toml: no claim 'some-clam': did you mean some-claim\?$"),
        (
            "{error}",
            "{eror}",
            r"^the note on some-claim has the placeholder {eror}, but some-claim has no quantity 'eror': ",
        ),
        ("{paper/error}", "{paper/weights_l1}", r"but the paper has no value of weights_l1$"),
        ("{clipped/error}", "{cliped/error}", r"but some-claim has no variation 'cliped': there are clipped, decay$"),
        ("{error}", "{}", r"^the note on some-claim has the placeholder {}, but "),
        ("'''", '"""', "notes.toml"),
        ("some-claim = '''", "some-claim = 3 #'''", "notes.toml"),
    ],
)
def test_a_mistake_in_a_note_is_named_in_one_line(old, new, message):
    text = "some-claim = 3" if "= 3" in new else NOTES.replace(old, new)
    if new == '"""':
        text = 'some-claim = " "'
    with pytest.raises(ValueError, match=message) as caught:
        with_notes(parse(GOOD), text)
    assert "\n" not in str(caught.value)


def test_every_label_of_a_variation_can_be_shown():
    for claim in claims().values():
        for key, label in claim.variations.items():
            parts = ":1" if "{0}" in label else ""
            assert "{" not in claim.variation_label(key + (":1" * label.count("{") if parts else ""), 3.0)


@pytest.mark.parametrize(
    "module",
    [
        "claims.py",
        "results.py",
        "results_file.py",
        "show/numbers.py",
        "show/report.py",
        "show/text.py",
        "show/terminal.py",
    ],
)
def test_these_modules_import_nothing_heavy_at_the_top(module):
    tree = ast.parse(files("tinyadv.paper").joinpath(module).read_text("utf-8"))
    imported = {alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names}
    imported |= {node.module or "" for node in tree.body if isinstance(node, ast.ImportFrom) and not node.level}
    assert {name.partition(".")[0] for name in imported} <= sys.stdlib_module_names
