"""data_scripts/imagenet.py: weights in 116 files, class names and photographs, each verified; from an empty folder."""

from __future__ import annotations

import io
import json
import re
import shutil
from hashlib import sha256
from pathlib import Path

import download
import imagenet as script
import numpy as np
import pytest
from mirrors import DATA_SCRIPTS, lay, near, serving
from PIL import Image
from safetensors.numpy import save_file
from test_googlenet import SHARED, thin_weights

from tinyadv import googlenet, photographs
from tinyadv.googlenet import fingerprint, layers, load_googlenet
from tinyadv.photographs import class_names

WEIGHTS = {name: a.astype(np.float16).astype(np.float32) for name, a in thin_weights(np.random.default_rng(1)).items()}
WORDS = b"n01440764 tench, Tinca tinca\nn02510455 giant panda, panda\n"
REPOSITORY = "/chaosmail/caffejs/424d98682b50dd88d0b8cca401c66855709bd013"


def public_files() -> dict[str, bytes]:
    """The thin weights as the public repository has its own: a file a tensor, of a kernel row by row, channels last."""
    files = {}
    for layer in layers():
        weight = WEIGHTS[f"{layer}.weight"]
        weight = weight.transpose(0, 2, 3, 1) if weight.ndim == 4 else weight
        files[f"{layer}_filter.bin"] = np.ascontiguousarray(weight).tobytes()
        files[f"{layer}_bias.bin"] = WEIGHTS[f"{layer}.bias"].tobytes()
    return files


def photo(colour: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (300, 256), colour).save(file, format="png")
    return file.getvalue()


PUBLIC = public_files()
PHOTOS = {"red.png": photo("red"), "blue.png": photo("blue")}
ENTRIES = [
    {
        "file": name,
        "true_class": i,
        "true_name": "a colour",
        "sha256": sha256(content).hexdigest(),
        "source": f"someone/pictures@abc:folder/{name}",
        "author_licence": f"Author {i}, CC0",
    }
    for i, (name, content) in enumerate(PHOTOS.items())
]


@pytest.fixture(autouse=True)
def thin(tmp_path, monkeypatch):
    """A thin network's files, two class names and two photographs stand for the real ones."""
    here = tmp_path / "data_scripts"
    here.mkdir()
    lines = [f"{sha256(content).hexdigest()}  {name}\n" for name, content in PUBLIC.items()]
    (here / "googlenet.sha256").write_text("".join(lines))
    (here / "photos.json").write_text(json.dumps({"photos": ENTRIES}))
    monkeypatch.setattr(script, "HERE", here)
    for module in (script, googlenet):
        monkeypatch.setattr(module, "WEIGHTS_SHA256", fingerprint(WEIGHTS))
    for module in (script, photographs):
        monkeypatch.setattr(module, "CLASSES_SHA256", sha256(WORDS).hexdigest())
    class_names.cache_clear()
    yield
    class_names.cache_clear()


@pytest.fixture
def out(tmp_path):
    return tmp_path / "new" / "imagenet"


def check_written(out: Path) -> None:
    assert sorted(path.name for path in out.iterdir()) == ["googlenet.safetensors", "photographs", "synset_words.txt"]
    model = load_googlenet(out / "googlenet.safetensors")
    kernel = WEIGHTS["inception_4c/5x5.weight"].transpose(2, 3, 1, 0)
    np.testing.assert_array_equal(model.weights["inception_4c/5x5.weight"], kernel)
    for name, a in WEIGHTS.items():
        np.testing.assert_array_equal(model.weights[name], a.transpose(2, 3, 1, 0) if a.ndim == 4 else a)
    assert class_names(out / "synset_words.txt") == ("tench", "giant panda")
    for name, content in PHOTOS.items():
        assert (out / "photographs" / name).read_bytes() == content
    listed = json.loads((out / "photographs" / "photos.json").read_text())["photos"]
    assert [entry["author_licence"] for entry in listed] == ["Author 0, CC0", "Author 1, CC0"]


# --- from servers -----------------------------------------------------------------------------------------------


@pytest.fixture
def server(monkeypatch):
    """A server that has everything; nothing waits, no proxy interferes."""
    near(monkeypatch)
    monkeypatch.setattr(download.time, "sleep", lambda _: None)
    with serving() as files:
        for name, content in PUBLIC.items():
            files.content[f"{REPOSITORY}/models/bvlc_googlenet/weights/{name}"] = content
        files.content[f"{REPOSITORY}/data/ilsvrc12/synset_words.txt"] = WORDS
        for name, content in PHOTOS.items():
            files.content[f"/someone/pictures/abc/folder/{name}"] = content
        yield files


