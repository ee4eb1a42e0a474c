"""Wrong answers to the exercises of lesson 1: the mistake, the answer, words that the feedback must have."""

WRONG = {
    "worst_change": [
        (
            "the sign",
            """
def worst_change(w, eps):
    return -eps * np.sign(w)
""",
            "the sign is wrong",
        ),
        (
            "eps forgotten",
            """
def worst_change(w, eps):
    return np.sign(w)
""",
            "the size eps is missing",
        ),
        (
            "along w, the worst change in the Euclidean norm",
            """
def worst_change(w, eps):
    return eps * w / np.linalg.norm(w)
""",
            "proportional to w",
        ),
        (
            "every input up",
            """
def worst_change(w, eps):
    return eps * np.ones_like(w)
""",
            "every input moves up",
        ),
        (
            "the rise instead of the change",
            """
def worst_change(w, eps):
    return eps * np.abs(w).sum()
""",
            "every input has its own change",
        ),
        (
            "works in the caller's array",
            """
def worst_change(w, eps):
    np.sign(w, out=w)
    w *= eps
    return w
""",
            "changed an array",
        ),
        (
            "only the largest weight",
            """
def worst_change(w, eps):
    eta = np.zeros_like(w)
    i = np.argmax(np.abs(w))
    eta[i] = eps * np.sign(w[i])
    return eta
""",
            "some inputs move by less than eps",
        ),
        (
            "0/0 at a dark pixel",
            """
def worst_change(w, eps):
    return eps * w / np.abs(w)
""",
            "0 / 0 where a weight is 0",
        ),
    ],
    "typical_change": [
        (
            "the variance",
            """
def typical_change(w, eps):
    return float(eps**2 * (w**2).sum())
""",
            "the square root is missing",
        ),
        (
            "the worst case",
            """
def typical_change(w, eps):
    return float(eps * np.abs(w).sum())
""",
            "it is the variances that add up",
        ),
        (
            "mean instead of sum",
            """
def typical_change(w, eps):
    return float(eps * np.sqrt((w**2).mean()))
""",
            "a factor 1/n too many",
        ),
        (
            "eps forgotten",
            """
def typical_change(w, eps):
    return float(np.sqrt((w**2).sum()))
""",
            "eps is missing",
        ),
        (
            "eps not squared",
            """
def typical_change(w, eps):
    return float(np.sqrt(eps * (w**2).sum()))
""",
            "Var(eta_i) is eps^2",
        ),
        (
            "the square of the sum",
            """
def typical_change(w, eps):
    return float(eps * np.sqrt(w.sum() ** 2))
""",
            "(sum w_i)^2 is not sum w_i^2",
        ),
        (
            "no sum",
            """
def typical_change(w, eps):
    return eps * np.sqrt(w**2)
""",
            "one number is wanted",
        ),
        (
            "the weights' own standard deviation",
            """
def typical_change(w, eps):
    return float(eps * np.std(w))
""",
            "np.std(w) measures how the weights spread",
        ),
        (
            "the weights' own standard deviation, with the root of n",
            """
def typical_change(w, eps):
    return float(eps * np.sqrt(len(w)) * np.std(w))
""",
            "takes the mean of the weights away",
        ),
        (
            "eps squared outside of the root",
            """
def typical_change(w, eps):
    return float(eps**2 * np.sqrt((w**2).sum()))
""",
            "eps is squared once too often",
        ),
        (
            "the weights forgotten",
            """
def typical_change(w, eps):
    return float(eps * np.sqrt(len(w)))
""",
            "the weights are missing",
        ),
        (
            "the mean size of a weight",
            """
def typical_change(w, eps):
    return float(eps * np.abs(w).mean() * np.sqrt(len(w)))
""",
            "the mean size of a weight",
        ),
    ],
}
