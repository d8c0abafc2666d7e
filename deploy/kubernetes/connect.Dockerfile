# Kafka Connect for Strimzi, whose operator starts scripts of its own image and looks for plugins in /opt/kafka/plugins. The plugins are those of the
# target `connect` of the Dockerfile at the top.
#
#   docker build --target connect -t hlf-sync-connect:0.1.0 .
#   docker build -f deploy/kubernetes/connect.Dockerfile --build-arg STRIMZI_IMAGE=quay.io/strimzi/kafka:… -t hlf-sync-connect-strimzi:0.1.0 .
#
# STRIMZI_IMAGE is the Kafka image of the operator that you run, and has no default on purpose: another one's does not start.
ARG CONNECT_IMAGE=hlf-sync-connect:0.1.0
ARG STRIMZI_IMAGE
FROM ${CONNECT_IMAGE} AS plugins
FROM ${STRIMZI_IMAGE}
COPY --from=plugins /opt/plugins /opt/kafka/plugins
USER 1001
