"""What the tests of the figures share: drawing a claim's figure, and reading the lines off its axes."""

from matplotlib.figure import Figure

from tinyadv.paper.draw import drawings


def drawn(claim, details):
    """The axes of a claim's figure."""
    canvas = Figure()
    drawings()[claim].draw(canvas, details)
    return canvas.axes


def lines(axes):
    """By label: x, y and the colour of every line."""
    return {line.get_label(): (list(line.get_xdata()), list(line.get_ydata()), line.get_color()) for line in axes.lines}
