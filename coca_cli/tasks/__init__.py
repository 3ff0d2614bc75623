"""What a number means: one evaluate() per task, beside the metric functions it uses."""
