"""The checks of the validation suite, one file each.

    errors.py             errors on labelled data, per phase and kind, with intervals
    calibration.py        spread of a committee against its error, reliability
    equation_of_state.py  energy against volume, and against labelled volumes
    elastic.py            elastic constants, Born's criterion
    phase_order.py        enthalpies of the phases over pressure, transitions
    dimers.py             repulsion at short distances, for each pair of species
    forgetting.py         change against the untuned model on other elements
    phonons.py            imaginary modes, band structure
    dynamics.py           MD with and without a thermostat

Each has a function of a `Subject` and its settings that returns a list of `CheckResult`.
"""
