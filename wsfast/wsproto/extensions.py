"""``wsproto.extensions``, its own classes and functions."""

from wsproto.extensions import *  # noqa: F403
