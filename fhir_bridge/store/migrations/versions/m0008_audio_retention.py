"""Which Binary a job's recording is, when the job ended, and how long a tenant keeps audio."""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

TEXT: Final = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
_URL: Final = {
    "sqlite": "json_extract(v.body, '$.content.url')",
    "postgresql": "(CAST(v.body AS json) -> 'content' ->> 'url')",
}


def upgrade() -> None:
    """Add the columns, and fill them for the jobs that are there."""
    op.add_column("tenant", sa.Column("audio_retention_hours", sa.Float))
    op.add_column("job", sa.Column("binary", TEXT))
    op.add_column("job", sa.Column("ended_ms", sa.BigInteger))
    media = "v.tenant = job.tenant AND v.type = 'Media' AND v.id = job.media AND v.until IS NULL AND v.body <> ''"
    url = _URL[op.get_context().dialect.name]
    op.execute(f"UPDATE job SET \"binary\" = (SELECT replace({url}, 'Binary/', '') FROM version v WHERE {media})")  # noqa: S608 - ours
    task = "v.tenant = job.tenant AND v.type = 'Task' AND v.id = job.task AND v.until IS NULL"
    ended = "state IN ('published', 'failed', 'cancelled', 'erased')"
    op.execute(f"UPDATE job SET ended_ms = (SELECT v.at_ms FROM version v WHERE {task}) WHERE {ended}")  # noqa: S608 - ours
    op.create_index("job_binary", "job", ["tenant", "binary"])
    op.create_index("blob_created", "blob", ["tenant", "created_ms"])
