"""Right answers to the exercises of lesson 16 that differ in form from the lesson's: the form, and the answer."""

RIGHT = {
    "after_saving": [
        (
            "rounded by adding one half",
            """
def after_saving(x):
    return (np.floor(255 * x.clip(0, 1) + 0.5) / 255).astype(x.dtype)
""",
        ),
    ],
    "grey_levels": [
        (
            "one colour after another",
            """
def grey_levels(x, mean_bgr):
    colours = [255 * x[:, 2 - i] - x.dtype.type(mean_bgr[i]) for i in range(3)]
    return np.stack(colours, axis=1)
""",
        ),
    ],
}
