"""The wheel holds all that `tinyadv` needs and nothing else, works outside of the checkout, and imports little.

The source distribution holds the checkout, and gives the same wheel.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

import tinyadv
from tinyadv.datasets import MNIST_FILES
from tinyadv.paper.claims import claims

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
INFO = f"tinyadv-{PROJECT['version']}.dist-info"
COMMAND = "from tinyadv.cli import main; main()"
CACHES = {"__pycache__", ".hypothesis", ".pytest_cache", ".mypy_cache", ".ruff_cache"}


def python(
    *arguments: str | Path, cwd: Path | None = None, executable: str | Path = sys.executable, path: str = ""
) -> str:
    """Standard output of a Python process; what goes wrong there fails the test with all that it said."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment |= {"PYTHONPATH": path} if path else {}
    done = subprocess.run(
        [executable, *arguments], cwd=cwd, env=environment, capture_output=True, text=True, encoding="utf-8"
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def built(kind: str, checkout: Path, folder: Path) -> Path:
    """A distribution of a checkout, built by hatchling as it is installed here: no network."""
    pytest.importorskip("hatchling", reason="builds the wheel with hatchling: pip install 'tinyadv[test]'")
    python("-m", "hatchling", "build", "-t", kind, "-d", folder, cwd=checkout)
    (path,) = folder.glob({"wheel": "*.whl", "sdist": "*.tar.gz"}[kind])
    return path


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    return built("wheel", ROOT, tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def sdist(tmp_path_factory):
    return built("sdist", ROOT, tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="module")
def names(wheel):
    return set(zipfile.ZipFile(wheel).namelist())


@pytest.fixture(scope="module")
def unpacked(wheel, tmp_path_factory):
    folder = tmp_path_factory.mktemp("installed")
    zipfile.ZipFile(wheel).extractall(folder)
    return folder


def files_of(folder: Path) -> set[str]:
    """The files of a folder of the checkout but for caches, as the checkout names them."""
    return {
        path.relative_to(ROOT).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and CACHES.isdisjoint(path.parts)
    }


def test_the_wheel_holds_the_whole_package_and_the_lessons(names):
    wanted = files_of(ROOT / "tinyadv")
    assert {f"tinyadv/data/mnist/{name}.xz" for name in MNIST_FILES} <= wanted
    assert {"tinyadv/py.typed", "tinyadv/paper/claims.toml", "tinyadv/data/networks/maxout-naive.safetensors"} <= wanted
    lessons = {name.replace("lessons/", "tinyadv/_lessons/", 1) for name in files_of(ROOT / "lessons")}
    assert len([name for name in lessons if name.endswith(".py")]) >= 2
    assert "tinyadv/_lessons/site/conf.py" in lessons
    exercises = {f"tinyadv/_exercises/{path.name}" for path in (ROOT / "tests" / "exercises").glob("*.py")}
    assert len(exercises) >= 3
    assert wanted | lessons | exercises <= names, sorted((wanted | lessons | exercises) - names)


def test_the_wheel_holds_nothing_else(names, wheel):
    assert {name.partition("/")[0] for name in names} == {"tinyadv", INFO}
    extra = {name for name in names if name.startswith("tinyadv/")} - files_of(ROOT / "tinyadv")
    assert all(name.startswith(("tinyadv/_lessons/", "tinyadv/_exercises/")) for name in extra), sorted(extra)
    # "": the licence of the lessons
    assert {Path(name).suffix for name in extra} <= {"", ".css", ".ipynb", ".js", ".md", ".py", ".svg"}
    assert not [name for name in names if "cache" in name or name.endswith(".pyc")]
    assert not [name for name in names if "/test_" in name and not name.startswith("tinyadv/_exercises/test_lesson")]
    assert wheel.stat().st_size < 32e6  # of which the embedded networks are at most 20 MB


# The source distribution: these folders whole, these files, and what the build adds or needs.
SDIST_FOLDERS = (".ci", ".github", "data_scripts", "lessons", "tests", "tinyadv")
SDIST_FILES = {".gitignore", "LICENSE", "PKG-INFO", "README.md", "pyproject.toml"}


def test_the_source_distribution_holds_the_checkout_and_nothing_else(sdist):
    with tarfile.open(sdist) as archive:
        members = archive.getmembers()
    assert all(member.isfile() for member in members), "no links, devices or folders of other people's"
    assert {member.name.partition("/")[0] for member in members} == {f"tinyadv-{PROJECT['version']}"}
    wanted = set.union(SDIST_FILES, *(files_of(ROOT / folder) for folder in SDIST_FOLDERS))
    assert {member.name.partition("/")[2] for member in members} == wanted
    assert {Path(name).suffix for name in wanted} <= {
        "", ".css", ".html", ".ipynb", ".j2", ".js", ".json", ".lock", ".md", ".png", ".py", ".safetensors", ".sha256",
        ".svg", ".toml", ".txt", ".typed", ".xz",
    }  # fmt: skip
    assert sdist.stat().st_size < 40e6


def test_the_source_distribution_gives_the_same_wheel(sdist, wheel, names, tmp_path):
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path, **({"filter": "data"} if hasattr(tarfile, "data_filter") else {}))  # 3.11.4
    again = zipfile.ZipFile(built("wheel", tmp_path / f"tinyadv-{PROJECT['version']}", tmp_path / "dist"))
    first = zipfile.ZipFile(wheel)
    assert set(again.namelist()) == names
    assert not [name for name in names if again.read(name) != first.read(name)]


def test_both_licences_travel_with_their_text(unpacked):
    code = (unpacked / INFO / "licenses" / "LICENSE").read_text(encoding="utf-8")
    assert code.startswith("MIT License")
    assert "WITHOUT WARRANTY OF ANY KIND" in code
    lessons = (unpacked / "tinyadv" / "_lessons" / "LICENSE").read_text(encoding="utf-8")
    assert "The lessons, the site's pages and the figures" in lessons
    assert all(f"\nSection {n} -- " in lessons for n in range(1, 9))  # the legal code of CC BY 4.0, whole


def test_the_wheel_says_what_it_is_and_needs(unpacked):
    about = Parser().parsestr((unpacked / INFO / "METADATA").read_text(encoding="utf-8"))
    assert about["Version"] == PROJECT["version"] == tinyadv.__version__
    assert about["Requires-Python"] == ">=3.11"
    needed = {line for line in about.get_all("Requires-Dist") if "extra ==" not in line}
    assert needed == set(PROJECT["dependencies"])
    assert not any(word in line for line in needed for word in ("cupy", "torch", "scipy", "pooch"))
    assert "tinyadv = tinyadv.cli:main" in (unpacked / INFO / "entry_points.txt").read_text(encoding="utf-8")
    assert (unpacked / INFO / "licenses" / "LICENSE").exists()
    assert (unpacked / INFO / "licenses" / "tinyadv" / "data" / "mnist" / "README.md").exists()


def test_it_works_where_there_is_no_checkout(unpacked, tmp_path):
    """The unpacked wheel comes before the checkout on the path, and nothing of the checkout may be looked at."""
    loaded = python(
        "-c",
        "import sys, tinyadv, tinyadv.cli, tinyadv.course, tinyadv.paper.run\n"
        "assert tinyadv.datasets.mnist().test.x.shape == (10_000, 784)\n"
        f"assert len(tinyadv.paper.claims.claims()) == {len(claims())}\n"
        "print(*(m.__file__ for name, m in sys.modules.items() if name.partition('.')[0] == 'tinyadv'), sep='\\n')",
        path=str(unpacked),
        cwd=tmp_path,
    )
    assert len(loaded.splitlines()) > 20
    assert all(Path(line).is_relative_to(unpacked) for line in loaded.splitlines()), loaded
    lessons = python("-c", COMMAND, "lesson", path=str(unpacked), cwd=tmp_path)
    assert str(unpacked / "tinyadv" / "_lessons" / "lesson01_linear.py") in lessons
    assert str(ROOT) not in lessons
    assert not list(tmp_path.iterdir()), "listing things writes nothing"
    python("-c", COMMAND, "course", "solutions", "teacher", path=str(unpacked), cwd=tmp_path)
    assert "6 of 6 points" in python(
        "-c", COMMAND, "course", "grade", "teacher", "--lesson", "1", path=str(unpacked), cwd=tmp_path
    )


@pytest.mark.slow
def test_the_wheel_in_a_clean_environment(wheel, tmp_path):
    """With its dependencies from the network, and nothing else installed: what a new user gets."""
    python("-m", "venv", tmp_path / "clean")
    there = tmp_path / "clean" / ("Scripts" if os.name == "nt" else "bin")
    python("-m", "pip", "install", "--quiet", wheel, executable=there / "python")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()

    def command(*arguments: str) -> str:
        return python(there / "tinyadv", *arguments, executable=there / "python", cwd=elsewhere)

    assert command("--version") == f"tinyadv {tinyadv.__version__}\n"
    assert f"{len(claims())} claims" in command("claims")
    assert "lesson01_linear.py" in command("lesson")
    table = command("reproduce", "--only", "linear-growth", "--only", "logistic-3v7", "--out", "out")
    assert "2 claims" in table
    (network,) = (elsewhere / "out" / "networks").glob("*.safetensors")
    command("attack", str(network), "--out", "out")
    wanted = {".lock", "attack.npz", "attack.png", "figures", "measurements", "networks", "report.html", "results.json"}
    assert {path.name for path in (elsewhere / "out").iterdir()} == wanted


def imported(code: str) -> set[str]:
    """The packages outside of the standard library that running `code` imports."""
    code = f"import sys; before = set(sys.modules)\n{code}\nprint(*(set(sys.modules) - before))"
    text = python("-c", code, path=str(ROOT))
    return {name.partition(".")[0] for name in text.split()} - set(sys.stdlib_module_names)


def test_importing_tinyadv_imports_numpy_and_nothing_else():
    assert imported("import tinyadv") == imported("import numpy, numpy.random") | {"tinyadv"}


def test_importing_the_command_line_imports_nothing_heavy():
    heavy = {"matplotlib", "rich", "scipy", "cupy", "torch", "safetensors", "pooch", "jax"}
    assert "typer" in imported("import tinyadv.cli")
    assert not imported("import tinyadv.cli") & heavy


def test_importing_tinyadv_does_not_import_the_evidence_or_the_course():
    text = python("-c", "import sys, tinyadv; print(*sys.modules)", path=str(ROOT))
    assert "tinyadv.tensor" in text.split()
    assert not [name for name in text.split() if name.startswith(("tinyadv.paper", "tinyadv.course", "tinyadv.bench"))]


def test_ci_is_a_script_that_can_be_run():
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert subprocess.run(["bash", "-n", script], check=False).returncode == 0
