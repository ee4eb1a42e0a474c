"""Each lesson is a script, a notebook and a page at once; it imports silently, runs, and its solutions are right."""

from __future__ import annotations

import ast
import importlib.util
import itertools
import json
import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import tinyadv
from tinyadv import cli, datasets, models, parameters
from tinyadv.backend import generator
from tinyadv.course import submissions
from tinyadv.course.cells import unguarded, works
from tinyadv.course.export import notebook
from tinyadv.paper import lab
from tinyadv.paper.claims import claims

FOLDER = Path(__file__).parents[1] / "lessons"
LESSONS = sorted(FOLDER.glob("lesson*.py"))
BEGIN, END = "### BEGIN SOLUTION", "### END SOLUTION"
MARKDOWN, CODE, FOLDED = "# %% [markdown]", "# %%", '# %% tags=["hide-input"]'
PREDICT = "**Predict.**"

lessons = pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)


def cells(path: Path) -> list[tuple[str, list[str]]]:
    """The kind and the lines of each cell; what stands before the first marker is the module's text."""
    found: list[tuple[str, list[str]]] = [("text", [])]
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("# %%"):
            assert line in (MARKDOWN, CODE, FOLDED), line
            found.append((MARKDOWN if line == MARKDOWN else CODE, []))
        else:
            found[-1][1].append(line)
    return found


def imported(name: str):
    """A lesson as a module."""
    (path,) = FOLDER.glob(f"{name}_*.py")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# ---------------------------------------------------------------------------------------------------------
# The form


def test_there_are_lessons():
    assert LESSONS
    assert len({path.name[:8] for path in LESSONS}) == len(LESSONS), "two lessons of one number"
    assert all(re.fullmatch(r"lesson\d\d_[a-z0-9]+\.py", path.name) for path in LESSONS)


@lessons
def test_the_first_line_is_the_title(path):
    title = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))).splitlines()[0]
    heading = next(lines[0] for kind, lines in cells(path) if kind == MARKDOWN)
    assert not title.endswith(".")
    assert heading == f"# # Lesson {int(path.name[6:8])}. {title}"


@lessons
def test_cells_are_text_or_code(path):
    kinds = [kind for kind, _ in cells(path)]
    assert kinds[1] == MARKDOWN, "a lesson starts with what it is about"
    assert kinds.count(CODE) >= 3
    for kind, lines in cells(path):
        if kind == MARKDOWN:
            assert all(line == "#" or line.startswith("# ") or not line for line in lines)
            text = "\n".join(line[2:] for line in lines)
            assert text.strip(), "an empty cell"
            assert text.count("$$") % 2 == 0
            assert text.replace("$$", "").count("$") % 2 == 0, "a formula that does not end"
            for point in re.finditer(r"^(?:[-+*]|\d+\.) ", text, re.M):
                assert text[: point.start()].count("`") % 2 == 0, "a line of code that Markdown takes for a list"
        else:
            assert ast.parse("\n".join(lines)).body, "text in a cell of code"


@lessons
def test_it_names_a_claim_and_ends_with_what_is_missing(path):
    assert shown_in(path)
    assert set(shown_in(path)) <= set(claims())
    kind, last = cells(path)[-1]
    paragraphs = "\n".join(line[2:] for line in last).strip().split("\n\n")
    assert kind == MARKDOWN
    assert paragraphs[-1].startswith("**What this cannot explain yet.**")


@lessons
def test_it_opens_with_goals_and_time_and_asks_for_predictions(path):
    text = [("\n".join(line[2:] for line in lines)).strip() for kind, lines in cells(path) if kind == MARKDOWN]
    assert "**Time:**" in text[0]
    assert "**After this lesson you can**" in text[0]
    questions = [said for said in text if PREDICT in said]
    assert 2 <= len(questions) <= 4
    for said in questions:
        _, _, asked = said.partition(PREDICT)
        assert len(re.findall(r"^- ", asked, flags=re.M)) >= 2, "a prediction is a choice between answers"
        assert asked.strip().splitlines()[-1].startswith(("- ", "  ")), "the cell ends with the answers"


LEVELS = ("easy", "medium", "hard")


@lessons
def test_exercises_go_from_easy_to_hard_and_have_hints_in_steps(path):
    """Each stands right under its statement: one hint at least for what is not easy, two for what is hard."""
    found, levels = cells(path), []
    for (kind, lines), (kind_below, code) in itertools.pairwise(found):
        text = "\n".join(line[2:] for line in lines)
        if kind_below == MARKDOWN or BEGIN not in "\n".join(code):
            assert "## Exercise" not in text or kind != MARKDOWN
            continue
        ((number, level),) = re.findall(r"^## Exercise (\d+) \((\w+)\): \S", text, re.M)
        levels.append(LEVELS.index(level))
        assert int(number) == len(levels)
        hints = re.findall(r"<summary>Hint (\d+)</summary>", text.partition("## Exercise")[2])
        assert hints == [str(i + 1) for i in range(len(hints))]
        assert len(hints) >= levels[-1], f"exercise {number} is {level}, and has {len(hints)} hints"
    assert levels
    assert levels == sorted(levels), "exercises are not in the order of their difficulty"


@lessons
def test_numbers_have_a_digit_before_the_point(path):
    """Here and in the texts that code shows, but not in the formats of numbers, `{x:.1f}`."""
    source = re.sub(r"\{[^{}]*:[^{}]*\}", "", path.read_text(encoding="utf-8"))
    assert not re.findall(r".*(?<![\w.%])\.\d.*", source)


