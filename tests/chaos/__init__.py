"""Random faults against the real stack, and a checker that counts what was lost, done twice or wrong.

``make chaos SEED=1 JOBS=100``: real gateway, two real workers (one whose clock is an hour off), real Valkey with an
append-only file. The seed decides jobs, faults and their moments as far as a machine under load lets it.
"""
