"""What tuning is worth on the networks of the suite, on prompts and noise that it never saw."""
