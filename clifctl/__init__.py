"""clifctl: train, evaluate, compare, cost and deploy spiking neuron models."""

__version__ = "0.1.0"
