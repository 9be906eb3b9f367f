"""Generated kernels on a GPU, by Triton."""
