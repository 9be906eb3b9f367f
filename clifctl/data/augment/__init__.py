"""What happens to stored batches before a net sees them: random changes, mixing, resizing."""
