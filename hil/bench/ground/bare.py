"""The baseline of the API: FastAPI and nothing else, one committed SQLite row a request.

``python -m hil.bench.ground.bare DATABASE PORT``.
"""

from __future__ import annotations

import json
import sqlite3
import sys
import threading
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI


def make_app(path: Path) -> FastAPI:
    """One endpoint over one table, as durable as the ground's own database."""
    app = FastAPI()
    database = sqlite3.connect(path, check_same_thread=False)
    database.executescript(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE jobs (job_id TEXT PRIMARY KEY, body TEXT)"
    )
    lock = threading.Lock()

    @app.put("/v1/jobs/{job_id}")
    def submit_job(job_id: str, body: dict[str, Any]) -> dict[str, str]:
        with lock:
            database.execute("INSERT OR IGNORE INTO jobs VALUES (?, ?)", (job_id, json.dumps(body)))
            database.commit()
        return {"job_id": job_id}

    return app


if __name__ == "__main__":
    uvicorn.run(make_app(Path(sys.argv[1])), port=int(sys.argv[2]), log_level="error", access_log=False)
