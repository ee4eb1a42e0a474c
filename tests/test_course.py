"""The course's tools: finding and running lessons, the table *ours | paper*, and figures."""

from __future__ import annotations

import sys

import pytest

from tinyadv import course
from tinyadv.paper.registry import claims


@pytest.fixture
def school(tmp_path, monkeypatch):
    """A package of two lessons, and the folder that they are run from."""
    (tmp_path / "lessons").mkdir()
    (tmp_path / "lessons" / "lesson02_two.py").write_text('"""Two\n\nMore."""\nimport sys\nprint(__name__, sys.argv)\n')
    (tmp_path / "lessons" / "lesson10_ten.py").write_text("x = 1 / 0\n")
    (tmp_path / "lessons" / "notes.py").write_text("not a lesson\n")
    monkeypatch.setattr(course, "_PACKAGE", tmp_path / "tinyadv")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_lessons_are_found_beside_the_package(school):
    assert course.lessons() == {
        2: school / "lessons" / "lesson02_two.py",
        10: school / "lessons" / "lesson10_ten.py",
    }


def test_an_installed_package_carries_its_own(school):
    (school / "tinyadv" / "_lessons").mkdir(parents=True)
    (school / "tinyadv" / "_lessons" / "lesson07_seven.py").touch()
    assert list(course.lessons()) == [7]


def test_an_installation_without_lessons_says_so(school, monkeypatch):
    monkeypatch.setattr(course, "_PACKAGE", school / "elsewhere" / "tinyadv")
    with pytest.raises(FileNotFoundError, match=r"no lessons beside .*elsewhere"):
        course.lessons()


def test_the_list_has_titles_and_files(school):
    text = course.list_lessons()
    assert f"   2  Two\n      {school / 'lessons' / 'lesson02_two.py'}\n" in text
    assert "  10  lesson10_ten\n" in text, "a lesson without a text has its file's name"


def test_an_unknown_lesson(school):
    with pytest.raises(ValueError, match="there is no lesson 3: there are 2, 10"):
        course.path_of(3)


def test_running_is_as_a_script(school, capsys):
    arguments = sys.argv.copy()
    course.run_lesson(course.path_of(2))
    assert capsys.readouterr().out == f"__main__ {[str(school / 'lessons' / 'lesson02_two.py')]}\n"
    with pytest.raises(ZeroDivisionError):
        course.run_lesson(course.path_of(10))
    assert sys.argv == arguments


def test_compare_puts_ours_beside_the_papers(capsys):
    course.compare("fgsm-softmax", {"error": 0.5, "weights_l1": 123.0}, {"error": (0.4, 0.6)})
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].strip() == "fgsm-softmax (section 4)"
    assert ["ours", "paper"] in [line.split() for line in lines]
    (error,) = [line for line in lines if "FGSM error" in line]
    assert error.split() == ["FGSM", "error", "50.0", "%", "[40.0,", "60.0]", "99.9", "%"]
    assert any("123" in line for line in lines)
    assert not any("confidence" in line for line in lines), "what was not measured is not shown"


@pytest.mark.parametrize(("holds", "word"), [(True, "holds"), (False, "fails")])
def test_compare_shows_a_statement(holds, word, capsys):
    course.compare("linear-growth", {"exponent": 1.0}, holds=holds)
    out = capsys.readouterr().out
    assert f"statement {word} {claims()['linear-growth'].paper}" in " ".join(out.split())


@pytest.mark.parametrize(("claim", "values"), [("fgsm-sofmax", {}), ("fgsm-softmax", {"eror": 0.5})])
def test_compare_refuses_what_the_registry_does_not_know(claim, values):
    with pytest.raises(ValueError, match=r"sofmax|eror"):
        course.compare(claim, values)


def test_figures_are_saved_where_the_lesson_is_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    import matplotlib

    before = dict(matplotlib.rcParams) | {"backend": matplotlib.get_backend()}
    with course.figure("a.png", width=2, height=1) as canvas:
        canvas.subplots().plot([1, 2], [3, 4])
        assert tuple(canvas.get_size_inches()) == (2, 1)
        assert dict(matplotlib.rcParams) != before
    assert dict(matplotlib.rcParams) == before
    assert (tmp_path / "tinyadv-results" / "lessons" / "a.png").read_bytes().startswith(b"\x89PNG")
    assert capsys.readouterr().out == f"figure: {course.FIGURES / 'a.png'}\n"


def test_a_figure_that_fails_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ZeroDivisionError), course.figure("a.png"):
        _ = 1 / 0
    assert not list(tmp_path.iterdir())
