"""Programs: Prefect flows, the command line, the demo, the mirror, the report.

Knows: the order of things, settings, what a person sees. Does not know: algorithms; those live below.
"""

import os

# GNU OpenMP's threads spin while they wait for work: for milliseconds, unless told, so that two processes on the same
# cores stall each other. Told to sleep at once they are late for every small product. Measured on 2 cores, a decoding
# step of 32 rows: 37 ms unless told, 59 asleep, 37 with this; two processes at once: over ten times slower, 61, 125.
# torch reads it when it is first imported.
if "OMP_WAIT_POLICY" not in os.environ:
    os.environ.setdefault("GOMP_SPINCOUNT", "3000")
