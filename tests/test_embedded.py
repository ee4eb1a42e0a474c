"""The trained networks that travel with the package: what they are, where they come from, what float16 did to them."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from tinyadv import models
from tinyadv.datasets import DataError, cifar10, mnist
from tinyadv.layers import named_parameters, parameters
from tinyadv.metrics import predict
from tinyadv.models import EMBEDDED, embedded, embedded_names, provenance
from tinyadv.storage import StorageError, load_arrays
from tinyadv.training import check_log

NAMES = ("maxout-adversarial", "maxout-naive", "mp-dbm", "rbf", "softmax")  # at least these
WORST_ERROR = {
    "softmax": 0.15,
    "rbf": 0.25,
    "maxout-naive": 0.02,
    "maxout-adversarial": 0.02,
    "mp-dbm": 0.05,
}  # on 1000 test images


def script():
    """data_scripts/networks.py, which made them."""
    path = Path(__file__).parents[1] / "data_scripts" / "networks.py"
    spec = importlib.util.spec_from_file_location("networks", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_these_travel_and_take_little_room():
    assert set(NAMES) <= set(embedded_names())
    assert sum(path.stat().st_size for path in EMBEDDED.iterdir()) < 20e6
    assert all(f"`{name}`" in (EMBEDDED / "README.md").read_text(encoding="utf-8") for name in embedded_names())


@pytest.mark.parametrize("name", embedded_names())
def test_it_is_a_float32_network_of_its_file_s_numbers(name):
    model, (arrays, _) = embedded(name), load_arrays(EMBEDDED / f"{name}.safetensors")
    assert {p.dtype.name for p in parameters(model)} == {"float32"}
    # in float16 the RBF network's confidence on mistakes, 1.21 %, would be 1.39 %, and the naive maxout network's 0.3
    # points lower, because one of its mistakes would be none
    assert {a.dtype.name for a in arrays.values()} == {"float32" if name in ("rbf", "maxout-naive") else "float16"}
    for key, p in named_parameters(model).items():
        assert np.array_equal(p.data, arrays[key])


@pytest.mark.parametrize("name", NAMES)
def test_it_was_trained(name):
    x, y = (a[:1000] for a in mnist().test)
    assert (predict(embedded(name), x) != y).mean() < WORST_ERROR[name]


@pytest.mark.parametrize("name", embedded_names())
def test_it_says_where_it_comes_from(name):
    about = provenance(name)
    assert about["recipe"]["network"] == about["network"]
    check_log(about["log"], name)
    assert about["note"]
    assert about["figures"]["clean_error"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_float16_changes_no_figure_by_more_than_a_tenth_of_a_point(name):
    before, after = provenance(name)["figures"], script().figures(embedded(name))
    assert before.keys() == after.keys()
    assert {key: after[key] for key in before} == pytest.approx(before, abs=0.001)


@pytest.mark.slow
@pytest.mark.data
def test_float16_changes_no_figure_on_cifar10_by_more_than_a_tenth_of_a_point():
    try:
        cifar10(whitened=True)
    except DataError as error:
        pytest.skip(str(error))
    before, after = provenance("conv-maxout")["figures"], script().figures(embedded("conv-maxout"))
    for name in ("clean_error", "fgsm_error", "fgsm_rounded_error"):
        assert after[name] == pytest.approx(before[name], abs=0.001), name


def test_the_script_keeps_what_is_known_and_measures_before_it_rounds(tmp_path, monkeypatch, capsys):
    networks, path = script(), tmp_path / "trained.safetensors"
    models.save(embedded("softmax"), path)
    monkeypatch.setattr(networks, "EMBEDDED", tmp_path / "networks")
    monkeypatch.setattr(networks, "figures", lambda model: {"clean_error": float(abs(parameters(model)[0].data).sum())})
    monkeypatch.setattr("sys.argv", ["networks.py", "again", str(path), "--note", "no news"])
    networks.main()
    arrays, about = load_arrays(tmp_path / "networks" / "again.safetensors")
    assert about["network"] == "softmax_regression"
    assert about["note"] == "no news"
    assert about["figures"] == {"clean_error": float(abs(parameters(embedded("softmax"))[0].data).sum())}
    assert {a.dtype.name for a in arrays.values()} == {"float16"}
    assert "again.safetensors" in capsys.readouterr().out


def test_an_unknown_name_is_named():
    with pytest.raises(ValueError, match="no embedded network 'maxout': there are conv-maxout, maxout-adversarial"):
        embedded("maxout")
    with pytest.raises(ValueError, match=r"no embedded network '\.\./mnist/README'"):
        provenance("../mnist/README")


def test_a_damaged_file_is_not_trusted(tmp_path, monkeypatch):
    content = bytearray((EMBEDDED / "softmax.safetensors").read_bytes())
    content[-1] ^= 1
    (tmp_path / "softmax.safetensors").write_bytes(content)
    monkeypatch.setattr(models, "EMBEDDED", tmp_path)
    with pytest.raises(StorageError, match=r"softmax\.safetensors is damaged"):
        embedded("softmax")
