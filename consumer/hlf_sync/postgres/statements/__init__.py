"""SQL that rooms above execute through postgres' connections: texts, each said by whom and for what."""
