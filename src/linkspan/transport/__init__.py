"""linkspan's only network code: requests, retries, timeouts and event streams over httpx.

It is independent of APIs and frameworks. A codec describes a call as an :class:`HttpRequest`; :class:`HttpClient`
sends it, sync or async, and raises only the errors of :mod:`linkspan.errors`.
"""

from linkspan.transport.bodies import TOO_LARGE
from linkspan.transport.client import HttpClient
from linkspan.transport.clients import sent_by
from linkspan.transport.environment import proxy_passwords
from linkspan.transport.http_messages import LARGEST_RESPONSE, HttpRequest, HttpResponse
from linkspan.transport.multipart import encode_multipart
from linkspan.transport.sse import SSEDecoder
from linkspan.transport.urls import check_base_url, join_url, public_url

__all__ = [
    "LARGEST_RESPONSE",
    "TOO_LARGE",
    "HttpClient",
    "HttpRequest",
    "HttpResponse",
    "SSEDecoder",
    "check_base_url",
    "encode_multipart",
    "join_url",
    "proxy_passwords",
    "public_url",
    "sent_by",
]
