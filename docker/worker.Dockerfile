# A worker with its libtorch, for CPUs or for CUDA. Build it from the clone's top folder:
#   docker build -f docker/worker.Dockerfile -t tandem-worker .
#   docker build -f docker/worker.Dockerfile --build-arg SETUP=--cuda -t tandem-worker:cuda .
FROM rust:1.95-bookworm AS build
# Empty for CPUs, --cuda for CUDA.
ARG SETUP=
# The folder is written into the program: it is the same in both stages.
ENV TANDEM_CACHE=/opt/tandem
RUN apt-get update && apt-get install --yes --no-install-recommends g++ python3 python3-pip
WORKDIR /src
COPY . .
RUN scripts/setup.sh $SETUP && cargo build --release --package coordinator --package worker --bins

FROM debian:bookworm-slim
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates libgomp1 libstdc++6 \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 10001 --create-home tandem
COPY --from=build /opt/tandem /opt/tandem
COPY --from=build /src/target/release/tandem /src/target/release/tandem-worker /usr/local/bin/
USER tandem
WORKDIR /home/tandem
# SIGTERM lets the worker leave at the next step boundary; the run goes on without it.
STOPSIGNAL SIGTERM
ENTRYPOINT ["tandem-worker"]
