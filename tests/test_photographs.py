"""Photographs as GoogLeNet's input: whatever a camera or a program wrote, or one line that says why not; figure 1."""

from __future__ import annotations

import io
import json
import re
from hashlib import sha256

import numpy as np
import pytest
from PIL import Image
from test_googlenet import SHARED, thin_weights

from tinyadv import googlenet, photographs
from tinyadv.attacks import fgsm
from tinyadv.cli import main
from tinyadv.datasets import DataError
from tinyadv.googlenet import fingerprint
from tinyadv.photographs import attack_photograph, class_names, photograph
from tinyadv.storage import save_arrays

RED, GREEN, BLUE = (200, 30, 40), (20, 180, 60), (10, 50, 220)


def halves(width=320, height=256, left=RED, right=BLUE):
    """A picture that is red on its left half and blue on its right one."""
    picture = Image.new("RGB", (width, height), left)
    picture.paste(right, (width // 2, 0, width, height))
    return picture


def read(picture, tmp_path, kind="png", **how):
    path = tmp_path / f"picture.{kind}"
    picture.save(path, **how)
    return photograph(path).reshape(3, 224, 224)


def colour(x, row, column):
    """The colour of a pixel, from 0 to 255."""
    return tuple(np.rint(x[:, row, column] * 255).astype(int))


def is_halves(x, tolerance=0):
    return all(
        abs(np.subtract(colour(x, row, column), wanted)).max() <= tolerance
        for row in (0, 100, 223)
        for column, wanted in ((0, RED), (100, RED), (124, BLUE), (223, BLUE))
    )


def test_a_row_is_channel_major_in_0_to_1(tmp_path):
    path = tmp_path / "picture.png"
    halves().save(path)
    x = photograph(path)
    assert x.shape == (1, 3 * 224 * 224)
    assert x.dtype == np.float32
    np.testing.assert_array_equal(x[0, :4], np.float32(200) / np.float32(255))
    np.testing.assert_array_equal(x[0, -4:], np.float32(220) / np.float32(255))
    assert is_halves(x.reshape(3, 224, 224))


def test_the_network_s_own_size_is_taken_as_it_is(tmp_path, rng):
    pixels = rng.integers(0, 256, (224, 224, 3)).astype(np.uint8)
    x = read(Image.fromarray(pixels), tmp_path)
    np.testing.assert_array_equal(np.rint(x * 255).transpose(1, 2, 0), pixels)


@pytest.mark.parametrize("size", [(1280, 1024), (64, 51), (256, 256), (900, 300), (33, 640)])
def test_of_other_sizes_the_middle_is_taken(tmp_path, size):
    x = read(halves(*size), tmp_path)
    assert colour(x, 112, 0) == RED
    assert colour(x, 112, 223) == BLUE
    middle = np.flatnonzero(x[0, 112] < 0.4)[0]
    assert abs(middle - 112) <= 224 * 2 / size[0] + 1


def test_a_margin_is_cut_off(tmp_path):
    """224 of 256 remain: a border of 16 pixels around 256 x 256 goes, and nothing else."""
    picture = Image.new("RGB", (256, 256), GREEN)
    picture.paste(RED, (16, 16, 240, 240))
    x = read(picture, tmp_path)
    assert {colour(x, row, column) for row in (0, 223) for column in (0, 223)} == {RED}


MODES = {
    "jpeg": (lambda: halves(), {"kind": "jpg", "quality": 95}),
    "cmyk": (lambda: halves().convert("CMYK"), {"kind": "jpg", "quality": 95}),
    "cmyk tiff": (lambda: halves().convert("CMYK"), {"kind": "tiff"}),
    "palette": (lambda: halves().quantize(8), {}),
    "gif": (lambda: halves(), {"kind": "gif"}),
    "webp": (lambda: halves(), {"kind": "webp", "lossless": True}),
    "alpha, all of it opaque": (lambda: halves().convert("RGBA"), {}),
    "bmp": (lambda: halves(), {"kind": "bmp"}),
}


@pytest.mark.parametrize("mode", MODES)
def test_ways_to_store_colours(tmp_path, mode):
    make, how = MODES[mode]
    assert is_halves(read(make(), tmp_path, **how), tolerance=6)


GREYS = {
    "8 bits": Image.new("L", (256, 256), 77),
    "16 bits": Image.fromarray(np.full((256, 256), 77 * 256 + 9, np.uint16)),
    "with alpha": Image.new("LA", (256, 256), (77, 255)),
}


@pytest.mark.parametrize("kind", GREYS)
def test_grey_is_a_colour_too(tmp_path, kind):
    assert colour(read(GREYS[kind], tmp_path), 0, 0) == (77, 77, 77)


def test_black_and_white(tmp_path):
    assert colour(read(Image.new("1", (256, 256), 1), tmp_path), 0, 0) == (255, 255, 255)


def test_behind_transparent_parts_is_white(tmp_path):
    picture = halves().convert("RGBA")
    picture.putalpha(Image.new("L", picture.size, 0))
    assert colour(read(picture, tmp_path), 0, 0) == (255, 255, 255)
    picture.putalpha(Image.new("L", picture.size, 128))
    assert abs(np.subtract(colour(read(picture, tmp_path), 0, 0), (227, 142, 147))).max() <= 1  # halfway


def test_a_transparent_colour_of_a_palette(tmp_path):
    picture = halves().quantize(8)
    red = picture.getpixel((0, 0))
    x = read(picture, tmp_path, transparency=red)
    assert colour(x, 0, 0) == (255, 255, 255)
    assert colour(x, 0, 223) == BLUE


@pytest.mark.parametrize("turn", [3, 6, 8])
def test_it_is_turned_as_its_camera_noted(tmp_path, turn):
    """Stored turned, with the note: what comes out stands as the scene did."""
    operation = {3: Image.Transpose.ROTATE_180, 6: Image.Transpose.ROTATE_90, 8: Image.Transpose.ROTATE_270}[turn]
    exif = Image.Exif()
    exif[0x0112] = turn
    assert is_halves(read(halves().transpose(operation), tmp_path, "jpg", exif=exif, quality=95), tolerance=6)


def test_of_an_animation_the_first_picture_counts(tmp_path):
    others = [Image.new("RGB", (320, 256), GREEN)]
    assert is_halves(read(halves(), tmp_path, "gif", save_all=True, append_images=others), tolerance=6)


def damaged(content: bytes) -> bytes:
    return content[: len(content) // 2]


def stored(picture, kind="png", **how) -> bytes:
    file = io.BytesIO()
    picture.save(file, format=kind, **how)
    return file.getvalue()


NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 300, 3)).astype(np.uint8))
BAD = {
    "missing": (None, "there is no such file"),
    "empty": (b"", "found no image, or one of an unknown kind"),
    "text": (b"<html>not found</html>", "found no image, or one of an unknown kind"),
    "cut off JPEG": (damaged(stored(NOISE, "jpeg")), "found a damaged image: image file is truncated"),
    "cut off PNG": (damaged(stored(NOISE)), "found a damaged image: "),
    "tiny": (stored(Image.new("RGB", (31, 400))), "found 31 x 400 pixels, wanted at least 32 on each side"),
    "one pixel": (stored(Image.new("RGB", (1, 1))), "found 1 x 1 pixels, wanted at least 32 on each side"),
    "a strip": (stored(Image.new("RGB", (32, 700))), "found 32 x 700 pixels, .* and none more than 20 times the other"),
    "numbers": (stored(Image.new("F", (256, 256)), "tiff"), "found pixels of mode F, which have no known range"),
}


