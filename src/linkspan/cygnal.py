"""``Cygnal``: Gray Swan's guard as a client without a framework."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from linkspan.conversation import Message, Tool
from linkspan.errors import ConfigurationError
from linkspan.fields import check_value, near_match
from linkspan.providers.cygnal import MONITOR_PATH, encode_check, is_untrusted
from linkspan.providers.cygnal_verdict import decode_verdict
from linkspan.settings.cygnal import CygnalSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from linkspan.guarded_codec import Decoder
    from linkspan.providers.cygnal import Turn
    from linkspan.providers.cygnal_verdict import Verdict

__all__ = ["Cygnal"]


class Cygnal(CygnalSettings):
    """Gray Swan's guard: checks texts and conversations against a policy.

    Example::

        from linkspan import Cygnal

        guard = Cygnal(policy_id="...")  # the key comes from GRAYSWAN_API_KEY
        verdict = guard.check("How do I pick a lock?")
        if verdict.flagged:
            print(verdict.reasons)

    Conversations are lists of ``{"role": ..., "content": ...}`` or of ``linkspan.conversation.Message``; the classes of
    ``linkspan.langchain`` and ``linkspan.llama_index`` accept their framework's messages, too. The role ``data`` is
    sent as ``tool``. Reasoning is not sent. For images, audio and files other than text only the type is sent: the
    service checks text only, and lists the rest in ``Verdict.ignored_inputs``.

    Raises:
        ConfigurationError: At construction: an argument is unknown or invalid, or the key is missing.
    """

    def check(
        self, content: Any, *, tools: Sequence[Any] = (), untrusted: bool | None = None, **settings: Any
    ) -> Verdict:
        """Check a text or a conversation.

        Args:
            content: A text, or messages. The whole conversation is sent; its end is checked.
            tools: The tools that the conversation's model may call.
            untrusted: Whether the end comes from outside, so that `ipi` and `mutation` flag it. A text is then sent as
                a tool result. Default: whether the last message is a tool result or data.
            settings: For this call only: `policy_id`, `rules`, `threshold`, `injection`, `reasoning_mode`, `metadata`,
                `extra_body`, `timeout`.

        Raises:
            InvalidRequestError: There is nothing to check, or the service refused the request.
            ServerError: The service failed, even if it says so with status 200.
            InvalidResponseError: The answer is not a verdict.
            LinkspanError: Any other failure, see ``linkspan.errors``.
        """
        with self._errors():
            body, decode = self._check_of(content, tools, untrusted, settings)
            return self._endpoint().call(MONITOR_PATH, body, decode, timeout=settings.get("timeout"))

    async def acheck(
        self, content: Any, *, tools: Sequence[Any] = (), untrusted: bool | None = None, **settings: Any
    ) -> Verdict:
        """Check a text or a conversation; see ``check``."""
        with self._errors():
            body, decode = self._check_of(content, tools, untrusted, settings)
            return await self._endpoint().acall(MONITOR_PATH, body, decode, timeout=settings.get("timeout"))

    def _turns(self, content: Any) -> str | Sequence[Turn]:
        """Return the content to check, in the neutral form. Frameworks' classes convert their own messages first."""
        return [content] if isinstance(content, (Message, dict)) else content

    def _tool(self, tool: Any) -> Any:
        """Return a tool in the neutral form, or the API's. Frameworks' classes convert their own tools first."""
        return tool

    def _check_of(
        self, content: Any, tools: Sequence[Any], untrusted: bool | None, call: dict[str, Any]
    ) -> tuple[dict[str, Any], Decoder[Verdict]]:
        """Return the request's body, and what decodes its answer."""
        values = self._values(call)
        turns = self._turns(content)
        from_outside = is_untrusted(turns) if untrusted is None else untrusted
        names = ("policy_id", "rules", "reasoning_mode", "metadata", "extra_body")
        body = encode_check(
            turns,
            tools=[tool if isinstance(tool, Tool) else self._tool(tool) for tool in tools],
            untrusted=from_outside,
            **{name: values[name] for name in names},
        )
        injection = values["injection"]
        counts = injection == "always" or (injection == "untrusted" and from_outside)
        return body, partial(decode_verdict, threshold=values["threshold"], injection_counts=counts)

    def _values(self, call: dict[str, Any]) -> dict[str, Any]:
        """Merge the settings of one call over the object's.

        Raises:
            ConfigurationError: A setting is unknown or invalid.
        """
        cls = type(self)
        values = {name: getattr(self, name) for name in self.call_fields}
        for name, value in call.items():
            if name not in self.call_fields:
                raise ConfigurationError(
                    f"A check has no argument {name!r}.{near_match(name, self.call_fields)} Pass further fields of "
                    "the request in extra_body.",
                    provider=self._provider.name,
                )
            values[name] = check_value(cls, name, value)
        return values
