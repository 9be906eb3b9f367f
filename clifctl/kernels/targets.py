"""The one place where a kernel target is chosen, with the reason."""

from dataclasses import dataclass

from clifctl.errors import TargetError, unknown_name

# name -> what it is
TARGETS: dict[str, str] = {
    "reference": "the neuron's step, run eagerly and differentiated by torch autograd",
}


@dataclass(frozen=True)
class Target:
    """A kernel target and why it was chosen."""

    name: str
    reason: str


def resolve_target(requested: str = "auto") -> Target:
    """The target that runs. An explicit request is met or refused, never replaced.

    Raises TargetError for a target that does not exist.
    """
    if requested == "auto":
        return Target("reference", "auto: the eager reference is the only target of this version")
    if requested not in TARGETS:
        raise TargetError(unknown_name("kernel target", requested, ["auto", *TARGETS]))
    return Target(requested, "asked for")
