"""Wrong answers to the exercises of lesson 16: the mistake, the answer, and words that the feedback must have."""

WRONG = {
    "grey_levels": [
        (
            "red first",
            """
def grey_levels(x, mean_bgr):
    return x * 255 - np.array(mean_bgr, dtype=x.dtype).reshape(1, 3, 1, 1)
""",
            "red is still first",
        ),
        (
            "means before the turn",
            """
def grey_levels(x, mean_bgr):
    return (x * 255 - np.array(mean_bgr, dtype=x.dtype).reshape(1, 3, 1, 1))[:, ::-1]
""",
            "in this order",
        ),
        (
            "the last axis turned",
            """
def grey_levels(x, mean_bgr):
    return x[..., ::-1] * 255 - np.array(mean_bgr, dtype=x.dtype).reshape(1, 3, 1, 1)
""",
            "mirrored",
        ),
        (
            "no 255",
            """
def grey_levels(x, mean_bgr):
    return x[:, ::-1] - np.array(mean_bgr, dtype=x.dtype).reshape(1, 3, 1, 1)
""",
            "the pixels are still from 0 to 1",
        ),
        (
            "float64 means",
            """
def grey_levels(x, mean_bgr):
    return x[:, ::-1] * 255 - np.array(mean_bgr).reshape(1, 3, 1, 1)
""",
            "float64 leak",
        ),
        (
            "in the caller's array",
            """
def grey_levels(x, mean_bgr):
    x *= 255
    return x[:, ::-1] - np.array(mean_bgr, dtype=x.dtype).reshape(1, 3, 1, 1)
""",
            "changed an array",
        ),
        (
            "means along the last axis",
            """
def grey_levels(x, mean_bgr):
    return x[:, ::-1] * 255 - np.array(mean_bgr, dtype=x.dtype)
""",
            "the means lie along the last axis",
        ),
    ],
    "step_towards": [
        (
            "away from the target",
            """
def step_towards(model, x, target, eps):
    return x + eps * np.sign(attacks.input_gradient(model, x, np.full(len(x), target)))
""",
            "away from the target",
        ),
        (
            "fgsm of the prediction",
            """
def step_towards(model, x, target, eps):
    return attacks.fgsm(model, x, model(x).argmax(axis=1), eps)
""",
            "away from the network's own answer",
        ),
        (
            "without the sign",
            """
def step_towards(model, x, target, eps):
    return x - eps * attacks.input_gradient(model, x, np.full(len(x), target))
""",
            "the sign is missing",
        ),
        (
            "the change alone",
            """
def step_towards(model, x, target, eps):
    return -eps * np.sign(attacks.input_gradient(model, x, np.full(len(x), target)))
""",
            "the change alone",
        ),
        (
            "clipped",
            """
def step_towards(model, x, target, eps):
    return (x - eps * np.sign(attacks.input_gradient(model, x, np.full(len(x), target)))).clip(0, 1)
""",
            "nothing is clipped",
        ),
        (
            "the gradient divided by its size",
            """
def step_towards(model, x, target, eps):
    g = attacks.input_gradient(model, x, np.full(len(x), target))
    return x - eps * g / np.abs(g)
""",
            "0 / 0 where the gradient is 0",
        ),
    ],
    "after_saving": [
        (
            "rounded down",
            """
def after_saving(x):
    return ((x * 255).astype("int64").clip(0, 255) / 255).astype(x.dtype)
""",
            "rounded down",
        ),
        (
            "not clipped",
            """
def after_saving(x):
    return np.rint(x * 255) / 255
""",
            "values below 0 and above 1 are still there",
        ),
        (
            "bytes go round",
            """
def after_saving(x):
    return (np.rint(x * 255).astype("int64").astype("uint8") / 255).astype(x.dtype)
""",
            "came back near 1",
        ),
        (
            "only clipped",
            """
def after_saving(x):
    return x.clip(0, 1)
""",
            "not rounded",
        ),
        (
            "still bytes",
            """
def after_saving(x):
    return np.rint(x * 255).clip(0, 255).astype(x.dtype)
""",
            "divide by 255",
        ),
        (
            "float64",
            """
def after_saving(x):
    return np.rint(x * 255).clip(0, 255).astype("uint8") / 255
""",
            "float64 leak",
        ),
        (
            "in the caller's array",
            """
def after_saving(x):
    np.clip(x, 0, 1, out=x)
    return (np.rint(x * 255) / 255).astype(x.dtype)
""",
            "changed an array",
        ),
    ],
}
