"""Kernels on the CPU that compute what spikes cause, and nothing else."""
