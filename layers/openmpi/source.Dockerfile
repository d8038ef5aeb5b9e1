FROM scratch AS download
ARG SOURCE_URL
ARG SOURCE_SHA256
ADD --checksum=sha256:${SOURCE_SHA256} ${SOURCE_URL} /source.tar

FROM toolchain AS build
# Empty unless the stack has the layer `ucx`.
COPY --from=ucx / /
ARG VERSION
ARG FLAGS
# Compilers and archivers record this time in place of the current one.
ARG SOURCE_DATE_EPOCH
RUN --mount=type=bind,from=download,target=/download <<END
set -eu
mkdir /source
cd /source
tar --extract --strip-components=1 --file /download/source.tar
if [ ! -x configure ]; then
    ./autogen.pl
fi
# Since 5.0, the option that passes the prefix to daemons on other hosts has another name.
case "$VERSION" in
5.*) prefix=--enable-prte-prefix-by-default ;;
*) prefix=--enable-orterun-prefix-by-default ;;
esac
ucx=
if [ -d /opt/ucx ]; then
    ucx=--with-ucx=/opt/ucx
fi
# `ompi_info` shows who configured and built it, and where; the date is SOURCE_DATE_EPOCH.
export USER=buildsys HOSTNAME=buildsys
# No published file is to have the folder of the build: not as debug information, nor as an option of ROMIO.
# shellcheck disable=SC2086
./configure --prefix=/opt/openmpi CPPFLAGS=-ffile-prefix-map=/source=. "$prefix" $ucx $FLAGS
sed -i '/COMPLETE_CONFIGURE_FLAGS/s,/source/,./,g' opal/include/opal_config.h
make -j "$(nproc)"
make install DESTDIR=/artifact
rm -rf /artifact/opt/openmpi/share/man
find /artifact -name '*.la' -delete
# Static libraries record owner and time of each object unless they are rewritten.
find /artifact -name '*.a' -exec objcopy -D {} ';'
cd /
rm -rf /source
END

FROM scratch
COPY --from=build /artifact /
