"""Public test material for whoever writes a client, a server or a backend of their own.

`assignment` holds vectors for the hash that gives units to variants.
"""