@pytest.mark.parametrize("kind", BAD)
def test_what_is_no_photograph_is_one_line(tmp_path, kind):
    path = tmp_path / "file.jpg"
    content, found = BAD[kind]
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=rf"^{re.escape(str(path))}: wanted a photograph; {found}") as caught:
        photograph(path)
    assert "\n" not in str(caught.value)


def test_a_folder_is_no_photograph(tmp_path):
    with pytest.raises(DataError, match="wanted a photograph; found a folder"):
        photograph(tmp_path)


def test_far_too_many_pixels_are_refused_before_they_are_read(tmp_path, monkeypatch):
    path = tmp_path / "huge.png"
    NOISE.save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 40_000)
    with pytest.raises(DataError, match="found more than 80,000 pixels"):
        photograph(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 60_000)  # Pillow warns: a large photograph is one all the same
    assert photograph(path).shape == (1, 150528)


@pytest.mark.data
def test_originals_become_the_network_s_input_that_was_prepared_elsewhere():
    """All originals that developers share, against pictures of 224 x 224 made from them by another program."""
    listing = SHARED / "photos" / "photos.json"
    if not listing.exists():
        pytest.skip("no photographs in ../shared/data")
    entries = [entry for entry in json.loads(listing.read_text())["photos"] if "original_file" in entry]
    assert len(entries) > 10
    for entry in entries:
        ours = photograph(listing.parent / entry["original_file"])
        theirs = photograph(listing.parent / entry["file"])
        assert abs(ours - theirs).mean() < 0.5 / 255, entry["file"]  # decoders of JPEG differ by less


