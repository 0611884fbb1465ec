"""The clients of other people, unmodified and at pinned versions, against a running service (``make test-clients``)."""
