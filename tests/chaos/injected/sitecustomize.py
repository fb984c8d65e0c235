"""Loaded by every Python that finds this folder on its path: kills at the point that the environment names."""

import os

if "ANTISTROPHE_TEST_KILL_AT_WRITE" in os.environ:
    from tests.chaos import write_kill_points

    write_kill_points.install(os.environ["ANTISTROPHE_TEST_KILL_AT_WRITE"])
if "ANTISTROPHE_TEST_KILL_AT_MESSAGE" in os.environ:
    from tests.chaos import message_kill_points

    message_kill_points.install(os.environ["ANTISTROPHE_TEST_KILL_AT_MESSAGE"])
if "ANTISTROPHE_TEST_LOSSES" in os.environ:
    from tests.chaos import losses

    losses.install(os.environ["ANTISTROPHE_TEST_LOSSES"])
if "ANTISTROPHE_TEST_CLOCK" in os.environ:
    from tests.chaos import clocks

    clocks.install(os.environ["ANTISTROPHE_TEST_CLOCK"])
