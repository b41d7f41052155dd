"""``python -m curriculum_rec``."""

import sys

from curriculum_rec.cli import main

sys.exit(main())
