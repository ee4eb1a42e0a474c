"""Wrong answers to the exercises of lesson 13: the mistake, the answer, and words that the feedback must have."""

WRONG = {
    "rubbish_error": [
        (
            "a sample counts as often as classes claim it",
            """
def rubbish_error(p):
    claimed = p > 0.5
    by_class = claimed.sum(axis=0)
    return claimed.sum() / len(p), p[claimed].mean() if claimed.any() else math.nan, by_class
""",
            "each sample counts once",
        ),
        (
            "the share of all probabilities",
            """
def rubbish_error(p):
    largest = p.max(axis=1)
    claimed = largest > 0.5
    by_class = np.bincount(p[claimed].argmax(axis=1), minlength=p.shape[1])
    return (p > 0.5).mean(), largest[claimed].mean() if claimed.any() else math.nan, by_class
""",
            "a share of all N K probabilities",
        ),
        (
            "at least one half",
            """
def rubbish_error(p):
    largest = p.max(axis=1)
    claimed = largest >= 0.5
    by_class = np.bincount(p[claimed].argmax(axis=1), minlength=p.shape[1])
    return claimed.mean(), largest[claimed].mean() if claimed.any() else math.nan, by_class
""",
            "ABOVE one half",
        ),
        (
            "the count",
            """
def rubbish_error(p):
    largest = p.max(axis=1)
    claimed = largest > 0.5
    by_class = np.bincount(p[claimed].argmax(axis=1), minlength=p.shape[1])
    return claimed.sum(), largest[claimed].mean() if claimed.any() else math.nan, by_class
""",
            "a count here",
        ),
        (
            "the confidence of all samples",
            """
def rubbish_error(p):
    largest = p.max(axis=1)
    claimed = largest > 0.5
    by_class = np.bincount(p[claimed].argmax(axis=1), minlength=p.shape[1])
    return claimed.mean(), largest.mean(), by_class
""",
            "only errors count",
        ),
        (
            "a confidence of 0 without errors",
            """
def rubbish_error(p):
    largest = p.max(axis=1)
    claimed = largest > 0.5
    by_class = np.bincount(p[claimed].argmax(axis=1), minlength=p.shape[1])
    return claimed.mean(), largest[claimed].sum() / max(1, claimed.sum()), by_class
""",
            "there is nothing to average",
        ),
        (
            "classes of all samples",
            """
def rubbish_error(p):
    largest = p.max(axis=1)
    claimed = largest > 0.5
    by_class = np.bincount(p.argmax(axis=1), minlength=p.shape[1])
    return claimed.mean(), largest[claimed].mean() if claimed.any() else math.nan, by_class
""",
            "count only the errors",
        ),
        (
            "no minlength",
            """
def rubbish_error(p):
    largest = p.max(axis=1)
    claimed = largest > 0.5
    by_class = np.bincount(p[claimed].argmax(axis=1)) if claimed.any() else np.zeros(p.shape[1])
    return claimed.mean(), largest[claimed].mean() if claimed.any() else math.nan, by_class
""",
            "minlength",
        ),
        (
            "sigmoids made to sum to 1",
            """
def rubbish_error(p):
    p = p / p.sum(axis=1, keepdims=True)
    largest = p.max(axis=1)
    claimed = largest > 0.5
    by_class = np.bincount(p[claimed].argmax(axis=1), minlength=p.shape[1])
    return claimed.mean(), largest[claimed].mean() if claimed.any() else math.nan, by_class
""",
            "rows were divided by their sums",
        ),
        (
            "float counts",
            """
def rubbish_error(p):
    largest = p.max(axis=1)
    claimed = largest > 0.5
    by_class = np.zeros(p.shape[1])
    for k in p[claimed].argmax(axis=1):
        by_class[k] += 1
    return claimed.mean(), largest[claimed].mean() if claimed.any() else math.nan, by_class
""",
            "are integers",
        ),
        (
            "overwrites p",
            """
def rubbish_error(p):
    largest = p.max(axis=1)
    claimed = largest > 0.5
    p[~claimed] = 0
    by_class = np.bincount(p[claimed].argmax(axis=1), minlength=p.shape[1])
    return claimed.mean(), largest[claimed].mean() if claimed.any() else math.nan, by_class
""",
            "changed an array",
        ),
    ],
    "logits_on_noise": [
        (
            "no b",
            """
def logits_on_noise(W, b):
    return np.zeros(len(b)), np.sqrt((W**2).sum(axis=1)), W @ W.T
""",
            "but b stays",
        ),
        (
            "the noise taken for ones",
            """
def logits_on_noise(W, b):
    return W.sum(axis=1) + b, np.sqrt((W**2).sum(axis=1)), W @ W.T
""",
            "those for x = 1",
        ),
        (
            "variances",
            """
def logits_on_noise(W, b):
    return b, (W**2).sum(axis=1), W @ W.T
""",
            "these are the variances",
        ),
        (
            "standard deviations added",
            """
def logits_on_noise(W, b):
    return b, np.abs(W).sum(axis=1), W @ W.T
""",
            "the VARIANCES add up",
        ),
        (
            "the spread of the weights",
            """
def logits_on_noise(W, b):
    return b, W.std(axis=1), np.cov(W)
""",
            "how much the weights of a row differ",
        ),
        (
            "W transposed",
            """
def logits_on_noise(W, b):
    return b, np.sqrt((W**2).sum(axis=1)), W.T @ W
""",
            "W^T W has the shape (D, D)",
        ),
        (
            "independent logits",
            """
def logits_on_noise(W, b):
    variances = (W**2).sum(axis=1)
    return b, np.sqrt(variances), np.diag(variances)
""",
            "need not be 0",
        ),
        (
            "rows and columns",
            """
def logits_on_noise(W, b):
    return b, np.sqrt((W**2).sum(axis=0)), W @ W.T
""",
            "the weights of a class are a ROW",
        ),
        (
            "correlations",
            """
def logits_on_noise(W, b):
    sd = np.sqrt((W**2).sum(axis=1))
    return b, sd, W @ W.T / np.outer(sd, sd)
""",
            "divided by the standard deviations",
        ),
    ],
    "fooling_step": [
        (
            "uphill",
            """
def fooling_step(model, x, k, eps, sign=True):
    g = attacks.input_gradient(model, x, np.full(len(x), k))
    if sign:
        return x + eps * np.sign(g)
    length = np.sqrt((g**2).sum(axis=1, keepdims=True))
    return x + eps * math.sqrt(x.shape[1]) * g / (length + (length == 0))
""",
            "the sign is wrong",
        ),
        (
            "away from its own answer",
            """
def fooling_step(model, x, k, eps, sign=True):
    g = attacks.input_gradient(model, x, model(x).argmax(axis=1))
    if sign:
        return x + eps * np.sign(g)
    length = np.sqrt((g**2).sum(axis=1, keepdims=True))
    return x + eps * math.sqrt(x.shape[1]) * g / (length + (length == 0))
""",
            "away from the network's own answer",
        ),
        (
            "labels that count from 1",
            """
def fooling_step(model, x, k, eps, sign=True):
    g = attacks.input_gradient(model, x, np.full(len(x), k - 1))
    if sign:
        return x - eps * np.sign(g)
    length = np.sqrt((g**2).sum(axis=1, keepdims=True))
    return x - eps * math.sqrt(x.shape[1]) * g / (length + (length == 0))
""",
            "label off by one",
        ),
        (
            "the length without sqrt(D)",
            """
def fooling_step(model, x, k, eps, sign=True):
    g = attacks.input_gradient(model, x, np.full(len(x), k))
    if sign:
        return x - eps * np.sign(g)
    length = np.sqrt((g**2).sum(axis=1, keepdims=True))
    return x - eps * g / (length + (length == 0))
""",
            "sqrt(D) is missing",
        ),
        (
            "the gradient as it is",
            """
def fooling_step(model, x, k, eps, sign=True):
    g = attacks.input_gradient(model, x, np.full(len(x), k))
    return x - eps * (np.sign(g) if sign else g)
""",
            "not divided by its length",
        ),
        (
            "one length for the batch",
            """
def fooling_step(model, x, k, eps, sign=True):
    g = attacks.input_gradient(model, x, np.full(len(x), k))
    if sign:
        return x - eps * np.sign(g)
    length = np.sqrt((g**2).sum())
    return x - eps * math.sqrt(x.shape[1]) * g / (length + (length == 0))
""",
            "one length for the whole batch",
        ),
        (
            "0/0",
            """
def fooling_step(model, x, k, eps, sign=True):
    g = attacks.input_gradient(model, x, np.full(len(x), k))
    if sign:
        return x - eps * np.sign(g)
    return x - eps * math.sqrt(x.shape[1]) * g / np.sqrt((g**2).sum(axis=1, keepdims=True))
""",
            "gave 0/0",
        ),
        (
            "a root in float64",
            """
def fooling_step(model, x, k, eps, sign=True):
    g = attacks.input_gradient(model, x, np.full(len(x), k))
    if sign:
        return x - eps * np.sign(g)
    length = np.sqrt((g**2).sum(axis=1, keepdims=True))
    return x - eps * np.sqrt(x.shape[1]) * g / (length + (length == 0))
""",
            "float64 leak",
        ),
        (
            "in the caller's array",
            """
def fooling_step(model, x, k, eps, sign=True):
    g = attacks.input_gradient(model, x, np.full(len(x), k))
    length = np.sqrt((g**2).sum(axis=1, keepdims=True))
    x -= eps * (np.sign(g) if sign else math.sqrt(x.shape[1]) * g / (length + (length == 0)))
    return x
""",
            "changed an array",
        ),
        (
            "swapped",
            """
def fooling_step(model, x, k, eps, sign=True):
    g = attacks.input_gradient(model, x, np.full(len(x), k))
    if not sign:
        return x - eps * np.sign(g)
    length = np.sqrt((g**2).sum(axis=1, keepdims=True))
    return x - eps * math.sqrt(x.shape[1]) * g / (length + (length == 0))
""",
            "the two are swapped",
        ),
    ],
}
