"""The records in Redis: one Lua script for each change, and typed views of what they hold."""

from shared.store.scripts import script_digest as script_digest
