"""Faults on purpose: origins that break, clients that judge every answer, and what the proxy is promised to make of it."""
