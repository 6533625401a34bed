"""`python -m turnlab` is the command line."""

import sys

try:
    from turnlab.cli import main

    main()
except KeyboardInterrupt:
    sys.exit(130)
