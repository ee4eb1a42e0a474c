"""Wrong answers to the exercises of lesson 12: the mistake, the answer, and words that the feedback must have."""

WRONG = {
    "by_probability": [
        (
            "no weights",
            """
def by_probability(z, y):
    return ops.softmax(z) - (y[:, None] == np.arange(z.shape[2]))
""",
            "r_m is missing",
        ),
        (
            "1/M for all",
            """
def by_probability(z, y):
    return (ops.softmax(z) - (y[:, None] == np.arange(z.shape[2]))) / len(z)
""",
            "1/M where r_m should stand",
        ),
        (
            "over the mean",
            """
def by_probability(z, y):
    p, t = ops.softmax(z), y[:, None] == np.arange(z.shape[2])
    of_label = p[:, t]
    return (of_label / of_label.mean(axis=0))[:, :, None] * (p - t)
""",
            "M times too large",
        ),
        (
            "the sign",
            """
def by_probability(z, y):
    p, t = ops.softmax(z), y[:, None] == np.arange(z.shape[2])
    r = ops.softmax(ops.log_softmax(z)[:, t].T).T
    return r[:, :, None] * (t - p)
""",
            "the sign is wrong",
        ),
        (
            "p rounded to 0",
            """
def by_probability(z, y):
    p, t = ops.softmax(z), y[:, None] == np.arange(z.shape[2])
    of_label = p[:, t]
    return (of_label / of_label.sum(axis=0))[:, :, None] * (p - t)
""",
            "0/0",
        ),
        (
            "something added against 0/0",
            """
def by_probability(z, y):
    p, t = ops.softmax(z), y[:, None] == np.arange(z.shape[2])
    of_label = p[:, t]
    return (of_label / (of_label.sum(axis=0) + np.float32(1e-12)))[:, :, None] * (p - t)
""",
            "the member that is fooled least",
        ),
        (
            "weights over the images",
            """
def by_probability(z, y):
    p, t = ops.softmax(z), y[:, None] == np.arange(z.shape[2])
    return ops.softmax(ops.log_softmax(z)[:, t])[:, :, None] * (p - t)
""",
            "over the images",
        ),
        (
            "upside down",
            """
def by_probability(z, y):
    p, t = ops.softmax(z), y[:, None] == np.arange(z.shape[2])
    r = ops.softmax(-ops.log_softmax(z)[:, t].T).T
    return r[:, :, None] * (p - t)
""",
            "upside down",
        ),
        (
            "the mean probability for each member's own",
            """
def by_probability(z, y):
    p, t = ops.softmax(z), y[:, None] == np.arange(z.shape[2])
    r = ops.softmax(ops.log_softmax(z)[:, t].T).T
    return r[:, :, None] * (p.mean(axis=0) - t)
""",
            "each member's own p_m",
        ),
        (
            "float64 targets",
            """
def by_probability(z, y):
    log_p, t = ops.log_softmax(z), np.eye(z.shape[2])[y]
    r = ops.softmax((log_p * t).sum(axis=2).T).T
    return r[:, :, None] * (np.exp(log_p) - t)
""",
            "float64 leak",
        ),
        (
            "a softmax of the mean",
            """
def by_probability(z, y):
    t = y[:, None] == np.arange(z.shape[2])
    return np.stack([(ops.softmax(z).mean(axis=0) - t) / len(z)] * len(z))
""",
            "with the mean probability",
        ),
        (
            "a logarithm of a softmax without its maximum",
            """
def by_probability(z, y):
    t = y[:, None] == np.arange(z.shape[2])
    log_p = z - np.log(np.exp(z).sum(axis=2, keepdims=True))
    r = ops.softmax(log_p[:, t].T).T
    return r[:, :, None] * (np.exp(log_p) - t)
""",
            "each row's own maximum",
        ),
        (
            "one maximum for all logits",
            """
def by_probability(z, y):
    t = y[:, None] == np.arange(z.shape[2])
    z = z - z.max()
    log_p = z - np.log(np.exp(z).sum(axis=2, keepdims=True))
    r = ops.softmax(log_p[:, t].T).T
    return r[:, :, None] * (np.exp(log_p) - t)
""",
            "each row's own maximum",
        ),
    ],
    "by_logit": [
        (
            "no 1/M",
            """
def by_logit(z, y):
    t = y[:, None] == np.arange(z.shape[2])
    return np.stack([ops.softmax(z.mean(axis=0)) - t] * len(z))
""",
            "1/M is missing",
        ),
        (
            "each member's own softmax",
            """
def by_logit(z, y):
    return (ops.softmax(z) - (y[:, None] == np.arange(z.shape[2]))) / len(z)
""",
            "q is that of the mean logits",
        ),
        (
            "the mean probability",
            """
def by_logit(z, y):
    t = y[:, None] == np.arange(z.shape[2])
    return np.stack([(ops.softmax(z).mean(axis=0) - t) / len(z)] * len(z))
""",
            "the mean of the probabilities",
        ),
        (
            "the sum of logits",
            """
def by_logit(z, y):
    t = y[:, None] == np.arange(z.shape[2])
    return np.stack([(ops.softmax(z.sum(axis=0)) - t) / len(z)] * len(z))
""",
            "the SUM of the logits",
        ),
        (
            "one for all",
            """
def by_logit(z, y):
    return (ops.softmax(z.mean(axis=0)) - (y[:, None] == np.arange(z.shape[2]))) / len(z)
""",
            "every member has its own",
        ),
        (
            "the sign",
            """
def by_logit(z, y):
    t = y[:, None] == np.arange(z.shape[2])
    return np.stack([(t - ops.softmax(z.mean(axis=0))) / len(z)] * len(z))
""",
            "the sign is wrong",
        ),
        (
            "overflow",
            """
def by_logit(z, y):
    t, e = y[:, None] == np.arange(z.shape[2]), np.exp(z.mean(axis=0))
    return np.stack([(e / e.sum(axis=1, keepdims=True) - t) / len(z)] * len(z))
""",
            "overflow",
        ),
        (
            "divided by the number of images",
            """
def by_logit(z, y):
    t = y[:, None] == np.arange(z.shape[2])
    return np.stack([(ops.softmax(z.mean(axis=0)) - t) / len(y)] * len(z))
""",
            "divided by N, where M is wanted",
        ),
        (
            "divided by the number of classes",
            """
def by_logit(z, y):
    t = y[:, None] == np.arange(z.shape[2])
    return np.stack([(ops.softmax(z.mean(axis=0)) - t) / z.shape[2]] * len(z))
""",
            "divided by K, where M is wanted",
        ),
        (
            "as many as images",
            """
def by_logit(z, y):
    t = y[:, None] == np.arange(z.shape[2])
    return np.stack([(ops.softmax(z.mean(axis=0)) - t) / len(y)] * len(y))
""",
            "N gradients here",
        ),
        (
            "one maximum for all logits",
            """
def by_logit(z, y):
    t = y[:, None] == np.arange(z.shape[2])
    mean = z.mean(axis=0)
    e = np.exp(mean - mean.max())
    return np.stack([(e / e.sum(axis=1, keepdims=True) - t) / len(z)] * len(z))
""",
            "each row's own maximum",
        ),
    ],
    "shared": [
        (
            "each with itself",
            """
def shared(g):
    u, _, _ = attacks.unit(g)
    return np.einsum("ind,jnd->n", u, u) / len(g) ** 2
""",
            "with itself is counted",
        ),
        (
            "not divided by lengths",
            """
def shared(g):
    total = g.sum(axis=0)
    return ((total * total).sum(axis=1) - (g * g).sum(axis=(0, 2))) / (len(g) * (len(g) - 1))
""",
            "not divided by their lengths",
        ),
        (
            "divided by M squared",
            """
def shared(g):
    u, _, _ = attacks.unit(g)
    total = u.sum(axis=0)
    return ((total * total).sum(axis=1) - (u * u).sum(axis=(0, 2))) / len(g) ** 2
""",
            "divided by M^2",
        ),
        (
            "half of the pairs",
            """
def shared(g):
    u, _, _ = attacks.unit(g)
    M = len(g)
    return sum((u[i] * u[j]).sum(axis=1) for i in range(M) for j in range(i)) / (M * (M - 1))
""",
            "half of the right value",
        ),
        (
            "one number",
            """
def shared(g):
    u, _, _ = attacks.unit(g)
    total = u.sum(axis=0)
    return (((total * total).sum(axis=1) - (u * u).sum(axis=(0, 2))) / (len(g) * (len(g) - 1))).mean()
""",
            "one number for each image",
        ),
        (
            "with the first alone",
            """
def shared(g):
    u, _, _ = attacks.unit(g)
    return np.mean([(u[0] * v).sum(axis=1) for v in u[1:]], axis=0)
""",
            "the first member with the others",
        ),
        (
            "rows of zeros",
            """
def shared(g):
    u = g / np.linalg.norm(g, axis=2, keepdims=True)
    return ((u.sum(axis=0) ** 2).sum(axis=1) - len(g)) / (len(g) * (len(g) - 1))
""",
            "gave 0/0",
        ),
        (
            "M of 1 taken out",
            """
def shared(g):
    u, _, _ = attacks.unit(g)
    return ((u.sum(axis=0) ** 2).sum(axis=1) - len(g)) / (len(g) * (len(g) - 1))
""",
            "a row of zeros has the length 0",
        ),
        (
            "squares of tiny entries",
            """
def shared(g):
    length = np.sqrt((g * g).sum(axis=2, keepdims=True))
    u = g / np.where(length > 0, length, 1)
    return ((u.sum(axis=0) ** 2).sum(axis=1) - (u * u).sum(axis=(0, 2))) / (len(g) * (len(g) - 1))
""",
            "squares of tiny entries",
        ),
        (
            "one largest entry for all gradients",
            """
def shared(g):
    g = g / max(np.abs(g).max(), 1e-37)
    lengths = np.sqrt((g * g).sum(axis=2, keepdims=True))
    u = g / np.where(lengths > 0, lengths, 1)
    squares, total = (u * u).sum(axis=(0, 2)), u.sum(axis=0)
    return ((total * total).sum(axis=1) - squares) / (len(g) * (len(g) - 1))
""",
            "rows of very different size",
        ),
    ],
    "error_made_on": [
        (
            "the member's own error",
            """
def error_made_on(members, which, x, y, eps):
    x_adv = attacks.fgsm(members[which], x, y, eps)
    return metrics.evaluate(members[which], x_adv, y).error
""",
            "the error of the member itself",
        ),
        (
            "the mean of errors",
            """
def error_made_on(members, which, x, y, eps):
    x_adv = attacks.fgsm(members[which], x, y, eps)
    return float(np.mean([metrics.evaluate(member, x_adv, y).error for member in members]))
""",
            "the ensemble answers once",
        ),
        (
            "the mean logit",
            """
def error_made_on(members, which, x, y, eps):
    x_adv = attacks.fgsm(members[which], x, y, eps)
    return float(np.mean(np.mean([member(x_adv) for member in members], axis=0).argmax(axis=1) != y))
""",
            "by the mean logit",
        ),
        (
            "a vote",
            """
def error_made_on(members, which, x, y, eps):
    x_adv = attacks.fgsm(members[which], x, y, eps)
    votes = sum(np.eye(10)[metrics.predict(member, x_adv)] for member in members)
    return float(np.mean(votes.argmax(axis=1) != y))
""",
            "by a vote",
        ),
        (
            "the share that is right",
            """
def error_made_on(members, which, x, y, eps):
    x_adv = attacks.fgsm(members[which], x, y, eps)
    p = sum(member.probabilities(member(x_adv)) for member in members)
    return float(np.mean(p.argmax(axis=1) == y))
""",
            "the error is wanted",
        ),
        (
            "always the first",
            """
def error_made_on(members, which, x, y, eps):
    x_adv = attacks.fgsm(members[0], x, y, eps)
    p = sum(member.probabilities(member(x_adv)) for member in members)
    return float(np.mean(p.argmax(axis=1) != y))
""",
            "whichever was asked for",
        ),
        (
            "shown to the others only",
            """
def error_made_on(members, which, x, y, eps):
    x_adv = attacks.fgsm(members[which], x, y, eps)
    p = sum(member.probabilities(member(x_adv)) for i, member in enumerate(members) if i != which)
    return float(np.mean(p.argmax(axis=1) != y))
""",
            "left out",
        ),
        (
            "made on all members",
            """
def error_made_on(members, which, x, y, eps):
    g = sum(attacks.input_gradient(member, x, y) for member in members)
    p = sum(member.probabilities(member(x + eps * np.sign(g))) for member in members)
    return float(np.mean(p.argmax(axis=1) != y))
""",
            "on one member alone",
        ),
        (
            "counted from 1",
            """
def error_made_on(members, which, x, y, eps):
    x_adv = attacks.fgsm(members[which - 1], x, y, eps)
    p = sum(member.probabilities(member(x_adv)) for member in members)
    return float(np.mean(p.argmax(axis=1) != y))
""",
            "counts from 0",
        ),
    ],
    "infer": [
        (
            "one round too many",
            """
def infer(v, W1, W2, W3, b1, b2, b3, rounds):
    below = v @ W1.T
    h1 = ops.sigmoid(2.0 * below + b1)
    h2 = ops.sigmoid(2.0 * (h1 @ W2.T) + b2)
    for _ in range(rounds):
        h1 = ops.sigmoid(below + h2 @ W2 + b1)
        z = h2 @ W3.T + b3
        h2 = ops.sigmoid(h1 @ W2.T + ops.softmax(z) @ W3 + b2)
    return z
""",
            "one round too many",
        ),
        (
            "nothing counts twice",
            """
def infer(v, W1, W2, W3, b1, b2, b3, rounds):
    h1 = ops.sigmoid(v @ W1.T + b1)
    h2 = ops.sigmoid(h1 @ W2.T + b2)
    for _ in range(rounds - 1):
        h1 = ops.sigmoid(v @ W1.T + h2 @ W2 + b1)
        z = h2 @ W3.T + b3
        h2 = ops.sigmoid(h1 @ W2.T + ops.softmax(z) @ W3 + b2)
    return z
""",
            "should count twice, for h1 and for h2",
        ),
        (
            "h2 is not doubled",
            """
def infer(v, W1, W2, W3, b1, b2, b3, rounds):
    h1 = ops.sigmoid(2 * (v @ W1.T) + b1)
    h2 = ops.sigmoid(h1 @ W2.T + b2)
    for _ in range(rounds - 1):
        h1 = ops.sigmoid(v @ W1.T + h2 @ W2 + b1)
        z = h2 @ W3.T + b3
        h2 = ops.sigmoid(h1 @ W2.T + ops.softmax(z) @ W3 + b2)
    return z
""",
            "for h2 it does not here",
        ),
        (
            "the label from the new h2",
            """
def infer(v, W1, W2, W3, b1, b2, b3, rounds):
    h1 = ops.sigmoid(2 * (v @ W1.T) + b1)
    h2 = ops.sigmoid(2 * (h1 @ W2.T) + b2)
    for _ in range(rounds - 1):
        h1 = ops.sigmoid(v @ W1.T + h2 @ W2 + b1)
        h2 = ops.sigmoid(h1 @ W2.T + ops.softmax(h2 @ W3.T + b3) @ W3 + b2)
    return h2 @ W3.T + b3
""",
            "a round computes z from the h2 of the round before",
        ),
        (
            "the label is not heard",
            """
def infer(v, W1, W2, W3, b1, b2, b3, rounds):
    h1 = ops.sigmoid(2 * (v @ W1.T) + b1)
    h2 = ops.sigmoid(2 * (h1 @ W2.T) + b2)
    for _ in range(rounds - 1):
        h1 = ops.sigmoid(v @ W1.T + h2 @ W2 + b1)
        z = h2 @ W3.T + b3
        h2 = ops.sigmoid(h1 @ W2.T + b2)
    return z
""",
            "h2 does not depend on the label",
        ),
        (
            "biases doubled",
            """
def infer(v, W1, W2, W3, b1, b2, b3, rounds):
    h1 = ops.sigmoid(2 * (v @ W1.T + b1))
    h2 = ops.sigmoid(2 * (h1 @ W2.T + b2))
    for _ in range(rounds - 1):
        h1 = ops.sigmoid(v @ W1.T + h2 @ W2 + b1)
        z = h2 @ W3.T + b3
        h2 = ops.sigmoid(h1 @ W2.T + ops.softmax(z) @ W3 + b2)
    return z
""",
            "the biases count once",
        ),
        (
            "h1 last",
            """
def infer(v, W1, W2, W3, b1, b2, b3, rounds):
    h1 = ops.sigmoid(2 * (v @ W1.T) + b1)
    h2 = ops.sigmoid(2 * (h1 @ W2.T) + b2)
    for _ in range(rounds - 1):
        z = h2 @ W3.T + b3
        h2 = ops.sigmoid(h1 @ W2.T + ops.softmax(z) @ W3 + b2)
        h1 = ops.sigmoid(v @ W1.T + h2 @ W2 + b1)
    return z
""",
            "h1 is updated last",
        ),
        (
            "a network upwards",
            """
def infer(v, W1, W2, W3, b1, b2, b3, rounds):
    h1 = ops.sigmoid(2 * (v @ W1.T) + b1)
    h2 = ops.sigmoid(2 * (h1 @ W2.T) + b2)
    for _ in range(rounds - 1):
        h1 = ops.sigmoid(v @ W1.T + b1)
        z = h2 @ W3.T + b3
        h2 = ops.sigmoid(h1 @ W2.T + ops.softmax(z) @ W3 + b2)
    return z
""",
            "W2^T h2 is missing",
        ),
        (
            "probabilities",
            """
def infer(v, W1, W2, W3, b1, b2, b3, rounds):
    h1 = ops.sigmoid(2 * (v @ W1.T) + b1)
    h2 = ops.sigmoid(2 * (h1 @ W2.T) + b2)
    for _ in range(rounds - 1):
        h1 = ops.sigmoid(v @ W1.T + h2 @ W2 + b1)
        p = ops.softmax(h2 @ W3.T + b3)
        h2 = ops.sigmoid(h1 @ W2.T + p @ W3 + b2)
    return p
""",
            "the logits z are wanted",
        ),
        (
            "arrays of NumPy alone",
            """
def infer(v, W1, W2, W3, b1, b2, b3, rounds):
    v = v.data if isinstance(v, Tensor) else v
    h1 = ops.sigmoid(2 * (v @ W1.T) + b1)
    h2 = ops.sigmoid(2 * (h1 @ W2.T) + b2)
    for _ in range(rounds - 1):
        h1 = ops.sigmoid(v @ W1.T + h2 @ W2 + b1)
        z = h2 @ W3.T + b3
        h2 = ops.sigmoid(h1 @ W2.T + ops.softmax(z) @ W3 + b2)
    return z
""",
            "a Tensor goes in",
        ),
        (
            "the old h1",
            """
def infer(v, W1, W2, W3, b1, b2, b3, rounds):
    below = v @ W1.T
    h1 = ops.sigmoid(2.0 * below + b1)
    h2 = ops.sigmoid(2.0 * (h1 @ W2.T) + b2)
    for _ in range(rounds - 1):
        z = h2 @ W3.T + b3
        h1, h2 = ops.sigmoid(below + h2 @ W2 + b1), ops.sigmoid(h1 @ W2.T + ops.softmax(z) @ W3 + b2)
    return z
""",
            "the h1 of the round before",
        ),
    ],
    "prediction_cost": [
        (
            "what was shown",
            """
def prediction_cost(z_v, z_y, V, Y, M, m):
    of_pixels = np.logaddexp(0, (1 - 2 * V) * z_v)
    of_labels = -(Y * ops.log_softmax(z_y)).sum(axis=1)
    return (((1 - M) * of_pixels).sum() + ((1 - m) * of_labels).sum()) / V.size
""",
            "what was shown is counted",
        ),
        (
            "means of what was hidden",
            """
def prediction_cost(z_v, z_y, V, Y, M, m):
    of_pixels = np.logaddexp(0, (1 - 2 * V) * z_v)
    of_labels = -(Y * ops.log_softmax(z_y)).sum(axis=1)
    return (M * of_pixels).sum() / M.sum() + (m * of_labels).sum() / m.sum()
""",
            "divided by how much was hidden",
        ),
        (
            "labels divided by N",
            """
def prediction_cost(z_v, z_y, V, Y, M, m):
    of_pixels = np.logaddexp(0, (1 - 2 * V) * z_v)
    of_labels = -(Y * ops.log_softmax(z_y)).sum(axis=1)
    return (M * of_pixels).mean() + (m * of_labels).mean()
""",
            "the labels are divided by N alone",
        ),
        (
            "black and white exchanged",
            """
def prediction_cost(z_v, z_y, V, Y, M, m):
    of_pixels = np.logaddexp(0, (2 * V - 1) * z_v)
    of_labels = -(Y * ops.log_softmax(z_y)).sum(axis=1)
    return ((M * of_pixels).sum() + (m * of_labels).sum()) / V.size
""",
            "black and white are exchanged",
        ),
        (
            "white pixels alone",
            """
def prediction_cost(z_v, z_y, V, Y, M, m):
    of_pixels = V * np.logaddexp(0, -z_v)
    of_labels = -(Y * ops.log_softmax(z_y)).sum(axis=1)
    return ((M * of_pixels).sum() + (m * of_labels).sum()) / V.size
""",
            "its cost zeta(z) is missing",
        ),
        (
            "masks and labels across",
            """
def prediction_cost(z_v, z_y, V, Y, M, m):
    of_pixels = np.logaddexp(0, (1 - 2 * V) * z_v)
    of_labels = -(Y * ops.log_softmax(z_y)).sum(axis=1)
    return ((M * of_pixels).sum() + (m[:, None] * of_labels).sum()) / V.size
""",
            "was multiplied by the masks of all images",
        ),
        (
            "logarithms of rounded probabilities",
            """
def prediction_cost(z_v, z_y, V, Y, M, m):
    p = ops.sigmoid(z_v)
    of_pixels = -(V * np.log(p) + (1 - V) * np.log(1 - p))
    of_labels = -(Y * ops.log_softmax(z_y)).sum(axis=1)
    return ((M * of_pixels).sum() + (m * of_labels).sum()) / V.size
""",
            "so is the logarithm of a p that was rounded to 0",
        ),
        (
            "against log 0",
            """
def prediction_cost(z_v, z_y, V, Y, M, m):
    p = ops.sigmoid(z_v).clip(1e-12, 1 - 1e-7)
    of_pixels = -(V * np.log(p) + (1 - V) * np.log(1 - p))
    of_labels = -(Y * ops.log_softmax(z_y)).sum(axis=1)
    return ((M * of_pixels).sum() + (m * of_labels).sum()) / V.size
""",
            "rounded to 0 or 1 before the logarithm",
        ),
        (
            "one maximum for all labels",
            """
def prediction_cost(z_v, z_y, V, Y, M, m):
    of_pixels = np.logaddexp(0, (1 - 2 * V) * z_v)
    z = z_y - z_y.max()
    of_labels = -(Y * (z - np.log(np.exp(z).sum(axis=1, keepdims=True)))).sum(axis=1)
    return float(((M * of_pixels).sum() + (m * of_labels).sum()) / V.size)
""",
            "np.logaddexp and ops.log_softmax avoid both",
        ),
    ],
}
