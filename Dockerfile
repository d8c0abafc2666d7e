# The images of hlf-sync, for amd64 and arm64. Targets:
#   worker    every command of hlf-sync (run, web, migrate, doctor …); no shell, no compiler, not root, fits a read-only root file system
#   connect   Kafka Connect with Debezium and the Avro converter
#   sandbox   worker plus the Dynamics emulator and the demo; for docker-compose.yml and tests only
#
#   docker build --target worker -t hlf-sync:0.1.0 .
#   docker buildx build --platform linux/amd64,linux/arm64 --target worker -t hlf-sync:0.1.0 .
#
# No BuildKit feature is used, so that every builder can. Wheels and jars are locked by SHA-256 (requirements/*.txt, jars.lock).
ARG BUILD_IMAGE=python:3.11-slim-bookworm
ARG RUNTIME_IMAGE=gcr.io/distroless/python3-debian12:nonroot
ARG KAFKA_IMAGE=apache/kafka:4.3.1

FROM ${RUNTIME_IMAGE} AS runtime

# ── what is installed ────────────────────────────────────────────────────────────────────────────
FROM ${BUILD_IMAGE} AS wheels
WORKDIR /build
COPY requirements/run.txt requirements/images.txt requirements/
RUN python3 -m pip install --no-cache-dir --no-compile --require-hashes --no-deps --target /opt/hlf-sync -r requirements/run.txt \
 && python3 -m pip install --no-cache-dir --require-hashes --no-deps --target /opt/tools -r requirements/images.txt
COPY pyproject.toml README.md LICENSE ./
COPY consumer consumer
COPY connectors connectors
COPY schemas schemas
COPY deploy/sbom deploy/sbom
# Without a network: the build tools are there already.
RUN PYTHONPATH=/opt/tools python3 -m pip wheel --no-cache-dir --no-deps --no-build-isolation --no-index --wheel-dir dist . \
 && python3 -m pip install --no-cache-dir --no-compile --no-deps --no-index --target /opt/hlf-sync dist/*.whl \
 && rm -rf /opt/hlf-sync/bin \
# pip's own script names the Python of this stage.
 && mkdir /opt/bin \
 && printf '%s\n' '#!/usr/bin/python3' 'import sys' 'from hlf_sync.__main__ import main' 'sys.exit(main())' > /opt/bin/hlf-sync \
 && chmod 755 /opt/bin/hlf-sync \
# The page speaks English and Norwegian (hlf_sync/web/page/words.py); the other locales weigh 30 MB.
 && find /opt/hlf-sync/babel/locale-data -name '*.dat' ! -name 'root.dat' ! -name 'en.dat' ! -name 'en_*.dat' ! -name 'n[bo].dat' ! -name 'n[bo]_*.dat' -delete \
 && python3 -m compileall -q -j 0 /opt/hlf-sync

# The image's bill of materials: Debian's packages of its base, and every wheel.
FROM wheels AS bill
COPY --from=runtime /var/lib/dpkg /opt/dpkg
COPY deploy/containers/image_sbom.py .
RUN python3 image_sbom.py hlf-sync 0.1.0 /opt/sbom/hlf-sync.cdx.json --wheels /opt/hlf-sync --debian /opt/dpkg

# ── worker ───────────────────────────────────────────────────────────────────────────────────────
FROM runtime AS worker
LABEL org.opencontainers.image.title="hlf-sync" \
      org.opencontainers.image.description="Keeps HLF's public mentor listing in Dynamics 365 equal to what PostgreSQL says" \
      org.opencontainers.image.version="0.1.0" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=wheels /opt/hlf-sync /opt/hlf-sync
COPY --from=wheels /opt/bin /usr/local/bin
COPY --from=bill /opt/sbom /usr/share/sbom
ENV PYTHONPATH=/opt/hlf-sync \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    HLF_SYNC_HTTP_HOST=0.0.0.0 \
    HLF_SYNC_WEB_HOST=0.0.0.0
# Numbers, so that Kubernetes can see that it is not root.
USER 65532:65532
EXPOSE 8080 8090
# Alive, not ready: a worker that waits for Kafka must not be restarted for it.
HEALTHCHECK --interval=5s --timeout=3s --start-period=20s --retries=5 \
    CMD ["/usr/bin/python3", "-m", "hlf_sync.alive"]
# PID 1 is the program itself, so SIGTERM reaches it.
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/local/bin/hlf-sync"]
CMD ["run"]

# ── sandbox: emulator and demo ───────────────────────────────────────────────────────────────────
FROM wheels AS extras
COPY sandbox sandbox
RUN PYTHONPATH=/opt/tools python3 -m pip wheel --no-cache-dir --no-deps --no-build-isolation --no-index --wheel-dir dist ./sandbox \
 && python3 -m pip install --no-cache-dir --no-deps --no-index --target /opt/sandbox dist/hlf_sync_sandbox-*.whl \
 && python3 -m pip install --no-cache-dir --no-deps --require-hashes --target /opt/sandbox -r requirements/images.txt \
 && mkdir /opt/empty

FROM worker AS sandbox
COPY --from=extras /opt/sandbox /opt/sandbox
ENV PYTHONPATH=/opt/hlf-sync:/opt/sandbox
# The emulator keeps its certificates and contacts here; a new volume takes over this folder's owner.
COPY --from=extras --chown=65532:65532 /opt/empty /state
HEALTHCHECK NONE
ENTRYPOINT ["/usr/bin/python3", "-m"]
CMD ["hlf_sync_sandbox.dynamics", "--state", "/state"]

# ── connect ──────────────────────────────────────────────────────────────────────────────────────
FROM ${KAFKA_IMAGE} AS kafka

FROM extras AS plugins
RUN PYTHONPATH=/opt/hlf-sync:/opt/tools:/opt/sandbox python3 -m hlf_sync_sandbox.plugins /opt/plugins
# Every jar, ours and Kafka's; the system's packages below them are the base image's own business.
COPY --from=kafka /opt/kafka/libs /opt/libs
COPY deploy/containers/image_sbom.py .
RUN python3 image_sbom.py hlf-sync-connect 0.1.0 /opt/sbom/hlf-sync-connect.cdx.json --jars /opt/plugins --jars /opt/libs

FROM kafka AS connect
LABEL org.opencontainers.image.title="hlf-sync-connect" \
      org.opencontainers.image.description="Kafka Connect with Debezium for PostgreSQL and the Avro converter" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=plugins /opt/plugins /opt/plugins
COPY --from=plugins /opt/sbom /usr/share/sbom
COPY deploy/containers/connect.properties /etc/hlf/connect.properties
USER 1000
EXPOSE 8083
HEALTHCHECK --interval=5s --timeout=3s --start-period=60s --retries=6 \
    CMD ["bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/8083 && printf 'GET /connectors HTTP/1.0\\r\\n\\r\\n' >&3 && grep -q '200 OK' <&3"]
ENTRYPOINT ["/opt/kafka/bin/connect-distributed.sh", "/etc/hlf/connect.properties"]
