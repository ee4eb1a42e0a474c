"""A photograph, one grey level, another answer: GoogLeNet and figure 1

The paper's first figure, with a network of seven million parameters that others trained, with photographs under free
licences, and with one of your own. Everything is computed by the engine of lesson 4.
"""

# %% [markdown]
# # Lesson 16. A photograph, one grey level, another answer: GoogLeNet and figure 1
#
# **Time:** about 60 minutes. **You need:** lessons 3, 4, 14 and 15, and a download of 35 MB:
# `python data_scripts/imagenet.py` in tinyadv's source tree gets GoogLeNet's weights and 16 photographs. Without them
# you can read everything and solve the exercises.
#
# **After this lesson you can**
#
# - say what an inception block is, and why its small convolutions of one pixel save most of the work;
# - repeat figure 1 of the paper with another photograph, also with your own;
# - explain why a change of one grey level survives when the picture is saved, and what that means.
#
# ## The claim
#
# The paper's first example is a photograph (section 4, figure 1). A network says *panda*, with a confidence of 57.7 %.
# Then every pixel's red, green and blue change by one step of the fast gradient sign method:
#
# $$\tilde x = x + \varepsilon \operatorname{sign}(\nabla_x J(\theta, x, y)) .$$
#
# The network says *gibbon*, with 99.3 %, and nobody can see the difference. The paper's $\varepsilon$ is 0.007, in the
# units of its network's inputs. The paper says that this is one *grey level*, the smallest step of an 8-bit picture,
# which has 256 of them. (So the inputs of its network must span 255 steps of 0.007, a range of about 1.8. Our pixels
# run from 0 to 1, so here one grey level is 1/255, about 0.004.)
#
# The network is GoogLeNet, which won the ImageNet competition of 2014: it tells 1000 kinds of things apart in
# photographs. The authors' copy was never published. We use a public one of the same architecture, trained on the same
# photographs. So we cannot expect the same numbers, but we can test the claim: *does a change that nobody sees turn a
# confident answer into another confident answer?*

# %%
from __future__ import annotations

import numpy as np

from tinyadv import attacks
from tinyadv.course import compare, figure, profile
from tinyadv.googlenet import layers, load_googlenet
from tinyadv.paper.draw import BLUE
from tinyadv.photographs import GREY_LEVEL, answer, attack_each, missing, photographs, show

PHOTOGRAPHS = {"quick": 6, "lesson": 100, "paper": 100}  # how many are attacked, if there are so many
PANDA, GIBBON = 388, 368  # their numbers among ImageNet's classes

# %% [markdown]
# ## What GoogLeNet is made of
#
# A window of $K \times K$ pixels holds $K^2 C$ numbers, since each pixel has $C$ channels (lesson 15). A convolution
# multiplies each of them by a weight, and adds up. With $F$ channels out there are $F$ such sums for every pixel. So
# for $H \times W$ pixels it needs $H W K^2 C F$ multiplications. (An inception block pads its images with zeros, so
# that they keep their size.)
#
# GoogLeNet looks at each image through windows of several sizes at once. An *inception block* computes four images from
# its input, and puts their channels side by side. In the first block the input has 28 × 28 pixels and 192 channels, and
# the four images have
#
# - 64 channels, from windows of 1 pixel;
# - 128 channels, from windows of 3 × 3;
# - 32 channels, from windows of 5 × 5;
# - 32 channels, from the maximum over 3 × 3, which then goes through windows of 1 pixel.
#
# Large windows are expensive. So before them a convolution of one pixel turns the 192 channels into fewer: into 96
# before 3 × 3, and into 16 before 5 × 5. Count the multiplications of this block with and without that trick:

# %%
if __name__ == "__main__":
    pixels, channels = 28 * 28, 192
    with_trick = channels * 64 + (channels * 96 + 9 * 96 * 128) + (channels * 16 + 25 * 16 * 32) + channels * 32
    without = channels * 64 + 9 * channels * 128 + 25 * channels * 32 + channels * 32
    print(f"with convolutions of one pixel first: {pixels * with_trick / 1e6:6.0f} million multiplications")
    print(f"without:                              {pixels * without / 1e6:6.0f} million")
    kernels = [K for K, _ in layers().values() if K]
    for K in sorted(set(kernels)):
        print(f"windows of {K} x {K}: {kernels.count(K):2} of GoogLeNet's {len(kernels)} convolutions")

# %% tags=["hide-input"]
if __name__ == "__main__":
    with figure("lesson16_trick.png", width=6, height=1.8) as canvas:
        axes = canvas.subplots()
        axes.barh(["without", "with"], [pixels * without / 1e6, pixels * with_trick / 1e6], color=BLUE)
        axes.set(xlabel="million multiplications in the first inception block")

