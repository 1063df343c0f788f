"""What a campaign has found, read from its folder without changing it.

Read in this order:

    results.py          `CampaignResults`: everything that status and report show, as data
    read.py             `read_results`: reads it
    states.py           errors by phase, pressure and temperature
    stage_times.py      wall and core time of each stage
    fingerprint_map.py  mean fingerprints in the plane of their first principal components
    pictured.py         structures that are shown as pictures
    labels.py           the labels of a campaign, for `entrove labels`
    imports.py          the files whose labels were imported, for the same
"""
