"""Kept-alive HTTP/1.1 connections to one Quack server, and a session on top of them."""

from azquack.quack.upstream.pool import Response, Upstream
from azquack.quack.upstream.session import Session, exchange

__all__ = ["Response", "Session", "Upstream", "exchange"]