# %% [markdown]
# More than half of the convolutions only look at one pixel. They mix channels, and that is cheap.
#
# The whole network is three ordinary convolutions, nine inception blocks with max-pooling after the second and the
# seventh, a mean over all pixels that are left, and softmax regression on top. After each convolution negative numbers
# become 0. (Between the first convolutions there is also max-pooling, and twice a normalisation across channels, which
# we skip here.) In `tinyadv.googlenet` it is hardly longer than that. To the attacks it is a network like any other:
# `model(x)` takes rows of pixels and gives logits.
#
# **Predict.** The weights were trained on pixels from 0 to 255, blue first, minus the mean colour of all photographs.
# Our pictures have red, green and blue from 0 to 1, and we attack with $\varepsilon = 1/255$. Where must the change of
# units happen, if each pixel of the picture is to move by one grey level?
#
# - inside the network, so that the attack moves the picture itself
# - before the attack, so that the attack moves what the weights expect
# - it doesn't matter, since only the sign of the gradient counts

# %% [markdown]
# Inside. Then $x$ is the picture, and $\varepsilon = 1/255$ is one grey level. If the change of units comes first, the
# gradient has the same signs, but $\varepsilon$ is in the other units: there one grey level is 1, and $1/255$ of a grey
# level is nothing at all.
#
# ## Exercise 1 (easy): the network's units
#
# Turn images in $[0, 1]$, red first, into what the weights expect: blue first, from 0 to 255, minus the means of blue,
# green and red.


# %%
def grey_levels(x: np.ndarray, mean_bgr: tuple[float, float, float]) -> np.ndarray:
    """Images as the weights expect them.

    x has shape `(N, 3, H, W)`: red, green and blue in [0, 1]. `mean_bgr` has the means of blue, green and red, in this
    order, on the scale from 0 to 255. The result has the same shape and dtype as x: blue, green and red from 0 to 255,
    each minus its mean.
    """
    ### BEGIN SOLUTION
    mean = np.array(mean_bgr, dtype=x.dtype).reshape(1, 3, 1, 1)
    return x[:, ::-1] * 255 - mean
    ### END SOLUTION


# %% [markdown]
# ## Figure 1
#
# Load the network and the photographs, and take one step. `GREY_LEVEL` is 1/255: pixels are stored in 256 levels, and
# run from 0 to 1 here. `missing()` returns a message if the network or the photographs are not on your machine, and an
# empty text if all is there.

# %%
if __name__ == "__main__":
    at_hand = not missing()
    if at_hand:
        model, photos = load_googlenet(), photographs()
        panda = next((photo for photo in photos if photo.label == PANDA), photos[0])
        x_adv = attacks.fgsm(model, panda.x, np.array([panda.label]), GREY_LEVEL)
        print(f"{panda.name}: {answer(model, panda.x)}; after one step: {answer(model, x_adv)}")
        print(f"photograph: {panda.credit}")
    else:
        print("The pictures are missing, and so are the numbers of the cells below:", missing(), sep="\n")

# %% tags=["hide-input"]
if __name__ == "__main__":
    if at_hand:
        with figure("lesson16_figure1.png", width=10, height=4.2) as canvas:
            show(canvas, model, panda.x, x_adv, GREY_LEVEL)
            canvas.supxlabel(f"Photograph: {panda.credit}", fontsize=7)

# %% [markdown]
# (The pages of this course are often built without the network and the photographs, which others own. Fetch them by the
# command above, and run the lesson yourself: you will see what is described here.)
#
# Three panels show a giant panda, the signs of the change, and the panda after the step. The first and the last differ
# by one grey level in every pixel, and nobody can tell them apart. The panel between them shows only the *signs* of the
# change, as strongly as a screen can. Alone they look like nothing, and the network is not sure what to say.
#
# One photograph is an anecdote. The script's photographs were chosen because GoogLeNet is right about each of them.
#
# **Predict.** Move each photograph by one grey level, away from its true class. How many of them get another answer?
#
# - about one in ten: the panda was a lucky find
# - more than half, but not all
# - all of them

# %%
if __name__ == "__main__":
    values = {}
    if at_hand:
        (found,) = attack_each(model, photos[: PHOTOGRAPHS[profile()]])  # a list for each eps; here only GREY_LEVEL
        print(f"{'photograph':22} {'before':30} after")
        for each in found:
            print(f"{each.photograph.name[:20]:22} {each.before!s:30} {each.after!s}")
        counted = [each for each in found if not each.photograph.selected]
        wrong = [each for each in counted if not each.right_after]
        of_panda = next((each for each in found if each.photograph.label == PANDA), found[0])
        values = {
            "clean_confidence": of_panda.before.probability,
            "adversarial_confidence": of_panda.after.probability,
            "error": len(wrong) / len(counted),
        }
    compare("fig1-imagenet", values)

