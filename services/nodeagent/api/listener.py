"""The socket of the local API. Opened before the first pass, so that a bad address is said at once."""

import socket

from nodeagent.settings import ApiAddress, SettingsInvalid


def listen(address: ApiAddress) -> socket.socket:
    """Raises SettingsInvalid. A unix socket left by an agent that died is replaced: the state directory's lock has shown
    that none is alive."""
    try:
        if address.path is None:
            family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
            listener = socket.socket(family, socket.SOCK_STREAM)
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind((address.host, address.port))
        else:
            if address.path.is_socket():
                address.path.unlink()
            listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            listener.bind(str(address.path))
            address.path.chmod(0o600)  # before listen(2): until then nobody can connect
        listener.listen(64)
    except OSError as failed:
        raise SettingsInvalid([f"--api {address} cannot be used: {failed.strerror}"]) from failed
    listener.setblocking(False)  # noqa: FBT003 - the name is the standard library's
    return listener


def name_of(address: ApiAddress, listener: socket.socket) -> str:
    """As the ready line says it: with the port that the kernel chose."""
    if address.path is not None:
        return str(address)
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
