# mlaserve on the CPU.
#
#   docker build -t mlaserve .
#   docker run --rm -p 50051:50051 -p 8080:8080 --stop-timeout 60 \
#     -v "$PWD/build/models:/models:ro" -e MLA_MODEL=/models/MODEL.gguf mlaserve
#
# docs/DEPLOY.md says more; tests/deploy/dockerfile_test.py holds this file to
# the binary.
FROM debian:bookworm-slim AS build
WORKDIR /src
COPY deploy/install_packages.sh deploy/
RUN deploy/install_packages.sh build
COPY . .
RUN cmake --preset release -DMLA_BUILD_TESTS=OFF \
    && cmake --build --preset release --target mlaserve

FROM debian:bookworm-slim
LABEL org.opencontainers.image.title="mlaserve" \
      org.opencontainers.image.description="gRPC server for language models with a latent KV cache" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.base.name="docker.io/library/debian:bookworm-slim"

COPY --from=build /src/deploy/install_packages.sh /tmp/
RUN /tmp/install_packages.sh runtime && rm -rf /var/lib/apt/lists/* /tmp/*
COPY --from=build /src/LICENSE /src/runtime/convert/calibration_text/NOTICE.md \
     /src/runtime/convert/calibration_text/LICENSES.txt /usr/share/doc/mlaserve/
COPY --from=build /src/build/release/bin/mlaserve /usr/local/bin/

# By default the server listens on loopback, which nobody outside a container
# reaches. The admin listener stays there: it is for who may `docker exec`.
ENV MLA_GRPC_LISTEN=0.0.0.0:50051 \
    MLA_HTTP_LISTEN=0.0.0.0:8080 \
    MLA_MODEL=/models
EXPOSE 50051 8080

# Nothing is written anywhere, but by --convert into its cache: the root file
# system may be read-only. The number lets Kubernetes check runAsNonRoot.
USER 10001:10001

# Healthy is ready: the model is loaded and warm, and no drain has begun. gRPC
# listens only once the model is loaded, hence the long start.
HEALTHCHECK --interval=10s --timeout=3s --start-period=10m --retries=3 \
    CMD ["mlaserve", "health"]
ENTRYPOINT ["mlaserve"]
CMD ["serve"]
