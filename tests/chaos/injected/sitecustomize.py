"""Loaded by every Python that finds this folder on its path: strikes where a plan says so, see ../strikes.py."""

import os

if "ANTISTROPHE_TEST_STRIKES" in os.environ:
    from tests.chaos import strikes

    strikes.install(os.environ["ANTISTROPHE_TEST_STRIKES"])
if "ANTISTROPHE_TEST_BLOWS" in os.environ:
    from tests.chaos import blows

    blows.install(os.environ["ANTISTROPHE_TEST_BLOWS"])
if "ANTISTROPHE_TEST_LOSSES" in os.environ:
    from tests.chaos import losses

    losses.install(os.environ["ANTISTROPHE_TEST_LOSSES"])
if "ANTISTROPHE_TEST_CLOCK" in os.environ:
    from tests.chaos import clocks

    clocks.install(os.environ["ANTISTROPHE_TEST_CLOCK"])