@lessons
def test_a_cell_that_works_stands_whole_under_the_guard(path):
    """Importing a lesson does no work; a notebook gets these cells without the guard, and they mean the same."""
    working = 0
    for kind, lines in cells(path)[1:]:
        if kind == MARKDOWN:
            continue
        code = "\n".join(lines)
        if works(code):
            working += 1
            assert ast.parse(unguarded(code)).body
            continue
        for node in ast.parse(code).body:
            plain = (ast.Import, ast.ImportFrom, ast.FunctionDef, ast.ClassDef)
            assert isinstance(node, plain) or (
                isinstance(node, ast.Assign | ast.AnnAssign) and ast.literal_eval(node.value) is not None
            ), ast.unparse(node)
    assert working >= 3, "idea, code, output, what it means; then the next"
    names = [
        ast.unparse(node)
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Import | ast.ImportFrom)
    ]
    assert not any("lesson" in line for line in names), "lessons do not import each other"


def test_a_cell_whose_text_depends_on_its_indentation_is_refused():
    with pytest.raises(ValueError, match="reads differently"):
        unguarded('if __name__ == "__main__":\n    x = """a\n    b"""')
    assert unguarded('# why\nif __name__ == "__main__":\n    x = 1\n\n    y = 2') == "# why\nx = 1\n\ny = 2"
    assert unguarded("x = 1") == "x = 1"


def test_a_notebook_has_the_work_without_the_guard(tmp_path):
    text = notebook(LESSONS[0].read_text(encoding="utf-8"))
    found = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
    assert not any("__main__" in "".join(cell["source"]) for cell in found)
    tagged = [cell for cell in found if "work" in cell["metadata"].get("tags", [])]
    assert len(tagged) >= 3
    (tmp_path / "lesson01_linear.ipynb").write_text(text, encoding="utf-8")
    cells = submissions.cells(tmp_path / "lesson01_linear.ipynb")
    (reading,) = (cell for cell in cells if "pair(mnist().train" in cell.code)
    assert reading.works
    with submissions.loaded(tmp_path / "lesson01_linear.ipynb") as lesson:
        assert not {"train", "test"} & vars(lesson).keys()  # which this cell sets


@lessons
def test_solutions_are_marked(path):
    """Each exercise is a whole body under a docstring; without it the file is still Python, and says so."""
    lines, open_since, solutions = path.read_text(encoding="utf-8").splitlines(), None, 0
    stub = []
    for number, line in enumerate(lines):
        if line.strip() == BEGIN:
            assert open_since is None, f"line {number + 1}: a solution within a solution"
            assert lines[number - 1].rstrip().endswith('"""'), "what is wanted stands above the solution"
            open_since = number
            stub.append(line.replace(BEGIN, "raise NotImplementedError"))
        elif line.strip() == END:
            assert open_since is not None
            assert number - open_since > 1, "an empty solution"
            assert line.index("#") == lines[open_since].index("#")
            open_since, solutions = None, solutions + 1
        elif open_since is None:
            stub.append(line)
    assert open_since is None, "a solution that does not end"
    assert solutions >= 1
    unsolved = [
        node.name
        for node in ast.walk(ast.parse("\n".join(stub)))
        if isinstance(node, ast.FunctionDef) and ast.unparse(node.body[-1]) == "raise NotImplementedError"
    ]
    assert len(unsolved) == solutions


# ---------------------------------------------------------------------------------------------------------
# Importing and running


