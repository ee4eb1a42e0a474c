"""Wrong answers to the exercises of lesson 11: the mistake, the answer, and words that the feedback must have."""

WRONG = {
    "answers": [
        (
            "rows and columns swapped",
            """
def answers(networks, x, y, eps):
    made = [attacks.fgsm(m, x, y, eps) for m in networks]
    return np.array([[metrics.predict(m, x_adv) for x_adv in made] for m in networks])
""",
            "rows and columns are swapped",
        ),
        (
            "each sees its own",
            """
def answers(networks, x, y, eps):
    return np.array([[metrics.predict(m, attacks.fgsm(m, x, y, eps)) for m in networks] for _ in networks])
""",
            "its own examples",
        ),
        (
            "examples made of examples",
            """
def answers(networks, x, y, eps):
    rows = []
    for m in networks:
        x = attacks.fgsm(m, x, y, eps)
        rows.append([metrics.predict(other, x) for other in networks])
    return np.array(rows)
""",
            "examples made of examples",
        ),
        (
            "errors",
            """
def answers(networks, x, y, eps):
    made = [attacks.fgsm(m, x, y, eps) for m in networks]
    return np.array([[np.mean(metrics.predict(m, x_adv) != y) for m in networks] for x_adv in made])
""",
            "one error for each pair",
        ),
        (
            "away from the network's own answer",
            """
def answers(networks, x, y, eps):
    made = [attacks.fgsm(m, x, metrics.predict(m, x), eps) for m in networks]
    return np.array([[metrics.predict(m, x_adv) for m in networks] for x_adv in made])
""",
            "away from the true label",
        ),
        (
            "clipped",
            """
def answers(networks, x, y, eps):
    made = [attacks.fgsm(m, x, y, eps, clip=(0, 1)) for m in networks]
    return np.array([[metrics.predict(m, x_adv) for m in networks] for x_adv in made])
""",
            "not clipped",
        ),
        (
            "changes the caller's x",
            """
def answers(networks, x, y, eps):
    rows = []
    for m in networks:
        x += eps * np.sign(attacks.input_gradient(m, x, y))
        rows.append([metrics.predict(other, x) for other in networks])
    return np.array(rows)
""",
            "changed an array",
        ),
    ],
    "agreement": [
        (
            "always the common mistakes",
            """
def agreement(a, b, y, among):
    looked_at = (a != y) & (b != y)
    return float((a == b)[looked_at].mean()) if looked_at.any() else np.nan
""",
            "the denominator is another set",
        ),
        (
            "always a's mistakes",
            """
def agreement(a, b, y, among):
    looked_at = a != y
    return float((a == b)[looked_at].mean()) if looked_at.any() else np.nan
""",
            "where a AND b are wrong",
        ),
        (
            "over all examples",
            """
def agreement(a, b, y, among):
    return float(((a == b) & (a != y)).mean())
""",
            "the denominator is all examples",
        ),
        (
            "right answers counted",
            """
def agreement(a, b, y, among):
    return float((a == b).mean())
""",
            "agreement on right answers is counted too",
        ),
        (
            "or instead of and",
            """
def agreement(a, b, y, among):
    looked_at = (a != y) | (b != y)
    return float((a == b)[looked_at].mean()) if looked_at.any() else np.nan
""",
            "a OR b is wrong",
        ),
        (
            "common mistakes counted",
            """
def agreement(a, b, y, among):
    wrong = a != y
    return float(((b != y) & wrong).sum() / wrong.sum()) if wrong.any() else np.nan
""",
            "how often they give the same class",
        ),
        (
            "0 without mistakes",
            """
def agreement(a, b, y, among):
    looked_at = (a != y) & (b != y) if among == "both" else a != y
    return float((a == b)[looked_at].mean()) if looked_at.any() else 0.0
""",
            "without mistakes there is no share",
        ),
        (
            "0/0 without mistakes",
            """
def agreement(a, b, y, among):
    looked_at = (a != y) & (b != y) if among == "both" else a != y
    return int((a == b)[looked_at].sum()) / int(looked_at.sum())
""",
            "without mistakes the share is NaN",
        ),
    ],
    "cosines": [
        (
            "not divided",
            """
def cosines(u, v):
    return (u * v).sum(axis=1)
""",
            "divide by both lengths",
        ),
        (
            "no square root",
            """
def cosines(u, v):
    return (u * v).sum(axis=1) / ((u * u).sum(axis=1) * (v * v).sum(axis=1))
""",
            "the square root is missing",
        ),
        (
            "rows of zeros",
            """
def cosines(u, v):
    return (u * v).sum(axis=1) / (np.linalg.norm(u, axis=1) * np.linalg.norm(v, axis=1))
""",
            "a row of zeros gave 0/0",
        ),
        (
            "something added against 0/0",
            """
def cosines(u, v):
    lengths = np.linalg.norm(u, axis=1) * np.linalg.norm(v, axis=1)
    return (u * v).sum(axis=1) / (lengths + np.float32(1e-12))
""",
            "added against 0/0",
        ),
        (
            "zeros asked for, but squares of tiny entries",
            """
def cosines(u, v):
    lengths = np.linalg.norm(u, axis=1) * np.linalg.norm(v, axis=1)
    return (u * v).sum(axis=1) / np.where(lengths > 0, lengths, 1)
""",
            "rounded to 0",
        ),
        (
            "columns",
            """
def cosines(u, v):
    return (u * v).sum(axis=0) / (np.linalg.norm(u, axis=0) * np.linalg.norm(v, axis=0))
""",
            "the cosines of the columns",
        ),
        (
            "every row with every row",
            """
def cosines(u, v):
    u, v = (a / np.linalg.norm(a, axis=1, keepdims=True) for a in (u, v))
    return u @ v.T
""",
            "every row with every row",
        ),
        (
            "the whole arrays",
            """
def cosines(u, v):
    return (u * v).sum() / (np.linalg.norm(u) * np.linalg.norm(v))
""",
            "one number",
        ),
        (
            "the size",
            """
def cosines(u, v):
    return abs((u * v).sum(axis=1)) / (np.linalg.norm(u, axis=1) * np.linalg.norm(v, axis=1))
""",
            "a cosine has a sign",
        ),
        (
            "overwrites v",
            """
def cosines(u, v):
    largest = np.abs(v).max(axis=1, keepdims=True)
    v /= np.where(largest > 0, largest, 1)
    largest = np.abs(u).max(axis=1, keepdims=True)
    u = u / np.where(largest > 0, largest, 1)
    n = np.sqrt((u * u).sum(axis=1) * (v * v).sum(axis=1))
    return (u * v).sum(axis=1) / np.where(n > 0, n, 1)
""",
            "changed an array",
        ),
        (
            "one largest entry for the whole batch",
            """
def cosines(u, v):
    u, v = (a / max(np.abs(a).max(), 1e-37) for a in (u, v))
    n = np.sqrt((u * u).sum(axis=1) * (v * v).sum(axis=1))
    return (u * v).sum(axis=1) / np.where(n > 0, n, 1)
""",
            "one maximum for the whole batch",
        ),
    ],
    "universal": [
        (
            "no sign",
            """
def universal(g, y, eps):
    return eps * np.stack([g[y == c].mean(axis=0) for c in range(10)])
""",
            "the sign is missing",
        ),
        (
            "no eps",
            """
def universal(g, y, eps):
    return np.sign(np.stack([g[y == c].sum(axis=0) for c in range(10)]))
""",
            "eps is missing",
        ),
        (
            "the mean of the signs",
            """
def universal(g, y, eps):
    return eps * np.stack([np.sign(g[y == c]).mean(axis=0) for c in range(10)])
""",
            "the mean of the signs",
        ),
        (
            "a vote",
            """
def universal(g, y, eps):
    return eps * np.sign(np.stack([np.sign(g[y == c]).sum(axis=0) for c in range(10)]))
""",
            "the sum of the signs, a vote",
        ),
        (
            "one for all classes",
            """
def universal(g, y, eps):
    return eps * np.sign(np.stack([g.mean(axis=0)] * 10))
""",
            "each class has its own",
        ),
        (
            "one an image",
            """
def universal(g, y, eps):
    return eps * np.sign(np.stack([g[y == c].sum(axis=0) for c in range(10)]))[y]
""",
            "one change for each image",
        ),
        (
            "a class without images",
            """
def universal(g, y, eps):
    return eps * np.sign(np.stack([g[y == c].mean(axis=0) for c in range(10)]))
""",
            "a class without images",
        ),
        (
            "float64 zeros",
            """
def universal(g, y, eps):
    total = np.zeros((10, g.shape[1]))
    np.add.at(total, y, g)
    return eps * np.sign(total)
""",
            "float64 leak",
        ),
        (
            "downhill",
            """
def universal(g, y, eps):
    return -eps * np.sign(np.stack([g[y == c].sum(axis=0) for c in range(10)]))
""",
            "the sign is wrong",
        ),
        (
            "as many classes as there are labels",
            """
def universal(g, y, eps):
    return eps * np.sign(np.stack([g[y == c].sum(axis=0) for c in range(y.max() + 1)]))
""",
            "also where the last have no images",
        ),
    ],
}
