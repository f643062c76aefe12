"""Filters of answers, whole and streamed: stop texts, reasoning, blocked answers, additional tool calls."""
