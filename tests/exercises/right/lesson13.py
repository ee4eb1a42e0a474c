"""Right answers to the exercises of lesson 13 that differ in form from the lesson's: the form, and the answer."""

RIGHT = {
    "logits_on_noise": [
        (
            "lists",
            """
def logits_on_noise(W, b):
    sd = [math.sqrt(sum(v * v for v in row)) for row in W]
    return b, sd, [[sum(p * q for p, q in zip(r, s)) for s in W] for r in W]
""",
        ),
    ],
    "rubbish_error": [
        (
            "a histogram",
            """
def rubbish_error(p):
    claimed = p.max(axis=1) > 0.5
    counts = np.histogram(p.argmax(axis=1)[claimed], bins=np.arange(p.shape[1] + 1))[0]
    return np.count_nonzero(claimed) / len(p), p.max(axis=1)[claimed].mean(), counts
""",
        ),
        (
            "a list of counts",
            """
def rubbish_error(p):
    errors = [row for row in p if max(row) > 0.5]
    counts = [sum(int(row.argmax() == k) for row in errors) for k in range(p.shape[1])]
    return len(errors) / len(p), np.mean([max(row) for row in errors]) if errors else math.nan, counts
""",
        ),
    ],
}
