"""``python -m tripletmine``: the command line, for where its script is not on the path."""

import sys

from tripletmine.cli import main

if __name__ == "__main__":
    sys.exit(main())
