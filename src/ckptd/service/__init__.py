"""What happens over time: one pass of sync, verify, update; the demo."""
