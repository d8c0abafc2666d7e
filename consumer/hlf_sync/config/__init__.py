"""Settings, secret files, and the policies made from them."""
