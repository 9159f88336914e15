-- A parked message that is tried again goes to the one reaction that parked it: JSON [reaction, key].
ALTER TABLE outbox ADD COLUMN retries TEXT;
