"""What holds for all tests."""

from __future__ import annotations

import signal

# Under nohup(1) hang-ups are ignored, by all that is started from here too; the tests send some.
signal.signal(signal.SIGHUP, signal.SIG_DFL)
