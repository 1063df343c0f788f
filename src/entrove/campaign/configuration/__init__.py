"""The configuration of a campaign: its keys, how its file is read, and what is checked.

Read in this order:

    config.py        `CampaignConfig`: all keys, composed of the settings of every stage
    config_file.py   reads YAML, and explains each problem with file, line, key and remedy
    seeds.py         the crystals to start from: what was read, and what is refused
    locate.py        the configuration or the folder of a campaign, by either path
    check.py         `check_campaign`: whether a configuration can run on this machine
    check_models.py  the part of it that loads the models
    check_magnetism.py  the part of it that asks about spin
    settled.py       the copy in the folder of a campaign, and which keys may still change
    changes.py       a configuration in which some keys differ from those of a file
    reference.py     the reference page, generated from the models
    schema.py        the JSON schema, for editors
    template.py      the short configuration that `entrove init` writes
"""