# --- what the script fetched ------------------------------------------------------------------------------------


WORDS = b"n01440764 tench, Tinca tinca\nn02510455 giant panda, panda\nn02483362 gibbon, Hylobates lar\n"


@pytest.fixture
def data(tmp_path, rng, monkeypatch):
    """A data folder with a thin GoogLeNet of three classes, their names, and two photographs."""
    folder = tmp_path / "data" / "imagenet"
    weights = thin_weights(rng, classes=3)
    save_arrays(folder / "googlenet.safetensors", weights, {})
    (folder / "synset_words.txt").write_bytes(WORDS)
    (folder / "photographs").mkdir()
    halves().save(folder / "photographs" / "a.png")
    NOISE.save(folder / "photographs" / "b.png")
    entries = [
        {"file": "a.png", "true_class": 1, "author_licence": "Ann, CC0", "sha256": ""},
        {"file": "b.png", "true_class": 2, "author_licence": "Bob, CC BY 4.0", "sha256": "", "selected": True},
    ]
    (folder / "photographs" / "photos.json").write_text(json.dumps({"photos": entries}))
    monkeypatch.setenv("TINYADV_DATA", str(tmp_path / "data"))
    monkeypatch.setattr(googlenet, "WEIGHTS_SHA256", fingerprint(weights))
    monkeypatch.setattr(photographs, "CLASSES_SHA256", sha256(WORDS).hexdigest())
    class_names.cache_clear()
    yield folder
    class_names.cache_clear()


def test_class_names_are_the_first_synonyms(data):
    assert class_names() == ("tench", "giant panda", "gibbon")


def test_photographs_at_hand(data):
    first, second = photographs.photographs()
    assert (first.name, first.label, first.credit, first.selected) == ("a.png", 1, "Ann, CC0", False)
    np.testing.assert_array_equal(first.x, photograph(data / "photographs" / "a.png"))
    assert second.selected


def test_what_is_missing_is_told_before_any_work(data):
    assert photographs.missing() == ""
    for name in ("photographs/photos.json", "synset_words.txt", "googlenet.safetensors"):
        (data / name).rename(data / "away")
        assert photographs.missing().startswith(f"{data / name} does not exist. To get it, run ")
        (data / "away").rename(data / name)


def test_what_is_missing_or_damaged_is_one_line_with_the_command(data):
    command = r"\. To get it, run in tinyadv's source tree: python data_scripts/imagenet\.py$"
    listing, words = data / "photographs" / "photos.json", data / "synset_words.txt"
    for text in ('{"photos": [{"file": "a.png"}]}', "[]", "{", '{"photos": [{"file": 1}]}'):
        listing.write_text(text)
        with pytest.raises(DataError, match=rf"photos\.json is no list of photographs: .*{command}"):
            photographs.photographs()
    listing.unlink()
    with pytest.raises(DataError, match=rf"photos\.json does not exist; wanted a list of photographs{command}"):
        photographs.photographs()
    words.write_bytes(WORDS[1:])
    class_names.cache_clear()
    with pytest.raises(DataError, match=rf"synset_words\.txt has SHA-256 .*, wanted .*{command}"):
        class_names()
    words.unlink()
    with pytest.raises(DataError, match=rf"synset_words\.txt does not exist; wanted the names .*{command}"):
        class_names()


# --- attacks on them ----------------------------------------------------------------------------------------------


def test_each_photograph_before_and_after_one_step(data):
    model = googlenet.load_googlenet()
    photos = photographs.photographs()
    sizes = (1 / 255, 0.5 / 255)
    for eps, found in zip(sizes, photographs.attack_each(model, photos, sizes), strict=True):
        assert [each.photograph.name for each in found] == ["a.png", "b.png"]
        for each in found:
            x, y = each.photograph.x, np.array([each.photograph.label])
            x_adv = fgsm(model, x, y, eps)
            before, after = model.probabilities(model(x))[0], model.probabilities(model(x_adv))[0]
            assert each.before == (before.argmax(), class_names()[before.argmax()], before.max())
            assert each.after == (after.argmax(), class_names()[after.argmax()], after.max())
            assert (each.true_before, each.true_after) == (before[y[0]], after[y[0]])
            assert each.right_before == (before.argmax() == y[0])
            assert each.right_after == (after.argmax() == y[0])
            assert each.moved == pytest.approx(eps, rel=1e-3)


