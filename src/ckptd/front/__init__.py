"""What a daemon shows to the outside: its page, its metrics, its logs, its alerts. Decides nothing about checkpoints."""
