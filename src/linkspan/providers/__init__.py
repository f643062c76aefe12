"""One codec per API: a conversation to JSON and back, without I/O and without a framework."""