def test_attack_photograph_writes_what_it_says(data, tmp_path):
    path, out = data / "photographs" / "b.png", tmp_path / "out"
    lines = attack_photograph(path, 1 / 255, "fgsm", False, out)
    with np.load(out / "attack.npz") as file:
        x, x_adv, eps = file["x"], file["x_adv"], float(file["eps"])
    np.testing.assert_array_equal(x, photograph(path))
    assert eps == 1 / 255
    assert 0.9 / 255 < abs(x_adv - x).max() < 1.001 / 255
    model = googlenet.load_googlenet()
    for line, image in ((lines[1], x), (lines[2], x_adv)):
        p = model.probabilities(model(image))[0]
        assert line.split("  ")[-1].strip() == f"{class_names()[p.argmax()]}, {p.max():.1%}"
    assert lines[0] == f"googlenet, fgsm, eps 0.003922 (1 grey level of 255), {path}"
    with Image.open(out / "attack.png") as picture:
        assert picture.width > 1000


def test_the_attack_moves_away_from_what_the_network_says(data, tmp_path):
    path = data / "photographs" / "b.png"
    attack_photograph(path, 1 / 255, "fgsm", False, tmp_path)
    with np.load(tmp_path / "attack.npz") as file:
        x, x_adv = file["x"], file["x_adv"]
    model = googlenet.load_googlenet()
    said = model(x).argmax(axis=1)
    assert model.loss(model(x_adv), said) > model.loss(model(x), said)


@pytest.mark.parametrize("method", ["fgsm", "pgd"])
def test_clipped_pixels_stay_in_range(data, tmp_path, method):
    attack_photograph(data / "photographs" / "b.png", 0.1, method, True, tmp_path)
    with np.load(tmp_path / "attack.npz") as file:
        assert file["x_adv"].min() == 0
        assert file["x_adv"].max() == 1
    attack_photograph(data / "photographs" / "b.png", 0.1, method, False, tmp_path)
    with np.load(tmp_path / "attack.npz") as file:
        assert file["x_adv"].min() < 0


def run(*arguments):
    with pytest.raises(SystemExit) as caught:
        main([str(a) for a in arguments])
    return caught.value.code or 0


def test_the_command(data, tmp_path, capsys):
    photo = data / "photographs" / "a.png"
    assert run("attack", "googlenet", "--data", photo, "--out", tmp_path) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("googlenet, fgsm, eps 0.003922 (1 grey level of 255), ")
    assert lines[-1] == f"written: {tmp_path / 'attack.npz'}, {tmp_path / 'attack.png'}"
    assert run("attack", "googlenet", "--data", photo, "--out", tmp_path, "--eps", "0.01", "--method", "pgd") == 0
    assert capsys.readouterr().out.startswith("googlenet, pgd, eps 0.01 (2.55 grey levels of 255), ")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["googlenet"], "attack googlenet wants a photograph: --data PHOTO.jpg"),
        (["googlenet", "--data", "{tmp}/nothing.jpg"], "{tmp}/nothing.jpg: wanted a photograph; there is no such file"),
        (
            ["googlenet", "--data", "{photo}", "--eps", "2"],
            "eps is in units of pixels, which run from 0 to 1",
        ),
        (["googlenet", "--data", "{photo}", "--eps", "-1"], "eps is how far each entry may move"),
        (["googlenet", "--data", "{photo}", "--method", "cw"], "unknown method 'cw': there are fgsm, pgd"),
        (["googlenet", "--data", "{photo}", "--images", "3"], "--images is for test images of MNIST"),
        (["network.safetensors", "--data", "{photo}"], "network.safetensors does not exist"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(data, tmp_path, capsys, arguments, complaint):
    photo, out = data / "photographs" / "a.png", tmp_path / "out"
    arguments = [argument.format(tmp=tmp_path, photo=photo) for argument in arguments]
    assert run("attack", *arguments, "--out", out) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.count("\n") == 1
    assert complaint.format(tmp=tmp_path) in printed.err
    assert not out.exists()


def test_without_the_weights_the_command_to_get_them(data, tmp_path, capsys):
    (data / "googlenet.safetensors").unlink()
    assert run("attack", "googlenet", "--data", data / "photographs" / "a.png", "--out", tmp_path / "out") == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "python data_scripts/imagenet.py" in error
