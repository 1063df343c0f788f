"""Choosing strategy and learning rate by cross-validation on the training labels.

Read in this order:

    judging.py     the loss of a model on labels, here or as a program elsewhere
    trials.py      `choose_recipe`: each recipe trained without each fold, and judged on it

The table of what was tried is `entrove.training.choice.Choice`.
"""
