# Workers, with libtorch from PyPI's wheels as scripts/setup.sh installs it.
#   docker build -f docker/worker.Dockerfile -t tandem-worker .                              # for CPUs
#   docker build -f docker/worker.Dockerfile --build-arg FLAVOUR=cuda -t tandem-worker:cuda .
# The CUDA flavour needs a driver on the host and NVIDIA's container toolkit, and nothing else of CUDA.
ARG RUST=1.95
ARG DEBIAN=bookworm
ARG FLAVOUR=cpu

FROM rust:${RUST}-slim-${DEBIAN} AS build
ARG FLAVOUR
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
WORKDIR /src
RUN apt-get update && apt-get install -y --no-install-recommends g++ make python3 python3-pip && rm -rf /var/lib/apt/lists/*
# The programs find libtorch by the absolute path that they were linked with, so it lies there in the last stage too.
ENV TANDEM_CACHE=/opt/tandem
COPY scripts/setup.sh scripts/build_nccl.sh scripts/
COPY worker/c10d/csrc worker/c10d/csrc
RUN if [ "$FLAVOUR" = cuda ]; then scripts/setup.sh --cuda; else scripts/setup.sh; fi
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --release --locked -p coordinator -p worker && cp target/release/tandem target/release/tandem-worker /usr/local/bin/
# What only a build or Python needs stays here; a CPU worker has no use for CUDA's kernels.
# hadolint ignore=DL3003
RUN cd "$(readlink -f .libtorch)" && rm -rf bin torchgen functorch ./*.dist-info torch/include torch/lib/libtorch_python.so \
    && find . -name '*.py' -delete && find . -name '*.a' -delete \
    && if [ "$FLAVOUR" = cpu ]; then rm -f torch/lib/libtorch_cuda*.so torch/lib/libtorch_nvshmem.so torch/lib/libc10_cuda.so; fi

FROM debian:${DEBIAN}-slim
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates libstdc++6 && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --create-home --home-dir /work tandem
COPY --from=build /opt/tandem /opt/tandem
COPY --from=build /usr/local/bin/tandem /usr/local/bin/tandem-worker /usr/local/bin/
COPY scripts/launch/lib.sh scripts/launch/workers.sh /usr/local/lib/tandem/
ENV NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
WORKDIR /work
USER 10001:10001
# One container a machine: TANDEM_WORKERS says how many workers it has. They reach each other's memory there.
ENTRYPOINT ["/usr/local/lib/tandem/workers.sh"]
