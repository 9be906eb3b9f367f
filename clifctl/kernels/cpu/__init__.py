"""Kernels on the CPU: those generated for neurons, and those that compute what spikes cause."""
