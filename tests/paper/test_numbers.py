"""Numbers as text: as many decimals as the paper has, intervals within 0 and 100 %, and a dash for what is none."""

import math

import pytest

from tinyadv.paper.claims import Quantity
from tinyadv.paper.show.numbers import format_paper, format_value

NAN = math.nan
TOL = 0.02


def quantity(paper=None, tolerance=None, form="percent"):
    return Quantity("error", "error", paper, tolerance, form)


@pytest.mark.parametrize(
    ("q", "value", "interval", "text"),
    [
        (quantity(0.999, TOL), 0.9992, (0.9984, 0.9996), "99.9 % [99.8, 100.0]"),
        (quantity(0.976, TOL), 0.976, None, "97.6 %"),
        (quantity(0.99, TOL), 0.99, (0.98, 0.995), "99.0 % [98.0, 99.5]"),
        (quantity(0.9835, TOL), 0.97, (0.96, 0.98), "97.00 % [96.00, 98.00]"),
        (quantity(0.0094, 0.001), 0.0131, (0.0111, 0.0155), "1.31 % [1.11, 1.55]"),
        (quantity(0.0094, 0.001), 0.0431, None, "4.31 %"),
        (quantity(0.00782, 0.001), 0.0078, None, "0.780 %"),
        (quantity(), 0.0131, None, "1.31 %"),
        (quantity(), 0.131, None, "13.1 %"),
        (quantity(0.0, 0.001), 0.0, (0.0, 0.00038), "0.00 % [0.00, 0.04]"),
        (quantity(0.5, TOL), 0.5, (-0.3, 1.3), "50.0 % [0.0, 100.0]"),
        (quantity(form="difference"), 0.0018, (-0.0025, 0.006), "0.18 % [-0.25, 0.60]"),
        (quantity(form="difference"), -0.044, (-1.5, -0.02), "-4.4 % [-150.0, -2.0]"),
        (quantity(form="number"), 312.412, (300.0, 320.25), "312.4 [300, 320.2]"),
        (quantity(form="number"), 48123.4, (-20000.0, 50000.0), "48,123 [-20,000, 50,000]"),
        (quantity(form="number"), 3e-14, None, "3e-14"),
        (quantity(form="number"), 9999.7, (9999.4, 10000.2), "10,000 [9999, 10,000]"),
        (quantity(form="number"), -0.0, None, "0"),
        (quantity(0.976, TOL), 0.9997, (0.9991, 0.9999), "99.97 % [99.91, 99.99]"),
        (quantity(), 1 - 1e-5, None, "99.999 %"),
        (quantity(), 1 - 1e-9, None, "100.000 %"),
        (quantity(), 1.0, (0.9996, 1.0), "100.00 % [99.96, 100.00]"),
        (quantity(), 1.0, (0.99, 1.0), "100.0 % [99.0, 100.0]"),
        (quantity(0.0, 0.001), 1 / 30_000, None, "0.003 %"),
        (quantity(form="difference"), -1 / 30_000, (-0.0025, -1e-9), "-0.003 % [-0.250, 0.000]"),
        (quantity(form="difference"), -1e-17, None, "0.000 %"),
        (quantity(0.5, TOL), NAN, None, "—"),
        (quantity(0.5, TOL), NAN, (0.1, 0.2), "—"),
        (quantity(0.5, TOL), None, None, "—"),
        (quantity(form="number"), math.inf, None, "—"),
    ],
)
def test_format_value(q, value, interval, text):
    assert format_value(q, value, interval) == text


def test_format_paper():
    texts = [format_paper(quantity(p, TOL)) for p in (0.999, 0.99, 0.9835, 0.0094, 0.00782, 0.0, 1.0, 0.16)]
    assert texts == ["99.9 %", "99 %", "98.35 %", "0.94 %", "0.782 %", "0 %", "100 %", "16 %"]
    assert format_paper(quantity()) == "—"
    assert format_paper(quantity(1.5, 0.1, "number")) == "1.5"
