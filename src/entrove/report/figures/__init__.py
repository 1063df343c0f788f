"""The plots of the report, as plain Plotly figures (data and layout) that the browser draws.

Read in this order:

    style.py            colours, symbols, axes and layout that all plots share
    learning.py         errors over the number of labels, with the untuned line
    errors.py           errors per round, and by phase and kind against the untuned model
    heat_map.py         errors by phase, pressure and temperature
    parity.py           predictions against references, with errors below
    gains.py            information gain of each label
    forecast.py         what the next labels would add
    checks.py           the panels of the validation suite
    fingerprint_map.py  the plane of the first two principal components
"""
