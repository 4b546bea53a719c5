"""What people have (pages, lists, listings) read as candidates for the manifest: text in, candidates out, no I/O."""
