"""Help for test suites: of programs that use linkspan, and of classes built like its own.

``pytest_plugin`` is loaded by pytest itself and gives the fixture ``linkspan_sandbox``. Nothing is imported here, so
that it costs a test suite without linkspan nothing.
"""
