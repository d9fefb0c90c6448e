"""``wsproto.utilities``, its own classes and functions."""

from wsproto.utilities import *  # noqa: F403
