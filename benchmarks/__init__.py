"""What `ckptd` costs beside the tools that people use today; see README.md. Run with `make bench`."""
