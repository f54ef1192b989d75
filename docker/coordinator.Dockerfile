# The coordinator and the `tandem` command: small, without libtorch. Build it from the clone's top folder:
#   docker build -f docker/coordinator.Dockerfile -t tandem-coordinator .
FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY . .
RUN cargo build --release --package coordinator --bin tandem

FROM debian:bookworm-slim
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 10001 --create-home tandem
COPY --from=build /src/target/release/tandem /usr/local/bin/tandem
USER tandem
WORKDIR /home/tandem
EXPOSE 7070
# SIGTERM asks for a stop with a checkpoint.
STOPSIGNAL SIGTERM
ENTRYPOINT ["tandem"]
