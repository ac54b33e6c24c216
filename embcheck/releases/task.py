"""What runs on a node of a cluster: it knows nothing but the standard library, and brings embcheck's code with it.

It is sent by value, so a node needs ray and what its interpreters need, not embcheck.
"""

from __future__ import annotations

from typing import Any


def perform(code: dict[str, bytes], job: dict[str, Any]) -> Any:
    """Lays out the code under the job's cache folder and runs the cell there; see `embcheck.releases.cluster.Job`."""
    import os
    import shutil
    import sys
    from pathlib import Path

    folder = Path(job["cache"]).expanduser() if job["cache"] else Path.home() / ".cache" / "embcheck" / "releases"
    source = folder / "sources" / job["source"]
    if not source.is_dir():
        making = source.with_name(f"{source.name}.{os.getpid()}")
        for place, content in code.items():
            path = making / place
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        try:
            making.rename(source)
        except OSError:  # another cell was faster
            shutil.rmtree(making)
    sys.path.insert(0, str(source))
    from embcheck.releases.cluster import run_job

    return run_job(folder, source, job)
