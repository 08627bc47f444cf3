"""How well a model names what it sees, and from where: zero-shot accuracy with its uncertainty.

`zero_shot.py` predicts, `figures.py` counts, `angles.py` looks at viewing angles, `reporting.py` writes it
down; `evaluate.py` puts them together.
"""
