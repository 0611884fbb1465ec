"""The least that an upload endpoint can be, for ours to be compared to: ``python -m benchmarks.bare_endpoint``.

FastAPI on uvicorn, one process, as the gateway is run. It takes the file of a form, checks nothing, stores the bytes
and a record in Redis and puts the job's id on a list, in one round trip, and answers 202 with the id.
``REDIS_URL`` and ``PORT`` as for the gateway.
"""

from __future__ import annotations

import os
import uuid
from typing import Annotated

import redis.asyncio
import uvicorn
from fastapi import FastAPI, UploadFile

app = FastAPI()
store = redis.asyncio.Redis.from_url(os.environ.get("REDIS_URL", "redis://127.0.0.1:6379/0"))
SECONDS_KEPT = 3600


@app.get("/livez")
async def livez() -> dict[str, str]:
    return {"status": "ok"}


@app.post("/upload", status_code=202)
async def upload(file: Annotated[UploadFile, "file"]) -> dict[str, str]:
    job_id, data = uuid.uuid4().hex, await file.read()
    async with store.pipeline(transaction=True) as step:
        step.set(f"upload:{job_id}", data, ex=SECONDS_KEPT)
        step.hset(f"job:{job_id}", mapping={"filename": file.filename or "", "bytes": len(data), "status": "queued"})
        step.lpush("jobs", job_id)
        await step.execute()
    return {"id": job_id}


def main() -> None:
    uvicorn.run(
        "benchmarks.bare_endpoint:app", host="127.0.0.1", port=int(os.environ["PORT"]), log_level="warning",
        access_log=False, ws="none",
    )  # fmt: skip


if __name__ == "__main__":
    main()
