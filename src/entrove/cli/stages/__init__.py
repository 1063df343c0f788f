"""The stages of a campaign on files, each a thin layer over the stage's public function.

settings.py     sections of a configuration file, changed by options
structures.py   crystals, candidates and labels from files, and to files
watch.py        progress on stderr, so that results can be piped
relax.py        `entrove relax`: `entrove.sampling.relax_layers`
explore.py      `entrove explore`: `entrove.sampling.explore`
select.py       `entrove select`: `entrove.selection.select`
label.py        `entrove label`: `entrove.labelling.label`
train.py        `entrove train`: `entrove.training`, `entrove.validation.validate`
"""