def test_importing_is_silent_and_light():
    """All in one process, which has to be as silent and as light after each."""
    code = f"""
import runpy, sys
from tinyadv import datasets
for path in {[str(path) for path in LESSONS]}:
    runpy.run_path(path)
    assert not datasets._mnist.cache_info().currsize, f"{{path}} reads MNIST"
    heavy = {{"matplotlib", "rich", "scipy"}} & set(sys.modules)
    assert not heavy, f"{{path}} imports {{heavy}}"
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@lessons
def test_it_runs_on_a_hundredth_of_mnist(path, tmp_path, monkeypatch, capsys):
    whole = datasets.mnist()
    small = datasets.MNIST(
        *(datasets.Split(split.x[:n], split.y[:n]) for split, n in zip(whole, (500, 100, 150), strict=True))
    )
    monkeypatch.setattr(datasets, "mnist", lambda: small)
    monkeypatch.setattr(lab, "mnist", lambda: small)
    runs(path, tmp_path, monkeypatch, capsys)


@pytest.mark.slow
@lessons
def test_it_runs_from_the_command_line(path, tmp_path, monkeypatch, capsys):
    out = runs(path, tmp_path, monkeypatch, capsys)
    exact = [name for name in shown_in(path) if claims()[name].paper == "exact"]
    for table in re.split(r"(?=^[\w-]+ \(section)", out, flags=re.M):
        if table.split(" ")[0] in exact:
            assert "fails" not in table, "a theorem that does not hold"


def shown_in(path: Path) -> list[str]:
    """The claims that a lesson shows."""
    return re.findall(r'compare\(\s*"([\w-]+)"', path.read_text(encoding="utf-8"))


def runs(path: Path, tmp_path: Path, monkeypatch, capsys) -> str:
    """Run a lesson as a user would; what it prints."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")
    with pytest.raises(SystemExit) as end:
        cli.main(["lesson", str(int(path.name[6:8]))])
    out = capsys.readouterr().out
    assert not end.value.code
    assert re.search(r"\bours\b.*\bpaper\b", out)
    assert all(re.search(rf"^ *{name} \((section|appendix)", out, re.M) for name in shown_in(path))
    figures = re.findall(r"^figure: (.+)$", out, re.M)
    assert figures
    assert all((tmp_path / name).stat().st_size > 5_000 for name in figures)
    written = {p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*.*")}
    assert {p for p in written if "/networks" not in p} == set(figures), "it writes nothing else"
    return out


# ---------------------------------------------------------------------------------------------------------
# The solutions are right


def corners(eps: float, n: int) -> np.ndarray:
    """All 2^n corners of the box of half width eps."""
    return eps * np.array(list(itertools.product((-1.0, 1.0), repeat=n)))


def test_lesson_1_no_corner_is_worse():
    lesson, rng = imported("lesson01"), np.random.default_rng(1)
    w, x = rng.standard_normal((2, 9))
    eta = lesson.worst_change(w, 0.3)
    assert eta.shape == w.shape
    assert abs(eta).max() == 0.3
    assert w @ eta == pytest.approx((corners(0.3, 9) @ w).max())
    assert w @ (x + eta) - w @ x == pytest.approx(0.3 * abs(w).sum())


def test_lesson_1_coins():
    lesson, w = imported("lesson01"), np.random.default_rng(2).standard_normal(9)
    assert lesson.typical_change(w, 0.3) == pytest.approx((corners(0.3, 9) @ w).std())


def test_lesson_1_the_nearest_mean_is_the_nearest():
    from tinyadv.datasets import Split

    lesson, rng = imported("lesson01"), np.random.default_rng(3)
    x, y = rng.random((40, 5)), np.repeat([-1.0, 1.0], 20)
    w, b = lesson.nearest_mean(Split(x, y))
    three, seven = x[y < 0].mean(axis=0), x[y > 0].mean(axis=0)
    nearer_to_seven = ((x - seven) ** 2).sum(axis=1) < ((x - three) ** 2).sum(axis=1)
    np.testing.assert_array_equal(x @ w + b > 0, nearer_to_seven)
    assert lesson.error(w, b, x, np.where(nearer_to_seven, 1, -1)) == 0


def test_lesson_2_by_hand_and_by_the_engine():
    from tinyadv.datasets import Split

    lesson, rng = imported("lesson02"), np.random.default_rng(6)
    data = Split(rng.random((250, 784)), rng.choice([-1.0, 1.0], 250))
    w, b, costs = lesson.descend(data, 2, lesson.gradients)
    w_engine, b_engine, costs_engine = lesson.descend(data, 2, lesson.engine_gradients)
    assert 0 < lesson.gap(w, w_engine) + lesson.gap(b, b_engine) < 1e-12
    assert costs == pytest.approx(costs_engine, rel=1e-12)
    assert len(costs) == 2
    assert costs[-1] < np.log(2), "what weights of 0 cost"


def test_lesson_2_would_notice_a_wrong_gradient(monkeypatch, capsys):
    lesson, rng = imported("lesson02"), np.random.default_rng(7)
    x, y = rng.random((3, 784)), np.array([1.0, -1.0, 1.0])
    hs, central, one_sided = lesson.compare_with_quotients(x, y)
    assert min(central) < 1e-9 < 1e-8 < min(one_sided)
    assert hs[np.argmin(central)] == pytest.approx(1e-5, rel=10)
    honest = lesson.input_gradient
    monkeypatch.setattr(lesson, "input_gradient", lambda *args: 1.01 * honest(*args))
    lesson.compare_with_quotients(x, y)
    first, second = (line.split()[-1] for line in capsys.readouterr().out.splitlines())
    assert float(first[:-1]) < 1e-8
    assert float(second[:-1]) > 1e-3


def logistic(n: int):
    """Logistic regression of n inputs in float64, and some inputs and labels."""
    model, rng = models.logistic_regression(inputs=n, rng=generator(0)).to(dtype="float64"), np.random.default_rng(4)
    for p in parameters(model):
        p.data = rng.standard_normal(p.shape)
    return model, rng.random((6, n)), rng.choice([-1.0, 1.0], 6)


def test_lesson_3_fgsm_finds_the_worst_corner():
    lesson, (model, x, y) = imported("lesson03"), logistic(7)
    w, b = (p.data for p in parameters(model))

    def cost(x):
        return np.logaddexp(0, -y * model(x))

    worst = np.max([cost(x + eta) for eta in corners(0.2, 7)], axis=0)
    x_adv = lesson.fgsm(model, x, y, 0.2)
    np.testing.assert_allclose(x_adv, x - 0.2 * y[:, None] * np.sign(w))
    np.testing.assert_allclose(cost(x_adv), worst, rtol=1e-12)
    np.testing.assert_allclose(lesson.worst_cost(w[0], b[0], x, y, 0.2), worst, rtol=1e-12)


def test_lesson_3_would_notice_a_worse_point(monkeypatch):
    lesson, (model, x, y) = imported("lesson03"), logistic(7)
    gap, no_worse = lesson.largest_gap(model, x, y, np.random.default_rng(5))
    assert gap < 1e-12
    assert no_worse
    honest = lesson.worst_cost
    monkeypatch.setattr(lesson, "worst_cost", lambda w, b, x, y, eps: honest(w, b, x, y, 0.1 * eps))
    gap, no_worse = lesson.largest_gap(model, x, y, np.random.default_rng(5))
    assert gap > 0.1
    assert not no_worse


def namespace(lesson):
    """The engine of lesson 4 under the names of the package's."""
    return SimpleNamespace(Tensor=lesson.Tensor, grad=lesson.grad, ops=lesson.ops)


@pytest.mark.parametrize(("sign", "through"), [(True, True), (True, False), (False, True), (False, False)])
def test_lesson_4_its_engine_and_the_packages_agree_through_attacks(sign, through):
    lesson, rng = imported("lesson04"), np.random.default_rng(8)
    w, b, x, y = (
        rng.standard_normal((5, 1)),
        rng.standard_normal(1),
        rng.random((6, 5)),
        rng.choice([-1.0, 1.0], (6, 1)),
    )
    found = []
    for E in (namespace(lesson), tinyadv):
        W, B = E.Tensor(w), E.Tensor(b)
        found.append(E.grad(lesson.attacked(E, W, B, x, y, sign=sign, through=through), [W, B]))
    for ours, package in zip(*found, strict=True):
        np.testing.assert_allclose(ours, package, rtol=1e-12)
    W, B = tinyadv.Tensor(w), tinyadv.Tensor(b)
    closed = tinyadv.grad(lesson.cost(tinyadv, W, B, x, y, lesson.EPS), [W, B])
    assert (lesson.gap(found[0][0], closed[0]) < 1e-12) == sign, "FGSM's gradient is the closed form's, no other's"


def test_lesson_4_only_a_gradient_through_the_attack_is_that_of_the_whole():
    lesson, rng = imported("lesson04"), np.random.default_rng(16)
    w, b, x, y = (
        rng.standard_normal((5, 1)),
        rng.standard_normal(1),
        rng.random((6, 5)),
        rng.choice([-1.0, 1.0], (6, 1)),
    )
    E, h, v = namespace(lesson), 1e-5, rng.standard_normal((5, 1))

    def value(w):
        return float(lesson.attacked(E, E.Tensor(w), b, x, y, sign=False).data)

    quotient, found = (value(w + h * v) - value(w - h * v)) / (2 * h), []
    for through in (True, False):
        W = E.Tensor(w)
        (d,) = E.grad(lesson.attacked(E, W, b, x, y, sign=False, through=through), [W])
        found.append(float((d * v).sum()))
    assert found[0] == pytest.approx(quotient, rel=1e-7)
    assert found[1] != pytest.approx(quotient, rel=1e-2)


@pytest.mark.parametrize("name", ["softplus", "sigmoid", "absolute", "sign"])
def test_lesson_4_each_function_of_entries_to_second_order(name):
    lesson, x = imported("lesson04"), np.random.default_rng(9).standard_normal(7)
    found = []
    for E in (namespace(lesson), tinyadv):
        X = E.Tensor(x)
        (d,) = E.grad((getattr(E.ops, name)(X) * x).sum(), [X], create_graph=True)
        (dd,) = E.grad((d * x).sum(), [X]) if name in ("softplus", "sigmoid") else [0 * x]
        found.append((d.data, dd))
    np.testing.assert_allclose(*found, rtol=1e-12)


def test_lesson_4_matrices_and_broadcasting_to_second_order():
    lesson, rng = imported("lesson04"), np.random.default_rng(10)
    arrays = [rng.standard_normal(shape) for shape in ((3, 4), (4, 2), (2,), (3, 1))]
    found = []
    for E in (namespace(lesson), tinyadv):
        a, b, c, d = xs = [E.Tensor(v) for v in arrays]
        y = (a @ b + c) * d - (1.0 - c * d) * (b.T @ a.T).T
        firsts = E.grad((y * y).sum(), xs, create_graph=True)
        total = sum((g * g).sum() for g in firsts)
        found.append([*(g.data for g in firsts), *E.grad(total, xs)])
    for ours, package in zip(*found, strict=True):
        np.testing.assert_allclose(ours, package, rtol=1e-12)


def small_network(rng, pieces=(3, 2, 1)):
    """Layers, masks, inputs and labels for lesson 5, in float64, in numbers with which pieces tie."""
    sizes = [(p, units, inputs) for p, units, inputs in zip(pieces, (4, 5, 6), (7, 4, 5), strict=True)]
    layers = [(rng.integers(-2, 3, size) / 2, rng.integers(-2, 3, size[0] * size[1]) / 2) for size in sizes]
    masks = [rng.integers(0, 2, (9, size[2])) * 2.0 for size in sizes]
    return layers, masks, rng.integers(0, 2, (9, 7)) * 1.0, rng.integers(0, 6, 9)


def test_lesson_5_backward_is_the_engines_where_pieces_tie():
    lesson, (layers, masks, x, y) = imported("lesson05"), small_network(np.random.default_rng(11))
    J, gradients, dx = lesson.backward(layers, masks, x, y)
    a = lesson.forward(layers, masks, x)[1][0][1]
    assert ((a == a.max(axis=1, keepdims=True)).sum(axis=1) > 1).mean() > 0.05, "hardly any tie"
    P, X = [tinyadv.Tensor(p) for layer in layers for p in layer], tinyadv.Tensor(x)
    h = X
    for i, mask in enumerate(masks):
        h = tinyadv.ops.maxout(h * mask, P[2 * i], P[2 * i + 1])
    loss = tinyadv.losses.softmax_cross_entropy(h, y)
    assert abs(J - loss.item()) < 1e-12
    for ours, engine in zip([*gradients, dx], tinyadv.grad(loss, [*P, X]), strict=True):
        np.testing.assert_allclose(ours, engine, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("broken", ["maxout_backward", "max_norm"])
def test_lesson_5_would_notice_what_the_engine_and_optim_do_otherwise(broken, monkeypatch, capsys):
    lesson, rng = imported("lesson05"), np.random.default_rng(12)
    layers, _, x, y = small_network(rng, (3, 3, 1))
    layers, x = [(W.astype("float32") * 2, b.astype("float32")) for W, b in layers], x.astype("float32")
    lesson.compare_with_engine(layers, x, y, rng)
    wrong = {
        "maxout_backward": lambda g, a: g[:, None] * (a == a.max(axis=1, keepdims=True)),
        "max_norm": lambda W, limit: W * 1.0,
    }
    monkeypatch.setattr(lesson, broken, wrong[broken])
    if broken == "max_norm":
        with pytest.raises(AssertionError, match="max-norm"):
            lesson.compare_with_engine(layers, x, y, rng)
        return
    lesson.compare_with_engine(layers, x, y, rng)
    first, second = (float(line.split()[-1][:-1]) for line in capsys.readouterr().out.splitlines())
    assert first < 1e-5 < 1e-2 < second


def test_lesson_5_trains_as_the_package_does_without_masks(monkeypatch):
    """The same batches, momentum and max-norm by `optim.SGD`: the same weights."""
    from tinyadv.optim import SGD, Schedule

    lesson, rng = imported("lesson05"), np.random.default_rng(13)
    layers, _, _, _ = small_network(rng)
    x, y = rng.random((250, 7)), rng.integers(0, 6, 250)
    monkeypatch.setattr(lesson, "masks_for", lambda layers, n, rng: [1.0] * 3)
    monkeypatch.setattr(lesson, "LIMIT", 1.5)
    P = [tinyadv.Tensor(p.copy()) for layer in layers for p in layer]
    optimiser, order = SGD(P, Schedule(0.1, decay=1.0, momentum=0.5), 1.5), np.random.default_rng(14)
    lesson.train(layers, 2, x, y, np.random.default_rng(14))
    for _ in range(2):
        for rows in np.array_split(order.permutation(250), 3):
            h = tinyadv.Tensor(x[rows])
            for W, b in zip(P[::2], P[1::2], strict=True):
                h = tinyadv.ops.maxout(h, W, b)
            optimiser.step(tinyadv.grad(tinyadv.losses.softmax_cross_entropy(h, y[rows]), P))
    for ours, theirs in zip([p for layer in layers for p in layer], P, strict=True):
        np.testing.assert_allclose(ours, theirs.data, rtol=1e-9)


def test_lesson_5_masks():
    lesson = imported("lesson05")
    layers = [(np.zeros((2, 300, 400)), 0), (np.zeros((1, 10, 300)), 0)]
    pixels, hidden = lesson.masks_for(layers, 100, np.random.default_rng(15))
    assert (pixels.shape, hidden.shape) == ((100, 400), (100, 300))
    assert (set(np.unique(pixels)), set(np.unique(hidden))) == ({0, 1}, {0, 2})
    assert pixels.mean() == pytest.approx(0.8, abs=0.02)
    assert hidden.mean() == pytest.approx(1, abs=0.02)


# lesson 10


@pytest.mark.parametrize("J", ["rbf-squared", "rbf", "rbf-true-class"])
def test_lesson_10_would_notice_a_wrong_gradient(J, monkeypatch):
    lesson, rng = imported("lesson10"), np.random.default_rng(17)
    x, mu, y = rng.random((4, 6)), rng.random((3, 6)), np.array([0, 2, 1, 1])
    beta = np.eye(6) + 0.1 * rng.random((3, 6, 6))
    model = models.rbf_network(inputs=6, classes=3, top=J, rng=generator(0))
    assert lesson.gap_to_engine(model, x, y, mu, beta) < 1e-12
    honest = lesson.signal
    monkeypatch.setattr(lesson, "signal", lambda *args: 1.01 * honest(*args))
    assert lesson.gap_to_engine(model, x, y, mu, beta) > 1e-3


def test_lesson_10_the_aimed_attack_reaches_the_surest_wrong_class_within_the_box():
    lesson, rng = imported("lesson10"), np.random.default_rng(18)
    x, mu, beta, y = rng.random((7, 6)), rng.random((3, 6)), rng.uniform(0.5, 2, (3, 6)), np.arange(7) % 3
    found = lesson.aimed(x, y, mu, beta, 0.1)
    assert abs(found - x).max() <= 0.1 + 1e-15
    wrong = np.where(np.eye(3)[y] > 0, -np.inf, lesson.surest(x, mu, beta, 0.1))
    said = tinyadv.ops.rbf(found, mu, beta)
    np.testing.assert_allclose(said[np.arange(7), wrong.argmax(axis=1)], wrong.max(axis=1), rtol=1e-12)


# lesson 8


def test_lesson_8_pieces_that_never_are_the_largest_are_left_out():
    lesson, rng = imported("lesson08"), np.random.default_rng(81)
    model = models.maxout_network(3, 2, depth=1, inputs=4, classes=3, rng=generator(0))
    W, b = parameters(model)[:2]
    W.data, b.data = rng.standard_normal(W.shape).astype("float32"), np.zeros(6, "float32")
    b.data[1] = 100.0  # of unit 1 the first piece always wins
    kept = lesson.alive(model, rng.standard_normal((200, 4)).astype("float32"))
    np.testing.assert_array_equal(kept, np.delete(W.data.reshape(6, 4), 4, axis=0))
    kept = lesson.alive(model, rng.standard_normal((1, 4)).astype("float32"))
    assert len(kept) == 3, "of one image each unit has one largest piece"


def test_lesson_8_draws_the_networks_that_it_was_given(tmp_path, monkeypatch, capsys):
    lesson = imported("lesson08")
    monkeypatch.chdir(tmp_path)
    networks = {name: models.maxout_network(7, 2, rng=generator(i)) for i, name in enumerate(("naive", "trained"))}
    lesson.draw(networks, {"epoch": [1, 2], "error": [0.2, 0.1], "adversarial_error": [0.9, 0.5]})
    assert "lesson08_figure3.png" in capsys.readouterr().out


# lesson 11


def test_lesson_11_independent_answers_agree_by_chance():
    lesson, rng = imported("lesson11"), np.random.default_rng(19)
    y = np.repeat([0, 1], 20_000)
    a, b = (np.where(y == 0, rng.choice([0, 8, 9], y.shape), rng.choice([7, 7, 7, 3], y.shape)) for _ in range(2))
    common = (a != y) & (b != y)
    assert lesson.chance(a, b, y) == pytest.approx(lesson.agreement(a, b, y, "both"), abs=0.02)
    shares = 0.5, (9 + 1) / 16  # of zeros, evenly 8 or 9; of ones, which are 7 three times of four
    counts = (common & (y == 0)).sum(), (common & (y == 1)).sum()
    assert lesson.chance(a, b, y) == pytest.approx(np.average(shares, weights=counts), abs=0.01)
    assert np.isnan(lesson.chance(y, b, y))


def test_lesson_11_both_denominators_give_one_identity():
    lesson, rng = imported("lesson11"), np.random.default_rng(20)
    a, b, y = rng.integers(0, 4, (3, 500))
    shown = np.mean((b != y)[a != y])
    assert lesson.agreement(a, b, y, "a") == pytest.approx(lesson.agreement(a, b, y, "both") * shown)


def test_lesson_11_along_epsilon():
    lesson, rng = imported("lesson11"), np.random.default_rng(21)
    networks = [models.softmax_regression(inputs=6, scale=1.0, rng=generator(k)).to(dtype="float64") for k in range(3)]
    x, y = rng.random((8, 6)), rng.integers(0, 10, 8)
    rows = lesson.along(networks, x, y)
    assert rows.shape == (len(lesson.SIZES), 2, 3)
    assert rows[0, 1, 1] == pytest.approx(1), "with itself, where nothing has moved yet"
    g = [tinyadv.attacks.input_gradient(network, x, y) for network in networks]
    directions = [tinyadv.attacks.unit(v)[0] for v in g]
    assert rows[0, 1, 0] == pytest.approx((directions[0] * directions[1]).sum(axis=1).mean())
    x_adv = tinyadv.attacks.fgsm(networks[1], x, y, lesson.SIZES[-1])
    assert rows[-1, 0, 2] == pytest.approx(100 * np.mean(tinyadv.metrics.predict(networks[2], x_adv) != y))


# lesson 12


def two_members():
    """Two small softmax regressions that are not equally sure, in float64; inputs and labels."""
    rng = np.random.default_rng(22)
    members = [models.softmax_regression(inputs=6, scale=s, rng=generator(22)).to(dtype="float64") for s in (1.0, 4.0)]
    return members, rng.random((9, 6)), rng.integers(0, 10, 9)


@pytest.mark.parametrize("broken", [None, "by_probability", "by_logit", "by_losses"])
def test_lesson_12_would_notice_another_gradient(broken, monkeypatch):
    lesson, (members, x, y) = imported("lesson12"), two_members()
    if broken is None:
        lesson.compare_with_package(members, x, y)
        return
    honest = getattr(lesson, broken)
    monkeypatch.setattr(lesson, broken, lambda z, y: honest(z, y) * np.array([[[1.01]], [[0.97]]]))
    with pytest.raises(AssertionError, match="not the same gradient"):
        lesson.compare_with_package(members, x, y)


def test_lesson_12_what_members_share_is_what_is_left_of_their_mean():
    lesson, rng = imported("lesson12"), np.random.default_rng(23)
    u = tinyadv.attacks.unit(rng.standard_normal((1, 7, 5)) + rng.standard_normal((4, 7, 5)))[0]
    rho = lesson.shared(3 * u)
    np.testing.assert_allclose((u.mean(axis=0) ** 2).sum(axis=1), rho + (1 - rho) / 4, rtol=1e-12)


def test_lesson_12_no_image_costs_the_ensemble_more_than_its_members_on_average():
    from tinyadv.paper.measure.section9 import Against

    members, x, y = two_members()
    z = np.concatenate([member(x) for member in members], axis=1)
    p, logit, losses = (
        np.array([Against(members, J).loss(z[n : n + 1], y[n : n + 1]) for n in range(len(x))])
        for J in ("probability", "logit", "losses")
    )
    assert (p < losses / 2).all()
    assert (logit < losses / 2).all()


def test_lesson_12_infers_and_predicts_as_the_package_does():
    lesson, rng = imported("lesson12"), np.random.default_rng(120)
    machine = tinyadv.dbm.machine_of(models.mp_dbm((7, 5), 4, 9, 3, rng=generator(12)).to(dtype="float64"))
    x, y = rng.random((6, 9)), np.eye(3)[rng.integers(0, 3, 6)]
    weights = [p.data for p in (machine.W1, machine.W2, machine.W3, machine.b1, machine.b2, machine.b3)]
    np.testing.assert_allclose(lesson.infer(x, *weights, rounds=4), machine(x), rtol=1e-12)
    V, M, m = np.round(x), rng.integers(0, 2, x.shape).astype(float), rng.integers(0, 2, (6, 1)).astype(float)
    *_, logits = itertools.islice(machine.predictions(V, y, M, m), 3)
    cost = lesson.prediction_cost(*logits, V, y, M, m[:, 0])
    assert cost == pytest.approx(machine.cost(V, y, M, m).item(), rel=1e-12)


# lesson 9


@pytest.mark.parametrize("name", ["through_objective", "hidden_objective"])
def test_lesson_9_would_notice_what_the_package_does_otherwise(name):
    lesson, rng = imported("lesson09"), np.random.default_rng(91)
    x, y = rng.random((20, 784)), rng.integers(0, 10, 20)
    honest, package = {
        "through_objective": (
            lesson.through_objective,
            partial(tinyadv.losses.through_attack_objective, attack="scaled-gradient"),
        ),
        "hidden_objective": (
            partial(lesson.hidden_objective, layer=lesson.FIRST_HIDDEN),
            tinyadv.losses.hidden_objective,
        ),
    }[name]
    assert models.maxout_network(8, 2, rng=generator(0)).hidden[0] == lesson.FIRST_HIDDEN
    lesson.compare_with_package(honest, package, x, y)
    with pytest.raises(AssertionError, match="not the package's"):
        lesson.compare_with_package(
            lambda *args, eps, **options: honest(*args, eps=1.001 * eps, **options), package, x, y
        )


def test_lesson_9_measures_the_first_hidden_layer_and_every_error():
    lesson, rng = imported("lesson09"), np.random.default_rng(92)
    model = models.maxout_network(5, 2, inputs=6, classes=3, scale=0.5, rng=generator(0))
    x, y = rng.random((40, 6)).astype("float32"), rng.integers(0, 3, 40)
    found = lesson.measured(model, x, y)
    W, b = (p.data for p in parameters(model)[:2])
    h = (x @ W.reshape(10, 6).T + b).reshape(40, 2, 5).max(axis=1)
    assert found["activation"] == pytest.approx(abs(h).mean(), rel=1e-5)
    assert found["clean_error"] == np.mean(model(x).argmax(axis=1) != y)
    x_adv = tinyadv.attacks.fgsm(model, x, y, lesson.EPS)
    assert found["error"] == np.mean(model(x_adv).argmax(axis=1) != y)
    assert found["pgd_error"] >= found["clean_error"]


# lesson 13


def test_lesson_13_theory_gives_the_errors_and_their_classes_without_noise():
    lesson, rng = imported("lesson13"), np.random.default_rng(131)
    W, b = 0.5 * rng.standard_normal((10, 30)), rng.standard_normal(10)
    W -= W.mean(axis=0)  # as training from 0 leaves it: the covariance has no inverse
    theory = lesson.rubbish_error(lesson.predicted(W, b))
    z = rng.standard_normal((lesson.SAMPLES, 30)) @ W.T + b
    measured = lesson.rubbish_error(tinyadv.ops.softmax(z))
    assert theory[:2] == pytest.approx(measured[:2], abs=0.02)
    assert theory[2] / lesson.SAMPLES == pytest.approx(measured[2] / lesson.SAMPLES, abs=0.02)


def test_lesson_13_fools_and_would_notice_a_step_that_is_not_fgsms_opposite(monkeypatch):
    lesson = imported("lesson13")
    monkeypatch.setattr(lesson, "TRIES", 20)
    model = models.softmax_regression(scale=0.1, rng=generator(1))
    shares, shown = lesson.fool(model)
    assert (shares[1:] > shares[0] + 0.5).all(), "a linear model follows each step"
    for k, (image, p) in enumerate(shown):
        assert model.probabilities(model(image[None]))[0, k] == pytest.approx(p, rel=1e-4)
    honest = lesson.fooling_step
    monkeypatch.setattr(lesson, "fooling_step", lambda m, x, k, eps, sign=True: honest(m, x, (k + 1) % 10, eps, sign))
    with pytest.raises(AssertionError, match="FGSM"):
        lesson.fool(model)


# lesson 14


def test_lesson_14_the_direction_has_the_gradients_sign_and_survives_any_factor():
    lesson, rng = imported("lesson14"), np.random.default_rng(141)
    model = models.softmax_regression(inputs=30, scale=0.3, rng=generator(1))
    x, y = rng.random((50, 30)).astype("float32"), rng.integers(0, 10, 50)
    exact = models.softmax_regression(inputs=30, scale=0.3, rng=generator(1)).to(dtype="float64")
    wanted = lesson.step(exact, x.astype("float64"), y, 1.0, by_direction=False)
    np.testing.assert_array_equal(lesson.step(exact, x.astype("float64"), y, 1.0, by_direction=True), wanted)
    np.testing.assert_array_equal(lesson.step(exact, x.astype("float64"), y, 30.0, by_direction=True) != 0, True)
    assert (lesson.step(model, x, y, 1e4, by_direction=True) != 0).all()
    assert (lesson.step(model, x, y, 1e4, by_direction=False) == 0).any()


def test_lesson_14_audits_every_attack_and_would_notice_another_pgd(monkeypatch):
    lesson, rng = imported("lesson14"), np.random.default_rng(142)
    one, two = (models.softmax_regression(scale=0.1, rng=generator(seed)) for seed in (1, 2))
    x, y = rng.random((40, 784)).astype("float32"), rng.integers(0, 10, 40)
    wrong = lesson.audit(one, two, x, y, 0.1)
    assert set(wrong) == {name for pair in lesson.ORDER for name in pair}
    np.testing.assert_array_equal(wrong["transfer"], one(tinyadv.attacks.fgsm(two, x, y, 0.1)).argmax(axis=1) != y)
    np.testing.assert_array_equal(wrong["FGSM"], one(tinyadv.attacks.fgsm(one, x, y, 0.1)).argmax(axis=1) != y)
    honest = lesson.pgd
    monkeypatch.setattr(lesson, "pgd", lambda *args: honest(*args[:4], args[4] + 1, args[5]))
    with pytest.raises(AssertionError, match="our PGD"):
        lesson.audit(one, two, x, y, 0.1)


# lesson 6


def test_lesson_6_the_tangent_and_straight_logits_touch_the_cost_and_a_single_piece_stays_above():
    lesson, rng = imported("lesson06"), np.random.default_rng(61)
    x, y, eps = rng.random((20, 12)), rng.integers(0, 10, 20), np.array([0.0, 1e-5, 0.5])
    flat = models.softmax_regression(inputs=12, scale=0.5, rng=generator(1)).to(dtype="float64")
    bent = models.maxout_network(8, 3, inputs=12, scale=1.0, rng=generator(1)).to(dtype="float64")
    for model in (flat, bent):
        real, tangent, straight = lesson.cost_along(model, x, y, eps).swapaxes(0, 1)
        np.testing.assert_allclose(tangent[0], real[0], rtol=1e-12)
        np.testing.assert_allclose(tangent[1] - tangent[0], real[1] - real[0], rtol=1e-3)
        np.testing.assert_allclose(straight[:2], real[:2], rtol=1e-9)
        at_half = model(x + 0.5 * np.sign(tinyadv.attacks.input_gradient(model, x, y)))
        assert real[2].mean() == pytest.approx(float(model.loss(at_half, y)))
        assert np.allclose(straight[2], real[2], rtol=1e-6) == (model is flat)
    real, tangent, _ = lesson.cost_along(flat, x, y, eps).swapaxes(0, 1)
    assert (real[2] > tangent[2] + 1e-6).all()


def test_lesson_6_points_of_a_line_see_some_of_the_pieces(capsys):
    lesson, rng = imported("lesson06"), np.random.default_rng(62)
    model = models.maxout_network(6, 3, scale=0.1, rng=generator(1)).to(dtype="float64")
    x, y = rng.random((3, 784)), np.array([1, 4, 7])
    z, d = lesson.trace(model, x, y)
    np.testing.assert_array_equal(d, np.sign(tinyadv.attacks.input_gradient(model, x, y)))
    np.testing.assert_allclose(z[:, 220], model(x + d), rtol=1e-9)
    told = r"show (\d+) linear pieces of the first layer; the whole network has (\d+)"
    seen, exact = map(int, re.search(told, capsys.readouterr().out).groups())
    assert 5 < seen < exact


def test_lesson_6_would_notice_another_rotation(monkeypatch):
    lesson, rng = imported("lesson06"), np.random.default_rng(63)
    model = models.softmax_regression(scale=0.1, rng=generator(1))
    x, y = rng.random((30, 784)).astype("float32"), rng.integers(0, 10, 30)
    g = lesson.attack("fgsm-softmax", model, x, y)
    np.testing.assert_array_equal(g, tinyadv.attacks.input_gradient(model, x, y))
    errors = lesson.errors_by_angle(model, x, y, g)
    assert errors[0] == np.mean(model(x).argmax(axis=1) != y)
    assert errors[-1] == np.mean(model(tinyadv.attacks.rotate(model, x, y, np.pi / 6)).argmax(axis=1) != y)
    honest = lesson.rotated
    monkeypatch.setattr(lesson, "rotated", lambda x, g, angle: honest(x, np.sign(g), angle))
    with pytest.raises(AssertionError, match="rotations differ"):
        lesson.errors_by_angle(model, x, y, g)


# lesson 7


@pytest.mark.parametrize("broken", ["adversarial_gradients", "l1_gradients"])
def test_lesson_7_would_notice_another_gradient(broken, monkeypatch):
    lesson, rng = imported("lesson07"), np.random.default_rng(71)
    w, x, y = rng.standard_normal(5) * [1, 1, 0, 1, 1], rng.random((8, 5)), rng.choice([-1.0, 1.0], 8)
    lesson.compare_with_engine(w, x, y)
    honest = getattr(lesson, broken)
    monkeypatch.setattr(lesson, broken, lambda w, b, x, y, c: honest(w, b, x, y, 1.01 * c))
    with pytest.raises(AssertionError, match="not the engine's"):
        lesson.compare_with_engine(w, x, y)


def test_lesson_7_the_attacked_error_is_that_of_fgsm_and_the_penalty_of_outgrown_images_fades():
    lesson, rng = imported("lesson07"), np.random.default_rng(72)
    (model, _, _), x, y = logistic(7), rng.random((60, 7)), rng.choice([-1.0, 1.0], 60)
    w, b = parameters(model)[0].data[0], float(parameters(model)[1].data[0])
    l1, *errors = lesson.measured(w, b, datasets.Split(x[:20], y[:20]), datasets.Split(x[20:], y[20:]))
    attacked = tinyadv.attacks.fgsm(model, x[20:], y[20:], lesson.EPS)
    assert l1 == pytest.approx(abs(w).sum())
    found = ((x[:20], y[:20]), (x[20:], y[20:]), (attacked, y[20:]))
    assert errors == [np.mean((model(images) > 0) != (labels > 0)) for images, labels in found]
    m = y * (x @ w + b)
    m = m[m > 0.02 * l1]
    s = 2.0 ** np.arange(-3, 7)[:, None]
    curve = (np.logaddexp(0, s * (0.02 * l1 - m)) - np.logaddexp(0, -s * m)).sum(axis=1)
    assert len(m)
    assert lesson.left(w, b, x, y, 0.02) == pytest.approx(curve[-1] / curve.max())
    assert np.isnan(lesson.left(w, b, x, y, 1e6)), "no image outgrows it"


def test_a_lesson_behind_a_pipe_prints_in_any_encoding(tmp_path):
    """As in a terminal of Windows that is none to Python; other programs' output is theirs."""
    code = "import tinyadv.course\nprint('the size η')\n"
    environment = os.environ | {"PYTHONIOENCODING": "cp1252", "PYTHONPATH": str(Path(tinyadv.__file__).parents[1])}
    for name, said in (("lesson99_mine.py", "the size ?"), ("mine.py", "")):
        (tmp_path / name).write_text(code, encoding="utf-8")
        done = subprocess.run([sys.executable, name], cwd=tmp_path, env=environment, capture_output=True)
        assert done.stdout.decode("cp1252").strip() == said
