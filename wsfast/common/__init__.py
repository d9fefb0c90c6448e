"""Everything of ``connect``, ``serve`` and their connections that no adapter does in another way.

``asyncio/``, ``sync/`` and ``trio/`` bring the I/O. Nothing here waits, reads or writes. That needs names of ``socket``
and ``ssl``, for options and exceptions, and so this room stands above the manners.
"""
