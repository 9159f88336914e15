"""What may leave the spool: the only room that turns raw text into `Scrubbed` text."""
