import pytest
from pydantic import TypeAdapter, ValidationError

from entrove.execution.settings import (
    AnyExecution,
    LocalExecution,
    LocalTrainings,
    SamplingExecution,
    SlurmExecution,
    ThisMachine,
    TrainingExecution,
)


@pytest.mark.parametrize(
    ("of", "given", "meant"),
    [
        (AnyExecution, {"workers": 3}, LocalExecution(workers=3)),
        (AnyExecution, {}, LocalExecution()),
        (AnyExecution, {"name": "local", "workers": 3}, LocalExecution(workers=3)),
        (AnyExecution, {"name": "slurm"}, SlurmExecution()),
        (TrainingExecution, {"workers": 3}, LocalTrainings(workers=3)),
        (SamplingExecution, {}, ThisMachine()),
        (AnyExecution, SlurmExecution(), SlurmExecution()),
    ],
)
def test_a_section_without_a_name_is_this_machine(of, given, meant):
    assert TypeAdapter(of).validate_python(given) == meant


@pytest.mark.parametrize(
    ("of", "given"),
    [
        (AnyExecution, {"workers": 3, "partition": "gpu"}),
        (AnyExecution, {"config": "mine:make"}),
        (SamplingExecution, {"cores_per_worker": 3}),
    ],
)
def test_a_section_with_keys_of_another_executor_needs_its_name(of, given):
    with pytest.raises(ValidationError, match="discriminator 'name'"):
        TypeAdapter(of).validate_python(given)


@pytest.mark.parametrize("of", [AnyExecution, TrainingExecution])
def test_a_misspelt_key_of_a_section_without_a_name_is_named(of):
    with pytest.raises(ValidationError) as raised:
        TypeAdapter(of).validate_python({"worker": 3})
    assert [error["loc"][-1] for error in raised.value.errors()] == ["worker"]
