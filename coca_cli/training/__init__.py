"""What changes weights: losses, optimisers, the loop."""
