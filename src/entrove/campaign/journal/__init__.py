"""What a campaign remembers: its ledger, and what is reported while it runs.

Read in this order:

    outcomes.py  `Stage`, and one frozen model per stage for what it has found
    ledger.py    `Ledger`: finished stages in SQLite, each entered in one transaction
    damage.py    what to do about a file that no longer holds what was written to it
    runner.py    runs a stage unless it is in the ledger, and enters it there
    records.py   what follows from all entries: the best model, the state of each label
    progress.py  `ProgressListener`: what the command line or a caller is told
    lock.py      one process at a time
    log.py       the log file
"""
