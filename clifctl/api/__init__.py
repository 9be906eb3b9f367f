"""What `import clifctl` offers, as functions and values: docs/python.md shows it."""
