"""HTTP/1.1 as Quack's servers need it: bodies of known length, one request after another per socket, deadlines.

A server for any application, uvicorn, takes half as much time again for a small statement (`bench/gateway.py`).
"""

from azquack.http.exchange import Exchange, Timeouts
from azquack.http.server import HttpServer

__all__ = ["Exchange", "HttpServer", "Timeouts"]
