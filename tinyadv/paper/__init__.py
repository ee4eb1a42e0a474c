"""The evidence: every claim of the paper, what is measured for it, and what came out. In the order of a reading:

    claims.toml   the claims: what the paper says, its numbers, our definitions, how near is *close*, names and labels
    notes.toml    why ours differs, written by a person, with placeholders for numbers
    claims.py     reads both
    profiles.py, recipes.py   the scale of a run; which network, trained how
    lab.py, stage2.py, fingerprint.py   trains each recipe's network once, or loads it; which program made it
    measure/      the measuring functions, by the paper's sections: from networks, by name, to numbers
    audit.py, attacking.py, rounding.py   every other attack; FGSM as all rows use it; the gradient as float32 rounds it
    results.py, results_file.py   measurements, their intervals over seeds and test images, the status of a claim; how
                  they are saved and read
    draw/         the figures, by the paper's sections, drawn from saved results
    show/         one table model; the terminal, Markdown, CSV, LaTeX, and a page to open or print from a template
    run.py, workers.py, cluster.py   the main job; processes of this machine; a cluster
    results/      what is published; publish.py adds to it
    robustness.py   the command `tinyadv audit`, for any network

A claim is one entry in claims.toml, one function in measure/, one in draw/ and a note. The files that a student reads
first never import this folder.
"""
