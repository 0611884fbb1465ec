"""Attacks on the running service, whole: through its door and from its own documents."""
