"""Pure decisions: values in, values out. No await, file, socket, clock, randomness or logging."""
