"""HTTP/1.1 to Dynamics and the token service, so strict that 'was it sent?' always has an answer
(docs/adr/0006-own-http-transport.md).
"""
