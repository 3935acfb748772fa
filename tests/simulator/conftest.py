"""One thread for each product of matrices: more would only wait for each other."""

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
