"""The steps of a bakeoff: each takes connections, owns order and transactions, prints nothing."""
