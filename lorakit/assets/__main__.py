"""`python -m lorakit.assets`."""

import sys

from lorakit.assets.command import main

sys.exit(main())
