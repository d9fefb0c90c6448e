"""The codec, Python to Python: no socket, no event loop."""
