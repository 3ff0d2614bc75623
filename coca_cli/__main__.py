"""Run the command line with `python -m coca_cli`, which is also what `torchrun -m coca_cli` starts."""

from coca_cli.cli import main

if __name__ == "__main__":
    main()
