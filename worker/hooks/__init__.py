"""The former name of ``worker.webhooks``, kept for one release so that older deployment files go on working."""
