"""The HTTP API: `/api/v1`, one token, read mostly."""

from lifecyclehub.web.api.problems import handlers
from lifecyclehub.web.api.reading import router as reading
from lifecyclehub.web.api.writing import router as writing

__all__ = ["handlers", "reading", "writing"]
