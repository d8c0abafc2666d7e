"""Access tokens for Dynamics: where the secrets come from, and when a token is renewed."""
