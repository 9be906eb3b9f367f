"""clifctl from Python: the functions that `import clifctl` offers, as docs/python.md has them."""
