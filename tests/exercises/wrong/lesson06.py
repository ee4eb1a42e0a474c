"""Wrong answers to the exercises of lesson 6: the mistake, the answer, and words that the feedback must have."""

WRONG = {
    "predicted_rise": [
        (
            "the Euclidean norm",
            """
def predicted_rise(g, eps):
    return eps * np.linalg.norm(g, axis=1)
""",
            "Euclidean norm",
        ),
        (
            "the sizes forgotten",
            """
def predicted_rise(g, eps):
    return eps * g.sum(axis=1)
""",
            "their sizes |g_i|",
        ),
        (
            "a step along g itself",
            """
def predicted_rise(g, eps):
    return (eps * g * g).sum(axis=1)
""",
            "sum of squares",
        ),
        (
            "the mean over the pixels",
            """
def predicted_rise(g, eps):
    return eps * np.abs(g).mean(axis=1)
""",
            "a factor 1/D too many",
        ),
        (
            "eps forgotten",
            """
def predicted_rise(g, eps):
    return np.abs(g).sum(axis=1)
""",
            "eps is missing",
        ),
        (
            "summed over the images",
            """
def predicted_rise(g, eps):
    return eps * np.abs(g).sum(axis=0)
""",
            "axis 0",
        ),
        (
            "the norm of the whole batch",
            """
def predicted_rise(g, eps):
    return eps * np.abs(g).sum()
""",
            "all images summed",
        ),
        (
            "the largest entry",
            """
def predicted_rise(g, eps):
    return eps * np.abs(g).max(axis=1)
""",
            "every pixel moves",
        ),
        (
            "float64 by an array without a dtype",
            """
def predicted_rise(g, eps):
    rise = np.zeros(len(g))
    for n in range(len(g)):
        rise[n] = eps * np.abs(g[n]).sum()
    return rise
""",
            "float64 leak",
        ),
        (
            "in place",
            """
def predicted_rise(g, eps):
    g *= np.sign(g)
    return eps * g.sum(axis=1)
""",
            "changed an array",
        ),
        (
            "the mean times the number of images",
            """
def predicted_rise(g, eps):
    return eps * len(g) * np.abs(g).mean(axis=1)
""",
            "only for as many images as pixels",
        ),
    ],
    "rotated": [
        (
            "g not made orthogonal to x",
            """
def rotated(x, g, angle):
    u = g / np.linalg.norm(g, axis=1, keepdims=True)
    return math.cos(angle) * x + math.sin(angle) * np.linalg.norm(x, axis=1, keepdims=True) * u
""",
            "the part of g along x was not taken out",
        ),
        (
            "the length of x forgotten",
            """
def rotated(x, g, angle):
    v = g - (g * x).sum(axis=1, keepdims=True) / (x * x).sum(axis=1, keepdims=True) * x
    return math.cos(angle) * x + math.sin(angle) * v / np.linalg.norm(v, axis=1, keepdims=True)
""",
            "||x|| is missing",
        ),
        (
            "v not divided by its length",
            """
def rotated(x, g, angle):
    v = g - (g * x).sum(axis=1, keepdims=True) / (x * x).sum(axis=1, keepdims=True) * x
    return math.cos(angle) * x + math.sin(angle) * np.linalg.norm(x, axis=1, keepdims=True) * v
""",
            "u is not one long",
        ),
        (
            "away from the gradient",
            """
def rotated(x, g, angle):
    v = g - (g * x).sum(axis=1, keepdims=True) / (x * x).sum(axis=1, keepdims=True) * x
    u = v / np.linalg.norm(v, axis=1, keepdims=True)
    return math.cos(angle) * x - math.sin(angle) * np.linalg.norm(x, axis=1, keepdims=True) * u
""",
            "turns away from g",
        ),
        (
            "cos and sin swapped",
            """
def rotated(x, g, angle):
    v = g - (g * x).sum(axis=1, keepdims=True) / (x * x).sum(axis=1, keepdims=True) * x
    u = v / np.linalg.norm(v, axis=1, keepdims=True)
    return math.sin(angle) * x + math.cos(angle) * np.linalg.norm(x, axis=1, keepdims=True) * u
""",
            "swapped",
        ),
        (
            "degrees",
            """
def rotated(x, g, angle):
    angle = math.radians(angle)
    v = g - (g * x).sum(axis=1, keepdims=True) / (x * x).sum(axis=1, keepdims=True) * x
    u = v / np.linalg.norm(v, axis=1, keepdims=True)
    return math.cos(angle) * x + math.sin(angle) * np.linalg.norm(x, axis=1, keepdims=True) * u
""",
            "in radians already",
        ),
        (
            "the projection without a square",
            """
def rotated(x, g, angle):
    length = np.linalg.norm(x, axis=1, keepdims=True)
    v = g - (g * x).sum(axis=1, keepdims=True) / length * x
    u = v / np.linalg.norm(v, axis=1, keepdims=True)
    return math.cos(angle) * x + math.sin(angle) * length * u
""",
            "the SQUARE of the length",
        ),
        (
            "all rows at once",
            """
def rotated(x, g, angle):
    v = g - (g * x).sum() / (x * x).sum() * x
    u = v / np.linalg.norm(v)
    return math.cos(angle) * x + math.sin(angle) * np.linalg.norm(x) * u
""",
            "all rows were taken together",
        ),
        (
            "the sign of the gradient",
            """
def rotated(x, g, angle):
    g = np.sign(g)
    v = g - (g * x).sum(axis=1, keepdims=True) / (x * x).sum(axis=1, keepdims=True) * x
    u = v / np.linalg.norm(v, axis=1, keepdims=True)
    return math.cos(angle) * x + math.sin(angle) * np.linalg.norm(x, axis=1, keepdims=True) * u
""",
            "that is FGSM's direction",
        ),
        (
            "a step, then scaled back",
            """
def rotated(x, g, angle):
    length = np.linalg.norm(x, axis=1, keepdims=True)
    v = g - (g * x).sum(axis=1, keepdims=True) / length**2 * x
    u = v / np.linalg.norm(v, axis=1, keepdims=True)
    y = x + angle * length * u
    return y * length / np.linalg.norm(y, axis=1, keepdims=True)
""",
            "turns by atan(t)",
        ),
        (
            "0/0 where the gradient is 0",
            """
def rotated(x, g, angle):
    v = g - (g * x).sum(axis=1, keepdims=True) / (x * x).sum(axis=1, keepdims=True) * x
    u = v / np.linalg.norm(v, axis=1, keepdims=True)
    return math.cos(angle) * x + math.sin(angle) * np.linalg.norm(x, axis=1, keepdims=True) * u
""",
            "a gradient of 0 gave 0/0",
        ),
        (
            "shrunk where the gradient is 0",
            """
def rotated(x, g, angle):
    g = g / np.maximum(np.abs(g).max(axis=1, keepdims=True), 1e-37)
    v = g - (g * x).sum(axis=1, keepdims=True) / (x * x).sum(axis=1, keepdims=True) * x
    u = v / np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 1e-37)
    return math.cos(angle) * x + math.sin(angle) * np.linalg.norm(x, axis=1, keepdims=True) * u
""",
            "x became cos(t) x",
        ),
        (
            "tiny gradients taken for 0",
            """
def rotated(x, g, angle):
    v = g - (g * x).sum(axis=1, keepdims=True) / (x * x).sum(axis=1, keepdims=True) * x
    length = np.linalg.norm(v, axis=1, keepdims=True)
    u = v / np.where(length > 0, length, 1)
    turned = math.cos(angle) * x + math.sin(angle) * np.linalg.norm(x, axis=1, keepdims=True) * u
    return np.where(length > 0, turned, x)
""",
            "tiny gradients",
        ),
        (
            "float64 by NumPy's scalars",
            """
def rotated(x, g, angle):
    g = g / np.maximum(np.abs(g).max(axis=1, keepdims=True), 1e-37)
    v = g - (g * x).sum(axis=1, keepdims=True) / (x * x).sum(axis=1, keepdims=True) * x
    u = v / np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 1e-37)
    turned = np.cos(angle) * x + np.sin(angle) * np.linalg.norm(x, axis=1, keepdims=True) * u
    return np.where(g.any(axis=1, keepdims=True), turned, x)
""",
            "float64 leak",
        ),
        (
            "one largest entry for the whole batch",
            """
def rotated(x, g, angle):
    g = g / max(np.abs(g).max(), 1e-37)
    squared = (x * x).sum(axis=1, keepdims=True)
    v = g - (g * x).sum(axis=1, keepdims=True) / squared * x
    u = v / np.maximum(np.linalg.norm(v, axis=1, keepdims=True), 1e-37)
    turned = math.cos(angle) * x + math.sin(angle) * np.sqrt(squared) * u
    return np.where(g.any(axis=1, keepdims=True), turned, x)
""",
            "one maximum for the whole batch",
        ),
    ],
    "confidence_on_mistakes": [
        (
            "all images",
            """
def confidence_on_mistakes(p, y):
    return float(p.max(axis=1).mean())
""",
            "the mean over all images",
        ),
        (
            "the images that are right",
            """
def confidence_on_mistakes(p, y):
    right = p.argmax(axis=1) == y
    return float(p[right].max(axis=1).mean()) if right.any() else math.nan
""",
            "the images that are right",
        ),
        (
            "the probability of the true class",
            """
def confidence_on_mistakes(p, y):
    wrong = p.argmax(axis=1) != y
    return float(p[np.arange(len(y)), y][wrong].mean()) if wrong.any() else math.nan
""",
            "probability of the true class",
        ),
        (
            "the other reading",
            """
def confidence_on_mistakes(p, y):
    wrong = p.argmax(axis=1) != y
    return float((1 - p[np.arange(len(y)), y][wrong]).mean()) if wrong.any() else math.nan
""",
            "another reading",
        ),
        (
            "divided by all",
            """
def confidence_on_mistakes(p, y):
    wrong = p.argmax(axis=1) != y
    return float((p.max(axis=1) * wrong).mean()) if wrong.any() else math.nan
""",
            "divided by all N images",
        ),
        (
            "0 without mistakes",
            """
def confidence_on_mistakes(p, y):
    wrong = p.argmax(axis=1) != y
    return float(p[wrong].max(axis=1).sum() / max(wrong.sum(), 1))
""",
            "you give 0",
        ),
        (
            "nothing without mistakes",
            """
def confidence_on_mistakes(p, y):
    wrong = p.argmax(axis=1) != y
    if wrong.any():
        return float(p[wrong].max(axis=1).mean())
""",
            "returns nothing",
        ),
        (
            "an error without mistakes",
            """
def confidence_on_mistakes(p, y):
    total = [max(row) for row, label in zip(p, y) if row.argmax() != label]
    return sum(total) / len(total)
""",
            "NaN is wanted",
        ),
        (
            "all entries",
            """
def confidence_on_mistakes(p, y):
    return float(p[p.argmax(axis=1) != y].mean())
""",
            "first the largest of each row",
        ),
        (
            "the wrong axis",
            """
def confidence_on_mistakes(p, y):
    return float(p.max(axis=1)[p.argmax(axis=0) != y].mean())
""",
            "axis 0",
        ),
        (
            "labels that count from 1",
            """
def confidence_on_mistakes(p, y):
    return float(p[p.argmax(axis=1) + 1 != y].max(axis=1).mean())
""",
            "label off by one",
        ),
        (
            "overwrites the probabilities",
            """
def confidence_on_mistakes(p, y):
    wrong = p.argmax(axis=1) != y
    p[~wrong] = 0
    return p.max(axis=1).sum() / wrong.sum() if wrong.any() else math.nan
""",
            "changed an array",
        ),
    ],
    "count_pieces": [
        (
            "the 1 forgotten",
            """
def count_pieces(a):
    return int(np.diff(a.argmax(axis=1), axis=0).any(axis=1).sum())
""",
            "one too few",
        ),
        (
            "each unit by itself",
            """
def count_pieces(a):
    winners = a.argmax(axis=1)
    return 1 + int((winners[1:] != winners[:-1]).sum())
""",
            "each unit was counted by itself",
        ),
        (
            "all units at once",
            """
def count_pieces(a):
    winners = a.argmax(axis=1)
    return 1 + int((winners[1:] != winners[:-1]).all(axis=1).sum())
""",
            "only points where all units change",
        ),
        (
            "different patterns",
            """
def count_pieces(a):
    return len(np.unique(a.argmax(axis=1), axis=0))
""",
            "the different patterns were counted",
        ),
        (
            "only upwards",
            """
def count_pieces(a):
    return 1 + int((np.diff(a.argmax(axis=1), axis=0) > 0).any(axis=1).sum())
""",
            "!= 0, not > 0",
        ),
        (
            "compared with the first point",
            """
def count_pieces(a):
    winners = a.argmax(axis=1)
    return 1 + int((winners != winners[0]).any(axis=1).sum())
""",
            "compared with the first one",
        ),
        (
            "neighbouring units",
            """
def count_pieces(a):
    return 1 + int(np.diff(a.argmax(axis=1)).any(axis=1).sum())
""",
            "neighbouring units",
        ),
        (
            "the winner among the units",
            """
def count_pieces(a):
    return 1 + int(np.diff(a.argmax(axis=2), axis=0).any(axis=1).sum())
""",
            "taken among the units",
        ),
        (
            "activations instead of winners",
            """
def count_pieces(a):
    return 1 + int(np.diff(a.max(axis=1), axis=0).any(axis=1).sum())
""",
            "not its value",
        ),
    ],
}
