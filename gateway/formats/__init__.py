"""The formats a document is handed out in, one module each, listed in ``registry``."""
