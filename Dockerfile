# Relay as an image: `docker build -t relay .`. It listens on 8080 and keeps what it has to keep in /data.
# Not proven here: the build in an engine. The command in it is that of `make run`.

FROM rust:1.94-slim-trixie AS build
# The allocator is built with it.
RUN apt-get update && apt-get install --yes --no-install-recommends make && rm -rf /var/lib/apt/lists/*
WORKDIR /relay
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/relay/target \
    cargo build --release --locked --bin relay && cp target/release/relay /usr/local/bin/relay

FROM debian:trixie-slim
# The roots that certificates of Postgres and Redis are checked against.
RUN apt-get update && apt-get install --yes --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/*
RUN useradd --system --uid 10001 --no-create-home relay && install --directory --owner=relay --mode=700 /data
COPY --from=build /usr/local/bin/relay /usr/local/bin/relay
USER 10001
ENV RELAY_SERVER_LISTEN=0.0.0.0:8080 RELAY_SERVER_DATA_DIR=/data
VOLUME /data
EXPOSE 8080
ENTRYPOINT ["relay"]
CMD ["serve"]
