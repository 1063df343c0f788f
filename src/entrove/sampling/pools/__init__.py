"""The pools of candidates that a campaign selects from.

Read in this order:

    anchors.py     relaxed phases, strained and sheared cells, unbiased MD
    entropy_md.py  entropy-biased MD, chunk by chunk against a growing dataset
    ordered.py     perturbed seeds and random crystals, relaxed towards order
    hold_out.py    the validation set, which is never trained on
    random_md.py   unbiased MD, for the pools above and as a control arm
    strained.py    strained and sheared cells, and how copies among them are recognised
"""
