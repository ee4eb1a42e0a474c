"""Get what figure 1 needs: GoogLeNet's weights, the names of ImageNet's classes, and a few free photographs.

The one idea: everything is verified against a pinned SHA-256 before it is used, each file as it comes in, and the
weights once more as a whole. The weights are 116 small files of a public repository at a pinned commit; what has
arrived stays until all has, so a run that is broken off goes on from there. `--help` lists the options; README.md in
this folder gives sources and licences.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from hashlib import sha256
from pathlib import Path
from shutil import rmtree
from typing import Any

from download import Script, fetched
from numpy import float16, frombuffer

from tinyadv.datasets import DataError, data_folder
from tinyadv.googlenet import WEIGHTS_SHA256, GoogLeNet, fingerprint, layers, load_googlenet
from tinyadv.photographs import CLASSES_SHA256, class_names, photograph
from tinyadv.storage import parse_json, save_arrays, write_atomically

HERE = Path(__file__).parent
GITHUB = "https://raw.githubusercontent.com"
REPOSITORY = "chaosmail/caffejs@424d98682b50dd88d0b8cca401c66855709bd013"
WEIGHTS = "models/bvlc_googlenet/weights"  # folders there
CLASSES = "data/ilsvrc12/synset_words.txt"
LARGEST = 20_000_000  # bytes of any file
SELECTED = ("panda_gibbon_crop.224.png",)  # searched for among crops, as one that becomes a gibbon: only an example


def url(source: str, server: str = GITHUB) -> str:
    """Where a file is served, given as OWNER/NAME@COMMIT:PATH."""
    repository, _, path = source.partition(":")
    return f"{server}/{repository.replace('@', '/')}/{path}"


def verified(content: bytes, sha: str) -> bytes:
    """The content itself; DataError unless this is its SHA-256."""
    if (digest := sha256(content).hexdigest()) != sha:
        raise DataError(f"{len(content):,} bytes with SHA-256 {digest}, wanted {sha}")
    return content


def downloaded(source: str, sha: str, servers: Sequence[str], part: Path | None = None) -> bytes:
    """A verified file from one of the servers, given as OWNER/NAME@COMMIT:PATH; once it is at `part`, from there."""
    if part and part.is_file() and sha256(part.read_bytes()).hexdigest() == sha:
        return part.read_bytes()
    failure = f"{source.rpartition('/')[2]} could not be had; pass a folder that has it, --from DIR."
    urls = [url(source, server) for server in servers]
    content = fetched(urls, LARGEST, lambda content: verified(content, sha), failure)
    if part:
        write_atomically(part, content)
    return content


# --- GoogLeNet's weights -----------------------------------------------------------------------------------------


def weight_files() -> dict[str, str]:
    """The files of the public repository, LAYER_filter.bin and LAYER_bias.bin, and the SHA-256 of each."""
    lines = (HERE / "googlenet.sha256").read_text(encoding="utf-8").split("\n")
    return {name: sha for sha, _, name in (line.partition("  ") for line in lines) if name}


def from_files(read: Callable[[str, str], bytes]) -> dict[str, Any]:
    """The weights by name, of the content that `read` gives for a file and its SHA-256: float32, little-endian."""
    files = weight_files()
    arrays: dict[str, Any] = {}
    for layer, (K, _) in layers().items():
        bias, weight = (
            frombuffer(read(f"{layer}_{kind}.bin", files[f"{layer}_{kind}.bin"]), dtype="<f4")
            for kind in ("bias", "filter")
        )
        # a kernel's numbers come row by row with its channels innermost
        arrays[f"{layer}.weight"] = (
            weight.reshape(len(bias), K, K, -1).transpose(0, 3, 1, 2) if K else weight.reshape(len(bias), -1)
        )
        arrays[f"{layer}.bias"] = bias
    return arrays


def from_safetensors(path: Path) -> dict[str, Any]:
    """The weights by name, of a safetensors file."""
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        return dict(load_file(path))
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise DataError(f"{path}: no readable safetensors file: {error}") from None


def keep_weights(weights: Mapping[str, Any], source: object, out: Path) -> None:
    """Write the weights to `out/googlenet.safetensors` in float16, once they have proved to be the right ones."""
    half = {name: a.astype(float16) for name, a in weights.items()}
    try:
        GoogLeNet(half)
    except ValueError as error:
        raise DataError(f"{source}: {error}") from None
    if (found := fingerprint(half)) != WEIGHTS_SHA256:
        raise DataError(f"{source}: weights with SHA-256 {found}, wanted {WEIGHTS_SHA256}")
    save_arrays(out / "googlenet.safetensors", half, {"source": f"{REPOSITORY}:{WEIGHTS}"})


# --- photographs -------------------------------------------------------------------------------------------------


def listed(path: Path) -> list[dict[str, Any]]:
    """The entries of a list of photographs, as photos.json in this folder is one; DataError for anything else."""
    keys = {"file": str, "true_class": int, "sha256": str, "author_licence": str}
    try:
        entries = parse_json(path.read_bytes())["photos"]
        for entry in entries:
            for key, kind in keys.items():
                if not isinstance(entry[key], kind):
                    raise TypeError(f"{key} of one entry is no {kind.__name__}")
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise DataError(f"{path}: wanted a list of photographs with {', '.join(keys)}; found: {error}") from None
    return list(entries)


def keep_photographs(entries: Sequence[dict[str, Any]], read: Callable[[dict[str, Any]], bytes], out: Path) -> None:
    """Write photographs and their list, with credits, to `out/photographs`; DataError names those that weren't got."""
    folder = out / "photographs"
    kept, failed = [], []
    for entry in entries:
        name = Path(entry["file"]).name
        try:
            write_atomically(folder / name, verified(read(entry), entry["sha256"]))
            photograph(folder / name)
        except DataError as error:
            failed.append(f"{name} ({error})")
            continue
        kept.append({**entry, "file": name, "selected": name in SELECTED})
    write_atomically(folder / "photos.json", json.dumps({"photos": kept}, indent=1, ensure_ascii=False) + "\n")
    if failed:
        raise DataError(f"all but {len(failed)} of {len(entries)} photographs are in {folder}: {'; '.join(failed)}")


