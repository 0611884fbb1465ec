"""Ways to run the service: here on one machine (``deploy.local``), and as containers."""
