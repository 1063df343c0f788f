"""The plots of the report, as plain Plotly figures (data and layout) that the browser draws.

Read in this order:

    style.py            colours, symbols, axes and layout that all plots share
    errors.py           errors per round, and by phase and kind against the untuned model
    parity.py           predictions against references, with the errors below
    gains.py            information gain of each label
    fingerprint_map.py  the plane of the first two principal components
"""
