"""Plain questions over HTTP, bounded in time and size: the only owner of httpx's clients."""
