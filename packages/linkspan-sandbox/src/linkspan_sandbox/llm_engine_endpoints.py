"""The endpoints of the simulated LLM Engine deployment, and their entries in its list."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["ENDPOINTS", "ModelEndpoint", "endpoint_entry"]

_CREATED = "2026-01-01T00:00:00"


@dataclass(frozen=True)
class ModelEndpoint:
    """An endpoint of the simulated deployment.

    Args:
        framework: ``vllm``, ``sglang``, ``text_generation_inference``, ``lightllm``, ``deepspeed`` or ``tensorrt_llm``.
        kind: ``streaming``, ``sync`` or ``async``.
        chat: Whether it has the chat route; only vLLM and SGLang can.
        retired: Whether it no longer has workers.
        context_window: Limit of prompt and answer together, in tokens.
    """

    framework: str = "vllm"
    kind: str = "streaming"
    chat: bool = True
    retired: bool = False
    context_window: int = 8192


#: The endpoints by name, which is the ``model`` of a request.
ENDPOINTS: Mapping[str, ModelEndpoint] = {
    "llama-3-8b-instruct": ModelEndpoint(),
    "llama-2-7b": ModelEndpoint(chat=False, context_window=4096),
    "llama-2-13b": ModelEndpoint(kind="sync", chat=False, context_window=4096),
    "qwen2-72b-instruct": ModelEndpoint("sglang", context_window=32_768),
    "mistral-7b": ModelEndpoint("text_generation_inference", chat=False),
    "llama-7b": ModelEndpoint("lightllm", chat=False, context_window=2048),
    "flan-t5-xxl": ModelEndpoint("deepspeed", chat=False, context_window=2048),
    "mpt-7b": ModelEndpoint("tensorrt_llm", chat=False, context_window=2048),
    "codellama-34b": ModelEndpoint(kind="async", chat=False, context_window=16_384),
    "zephyr-7b-beta": ModelEndpoint(retired=True, context_window=32_768),
}


def endpoint_entry(name: str, facts: ModelEndpoint) -> dict[str, Any]:
    """Return an endpoint's entry."""
    identity = f"end_{uuid.uuid5(uuid.NAMESPACE_DNS, name).hex[:20]}"
    return {
        "id": identity,
        "name": name,
        "model_name": name,
        "source": "hugging_face",
        "status": "READY",
        "inference_framework": facts.framework,
        "inference_framework_image_tag": "latest",
        "num_shards": 1,
        "quantize": None,
        "checkpoint_path": None,
        "chat_template_override": None,
        "task_expires_seconds": None,
        "queue_message_timeout_seconds": None,
        "spec": {
            "id": identity,
            "name": name,
            "endpoint_type": facts.kind,
            "destination": f"launch-endpoint-id-{identity.replace('_', '-')}",
            "deployment_name": None,
            "metadata": None,
            "bundle_name": name,
            "status": "READY",
            "post_inference_hooks": None,
            "default_callback_url": None,
            "default_callback_auth": None,
            "labels": {"team": "sandbox", "product": "linkspan"},
            "aws_role": None,
            "results_s3_bucket": None,
            "created_by": "sandbox",
            "created_at": _CREATED,
            "last_updated_at": _CREATED,
            "deployment_state": None,
            "resource_state": None,
            "num_queued_items": None,
            "public_inference": True,
        },
    }
