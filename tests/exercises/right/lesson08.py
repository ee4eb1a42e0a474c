"""Right answers to the exercises of lesson 8 that differ in form from the lesson's: the form, and the answer."""

RIGHT = {
    "adversarial_objective": [
        (
            "a tuple of gradients",
            """
def adversarial_objective(model, x, y, rng, eps, alpha):
    X = Tensor(x)
    x_adv = Tensor(attacks.fgsm(model, x, y, eps))
    J = alpha * model.loss(model(X, rng=rng), y) + (1 - alpha) * model.loss(model(x_adv, rng=rng), y)
    return J.item(), tuple(grad(J, parameters(model)))
""",
        ),
    ],
}
