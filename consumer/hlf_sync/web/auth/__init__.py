"""Who the caller is: tokens, keys, sessions."""