def run(server, out):
    return script.main(["--mirror", server.url, "--out", str(out)])


def test_from_an_empty_folder_by_download(server, out, capsys):
    assert run(server, out) == 0
    check_written(out)
    assert len(server.asked) == 116 + 1 + 2
    assert f"{out / 'photographs' / 'red.png'}: ok, by Author 0, CC0\n" in capsys.readouterr().out


def test_a_broken_connection_and_a_broken_run_go_on(server, out, capsys):
    path = f"{REPOSITORY}/models/bvlc_googlenet/weights/conv2/3x3_bias.bin"
    content = server.content.pop(path)
    assert run(server, out) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    wanted = "3x3_bias.bin could not be had; pass a folder that has it, --from DIR. Found: "
    assert last.startswith(f"imagenet.py: {wanted}{server.url}{path}: 404")
    assert not (out / "googlenet.safetensors").exists()
    before = {asked for asked, _ in server.asked} - {path}
    assert len(before) > 3
    server.asked.clear()
    server.content[path] = content
    server.cut[path] = 1
    assert run(server, out) == 0
    assert before.isdisjoint(asked for asked, _ in server.asked)
    assert [asked for asked, _ in server.asked].count(path) == 2
    check_written(out)


def test_what_a_broken_run_left_is_verified_too(server, out):
    left = out / ".parts" / "conv2" / "3x3_bias.bin"
    left.parent.mkdir(parents=True)
    left.write_bytes(b"half")
    assert run(server, out) == 0
    check_written(out)


def test_a_layer_with_other_content_is_one_line(server, out, capsys):
    path = f"{REPOSITORY}/models/bvlc_googlenet/weights/conv2/3x3_bias.bin"
    server.content[path] = bytes(len(server.content[path]))
    assert run(server, out) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert re.search(r"conv2/3x3_bias.bin: \d+ bytes with SHA-256", last)
    assert list(out.glob("*.safetensors")) == []


def test_a_photograph_that_can_not_be_had_is_named_and_the_rest_is_kept(server, out, capsys):
    server.content["/someone/pictures/abc/folder/red.png"] = PHOTOS["blue.png"]
    assert run(server, out) == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f"imagenet.py: all but 1 of 2 photographs are in {out / 'photographs'}: red.png (red.png c")
    load_googlenet(out / "googlenet.safetensors")
    listed = json.loads((out / "photographs" / "photos.json").read_text())["photos"]
    assert [entry["file"] for entry in listed] == ["blue.png"]


# --- from a folder ----------------------------------------------------------------------------------------------


@pytest.fixture
def have(tmp_path):
    """A folder of the user's with everything, in folders of its own; weights in float16 in one file."""
    folder = lay(tmp_path / "have", {"labels/synset_words.txt": WORDS})
    lay(folder / "photos", PHOTOS | {"photos.json": json.dumps({"photos": ENTRIES}).encode()})
    (folder / "googlenet").mkdir()
    half = {name: a.astype(np.float16) for name, a in WEIGHTS.items()}
    save_file(half, folder / "googlenet" / "googlenet.f16.safetensors")
    return folder


def test_from_a_folder(have, out):
    assert script.main(["--from", str(have), "--out", str(out)]) == 0
    check_written(out)


def test_from_a_folder_with_the_public_files(have, out):
    shutil.rmtree(have / "googlenet")
    lay(have / "weights", PUBLIC)
    assert script.main(["--from", str(have), "--out", str(out)]) == 0
    check_written(out)


def test_a_photograph_that_was_searched_for_is_marked(have, out, monkeypatch):
    monkeypatch.setattr(script, "SELECTED", ("blue.png",))
    assert script.main(["--from", str(have), "--out", str(out)]) == 0
    listed = json.loads((out / "photographs" / "photos.json").read_text())["photos"]
    assert [entry["selected"] for entry in listed] == [False, True]


def spoil_weights(folder: Path, change) -> None:
    path = folder / "googlenet" / "googlenet.f16.safetensors"
    weights = {name: a.astype(np.float16) for name, a in WEIGHTS.items()}
    save_file(change(weights), path)


def other_number(weights):
    weights["conv2/3x3.bias"][0] += 1
    return weights


