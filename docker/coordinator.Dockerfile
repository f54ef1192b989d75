# The control plane: `tandem` without libtorch, so that the image is small and its node needs no GPU.
#   docker build -f docker/coordinator.Dockerfile -t tandem-coordinator .
# `tandem eval` and `tandem export` need the worker's image.
ARG RUST=1.95
ARG DEBIAN=bookworm

FROM rust:${RUST}-slim-${DEBIAN} AS build
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]
WORKDIR /src
# zstd and others compile C
RUN apt-get update && apt-get install -y --no-install-recommends g++ make && rm -rf /var/lib/apt/lists/*
COPY . .
# The caches outlive a build; what is kept of them has to be copied in the same step.
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --release --locked -p coordinator && cp target/release/tandem /usr/local/bin/

FROM debian:${DEBIAN}-slim
# Object stores are reached over TLS.
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --create-home --home-dir /work tandem
COPY --from=build /usr/local/bin/tandem /usr/local/bin/
# Here the run's small files go where its output is a URL.
WORKDIR /work
USER 10001:10001
EXPOSE 7070
ENTRYPOINT ["tandem"]
CMD ["--help"]
