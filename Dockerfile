# Two stages: a static binary, and an image with nothing but it. No shell, no package manager, not root.
FROM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
# --build-arg VERSION="$(git describe --tags --always)" --build-arg REVISION="$(git rev-parse HEAD)"
ARG VERSION=unknown
ARG REVISION=
RUN CGO_ENABLED=0 go build -trimpath \
      -ldflags "-s -w -X github.com/postern-mail/postern/internal/app.Version=${VERSION} -X github.com/postern-mail/postern/internal/app.Revision=${REVISION}" \
      -o /postern ./cmd/postern \
 && mkdir -p /empty/var/lib/postern /empty/etc/postern /empty/tmp

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/
COPY --from=build --chown=65532:65532 /empty/ /
COPY --from=build /postern /postern
USER 65532:65532
ENV STATE_DIRECTORY=/var/lib/postern
# 25 needs no right of its own in a container: map it, `-p 25:2525`, or allow it by
# --sysctl net.ipv4.ip_unprivileged_port_start=0.
EXPOSE 2525 9797
VOLUME ["/var/lib/postern"]
# /healthz where the configuration has a metrics address, else whether the first listener answers.
HEALTHCHECK --interval=30s --timeout=5s --start-period=10s CMD ["/postern", "health"]
ENTRYPOINT ["/postern"]
CMD ["serve"]
