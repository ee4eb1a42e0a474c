"""Right answers to the exercises of lesson 11 that differ in form from the lesson's: the form, and the answer."""

RIGHT = {
    "agreement": [
        (
            "the mean of nothing",
            """
def agreement(a, b, y, among):
    wrong = a != y
    if among == "both":
        wrong &= b != y
    return (a == b)[wrong].mean()
""",
        ),
        (
            "the mean of a list",
            """
def agreement(a, b, y, among):
    return np.mean([i == j for i, j, k in zip(a, b, y) if i != k and (among == "a" or j != k)])
""",
        ),
        (
            "0/0 of NumPy",
            """
def agreement(a, b, y, among):
    wrong = (a != y) & (b != y) if among == "both" else a != y
    return ((a == b) & wrong).sum() / wrong.sum()
""",
        ),
    ],
}
