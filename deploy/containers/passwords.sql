-- For docker-compose.yml alone: the roles' passwords on a machine of one's own. In production: \password, or certificates.
ALTER ROLE hlf_cdc PASSWORD 'only-here';
ALTER ROLE hlf_sync PASSWORD 'only-here';
