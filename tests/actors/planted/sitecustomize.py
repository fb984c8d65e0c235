"""Loaded by every Python that finds this folder on its path: plants the bug that the environment names."""

import os
import sys

# Not in the tests' own process, which has no actors.
if "ANTISTROPHE_TEST_PLANTED" in os.environ and "pytest" not in sys.orig_argv:
    from tests.actors import planting

    planting.plant(os.environ["ANTISTROPHE_TEST_PLANTED"])
