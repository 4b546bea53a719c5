"""Arguments, wiring, exit status."""
