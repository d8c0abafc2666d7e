"""OpenTelemetry traces, where switched on: from a change's commit to its call. Needs the extra
`tracing`; imported only while switched on.
"""
