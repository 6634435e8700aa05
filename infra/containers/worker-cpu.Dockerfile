# The worker for machines without a GPU: `worker-gpu --class cpu --device cpu`.
#
#   docker build -f infra/containers/worker-cpu.Dockerfile -t cellmill-worker:cpu .
#
# From the root of the repository. A build is for the architecture it runs on; say the same in CpuWorkerArchitecture.

FROM rust:1.95-slim-bookworm AS build
# SQLite, which the standalone queue uses, is compiled from its C source.
RUN apt-get update && apt-get install -y --no-install-recommends gcc libc6-dev && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --release --locked -p cellmill-worker-gpu && cp target/release/worker-gpu /worker-gpu

FROM debian:bookworm-slim
# curl asks for the health; the certificates are for S3 and SQS.
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates curl && rm -rf /var/lib/apt/lists/*
COPY --from=build /worker-gpu /usr/local/bin/worker-gpu
# The root file system is read-only where it runs; /tmp is the one place to write, open to the user below.
VOLUME ["/tmp"]
USER 10001:10001
ENV CELLMILL_HEALTH=127.0.0.1:8751 CELLMILL_LOG_FORMAT=json
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD ["curl", "-fsS", "--max-time", "4", "http://127.0.0.1:8751/health"]
# No init process: it starts no children that could be left over, and it handles SIGTERM (hands its unit back) itself.
ENTRYPOINT ["/usr/local/bin/worker-gpu"]
CMD ["--class", "cpu", "--device", "cpu"]
