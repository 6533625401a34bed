"""`python -m turnlab` is the command line."""

from turnlab.cli import main

main()
