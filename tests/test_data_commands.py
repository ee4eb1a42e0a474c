"""What the three data scripts have in common: their options, and that whatever is wrong is one line and exit code 2."""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import download
import pytest
from mirrors import DATA_SCRIPTS

# by name: what is said of a folder that has nothing of it, and of a check of one
SCRIPTS = {
    "mnist": ("expected a file train-images-idx3-ubyte or", "train-images-idx3-ubyte.xz: wanted an xz-compressed"),
    "cifar10": ("wanted cifar-10-binary.tar.gz or the files", "cifar10.bin does not exist; wanted the 6 batches"),
    "imagenet": ("wanted googlenet*.safetensors or", "googlenet.safetensors does not exist"),
}
BAD = {
    "no folder": (["--from", "{tmp}/nowhere", "--out", "{tmp}/new"], "nowhere: {nothing}"),
    "a name of two lines": (["--from", "{tmp}/two\nlines", "--out", "{tmp}/new"], "two lines: {nothing}"),
    "out is a file": (["--from", "{tmp}", "--out", "{tmp}/taken"], "can be written, received {tmp}/taken: "),
    "out is in a file": (["--from", "{tmp}", "--out", "{tmp}/taken/deeper"], "wanted a folder that can be written"),
    "nothing to check": (["--check", "--out", "{tmp}"], "{unchecked}"),
    "two sources": (
        ["--from", "{tmp}", "--mirror", "http://127.0.0.1:9"],
        "--mirror: not allowed with argument --from",
    ),
    "check and source": (["--check", "--from", "{tmp}"], "argument --from: not allowed with argument --check"),
    "unknown option": (["--form", "{tmp}"], "unrecognized arguments: --form"),
    "no value": (["--from"], "argument --from: expected one argument"),
}


def said(capsys, name, arguments):
    """The one line that a script ends in, whose exit code is 2."""
    script = importlib.import_module(name)
    try:
        code = script.main(arguments)
    except SystemExit as exit_:
        code = exit_.code
    printed = capsys.readouterr()
    assert code == 2
    assert printed.out == ""
    assert printed.err.startswith(f"{name}.py: ")
    assert printed.err.count("\n") == 1
    return printed.err


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("name", SCRIPTS)
def test_bad_input_is_one_line_and_exit_code_2(tmp_path, capsys, name, kind):
    arguments, complaint = BAD[kind]
    nothing, unchecked = SCRIPTS[name]
    (tmp_path / "taken").write_text("a file")
    line = said(capsys, name, [argument.format(tmp=tmp_path) for argument in arguments])
    assert complaint.format(tmp=tmp_path, nothing=nothing, unchecked=unchecked) in line


def test_further_sources_exclude_the_others(capsys):
    assert "argument --npm: not allowed with argument --check" in said(capsys, "cifar10", ["--check", "--npm"])


@pytest.mark.parametrize("name", SCRIPTS)
def test_help_names_all_options(capsys, name):
    with pytest.raises(SystemExit):
        importlib.import_module(name).main(["--help"])
    printed = capsys.readouterr().out
    assert {"--from", "--mirror", "--check", "--out"} <= set(re.findall(r"--\w+", printed))


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_folder_that_cannot_be_written_is_told_before_the_work(tmp_path, monkeypatch, capsys, name):
    def refuse(dir: Path) -> None:  # noqa: A002 - tempfile's name for it
        raise PermissionError(13, "Permission denied", str(dir))

    monkeypatch.setattr(download, "TemporaryFile", refuse)  # (file modes don't stop root)
    monkeypatch.setattr(importlib.import_module(name), "fetched", lambda *_, **__: pytest.fail("fetched first"))
    line = said(capsys, name, ["--out", str(tmp_path / "out")])
    assert f"wanted a folder that can be written, received {tmp_path / 'out'}: Permission denied" in line


@pytest.mark.parametrize("name", SCRIPTS)
def test_as_a_program(tmp_path, name):
    """From a shell, in any folder: exit code and one line, no traceback."""
    command = [sys.executable, str(DATA_SCRIPTS / f"{name}.py"), "--check"]
    if name == "mnist":  # the others look into the user's data folder
        command += ["--out", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(DATA_SCRIPTS.parent), "TINYADV_DATA": str(tmp_path)}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=tmp_path)
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.startswith(f"{name}.py: {tmp_path}/")
    assert SCRIPTS[name][1] in done.stderr
    assert done.stderr.count("\n") == 1