# --- all of it ---------------------------------------------------------------------------------------------------


def from_servers(servers: Sequence[str], out: Path) -> None:
    """Everything from public repositories."""
    parts = out / ".parts"
    weights = from_files(lambda name, sha: downloaded(f"{REPOSITORY}:{WEIGHTS}/{name}", sha, servers, parts / name))
    keep_weights(weights, REPOSITORY, out)
    rmtree(parts, ignore_errors=True)
    write_atomically(out / "synset_words.txt", downloaded(f"{REPOSITORY}:{CLASSES}", CLASSES_SHA256, servers))
    entries = listed(HERE / "photos.json")
    keep_photographs(entries, lambda entry: downloaded(entry["source"], entry["sha256"], servers), out)
    check(out)


def from_folder(folder: Path, out: Path) -> None:
    """What a folder, or those in it, have: weights in one file or in 116, class names, a list of photographs."""

    def find(pattern: str) -> Path | None:
        return next(iter(sorted([*folder.glob(pattern), *folder.glob(f"*/{pattern}")])), None)

    whole, first = find("googlenet*.safetensors"), find("conv1/7x7_s2_bias.bin")
    if whole:
        keep_weights(from_safetensors(whole), whole, out)
    elif first:
        keep_weights(from_files(partial(_read, first.parents[1])), first.parents[1], out)
    words = find("synset_words.txt")
    if words:
        write_atomically(out / "synset_words.txt", _read(words.parent, words.name, CLASSES_SHA256))
    photos = find("photos.json")
    if photos:
        keep_photographs(listed(photos), lambda entry: _read(photos.parent, Path(entry["file"]).name), out)
    if not (whole or first or words or photos):
        raise DataError(
            f"{folder}: wanted googlenet*.safetensors or conv1/7x7_s2_bias.bin and so on, synset_words.txt, or "
            "photos.json, in it or in a folder of it; found none"
        )
    check(out)


def _read(folder: Path, name: str, sha: str | None = None) -> bytes:
    path = folder / name
    try:
        content = path.read_bytes()
        return verified(content, sha) if sha else content
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from None
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


def check(out: Path) -> None:
    """Verify what is in `out`; raises DataError at the first that is missing or isn't right."""
    load_googlenet(out / "googlenet.safetensors")
    print(f"{out / 'googlenet.safetensors'}: ok")
    class_names(out / "synset_words.txt")
    print(f"{out / 'synset_words.txt'}: ok")
    for entry in listed(out / "photographs" / "photos.json"):
        _read(out / "photographs", entry["file"], entry["sha256"])
        print(f"{out / 'photographs' / entry['file']}: ok, by {entry['author_licence']}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the script; returns the exit code: 0, or 2 after one line that says what is wrong."""
    return Script(
        "imagenet.py",
        "Get GoogLeNet and photographs for tinyadv, or verify them.",
        data_folder() / "imagenet",
        check=check,
        from_servers=lambda mirrors, out: from_servers([m.rstrip("/") for m in mirrors or (GITHUB,)], out),
        from_path=from_folder,
        path="a folder with some of it",
        mirror=f"a server in place of {GITHUB}",
    ).run(argv)


if __name__ == "__main__":
    sys.exit(main())