BAD = {
    "an unknown layer": (
        lambda have: spoil_weights(have, lambda w: w | {"fc6.weight": w["conv2/3x3.bias"]}),
        "googlenet.f16.safetensors: GoogLeNet has no fc6.weight",
    ),
    "a layer less": (
        lambda have: spoil_weights(have, lambda w: {name: w[name] for name in w if name != "conv2/3x3.bias"}),
        "googlenet.f16.safetensors: GoogLeNet lacks conv2/3x3.bias",
    ),
    "another shape": (
        lambda have: spoil_weights(have, lambda w: w | {"conv2/3x3.bias": w["conv2/3x3.bias"][:1].copy()}),
        "googlenet.f16.safetensors: conv2/3x3 wants weights (O, 3, 3, 3) and biases (O,), got (4, 3, 3, 3) and (1,)",
    ),
    "another number": (
        lambda have: spoil_weights(have, other_number),
        "googlenet.f16.safetensors: weights with SHA-256 ",
    ),
    "cut off": (
        lambda have: (have / "googlenet" / "googlenet.f16.safetensors").write_bytes(b"x" * 100),
        "googlenet.f16.safetensors: no readable safetensors file: ",
    ),
    "other names": (
        lambda have: (have / "labels" / "synset_words.txt").write_bytes(WORDS[1:]),
        "synset_words.txt: 57 bytes with SHA-256",
    ),
    "no list": (
        lambda have: (have / "photos" / "photos.json").write_text("[1]"),
        "photos.json: wanted a list of photographs with file, true_class, sha256, author_licence; found: ",
    ),
    "a list without credits": (
        lambda have: (have / "photos" / "photos.json").write_text(json.dumps({"photos": [{"file": "red.png"}]})),
        "photos.json: wanted a list of photographs with file, true_class, sha256, author_licence; found: 'true_class'",
    ),
    "a photograph is missing": (lambda have: (have / "photos" / "red.png").unlink(), "red.png ("),
    "a photograph is another": (
        lambda have: (have / "photos" / "red.png").write_bytes(PHOTOS["blue.png"]),
        "all but 1 of 2 photographs are in ",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_wrong_in_a_folder_is_one_line(have, out, capsys, kind):
    spoil, complaint = BAD[kind]
    spoil(have)
    assert script.main(["--from", str(have), "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert error.startswith("imagenet.py: ")
    assert error.count("\n") == 1
    assert complaint in error


def test_a_folder_with_nothing_of_it(tmp_path, out, capsys):
    assert script.main(["--from", str(tmp_path / "nowhere"), "--out", str(out)]) == 2
    assert "nowhere: wanted googlenet*.safetensors or" in capsys.readouterr().err


def test_check_names_what_is_missing(have, out, capsys):
    assert script.main(["--check", "--out", str(out)]) == 2
    assert f"{out / 'googlenet.safetensors'} does not exist" in capsys.readouterr().err
    assert script.main(["--from", str(have), "--out", str(out)]) == 0
    assert script.main(["--check", "--out", str(out)]) == 0
    (out / "photographs" / "red.png").write_bytes(b"x")
    assert script.main(["--check", "--out", str(out)]) == 2
    assert "red.png: 1 bytes with SHA-256" in capsys.readouterr().err


# --- the committed lists ----------------------------------------------------------------------------------------


def test_the_committed_lists_are_complete(monkeypatch):
    """A SHA-256 for each of 116 files; for each photograph a licence that allows passing it on, and where it is."""
    monkeypatch.setattr(script, "HERE", DATA_SCRIPTS)
    files = script.weight_files()
    assert files.keys() == {f"{layer}_{kind}.bin" for layer in layers() for kind in ("filter", "bias")}
    assert all(len(sha) == 64 for sha in files.values())
    entries = script.listed(DATA_SCRIPTS / "photos.json")
    assert len(entries) >= 10
    for entry in entries:
        assert any(licence in entry["author_licence"] for licence in ("CC0", "CC BY", "public domain"))
        assert script.url(entry["source"]).startswith("https://raw.githubusercontent.com/")
        assert 0 <= entry["true_class"] < 1000


@pytest.mark.data
def test_committed_photographs_are_those_that_developers_share(monkeypatch):
    listing = SHARED / "photos" / "photos.json"
    if not listing.exists():
        pytest.skip("no photographs in ../shared/data")
    monkeypatch.setattr(script, "HERE", DATA_SCRIPTS)
    shared = [SHARED / "photos" / entry["file"] for entry in script.listed(DATA_SCRIPTS / "photos.json")]
    entries = {entry["file"]: entry for entry in script.listed(DATA_SCRIPTS / "photos.json")}
    there = [path for path in shared if path.exists()]
    assert len(there) > 5
    for path in there:
        assert sha256(path.read_bytes()).hexdigest() == entries[path.name]["sha256"]
