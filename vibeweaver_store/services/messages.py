"""Messages: what was said in a session, in the order in which it was said."""
