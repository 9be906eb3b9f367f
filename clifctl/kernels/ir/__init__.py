"""From the `step` of a neuron to programs: traced, differentiated, planned for the printers."""
