"""Settings of each API's classes for both frameworks: fields, base URL, codec, and the calls other than chat."""
