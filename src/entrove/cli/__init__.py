"""The command line, `entrove`. Each command is a thin layer over a function of another package.

Read in this order:

    main.py           the program: headings, Ctrl-C, errors, exit codes
    commands/         the commands with their arguments
    init.py           `entrove init`: its questions
    run.py            `entrove run`
    progress.py       the progress of a running campaign, on a terminal or in a log file
    plan.py           `entrove plan`
    labels.py         `entrove labels`
    import_labels.py  `entrove import`
    stages/           `entrove relax`, `explore`, `select`, `label`, `train`
    audit.py          `entrove audit`
    curation.py       `entrove convert`, `curate`, `compare`
    validate.py       `entrove validate`
    curves.py         `entrove curves`
    doctor.py         `entrove doctor`
"""
