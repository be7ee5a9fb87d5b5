"""The worker process of `prima demo` and `prima serve`; they start it, people do not."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from encoder.study import Study

SOURCE = re.compile(r"phantom:seed=(\d+)")


class Phantoms:
    """Demo studies and cited cases, by simulation."""

    def write(self, seed: int, diagnosis: str | None, folder: Path) -> None:
        """Writes a phantom study as DICOM, without the truth that comes with it: a demo study is read like any other."""
        import phantom

        written = phantom.write(phantom.sample(seed, diagnosis), folder)
        for beside in ("report.txt", "truth.json"):
            (written / beside).unlink(missing_ok=True)
        shutil.rmtree(written / "masks", ignore_errors=True)

    def study(self, source: str) -> Study | None:
        """The study of a case whose source is `phantom:seed=N`."""
        import phantom
        from assistant.train.studies import as_study

        found = SOURCE.fullmatch(source)
        return as_study(phantom.sample(int(found[1]))) if found else None


def worker() -> None:
    """Work until the page goes."""
    from assistant.worker import work

    work(Phantoms())


if __name__ == "__main__":
    worker()
