"""Measure the cost of a streamed chunk: linkspan, the limit, the frameworks' floors and other packages."""
