"""How a connection behind a neuron may run: what a person chooses between."""

from clifctl.errors import TargetError, unknown_name

# name -> what it is
CONNECTIONS: dict[str, str] = {
    "auto": "only the work that spikes cause, where it pays; else dense",
    "dense": "a dense convolution or product of matrices, whatever the spikes",
}


def check_connections(name: str) -> None:
    """Raise TargetError for a name that is none of `CONNECTIONS`."""
    if name not in CONNECTIONS:
        raise TargetError(unknown_name("kind of connections", name, CONNECTIONS))
