"""The coordinators' page: server-rendered, in their language, kept fresh by a small script."""
