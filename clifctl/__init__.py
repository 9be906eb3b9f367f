"""clifctl: train, evaluate, compare, cost and deploy spiking neuron models."""

__version__ = "0.1.0"

# Raised by one whenever a change can change the result of a run (the CHANGELOG's heading Numerics
# says what). Finished trials of another number are not taken for those of this one.
NUMERICS_VERSION = 6
