"""Tests over recorded HTTP: replayed with the network blocked, recorded again by ``scripts/record_cassettes.py``."""
