"""`python -m azquack` is the command line."""

from azquack.cli import main

main()
