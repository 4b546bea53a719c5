"""`python -m ckptd`: the same program as the console script, for whoever has no `ckptd` on PATH (the demo, too)."""

from ckptd.cli.main import main

if __name__ == "__main__":
    main()
