"""CHGNet in the registry of frameworks."""

from entrove.models.frameworks import Framework

VERSIONS = {"chgnet": "0.3.0", "chgnet-r2scan": "r2scan", "chgnet-0.2.0": "0.2.0"}
"""Our names of the models in CHGNet's wheel, and its own."""

CHGNET = Framework(
    name="chgnet",
    package="chgnet",
    extra="chgnet",
    models=tuple(VERSIONS),
    suffixes=(),
    loader="entrove.models.chgnet.loading:load_chgnet",
    packaged=tuple(VERSIONS),
    distributions=("chgnet",),
    reference="B. Deng et al., Nat. Mach. Intell. 5, 1031 (2023)",
    untrainable_because="Entrove does not drive CHGNet's own training",
)
