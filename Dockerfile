# The bridge as one image: `docker build -t fhir-bridge .`
# It runs without a shell, without root and on a read-only root file system; all it writes is under /data.
ARG PYTHON=python:3.11-slim

FROM ${PYTHON} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src
RUN python -m venv /opt/fhir-bridge
# Dependencies first: they change less often than the code. Every file is checked against its hash.
COPY requirements/runtime.lock requirements/build.lock requirements/
RUN /opt/fhir-bridge/bin/python -m pip install --require-hashes --only-binary :all: -r requirements/runtime.lock \
 && python -m pip install --require-hashes --only-binary :all: -r requirements/build.lock
COPY pyproject.toml README.md LICENSE ./
COPY fhir_bridge fhir_bridge
RUN python -m pip wheel --no-deps --no-build-isolation --no-index --wheel-dir dist . \
 && /opt/fhir-bridge/bin/python -m pip install --no-deps --no-index dist/*.whl \
 && /opt/fhir-bridge/bin/python -m pip uninstall --yes pip \
 && python -m compileall -q /opt/fhir-bridge \
 && install -d -o 10001 -g 10001 -m 0700 /data

FROM ${PYTHON}
LABEL org.opencontainers.image.title="fhir-bridge" org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /opt/fhir-bridge /opt/fhir-bridge
COPY --from=build --chown=10001:10001 /data /data
ENV PATH=/opt/fhir-bridge/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    HOME=/data \
    FHIR_BRIDGE_DATA_DIR=/data
WORKDIR /
USER 10001:10001
VOLUME ["/data"]
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "import urllib.request as http; http.urlopen('http://127.0.0.1:8080/health/ready', timeout=4)"]
# The same start is proved without a container by tests/journey/test_image.py.
ENTRYPOINT ["fhir-bridge"]
CMD ["serve", "--host", "0.0.0.0"]