# %% [markdown]
# On all 16 photographs that the script gets, one grey level changes 11 answers. (0.007 of the range from 0 to 1 would
# be 1.785 grey levels. Such a step changes 14.) Many new answers are near the old ones: a beagle becomes another hound,
# a tabby an Egyptian cat. Some are not: a bee becomes a wolf. The paper's gibbon is one of many outcomes. We searched
# among many crops of one panda picture, and found one that becomes a gibbon, with 85 %. A figure of that crop alone
# would be true, and would still mislead: whoever shows an example has to say how it was found.
#
# ## Exercise 2 (medium): towards a wanted class
#
# FGSM climbs the cost of the true class. To arrive at a *wanted* class (lesson 13), go down its cost instead. Return
# the images after one step by the sign of the gradient that makes the class `target` more probable.
#
# <details><summary>Hint 1</summary>
#
# `np.full(len(x), target)` makes the labels. Write down FGSM's formula with them; only one sign in it changes.
#
# </details>


# %%
def step_towards(model, x: np.ndarray, target: int, eps: float) -> np.ndarray:
    """x after one step of the sign of a gradient, towards a class.

    x has shape `(N, D)`. No entry moves by more than eps; `target` is one class for all. The gradient of the cost of
    inputs x with labels y `(N,)` is `attacks.input_gradient(model, x, y)`. Same shape and dtype as x, not clipped.
    """
    ### BEGIN SOLUTION
    # down the cost of the target: x - eps sign(grad J(x, target))
    y = np.full(len(x), target)
    return x - eps * np.sign(attacks.input_gradient(model, x, y))
    ### END SOLUTION


# %%
if __name__ == "__main__":
    if at_hand:
        for levels in (1, 2, 4):
            towards = step_towards(model, panda.x, GIBBON, levels / 255)
            p = float(model.probabilities(model(towards))[0, GIBBON])
            print(f"towards gibbon by {levels}/255: p(gibbon) = {p:.2%}, and the answer is {answer(model, towards)}")

# %% [markdown]
# One step towards a wanted class is a weaker attack than one step away from the true class. Several small steps, as in
# lesson 14, reach almost any class.
#
# ## Exercise 3 (medium): does it survive being saved?
#
# A picture file holds whole grey levels from 0 to 255. Return what is left of attacked pixels after they were saved
# and loaded again.
#
# <details><summary>Hint 1</summary>
#
# `np.rint` rounds to whole numbers. The result needs the dtype of `x` in the end.
#
# </details>


# %%
def after_saving(x: np.ndarray) -> np.ndarray:
    """Pixels after saving and loading: whole grey levels from 0 to 255, as numbers from 0 to 1 again.

    x has any shape; the result has the same shape and dtype. Values outside of [0, 1] become 0 or 1, values between two
    grey levels the nearer one.
    """
    ### BEGIN SOLUTION
    levels = np.rint(x * 255).clip(0, 255)
    return (levels / 255).astype(x.dtype)
    ### END SOLUTION


# %%
if __name__ == "__main__":
    if at_hand:
        saved = after_saving(x_adv)
        print(f"attacked:         {answer(model, x_adv)}")
        print(f"saved and loaded: {answer(model, saved)}")
        print(f"pixels that saving changed: {np.mean(abs(saved - x_adv) > 0.1 / 255):.2%}")

# %% [markdown]
# A photograph's pixels are whole grey levels, and after a step of exactly one level they still are. Saving changes only
# pixels that left the range: black ones that would have become darker, and white ones that would have become lighter.
# An attack smaller than half a grey level would be rounded away. So one grey level is the smallest change that a file
# can hold, and it is enough.
#
# ## Your own photograph
#
# In a terminal, with any photograph of yours:
#
# ```sh
# tinyadv attack googlenet --data PHOTO.jpg
# tinyadv attack googlenet --data PHOTO.jpg --eps 0.02 --method pgd
# ```
#
# The attack moves away from GoogLeNet's own answer to the photograph, and writes the three panels into `attack.png`.
# The network knows 1000 classes: animals, tools, vehicles and food, but no people.
#
# ## To think about
#
# You send the attacked photograph with a messenger app, which saves it as a JPEG; or you print it, and photograph the
# print. Does the attack survive? How would you find out, and how would you change the attack so that it does?
#
# ### BEGIN SOLUTION
# **For the teacher**, 3 points. 1: JPEG discards fine detail, and the sign pattern is fine detail, so that one grey
# level is likely lost; a larger one survives in part. 1: find out by measuring: save as JPEG, load, ask the network.
# 1: attack what comes *after* the transformation: average the gradient over many of them (Kurakin et al. 2016;
# Athalye et al. 2018), or take a larger step.
# ### END SOLUTION
#
# ## Summary
#
# - GoogLeNet is convolutions of several sizes side by side; those of one pixel save most of the work.
# - The change of units belongs inside the network, so that the gradient is with respect to the picture.
# - One grey level, the smallest change that a picture file can hold, changed 11 of GoogLeNet's 16 answers.
#
# **What this cannot explain yet.** The course ends here, with the question of lesson 14: is there a network for which
# no such change exists, and a proof of it? Certified defences prove it for some images and for small changes. Nobody
# has a network for photographs that is right about nearly all of them, and provably stays right.
