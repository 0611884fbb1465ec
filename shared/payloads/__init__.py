"""The payload store: where uploads, results, pictures and figures lie. The record in Redis names them and is the truth.

A payload is written before the record that names it, under a name that no other claim uses, and never changed.
"""
