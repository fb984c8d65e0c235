"""The public API is a contract: these names, where they stand here, with these parameters."""

from __future__ import annotations

import importlib
import inspect
from dataclasses import fields

import pytest

ROOT_NAMES = """
    SagaStep StepContext RetryPolicy ResourceLimits StepResult event step NOT_APPLIED UNKNOWN SagaDefinition
    SagaOrchestrator AsyncSagaOrchestrator Settings SagaStatus StepStatus SagaMetadata StepRecord ProcessRecord
    HostRecord RetryableError FatalError InDoubtError AttemptCancelled OutputNotFoundError
    AntistropheError SagaError StepFailedError StepTimeoutError StepCrashedError StepInterruptedError
    CompensationFailedError SagaCancelledError AlreadyExecutingError SagaExistsError SagaNotFoundError
    InvalidDefinitionError InvalidStepError NotSerializableError PayloadTooLargeError InvalidSettingsError
    SystemUnavailableError OverloadedError JournalError
"""
CQRS_NAMES = """
    EventStore RecordedEvent RawEvent ConcurrencyError CommandBus Appends ValidationError FieldError
    CommandRejectedError HandlerNotFoundError DuplicateHandlerError IdempotencyConflictError Projection
    ProjectionRegistry VersionRegistry AutoUpcaster UnknownVersionError InvalidUpcasterError
"""
TESTING_NAMES = "run_inline"
MODULES = {
    "antistrophe": ROOT_NAMES,
    "antistrophe.cqrs": CQRS_NAMES,
    "antistrophe.dashboard": "app",
    "antistrophe.metrics": "collector",
    "antistrophe.tracing": "TraceExport otlp_exporter",
    "antistrophe.testing": TESTING_NAMES,
}

PARAMETERS = {
    "SagaDefinition": "id name=None deadline_s=None on_compensation_failure='park'",
    "SagaDefinition.add_step": "self step",
    "RetryPolicy": "max_attempts=3 initial_s=0.1 multiplier=2.0 max_s=5.0 jitter=True",
    "ResourceLimits": "memory_bytes=None cpu_s=None open_files=None",
    "SagaOrchestrator": "home=None settings=None",
    "SagaOrchestrator.execute": "self saga if_live='raise' timeout_s=None",
    "SagaOrchestrator.start": "self saga if_live='raise'",
    "SagaOrchestrator.handle": "self saga_id",
    "SagaOrchestrator.running_count": "self",
    "SagaOrchestrator.history_count": "self",
    "SagaOrchestrator.get_saga": "self saga_id",
    "SagaOrchestrator.get_running_sagas": "self",
    "SagaOrchestrator.get_history": "self limit=1000",
    "SagaOrchestrator.list_sagas": "self status=None name=None text=None limit=100 cursor=None",
    "SagaOrchestrator.get_timeline": "self saga_id",
    "SagaOrchestrator.subscribe": "self from_position=None",
    "SagaOrchestrator.cancel": "self saga_id reason=None",
    "SagaOrchestrator.retry_compensation": "self saga_id",
    "SagaOrchestrator.resolve": "self saga_id step_name note",
    "SagaOrchestrator.relocate": "self saga_id to",
    "SagaOrchestrator.purge": "self older_than=datetime.timedelta(days=30) name=None status=None dry_run=False",
    "SagaOrchestrator.wait_idle": "self timeout_s",
    "SagaOrchestrator.processes": "self",
    "SagaOrchestrator.hosts": "self",
}
# Not every one has to have a default: a caller may always give it.
DEFAULT_FREE = {"note", "timeout_s", "reason"}

FIELDS = {
    "SagaMetadata": "id name status steps_executed total_steps created_at updated_at error waiting steps",
    "StepRecord": "name index status attempts in_doubt started_at finished_at error pid",
    "ProcessRecord": "pid role saga_id",
    "HostRecord": "id name labels release seen_at lease_until draining sagas attempts",
    "PurgeReport": "sagas bytes",
    "StepResult": "output events",
}
CONTEXT = """
    saga_id step_name step_index attempt idempotency_key forward_key outputs output in_doubt deadline log
"""
STATUSES = {
    "SagaStatus": "NOT_STARTED EXECUTING COMPENSATING COMPLETED COMPENSATED FAILED",
    "StepStatus": """PENDING RUNNING SUCCEEDED FAILED IN_DOUBT COMPENSATING COMPENSATED COMPENSATION_FAILED SKIPPED
        RESOLVED""",
}


@pytest.mark.parametrize("module", MODULES)
def test_every_name_is_there_and_listed(module: str) -> None:
    found = importlib.import_module(module)
    names = MODULES[module].split()
    assert not [name for name in names if not hasattr(found, name)]
    assert not [name for name in names if name not in found.__all__]
    assert not [name for name in found.__all__ if not hasattr(found, name)]


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_call_takes_these_parameters(name: str) -> None:
    found = importlib.import_module("antistrophe")
    for part in name.split("."):
        found = getattr(found, part)
    assert callable(found)
    parameters = inspect.signature(found).parameters
    for wanted in PARAMETERS[name].split():
        word, has_default, default = wanted.partition("=")
        assert word in parameters
        if has_default and word not in DEFAULT_FREE:
            assert repr(parameters[word].default) == default
        if not has_default and word not in DEFAULT_FREE:
            assert parameters[word].default is inspect.Parameter.empty


@pytest.mark.parametrize("name", FIELDS)
def test_a_record_has_these_fields(name: str) -> None:
    record = getattr(importlib.import_module("antistrophe"), name)
    assert set(FIELDS[name].split()) <= {field.name for field in fields(record)}


def test_a_context_has_these_attributes() -> None:
    context = importlib.import_module("antistrophe").StepContext
    assert set(CONTEXT.split()) <= set(dir(context)) | set(getattr(context, "__annotations__", {}))


@pytest.mark.parametrize("name", STATUSES)
def test_a_status_has_these_names(name: str) -> None:
    status = getattr(importlib.import_module("antistrophe"), name)
    assert STATUSES[name].split() == [each.name for each in status]


def test_a_step_defines_no_name_that_a_field_could_collide_with() -> None:
    taken = {"name", "timeout_s", "kill_grace_s", "retry", "compensation_timeout_s", "compensation_retry"}
    taken |= {"idempotent", "atomic", "requires_compensation", "isolation", "limits"}
    assert not taken & set(vars(importlib.import_module("antistrophe").SagaStep))


def test_the_asynchronous_orchestrator_has_the_same_methods() -> None:
    found = importlib.import_module("antistrophe")
    for name in PARAMETERS:
        if name.startswith("SagaOrchestrator."):
            method = name.partition(".")[2]
            ours, theirs = getattr(found.AsyncSagaOrchestrator, method), getattr(found.SagaOrchestrator, method)
            assert list(inspect.signature(ours).parameters) == list(inspect.signature(theirs).parameters)
