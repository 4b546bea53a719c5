"""Bytes from origins into partials."""
