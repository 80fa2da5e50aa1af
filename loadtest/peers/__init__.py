"""What `loadtest/peers.py` is made of: the proxies, their load, the rows of the table, and the picture."""
