"""The command line, `entrove`. Each command is a thin layer over a function of another package.

Read in this order:

    main.py           the commands with their arguments, and the exit codes
    run.py            `entrove run`
    progress.py       the progress of a running campaign, on a terminal or in a log file
    plan.py           `entrove plan`
    labels.py         `entrove labels`
    import_labels.py  `entrove import`
    export.py         `entrove export`
    report.py         `entrove report`
"""
