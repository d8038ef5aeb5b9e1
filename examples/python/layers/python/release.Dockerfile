FROM scratch AS download
ARG SOURCE_URL
ARG SOURCE_SHA256
ADD --checksum=sha256:${SOURCE_SHA256} ${SOURCE_URL} /source.tar

FROM toolchain AS build
ARG FLAGS
# Compilers record this time in place of the current one.
ARG SOURCE_DATE_EPOCH
RUN --mount=type=bind,from=download,target=/download --mount=type=bind,source=compile,target=/compile <<END
set -eu
mkdir /source
tar --extract --strip-components=1 --directory /source --file /download/source.tar
sh /compile
END

FROM scratch
COPY --from=build /artifact /
