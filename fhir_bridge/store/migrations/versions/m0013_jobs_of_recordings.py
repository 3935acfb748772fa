"""The job of a recording is found without a look at all jobs of its tenant."""

from __future__ import annotations

from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Add the index; whoever writes jobs meanwhile waits while it is built, a moment for some hundred thousand jobs."""
    op.create_index("job_media", "job", ["tenant", "media"])
