"""The speed of the paper's own job, measured: one step of adversarial training, FGSM alone, softmax regression.

The one idea: the same job, written as a user of each library would write it, in processes that take turns on one
machine, beside two floors that nobody gets below. `jobs` says what the job is, `ours` does it with the code that the
lessons use, `runner` holds the stopwatch. Nothing here is needed to understand or to use the rest of the package.
"""
