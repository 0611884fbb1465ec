"""Interfaces of other services, so that programs made for those can use this one. Nothing else knows this package."""
