"""Lets `python -m shipway` be what `shipway` is."""

import sys

from shipway.cli import main

sys.exit(main())
