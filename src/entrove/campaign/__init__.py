"""A campaign: explore, select, label, train and validate in rounds, until a condition stops it.

This is the only package that knows all stages of the method. Read in this order:

    configuration/  the settings of a campaign, and the checks before it starts
    workspace.py    where its files are, and how the labels in them are read
    journal/        the ledger: which stages are finished, and what each has found
    stages/         one file per stage
    stage_table.py  which stages there are, in which order, and what they need
    stage_job.py    a stage in a worker elsewhere, where `sampling.executor` says so
    loop.py         `run_campaign`: the loop over rounds
    stopping.py     the conditions under which it stops
    from_config.py  `run`: from a configuration file to results, in one call
    results/        `read_results`: what a campaign has found, from its folder alone
    plan.py         `make_plan`: an estimate of its cost before any label is computed

A stage is a function of a `CampaignRun` and the number of the round. It reads and writes files of
the workspace, and returns an outcome that the ledger keeps; no stage runs another one. So a
campaign can be interrupted at any time, and continues at the first stage without an outcome.
"""

import lazy_loader

# The public names are in __init__.pyi. They are loaded on first use: torch takes seconds.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
