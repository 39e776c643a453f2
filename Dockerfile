# Images of the service: `cpu`, the default, without torch; `cuda`; `ray`, as `cpu`, with Ray, for jobs on many machines; and
# `client`, the command line alone, for pipelines.
#
#     make image
#
# which passes the base image by its digest (deploy/base-image). `docker build --target cpu .` works too, with the tag below.
# Where packages come from is pip's own configuration: pass yours with `--secret id=pip,src=<your pip.conf>`, or name a
# further index with `--build-arg PIP_EXTRA_INDEX_URL=...`. Only files whose hashes are in deploy/requirements-*.txt are
# installed.

# checkov:skip=CKV_DOCKER_7:The tag and the digest are in BASE
ARG BASE=docker.io/library/python:3.11-slim-bookworm
FROM ${BASE} AS python

FROM python AS builder
ARG PIP_EXTRA_INDEX_URL
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /build

# The packages of others, one environment per image, in /app and without pip: a layer of its own, because it changes
# rarely.
FROM builder AS packages
RUN python -m venv --without-pip /app

FROM packages AS cpu-packages
COPY deploy/requirements-cpu.txt ./
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    python -m pip --python /app/bin/python install --only-binary :all: --require-hashes -r requirements-cpu.txt

# torch's headers for extensions and its own tests are left out.
FROM packages AS cuda-packages
COPY deploy/requirements-cuda.txt ./
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    python -m pip --python /app/bin/python install --only-binary :all: --require-hashes -r requirements-cuda.txt \
    && rm -rf /app/lib/python3.11/site-packages/torch/include /app/lib/python3.11/site-packages/torch/test

FROM packages AS ray-packages
COPY deploy/requirements-ray.txt ./
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    python -m pip --python /app/bin/python install --only-binary :all: --require-hashes -r requirements-ray.txt

FROM packages AS client-packages
COPY deploy/requirements-client.txt ./
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    python -m pip --python /app/bin/python install --only-binary :all: --require-hashes -r requirements-client.txt

# The project itself, built by the build system of pyproject.toml and installed into the same /app: the small layer on
# top. The compiler is for the engine's kernels, and stays here.
FROM builder AS project
# Debian removes a version when the next is there, so that none is named.
# hadolint ignore=DL3008
RUN apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
RUN python -m venv /tools && python -m venv --without-pip /app
COPY deploy/requirements-build.txt ./
RUN --mount=type=secret,id=pip,target=/etc/pip.conf \
    /tools/bin/pip install --only-binary :all: --require-hashes -r requirements-build.txt
COPY . .
RUN /tools/bin/pip wheel --no-deps --no-build-isolation --no-index --wheel-dir /wheels . \
    && python -m pip --python /app/bin/python install --no-deps --no-index /wheels/*.whl

# What is left of the base: Python and Debian's libraries, without pip and apt. Images begin with a copy of it and not with
# the base itself, whose layers would still have what is removed. Debian's list of packages stays, for scanners.
# checkov:skip=CKV_DOCKER_9:It removes apt
FROM python AS stripped
RUN dpkg --purge --force-depends --force-remove-essential --force-remove-protected apt libapt-pkg6.0 \
    && rm -rf /etc/apt /var/cache/apt /var/lib/apt /var/log/apt /usr/bin/dpkg* /usr/share/python-wheels \
        /usr/local/bin/pip* /usr/local/lib/python3*/site-packages/* /usr/local/lib/python3*/ensurepip \
        /usr/bin/pip* /usr/lib/python3/dist-packages/* /usr/lib/python3*/ensurepip

# The bill of materials of each image, in CycloneDX: /app/sbom.cdx.json.
FROM python AS sbom
WORKDIR /sbom
COPY scripts/sbom.py ./
COPY --from=stripped /var/lib/dpkg/status ./
COPY --from=project /app /app

FROM sbom AS client-sbom
COPY --from=client-packages /app /app
RUN python -I sbom.py "pruning-service client" /app/lib/python3.11/site-packages status > sbom.cdx.json

FROM sbom AS cuda-sbom
COPY --from=cuda-packages /app /app
RUN python -I sbom.py "pruning-service cuda" /app/lib/python3.11/site-packages status > sbom.cdx.json

FROM sbom AS ray-sbom
COPY --from=ray-packages /app /app
RUN python -I sbom.py "pruning-service ray" /app/lib/python3.11/site-packages status > sbom.cdx.json

FROM sbom AS cpu-sbom
COPY --from=cpu-packages /app /app
RUN python -I sbom.py "pruning-service cpu" /app/lib/python3.11/site-packages status > sbom.cdx.json

# Common to all images. They write nothing outside /tmp, and need no user name.
FROM scratch AS base
# hadolint ignore=DL3067
COPY --from=stripped / /
ARG VERSION=unknown
ARG REVISION=unknown
LABEL org.opencontainers.image.version=${VERSION} \
      org.opencontainers.image.revision=${REVISION} \
      org.opencontainers.image.vendor="pruning-service"
ENV PATH=/app/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONSAFEPATH=1 \
    LANG=C.UTF-8 \
    HOME=/tmp
USER 65532:65532
STOPSIGNAL SIGTERM

FROM base AS client
LABEL org.opencontainers.image.title="pruning-service client" \
      org.opencontainers.image.description="prune: the command line of the pruning service, without torch."
COPY --from=client-packages /app /app
COPY --from=project /app /app
COPY --from=client-sbom /sbom/sbom.cdx.json /app/
WORKDIR /data
ENTRYPOINT ["prune"]

# It listens on every address of the container, so that its ports can be published. It starts only with TLS, or with a
# setting that says that the network is private: docs/security.md. PYTHONMALLOC and GLIBC_TUNABLES:
# docs/operating.md, "Memory at rest".
FROM base AS server
ENV PRUNING_LISTEN=0.0.0.0:50051 \
    PRUNING_METRICS_LISTEN=0.0.0.0:9464 \
    PRUNING_HEALTH_LISTEN=0.0.0.0:50052 \
    PYTHONMALLOC=malloc \
    GLIBC_TUNABLES=glibc.malloc.tcache_count=1
EXPOSE 50051 50052 9464
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["python", "-P", "-m", "pruning_service.probe"]
ENTRYPOINT ["python", "-P", "-m", "pruning_service"]

FROM server AS cuda
LABEL org.opencontainers.image.title="pruning-service cuda" \
      org.opencontainers.image.description="The pruning service on NVIDIA GPUs: safetensors in, pruned safetensors out, over gRPC."
# Required by NVIDIA's container runtime; the driver's libraries are the host's.
ENV NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY --from=cuda-packages /app /app
COPY --from=project /app /app
COPY --from=cuda-sbom /sbom/sbom.cdx.json /app/

# The same image is the server, and the nodes of its Ray cluster: KubeRay starts `ray` in these. Both then have the same
# versions of Python, of Ray and of this project, without which they refuse each other.
FROM server AS ray
LABEL org.opencontainers.image.title="pruning-service ray" \
      org.opencontainers.image.description="The pruning service with Ray: jobs on many machines."
ENV RAY_USAGE_STATS_ENABLED=0
COPY --from=ray-packages /app /app
COPY --from=project /app /app
COPY --from=ray-sbom /sbom/sbom.cdx.json /app/

FROM server AS cpu
LABEL org.opencontainers.image.title="pruning-service cpu" \
      org.opencontainers.image.description="The pruning service: safetensors in, pruned safetensors out, over gRPC."
COPY --from=cpu-packages /app /app
COPY --from=project /app /app
COPY --from=cpu-sbom /sbom/sbom.cdx.json /app/
