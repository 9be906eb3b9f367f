"""Why a neuron learns what it learns: temporal gradients of a net, dynamics of a single neuron."""
