# The worker for machines with an NVIDIA GPU: `worker-gpu --class gpu --device cuda:0`.
#
#   docker build -f infra/containers/worker-cuda.Dockerfile -t cellmill-worker:cuda .
#
# From the root of the repository. Without Docker, `worker-gpu/build-cuda --bundle DIR` gives the same program with the
# libraries that it needs.

# The driver of the GPU-optimised ECS image must be as new as this CUDA: 12.6 wants 560 or later (or 525 and later in
# NVIDIA's compatibility mode).
ARG CUDA=12.6.3

FROM nvidia/cuda:${CUDA}-devel-ubuntu22.04 AS build
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates curl gcc libc6-dev \
    && rm -rf /var/lib/apt/lists/*
# The toolchain itself comes from rust-toolchain.toml.
ENV CARGO_HOME=/usr/local/cargo RUSTUP_HOME=/usr/local/rustup PATH=/usr/local/cargo/bin:$PATH
RUN curl --proto '=https' --tlsv1.2 -sSf https://sh.rustup.rs | sh -s -- -y --no-modify-path --profile minimal --default-toolchain none
WORKDIR /src
COPY . .
# For the T4 of g4dn, the oldest; A10G (g5) and L4 (g6) translate it at their first use. A build machine has no GPU to ask.
ENV CUDA_COMPUTE_CAP=75
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --release --locked -p cellmill-worker-gpu --features cuda && cp target/release/worker-gpu /worker-gpu

FROM nvidia/cuda:${CUDA}-runtime-ubuntu22.04
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates curl && rm -rf /var/lib/apt/lists/*
COPY --from=build /worker-gpu /usr/local/bin/worker-gpu
# The root file system is read-only where it runs; /tmp is the one place to write, open to the user below.
VOLUME ["/tmp"]
USER 10001:10001
ENV CELLMILL_HEALTH=127.0.0.1:8751 CELLMILL_LOG_FORMAT=json NVIDIA_DRIVER_CAPABILITIES=compute,utility \
    CUDA_CACHE_PATH=/tmp/cuda
HEALTHCHECK --interval=30s --timeout=5s --start-period=60s CMD ["curl", "-fsS", "--max-time", "4", "http://127.0.0.1:8751/health"]
# No init process: it starts no children that could be left over, and it handles SIGTERM (hands its unit back) itself.
ENTRYPOINT ["/usr/local/bin/worker-gpu"]
CMD ["--class", "gpu", "--device", "cuda:0"]
