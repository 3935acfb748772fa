"""A process that writes until it is killed, and prints each number once the write was acknowledged."""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from store_making import new, put

from fhir_bridge.settings import Settings
from fhir_bridge.store import Store


def main(folder: str, name: str) -> None:
    """Write from four threads, 10,000 versions at most."""
    store = Store.open(Settings(data_dir=Path(folder))).of_all()

    def write(thread: int) -> None:
        for n in range(2_500):
            id_ = f"{name}-{thread}-{n}"
            put(store, new(id_, keys=[(1, id_)]))
            sys.stdout.write(f"{id_}\n")  # one write call a line: nothing is torn by the kill
            sys.stdout.flush()

    threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main(*sys.argv[1:])
