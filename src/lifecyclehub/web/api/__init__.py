"""The HTTP API: `/api/v1`, one token, read mostly."""

from lifecyclehub.web.api.problems import handlers
from lifecyclehub.web.api.reading import router as look
from lifecyclehub.web.api.writing import router as act

__all__ = ["act", "handlers", "look"]
