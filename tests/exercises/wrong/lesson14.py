"""Wrong answers to the exercises of lesson 14: the mistake, the answer, and words that the feedback must have."""

WRONG = {
    "pgd": [
        (
            "no projection",
            """
def pgd(model, x, y, eps, steps, start):
    x_adv = start
    for _ in range(steps):
        x_adv = x_adv + 2.5 * eps / steps * np.sign(attacks.input_gradient(model, x_adv, y))
    return x_adv
""",
            "the way back into the box is missing",
        ),
        (
            "projected at the end",
            """
def pgd(model, x, y, eps, steps, start):
    x_adv = start
    for _ in range(steps):
        x_adv = x_adv + 2.5 * eps / steps * np.sign(attacks.input_gradient(model, x_adv, y))
    return x_adv.clip(x - eps, x + eps)
""",
            "only once, at the end",
        ),
        (
            "the box around the start",
            """
def pgd(model, x, y, eps, steps, start):
    x_adv = start
    for _ in range(steps):
        g = attacks.input_gradient(model, x_adv, y)
        x_adv = (x_adv + 2.5 * eps / steps * np.sign(g)).clip(start - eps, start + eps)
    return x_adv
""",
            "around the START",
        ),
        (
            "the box around the last point",
            """
def pgd(model, x, y, eps, steps, start):
    x_adv = start
    for _ in range(steps):
        g = attacks.input_gradient(model, x_adv, y)
        x_adv = (x_adv + 2.5 * eps / steps * np.sign(g)).clip(x_adv - eps, x_adv + eps)
    return x_adv
""",
            "around the last point, where it changes nothing",
        ),
        (
            "pixels clipped in place of the box",
            """
def pgd(model, x, y, eps, steps, start):
    x_adv = start
    for _ in range(steps):
        g = attacks.input_gradient(model, x_adv, y)
        x_adv = (x_adv + 2.5 * eps / steps * np.sign(g)).clip(0, 1)
    return x_adv
""",
            "in place of the box",
        ),
        (
            "descent",
            """
def pgd(model, x, y, eps, steps, start):
    x_adv = start
    for _ in range(steps):
        g = attacks.input_gradient(model, x_adv, y)
        x_adv = (x_adv - 2.5 * eps / steps * np.sign(g)).clip(x - eps, x + eps)
    return x_adv
""",
            "downhill",
        ),
        (
            "the gradient at x, always",
            """
def pgd(model, x, y, eps, steps, start):
    x_adv, g = start, attacks.input_gradient(model, x, y)
    for _ in range(steps):
        x_adv = (x_adv + 2.5 * eps / steps * np.sign(g)).clip(x - eps, x + eps)
    return x_adv
""",
            "always taken at x",
        ),
        (
            "the start ignored",
            """
def pgd(model, x, y, eps, steps, start):
    x_adv = x
    for _ in range(steps):
        g = attacks.input_gradient(model, x_adv, y)
        x_adv = (x_adv + 2.5 * eps / steps * np.sign(g)).clip(x - eps, x + eps)
    return x_adv
""",
            "the start is given",
        ),
        (
            "whole steps",
            """
def pgd(model, x, y, eps, steps, start):
    x_adv = start
    for _ in range(steps):
        x_adv = (x_adv + eps * np.sign(attacks.input_gradient(model, x_adv, y))).clip(x - eps, x + eps)
    return x_adv
""",
            "steps of size eps:",
        ),
        (
            "return inside of the loop",
            """
def pgd(model, x, y, eps, steps, start):
    x_adv = start
    for _ in range(steps):
        g = attacks.input_gradient(model, x_adv, y)
        x_adv = (x_adv + 2.5 * eps / steps * np.sign(g)).clip(x - eps, x + eps)
        return x_adv
""",
            "inside of the loop",
        ),
        (
            "in the caller's array",
            """
def pgd(model, x, y, eps, steps, start):
    x_adv = start
    for _ in range(steps):
        x_adv += 2.5 * eps / steps * np.sign(attacks.input_gradient(model, x_adv, y))
        x_adv = x_adv.clip(x - eps, x + eps)
    return x_adv
""",
            "changed an array",
        ),
        (
            "a Euclidean ball",
            """
def pgd(model, x, y, eps, steps, start):
    x_adv = start
    for _ in range(steps):
        eta = x_adv + 2.5 * eps / steps * np.sign(attacks.input_gradient(model, x_adv, y)) - x
        norm = np.sqrt((eta**2).sum(axis=1, keepdims=True))
        x_adv = x + eta * np.minimum(1, eps / norm)
    return x_adv
""",
            "a Euclidean length",
        ),
        (
            "a float64 step",
            """
def pgd(model, x, y, eps, steps, start):
    x_adv, a = start, np.float64(2.5 * eps / steps)
    for _ in range(steps):
        g = attacks.input_gradient(model, x_adv.astype(x.dtype), y)
        x_adv = (x_adv + a * np.sign(g)).clip(x - eps, x + eps)
    return x_adv
""",
            "float64 leak",
        ),
        (
            "the gradient divided by its size",
            """
def pgd(model, x, y, eps, steps, start):
    x_adv = start
    for _ in range(steps):
        g = attacks.input_gradient(model, x_adv, y)
        x_adv = np.clip(x_adv + 2.5 * eps / steps * g / np.abs(g), x - eps, x + eps)
    return x_adv
""",
            "0 / 0 where the gradient is 0",
        ),
        (
            "up where nothing is to be gained",
            """
def pgd(model, x, y, eps, steps, start):
    x_adv = start
    for _ in range(steps):
        g = attacks.input_gradient(model, x_adv, y)
        x_adv = np.clip(x_adv + 2.5 * eps / steps * np.where(g >= 0, 1, -1), x - eps, x + eps)
    return x_adv
""",
            "the sign of 0 is 0",
        ),
    ],
    "predicted_label_fgsm": [
        (
            "towards the answer",
            """
def predicted_label_fgsm(model, x, eps):
    return x - eps * np.sign(attacks.input_gradient(model, x, model(x).argmax(axis=1)))
""",
            "towards the network's answer",
        ),
        (
            "the least likely class",
            """
def predicted_label_fgsm(model, x, eps):
    return x + eps * np.sign(attacks.input_gradient(model, x, model(x).argmin(axis=1)))
""",
            "SMALLEST output",
        ),
        (
            "an attack with a target",
            """
def predicted_label_fgsm(model, x, eps):
    return x - eps * np.sign(attacks.input_gradient(model, x, model(x).argmin(axis=1)))
""",
            "an attack with a target",
        ),
        (
            "argmax over the images",
            """
def predicted_label_fgsm(model, x, eps):
    return x + eps * np.sign(attacks.input_gradient(model, x, model(x).argmax(axis=0)))
""",
            "argmax over the images",
        ),
        (
            "no sign",
            """
def predicted_label_fgsm(model, x, eps):
    return x + eps * attacks.input_gradient(model, x, model(x).argmax(axis=1))
""",
            "the sign is missing",
        ),
        (
            "no eps",
            """
def predicted_label_fgsm(model, x, eps):
    return x + np.sign(attacks.input_gradient(model, x, model(x).argmax(axis=1)))
""",
            "eps is missing",
        ),
        (
            "the change alone",
            """
def predicted_label_fgsm(model, x, eps):
    return eps * np.sign(attacks.input_gradient(model, x, model(x).argmax(axis=1)))
""",
            "the change alone",
        ),
        (
            "clipped",
            """
def predicted_label_fgsm(model, x, eps):
    g = attacks.input_gradient(model, x, model(x).argmax(axis=1))
    return (x + eps * np.sign(g)).clip(0, 1)
""",
            "clipped to the range from 0 to 1",
        ),
        (
            "in the caller's array",
            """
def predicted_label_fgsm(model, x, eps):
    x += eps * np.sign(attacks.input_gradient(model, x, model(x).argmax(axis=1)))
    return x
""",
            "changed an array",
        ),
        (
            "the gradient divided by its size",
            """
def predicted_label_fgsm(model, x, eps):
    g = attacks.input_gradient(model, x, model(x).argmax(axis=1))
    return x + eps * g / np.abs(g)
""",
            "0 / 0 where the gradient is 0",
        ),
    ],
    "direction": [
        (
            "p - t",
            """
def direction(z, y):
    t = y[:, None] == np.arange(z.shape[1])
    p = np.exp(z - z.max(axis=1, keepdims=True))
    return p / p.sum(axis=1, keepdims=True) - t
""",
            "this is p - t",
        ),
        (
            "p - t, then divided by 1 - p_y",
            """
def direction(z, y):
    t = y[:, None] == np.arange(z.shape[1])
    p = np.exp(z - z.max(axis=1, keepdims=True))
    p = p / p.sum(axis=1, keepdims=True)
    return (p - t) / (1 - (p * t).sum(axis=1, keepdims=True))
""",
            "was rounded to 0 and then divided by",
        ),
        (
            "p - t, then divided by the sum of the others",
            """
def direction(z, y):
    t = y[:, None] == np.arange(z.shape[1])
    p = np.exp(z - z.max(axis=1, keepdims=True))
    p = p / p.sum(axis=1, keepdims=True)
    return (p - t) / (p * ~t).sum(axis=1, keepdims=True)
""",
            "1 - p_y is rounded",
        ),
        (
            "the maximum of all classes taken off",
            """
def direction(z, y):
    t = y[:, None] == np.arange(z.shape[1])
    q = np.exp(z - z.max(axis=1, keepdims=True)) * ~t
    return q / q.sum(axis=1, keepdims=True) - t
""",
            "overflows, or 0/0",
        ),
        (
            "something added against 0/0",
            """
def direction(z, y):
    t = y[:, None] == np.arange(z.shape[1])
    q = np.exp(z - z.max(axis=1, keepdims=True)) * ~t
    return q / (q.sum(axis=1, keepdims=True) + 1e-30) - t
""",
            "the others are all 0",
        ),
        (
            "no maximum taken off",
            """
def direction(z, y):
    t = y[:, None] == np.arange(z.shape[1])
    q = np.exp(z) * ~t
    return q / q.sum(axis=1, keepdims=True) - t
""",
            "e^z overflows",
        ),
        (
            "nothing for the label",
            """
def direction(z, y):
    t = y[:, None] == np.arange(z.shape[1])
    others = np.where(t, -np.inf, z)
    q = np.exp(others - others.max(axis=1, keepdims=True))
    return q / q.sum(axis=1, keepdims=True)
""",
            "the label has 0 here",
        ),
        (
            "the sign",
            """
def direction(z, y):
    t = y[:, None] == np.arange(z.shape[1])
    others = np.where(t, -np.inf, z)
    q = np.exp(others - others.max(axis=1, keepdims=True))
    return t - q / q.sum(axis=1, keepdims=True)
""",
            "the sign is wrong",
        ),
        (
            "float64 targets",
            """
def direction(z, y):
    t = np.eye(z.shape[1])[y]
    others = np.where(t > 0, -np.inf, z)
    q = np.exp(others - others.max(axis=1, keepdims=True))
    return q / q.sum(axis=1, keepdims=True) - t
""",
            "float64 leak",
        ),
        (
            "labels that count from 1",
            """
def direction(z, y):
    t = (y[:, None] - 1) % z.shape[1] == np.arange(z.shape[1])
    others = np.where(t, -np.inf, z)
    q = np.exp(others - others.max(axis=1, keepdims=True))
    return q / q.sum(axis=1, keepdims=True) - t
""",
            "label off by one",
        ),
        (
            "no maximum",
            """
def direction(z, y):
    t = y[:, None] == np.arange(z.shape[1])
    q = np.exp(np.where(t, -np.inf, z))
    return q / q.sum(axis=1, keepdims=True) - t
""",
            "overflow where",
        ),
        (
            "one maximum for all images",
            """
def direction(z, y):
    t = y[:, None] == np.arange(z.shape[1])
    others = np.where(t, -np.inf, z)
    q = np.exp(others - others.max())
    return q / q.sum(axis=1, keepdims=True) - t
""",
            "those of another image",
        ),
    ],
    "violations": [
        (
            "where the order holds",
            """
def violations(wrong):
    found = []
    for stronger, weaker in ORDER:
        if stronger in wrong and weaker in wrong:
            w, t = (wrong[weaker] & ~wrong[stronger]).sum(), (wrong[stronger] & ~wrong[weaker]).sum()
            if w < t:
                found.append((stronger, weaker, (t - w) / (w + t) ** 0.5))
    return found
""",
            "in which the order HOLDS",
        ),
        (
            "equally often",
            """
def violations(wrong):
    found = []
    for stronger, weaker in ORDER:
        if stronger in wrong and weaker in wrong:
            w, t = (wrong[weaker] & ~wrong[stronger]).sum(), (wrong[stronger] & ~wrong[weaker]).sum()
            if w >= t:
                found.append((stronger, weaker, (w - t) / max(1, w + t) ** 0.5))
    return found
""",
            "fool equally many images are no violation",
        ),
        (
            "the wrong way round",
            """
def violations(wrong):
    found = []
    for stronger, weaker in ORDER:
        if stronger in wrong and weaker in wrong:
            w, t = (wrong[weaker] & ~wrong[stronger]).sum(), (wrong[stronger] & ~wrong[weaker]).sum()
            if w > t:
                found.append((weaker, stronger, (w - t) / (w + t) ** 0.5))
    return found
""",
            "the wrong way round",
        ),
        (
            "no root",
            """
def violations(wrong):
    found = []
    for stronger, weaker in ORDER:
        if stronger in wrong and weaker in wrong:
            w, t = (wrong[weaker] & ~wrong[stronger]).sum(), (wrong[stronger] & ~wrong[weaker]).sum()
            if w > t:
                found.append((stronger, weaker, (w - t) / (w + t)))
    return found
""",
            "its square root is wanted",
        ),
        (
            "all images",
            """
def violations(wrong):
    found = []
    for stronger, weaker in ORDER:
        if stronger in wrong and weaker in wrong:
            w, t = wrong[weaker].sum(), wrong[stronger].sum()
            if w > t:
                found.append((stronger, weaker, (w - t) / len(wrong[weaker]) ** 0.5))
    return found
""",
            "divided by sqrt(N)",
        ),
        (
            "all mistakes",
            """
def violations(wrong):
    found = []
    for stronger, weaker in ORDER:
        if stronger in wrong and weaker in wrong:
            w, t = wrong[weaker].sum(), wrong[stronger].sum()
            if w > t:
                found.append((stronger, weaker, (w - t) / (w + t) ** 0.5))
    return found
""",
            "the square root of all mistakes",
        ),
        (
            "two samples that know nothing of each other",
            """
def violations(wrong):
    found = []
    for stronger, weaker in ORDER:
        if stronger in wrong and weaker in wrong:
            p, q, N = wrong[weaker].mean(), wrong[stronger].mean(), len(wrong[weaker])
            if p > q:
                found.append((stronger, weaker, (p - q) / ((p * (1 - p) + q * (1 - q)) / N) ** 0.5))
    return found
""",
            "takes the two attacks for independent",
        ),
        (
            "every attack is expected",
            """
def violations(wrong):
    found = []
    for stronger, weaker in ORDER:
        w, t = (wrong[weaker] & ~wrong[stronger]).sum(), (wrong[stronger] & ~wrong[weaker]).sum()
        if w > t:
            found.append((stronger, weaker, (w - t) / (w + t) ** 0.5))
    return found
""",
            "not tried",
        ),
        (
            "the score first, then the question",
            """
def violations(wrong):
    found = []
    for stronger, weaker in ORDER:
        if stronger in wrong and weaker in wrong:
            w, t = int((wrong[weaker] & ~wrong[stronger]).sum()), int((wrong[stronger] & ~wrong[weaker]).sum())
            score = (w - t) / (w + t) ** 0.5
            if score > 0:
                found.append((stronger, weaker, score))
    return found
""",
            "0/0",
        ),
        (
            "the difference of the errors",
            """
def violations(wrong):
    found = []
    for stronger, weaker in ORDER:
        if stronger in wrong and weaker in wrong:
            excess = wrong[weaker].mean() - wrong[stronger].mean()
            if excess > 0:
                found.append((stronger, weaker, excess))
    return found
""",
            "the difference of errors",
        ),
        (
            "overwrites what it is given",
            """
def violations(wrong):
    found = []
    for stronger, weaker in ORDER:
        if stronger in wrong and weaker in wrong:
            both = wrong[stronger] & wrong[weaker]
            wrong[weaker] ^= both
            wrong[stronger] ^= both
            w, s = wrong[weaker].sum(), wrong[stronger].sum()
            if w > s:
                found.append((stronger, weaker, (w - s) / (w + s) ** 0.5))
    return found
""",
            "changed an array",
        ),
    ],
}
