"""Predictions held against measured hardware: `python -m tools.validate`.

* `measured` reads the CSV files and says which rows were kept out of every fit.
* `kernels` makes the columns of one-kernel graphs, as the compiler makes them, for thousands of shapes at once.
* `cases` holds what was measured beside what edpc and the trivial baselines predict; `rows` lists what is printed.
* `score` has the figures, `show` prints them.
"""
