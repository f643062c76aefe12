"""Verda's containers as they are deployed: vLLM and SGLang, by ``api="openai"``, in both frameworks."""
