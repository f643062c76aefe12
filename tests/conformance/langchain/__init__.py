"""LangChain's suites, replayed from cassettes, and linkspan's own suites for completion models and rerankers."""
