-- Whose failures opened the circuit, and who was a probe since: the next probe is somebody else's, while anybody else waits. The last one is last.
ALTER TABLE hlf_sync.circuit ADD COLUMN suspects text[] NOT NULL DEFAULT '{}';
