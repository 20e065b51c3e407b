# The service in an image, for GPUs or for CPUs only.
#
#   docker build -t act-detr:cuda .
#   docker build -t act-detr:cpu --build-arg TORCH_INDEX=ADDRESS .
#
# TORCH_INDEX is one more index to take PyTorch from, as its installation page names one for CPUs: without it, the build
# for CUDA that PyPI has, which runs on CPUs too and makes an image four times as large. EXTRAS names optional parts of
# pyproject.toml, with spaces between them: `otel` for traces, `transformers` for models of other kinds. BASE is a Python
# image; pin it by digest where builds must be the same bit for bit.
ARG BASE=python:3.11-slim-bookworm


# What to install, without how the project is otherwise set up: linter settings do not make the next stage run again.
FROM ${BASE} AS requirements
ARG EXTRAS=""
WORKDIR /build
COPY pyproject.toml ./
RUN python3 -c "import os, tomllib; p = tomllib.load(open('pyproject.toml', 'rb'))['project']; print(*p['dependencies'], *sum([p['optional-dependencies'][extra] for extra in os.environ['EXTRAS'].split()], []), sep='\n')" \
    > requirements.txt


FROM ${BASE} AS dependencies
ARG TORCH_INDEX=""
WORKDIR /build
COPY constraints.txt ./
COPY --from=requirements /build/requirements.txt ./
# pip stays outside of the environment: the service does not need it.
RUN --mount=type=cache,target=/root/.cache/pip \
    python3 -m venv --without-pip /opt/venv \
    && python3 -m pip --python /opt/venv/bin/python install --disable-pip-version-check \
        ${TORCH_INDEX:+--extra-index-url "${TORCH_INDEX}"} --constraint constraints.txt --requirement requirements.txt


# Our code by itself: a layer of megabytes on top of one of gigabytes.
FROM dependencies AS code
COPY LICENSE README.md ./
COPY pyproject.toml ./
COPY models models
COPY service service
RUN python3 -m pip --python /opt/venv/bin/python install --disable-pip-version-check --no-cache-dir \
    --no-deps --no-build-isolation --target /opt/act-detr .


FROM ${BASE} AS runtime
COPY --from=dependencies /opt/venv /opt/venv
# Triton, which only PyTorch for GPUs brings, compiles its launcher with a C compiler when the first kernel runs.
# hadolint ignore=DL3008
RUN if ls -d /opt/venv/lib/python3*/site-packages/triton; then \
        apt-get update && apt-get install --yes --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*; \
    fi \
    && groupadd --gid 10001 act-detr \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /var/cache/act-detr --shell /usr/sbin/nologin act-detr \
    && install --directory --owner=10001 --group=10001 /var/cache/act-detr
COPY --from=code /opt/act-detr /opt/act-detr

# The cache holds downloaded checkpoints and compiled kernels: shared objects, which a tmpfs mounted noexec cannot load.
ENV PATH=/opt/act-detr/bin:/opt/venv/bin:$PATH \
    PYTHONPATH=/opt/act-detr \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    TRITON_CACHE_DIR=/var/cache/act-detr/triton \
    ACT_DETR_CACHE_DIR=/var/cache/act-detr \
    HF_HOME=/var/cache/act-detr/huggingface \
    ACT_DETR_HOST=0.0.0.0 \
    ACT_DETR_PORT=8000
VOLUME /var/cache/act-detr
# A number, so that runAsNonRoot can be checked without reading the image's passwd.
USER 10001:10001
EXPOSE 8000

# The timeout is longer than the service waits for its device to answer; the start may have to download a checkpoint.
HEALTHCHECK --interval=10s --timeout=15s --start-period=600s --retries=3 \
    CMD ["python3", "-Ic", "import http.client, os, sys; c = http.client.HTTPConnection('127.0.0.1', int(os.environ['ACT_DETR_PORT']), timeout=12); c.request('GET', '/readyz'); sys.exit(c.getresponse().status != 200)"]

# SIGTERM drains: what was accepted is answered, within ACT_DETR_DRAIN_SECONDS. Give the container longer than that.
STOPSIGNAL SIGTERM
ENTRYPOINT ["act-detr"]
CMD ["serve"]

ARG VERSION=""
ARG REVISION=""
LABEL org.opencontainers.image.title="act-detr" \
      org.opencontainers.image.description="Object detection service: a DETR whose encoder runs exact, ACT or tangent attention" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
