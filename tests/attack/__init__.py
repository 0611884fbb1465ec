"""Attacks on the whole running service: over HTTP, and from the documents it reads."""
