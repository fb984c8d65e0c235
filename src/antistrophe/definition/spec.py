"""Specs: the part of a definition that is journaled and that travels. They hold no object of the user's."""

from __future__ import annotations

from antistrophe import fast_dataclass
from antistrophe.errors import InvalidStepError
from antistrophe.serialization.struct_dataclass import dataclass
from antistrophe.serialization.whole_numbers import check_whole_number


@fast_dataclass.dataclass(frozen=True, slots=True)
class RetryPolicy:
    """How often an attempt is made, and how many seconds lie between two attempts.

    ::

        retry = RetryPolicy(max_attempts=5, initial_s=0.2, max_s=10.0)

    The wait before attempt ``n + 1`` is ``min(max_s, initial_s * multiplier ** (n - 1))`` seconds. With ``jitter`` the
    wait is a random share of that, spread evenly over 0..1 ("full jitter", M. Brooker, AWS Architecture Blog, 2015).
    Raises InvalidStepError for a policy that can't be followed: ``max_attempts`` is a whole number from 1 on, the other
    numbers are finite and from 0 on.
    """

    max_attempts: int = 3
    initial_s: float = 0.1
    multiplier: float = 2.0
    max_s: float = 5.0
    jitter: bool = True

    def __post_init__(self) -> None:
        check_whole_number(self.max_attempts, "RetryPolicy.max_attempts", 1, error=InvalidStepError)
        for name in ("initial_s", "multiplier", "max_s"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
                raise InvalidStepError(f"RetryPolicy.{name} must be a number from 0 on, not {value!r}")

    def delay_s(self, attempts_made: int, share: float) -> float:
        """The seconds to wait after so many attempts. ``share`` in 0..1 is the random number for the jitter."""
        try:
            full = min(self.max_s, self.initial_s * float(self.multiplier) ** (attempts_made - 1))
        except OverflowError:  # the power is over every limit
            full = self.max_s if self.initial_s else 0.0
        return full * share if self.jitter else full


@fast_dataclass.dataclass(frozen=True, slots=True)
class ResourceLimits:
    """How much of the machine one attempt may use; None stands for no limit.

    ``memory_bytes``: address space beyond what its process has when the attempt starts. ``cpu_s``: seconds of processor
    time. ``open_files``: descriptors. Raises InvalidStepError for a number that is not over 0. ::

        limits = ResourceLimits(memory_bytes=512 * 1024 * 1024, cpu_s=10)
    """

    memory_bytes: int | None = None
    cpu_s: float | None = None
    open_files: int | None = None

    def __post_init__(self) -> None:
        for name in ("memory_bytes", "cpu_s", "open_files"):
            value = getattr(self, name)
            if value is not None and (isinstance(value, bool) or not isinstance(value, int | float) or value <= 0):
                raise InvalidStepError(f"ResourceLimits.{name} must be a number over 0 or None, not {value!r}")


@dataclass(frozen=True, slots=True)
class Throttle:
    """The limits that all attempts of one step class share, in all sagas; None stands for no limit.

    ``step_class`` names the class. ``max_concurrent`` attempts may run at the same time, and ``max_per_second`` may
    start in a second, evenly spaced.
    """

    step_class: str
    max_concurrent: int | None
    max_per_second: float | None


@dataclass(frozen=True, slots=True)
class StepSpec:
    """One step as the runtime knows it.

    ``class_ref`` is ``module:qualified.name``; module ``__main__`` is the script of the saga's origin. ``input`` holds
    the packed fields, ``computed`` what the step has computed beside them. All else are the step's policies, with every
    default filled in. ``retryable_attempts`` bounds the attempts that raise RetryableError. ``shared`` is True where
    the step's calls are coroutines that may run beside the calls of other sagas in one process. ``masked``: the paths
    of the fields in the input that people are not shown. ``runs_on``: the labels that a host must have for the step.
    """

    name: str
    class_ref: str
    input: bytes
    timeout_s: float
    kill_grace_s: float
    retry: RetryPolicy
    retryable_attempts: int
    compensation_timeout_s: float
    compensation_retry: RetryPolicy
    idempotent: bool
    atomic: bool
    requires_compensation: bool
    fresh_process: bool
    has_verify: bool
    limits: ResourceLimits | None = None
    max_concurrent: int | None = None
    max_per_second: float | None = None
    shared: bool = False
    computed: bytes = b""
    masked: tuple[str, ...] = ()
    runs_on: tuple[str, ...] = ()

    @property
    def throttled(self) -> bool:
        """Whether limits of its class may keep an attempt of this step waiting."""
        return self.max_concurrent is not None or self.max_per_second is not None

    @property
    def asks_anew(self) -> bool:
        """Whether each attempt needs a lease of its own, because limits or a host's labels decide about it."""
        return self.throttled or bool(self.runs_on)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where the application found the step classes: its search path, its folder, and the script that was ``__main__``
    (None where no step comes from a script)."""

    script: str | None
    sys_path: tuple[str, ...]
    cwd: str


@dataclass(frozen=True, slots=True)
class LeaseRequest:
    """What a saga asks for its next attempt: a step process that can import ``class_refs`` as its ``origin`` does.

    ``fresh``: the process has run nothing yet. ``urgent``: the attempt is a compensation, and goes first; among the
    others the higher ``priority`` goes first. ``throttle``: the limits of the attempt's step class, which may make it
    wait. ``shared``: a slot in an async worker, which makes the calls of other sagas too. ``alone``: not beside another
    attempt that has to be alone, because each of them may be what ended the actor system. ``runs_on``: the labels that
    the host must have.
    """

    origin: Origin
    class_refs: tuple[str, ...]
    fresh: bool = False
    urgent: bool = False
    priority: int = 0
    throttle: Throttle | None = None
    shared: bool = False
    alone: bool = False
    runs_on: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SagaSpec:
    """A whole definition as it is accepted. With this and the user's code a saga runs on after any restart.
    ``traceparent``: where in a trace its caller was; empty: in none."""

    id: str
    name: str
    deadline_s: float | None
    park_on_failure: bool
    steps: tuple[StepSpec, ...]
    origin: Origin
    max_concurrent: int | None = None
    priority: int = 0
    traceparent: str = ""

    def throttle(self, index: int) -> Throttle | None:
        """The limits of the class of the step with this index, or None. A step that runs on some hosts only has a
        throttle, too: it names the class for which a lease was granted."""
        step = self.steps[index]
        if not step.asks_anew:
            return None
        # Two scripts may use one name for two classes.
        place = f"{self.origin.script}:" if step.class_ref.startswith("__main__:") else ""
        return Throttle(place + step.class_ref, step.max_concurrent, step.max_per_second)

    def lease_request(self, index: int, *, urgent: bool = False, alone: bool = False) -> LeaseRequest:
        """The request for an attempt of the step with this index; ``urgent`` for a compensation, ``alone`` for one that
        is suspected to end the actor system.

        The process imports the classes of all steps, so that it can serve later steps, too.
        """
        step, class_refs = self.steps[index], tuple(dict.fromkeys(step.class_ref for step in self.steps))
        throttle = self.throttle(index)
        return LeaseRequest(
            self.origin,
            class_refs,
            step.fresh_process,
            urgent,
            self.priority,
            throttle,
            step.shared,
            alone,
            step.runs_on,
        )

    @property
    def runs_on(self) -> list[str]:
        """The labels that a host needs for all steps of this saga."""
        return sorted({label for step in self.steps for label in step.runs_on})

    @property
    def erased(self) -> bool:
        """Whether the data of the saga were erased: the packed fields of a step are never empty."""
        return bool(self.steps) and not any(step.input for step in self.steps)

    def same_definition(self, other: SagaSpec) -> bool:
        """Whether both have the same name and, step by step, the same name, class and packed fields. Policies, and
        what a step computes, do not count: a saga keeps those that it was accepted with. `same_values` looks closer.
        Of a saga that was ``erased`` nobody knows the fields, so they do not count."""
        any_input = self.erased
        return self.name == other.name and [(s.name, s.class_ref, any_input or s.input) for s in self.steps] == [
            (s.name, s.class_ref, any_input or s.input) for s in other.steps
        ]
