"""Changes to answers on their way out, whole and streamed: stop texts, thoughts, blocked answers, spare calls."""
