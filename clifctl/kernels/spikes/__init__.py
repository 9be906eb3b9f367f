"""Spikes as a tensor of their own kind, and what operations of torch do with them."""

from clifctl.kernels.spikes import (  # noqa: F401, they register what they handle
    arithmetic,
    connections,
    operations,
)
