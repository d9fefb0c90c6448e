"""wsaccel's two modules over our codec, for those who look for wsaccel: websocket-client and gevent-websocket.

    import wsfast.wsaccel
    wsfast.wsaccel.install()    # before the first import of websocket or geventwebsocket
    import websocket

``wsfast.wsaccel.xormask`` and ``wsfast.wsaccel.utf8validator`` have the names, arguments and exceptions of wsaccel
0.6.7. ``install()`` puts them into ``sys.modules`` under wsaccel's names, ``uninstall()`` takes them out. Importing
this package changes nothing. It imports the codec and nothing else.
"""

from __future__ import annotations

import sys
import threading

from . import utf8validator, xormask

__all__ = ["install", "uninstall", "utf8validator", "xormask"]

# The modules that `import wsaccel` finds after install().
_ALIASES = {
    "wsaccel": sys.modules[__name__],
    "wsaccel.utf8validator": utf8validator,
    "wsaccel.xormask": xormask,
}

# Modules that look for wsaccel while they are imported: the name that they bind, our value of it, and the patch that
# works after their import.
_CONSUMERS = {
    "websocket._abnf": ("XorMaskerSimple", xormask.XorMaskerSimple, "wsfast.patch.websocket_client()"),
    "websocket._utils": ("Utf8Validator", utf8validator.Utf8Validator, "wsfast.patch.websocket_client()"),
    "geventwebsocket.utf8validator": (
        "Utf8Validator",
        utf8validator.Utf8Validator,
        "wsfast.patch.gevent_websocket()",
    ),
}

_lock = threading.Lock()


def install() -> None:
    """Let ``import wsaccel`` find this package. A second call does nothing.

    Raises ``RuntimeError``, and changes nothing, if it is too late: the real wsaccel is imported, or a module that
    looks for wsaccel only while it is imported.
    """
    with _lock:
        for name, alias in _ALIASES.items():
            if sys.modules.get(name, alias) is not alias:
                raise RuntimeError(
                    f"another {name} is imported: call wsfast.wsaccel.install() before anything imports wsaccel"
                )
        for name, (attribute, ours, patch) in _CONSUMERS.items():
            module = sys.modules.get(name)
            if module is not None and getattr(module, attribute, None) is not ours:
                raise RuntimeError(
                    f"{name} was imported without wsfast.wsaccel: call wsfast.wsaccel.install() before the first "
                    f"import of {name.partition('.')[0]}, or use {patch}, which works after it"
                )
        sys.modules.update(_ALIASES)


def uninstall() -> None:
    """Undo ``install()``: the next ``import wsaccel`` finds the real one, or none. Without ``install()``, do nothing.

    Modules that were imported in between keep ours. Raises ``RuntimeError``, and changes nothing, if somebody else
    has put another module in our place.
    """
    with _lock:
        for name, alias in _ALIASES.items():
            if sys.modules.get(name, alias) is not alias:
                raise RuntimeError(
                    f"{name} in sys.modules is not wsfast's: its owner has to take it out first"
                )
        for name in _ALIASES:
            sys.modules.pop(name, None)
