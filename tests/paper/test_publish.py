"""Publishing: results of runs come among those of the package, seeds of the same networks together."""

import math

import numpy as np
import pytest

from tinyadv.paper.publish import publish
from tinyadv.paper.results import Measurement, Result, encoded
from tinyadv.paper.results_file import ResultsError, load_results, save_results

COMMAND = "tinyadv reproduce --profile lesson --only fgsm-softmax --out here --seeds 1"


def run(folder, seed, claim="fgsm-softmax", epochs=20, error=0.5, **more):
    """The folder of a run that measured one seed of one claim."""
    network = {"hash": "a", "recipe": {"network": "softmax_regression", "epochs": epochs, "seed": seed}}
    values = {"error": error, "confidence_on_mistakes": math.nan}
    measurement = Measurement(values, networks={"softmax": network}, details={"images": encoded(np.eye(2))})
    result = Result(claim, more.get("profile", "lesson"), "cpu", [seed], [measurement], 1.0)
    save_results(folder / "results.json", {claim: result}, {"command": more.get("command", COMMAND), "seconds": 2.0})
    return folder


def test_seeds_come_together_and_other_networks_take_their_place(tmp_path):
    published = tmp_path / "published"
    for name, seed, epochs, seeds in (
        ("a", 0, 20, [0]),
        ("b", 2, 20, [0, 2]),
        ("c", 1, 20, [0, 1, 2]),
        ("d", 5, 30, [5]),
    ):
        said = publish([run(tmp_path / name, seed, epochs=epochs)], published)
        results, manifest = load_results(published / "lesson.json")
        assert results["fgsm-softmax"].seeds == seeds, said
    assert manifest["command"] == "tinyadv reproduce --profile lesson --only fgsm-softmax --seeds 1"
    assert "epochs" in said[0]  # why the old ones are gone


def test_profiles_go_into_files_of_their_own_and_other_claims_stay(tmp_path):
    published = tmp_path / "published"
    runs = [
        run(tmp_path / "a", 0),
        run(tmp_path / "b", 0, claim="fgsm-maxout"),
        run(tmp_path / "c", 1, profile="quick"),
    ]
    publish(runs, published)
    assert list(load_results(published / "lesson.json")[0]) == ["fgsm-softmax", "fgsm-maxout"]
    assert load_results(published / "quick.json")[0]["fgsm-softmax"].seeds == [1]


def test_the_manifest_has_the_commands_of_the_results_that_are_there(tmp_path):
    published = tmp_path / "published"
    found = []
    for name, claim, error in (("a", "fgsm-softmax", 0.5), ("b", "fgsm-maxout", 0.5), ("c", "fgsm-maxout", 0.6)):
        publish([run(tmp_path / name, 0, claim, error=error, command=f"reproduce {name} --out={name}")], published)
        manifest = load_results(published / "lesson.json")[1]
        found.append((manifest["command"], manifest["seconds"]))
    wanted = [("reproduce a", 2.0), ("reproduce a; reproduce b", 4.0), ("reproduce a; reproduce b; reproduce c", 6.0)]
    assert found == wanted


def test_seeds_that_come_together_keep_the_commands_of_both(tmp_path):
    published = tmp_path / "published"
    for name, seed, error in (("a", 0, 0.5), ("b", 1, 0.5), ("c", 1, 0.6)):
        publish([run(tmp_path / name, seed, error=error, command=f"reproduce {name}")], published)
    manifest = load_results(published / "lesson.json")[1]
    assert (manifest["command"], manifest["seconds"]) == ("reproduce a; reproduce b; reproduce c", 6.0)


def test_a_run_that_is_published_twice_counts_once(tmp_path):
    published = tmp_path / "published"
    first, second = (run(tmp_path / name, seed) for name, seed in (("a", 0), ("b", 1)))
    publish([first, second], published)
    before = (published / "lesson.json").read_bytes()
    assert publish([second, first], published) == [
        "fgsm-softmax: seed 1 already there",
        "fgsm-softmax: seed 0 already there",
    ]
    assert (published / "lesson.json").read_bytes() == before
    # beside something new only that is new
    results, manifest = load_results(second / "results.json")
    other = load_results(run(tmp_path / "c", 1, claim="fgsm-maxout") / "results.json")[0]
    save_results(second / "results.json", results | other, manifest)
    assert publish([second], published) == ["fgsm-softmax: seed 1 already there", "fgsm-maxout: new, seed 1"]
    assert load_results(published / "lesson.json")[0]["fgsm-softmax"].seconds == 2.0


def test_a_folder_that_cannot_be_published_changes_nothing(tmp_path):
    published, sound = tmp_path / "published", run(tmp_path / "a", 0)
    for folder, named in ((tmp_path / "nothing", "does not exist"), (run(tmp_path / "b", 0, claim="half"), "half")):
        with pytest.raises(ResultsError, match=named):
            publish([sound, folder], published)
    assert not published.exists()


def test_beside_a_damaged_published_file_nothing_is_written(tmp_path):
    published = tmp_path / "published"
    publish([run(tmp_path / "a", 0, profile="quick")], published)
    (published / "quick.json").write_text("{", encoding="utf-8")
    with pytest.raises(ResultsError, match=r"quick\.json"):
        publish([run(tmp_path / "b", 0), run(tmp_path / "c", 1, profile="quick")], published)
    assert [path.name for path in published.iterdir()] == ["quick.json"]
