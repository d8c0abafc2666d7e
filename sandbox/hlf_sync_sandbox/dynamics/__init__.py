"""Dynamics 365 (Dataverse Web API) and Microsoft Entra ID on one loopback port, for tests,
benchmarks and the demo.

Started as `python -m hlf_sync_sandbox.dynamics --state DIR`, by `hlf-sync sandbox up` or by a test.
Steered from outside by `hlf_sync_sandbox.dynamics.control.DynamicsControl` and `hlf-sync sandbox
dynamics …`. Production code never imports it.
"""
