"""What a daemon shows to the outside: page, metrics, logs, alerts. Decides nothing about checkpoints."""
