"""The stages of a campaign, one file each; `loop.py` above runs them, by `stage_table.py`.

What all stages share:

    context.py   `CampaignRun`: configuration, files, ledger, models and listener
    models.py    the foundation model, the tuned ones, and which of them explores
    moments.py   magnetic moments that the labels start from
    imported.py  labels from elsewhere that are trained on

Before the first round, in this order:

    verify.py    batched against single evaluations
    relax.py     each phase at each pressure
    anchors.py   the pool of anchors, and the structures of the validation set
    label.py     labels of the validation set, two volumes of each phase first
    check_stress.py  their stress against -dE/dV
    check_kpoints.py  a hot snapshot of each phase against denser k-points
    validate.py  errors of the untuned model

In each round: verify.py and relax.py when another model explores, then

    explore.py   biased MD of all walkers
    order.py     ordered cells
    select.py    the structures to label
    predicted_error.py  the error that a committee predicts before them
    label.py     their labels, and outliers among all labels
    train.py     fine-tuning to all labels
    validate.py  errors of the tuned model

At the end:

    open_test.py  its errors on the test set
    check.py     the validation suite on the best accepted model
    finish.py    the bundle of the best accepted model
"""
