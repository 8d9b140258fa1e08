# One image, two roles: AZQUACK_ROLE, or the argument of `serve`, says which.
# Microsoft's mirror of Docker's image: a registry in Azure that pulls from Docker Hub without an account is often refused.
ARG BASE=mcr.microsoft.com/mirror/docker/library/python:3.11-slim

FROM ${BASE} AS build
WORKDIR /src
COPY requirements/build.txt requirements/runtime.txt requirements/
RUN python -m pip install --no-cache-dir --require-hashes -r requirements/build.txt \
    && python -m venv --without-pip /opt/azquack \
    && python -m pip --python /opt/azquack/bin/python install --no-cache-dir --require-hashes -r requirements/runtime.txt
COPY pyproject.toml README.md ./
COPY src src
RUN python -m pip wheel --no-cache-dir --no-deps --no-build-isolation --wheel-dir /tmp/wheel . \
    && python -m pip --python /opt/azquack/bin/python install --no-cache-dir --no-deps --no-index /tmp/wheel/*.whl

FROM ${BASE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="AzQuack" \
    org.opencontainers.image.description="A shared DuckDB lakehouse on Azure that any stock DuckDB joins with one ATTACH" \
    org.opencontainers.image.licenses="MIT" \
    org.opencontainers.image.version="${VERSION}" \
    org.opencontainers.image.revision="${REVISION}"
RUN groupadd --gid 1000 azquack \
    && useradd --uid 1000 --gid 1000 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin azquack \
    && install -d -o 1000 -g 1000 -m 0700 /catalog
COPY --from=build /opt/azquack /opt/azquack
# Nothing is written outside /tmp and /catalog, so the root file system may be read-only.
ENV PATH=/opt/azquack/bin:$PATH \
    HOME=/tmp \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    AZQUACK_HOST=0.0.0.0 \
    AZQUACK_PORT=9494 \
    AZQUACK_HTTP_HOST=0.0.0.0 \
    AZQUACK_HTTP_PORT=8080
WORKDIR /tmp
USER 1000:1000
EXPOSE 9494 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f\"http://127.0.0.1:{os.environ['AZQUACK_HTTP_PORT']}/healthz\", timeout=4)"]
ENTRYPOINT ["azquack"]
CMD ["serve"]
