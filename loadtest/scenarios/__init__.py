"""The parts of the load tests by k6 and oha: what is asked, of whom, and what is told of it."""
