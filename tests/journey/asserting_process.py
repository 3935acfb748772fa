"""A process of its own that sends one assertion from eight threads at once, when it is told to."""

from __future__ import annotations

import json
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

from fhir_bridge import settings
from fhir_bridge.app import create_app

THREADS = 8


def main() -> None:
    app = create_app(settings.load(None))
    form = json.loads(sys.stdin.readline())
    together = threading.Barrier(THREADS)

    def ask(_number: int) -> int:
        together.wait()
        return app.test_client().post("/oauth/token", data=form).status_code

    print("ready", flush=True)  # noqa: T201 - to the test that started this
    sys.stdin.readline()
    with ThreadPoolExecutor(THREADS) as pool:
        print(json.dumps(list(pool.map(ask, range(THREADS)))), flush=True)  # noqa: T201 - to the test
    app.extensions["fhir-bridge"].store.close()


if __name__ == "__main__":
    main()
