"""lifecyclehub: connects the apps a service business already uses, so that no handoff is lost or done twice."""

__version__ = "0.1.0"
