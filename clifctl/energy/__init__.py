"""What an inference costs: a net's operations, and two ways to charge them, each as published and
corrected. Nothing here knows the published numbers."""
