"""Ways to pick frames, by name; this file imports nothing slow."""

from typing import Literal, get_args

Method = Literal["information", "target", "representative", "lcmd", "farthest_point", "random"]
METHODS: tuple[Method, ...] = get_args(Method)
MethodOrAuto = Method | Literal["auto"]
FEATURES = ("fingerprint", "model", "gradients")
AUTO = "auto"
"""The name of the choice that is left to `ways.best_way`."""

UNITS: dict[Method, str] = {
    "information": "nats",
    "target": "predicted variance",
    "representative": "squared discrepancy",
    "lcmd": "whitened feature units",
    "farthest_point": "whitened feature units",
    "random": "",
}
"""What the gains of a method are in."""

LOOKAHEAD = 100
"""Picks that are made beyond those asked for, to say what the next would add."""
