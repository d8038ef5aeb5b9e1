FROM toolchain AS build
ARG PINS
RUN fetch "$PINS"
FROM scratch
COPY --from=build /artifact /
