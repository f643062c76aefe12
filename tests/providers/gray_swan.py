"""What the tests of Gray Swan's codec have in common."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from linkspan.conversation import ChatRequest, Message, Text
from linkspan.endpoint import Endpoint, connect
from linkspan.providers.gray_swan import GRAY_SWAN, GraySwanChatCodec

if TYPE_CHECKING:
    from tests.support.loopback import LoopbackServer

KEY = "gray-swan-key-0123456789"


def cygnet(text: str = "Hi", **fields: Any) -> ChatRequest:
    return ChatRequest("cygnet", [Message("user", [Text(text)])], **fields)


def connected(server: LoopbackServer, **options: Any) -> Endpoint[ChatRequest]:
    return connect(
        GraySwanChatCodec(**options),
        GRAY_SWAN,
        api_key=SecretStr(KEY),
        base_url=server.url,
        max_retries=0,
        timeout=60.0,
    )
