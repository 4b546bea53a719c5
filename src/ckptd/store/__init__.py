"""Bytes on disk: partials, digests, publication, state."""
