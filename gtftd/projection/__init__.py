"""The records, mirrored into the town's Dolt: in order, idempotent, catching up after any outage."""
