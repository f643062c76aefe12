"""Conformance suites for classes of LangChain and LlamaIndex, of linkspan or any other package.

Nothing is imported here: a suite needs only its own framework.
"""
