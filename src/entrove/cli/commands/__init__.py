"""The commands with their arguments and help texts, by the headings of `entrove --help`.

    options.py        arguments that several commands share
    campaigns.py      init, run, status, plan, report, labels, import
    stages.py         relax, explore, select, label, train: the stages on files
    data.py           audit, convert, curate, compare
    potentials.py     validate, export, curves
    installation.py   doctor, schema, reference

Each command imports what it needs, so that those that need no torch answer at once.
"""
