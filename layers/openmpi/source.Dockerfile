FROM scratch AS download
ARG SOURCE_URL
ARG SOURCE_SHA256
ADD --checksum=sha256:${SOURCE_SHA256} ${SOURCE_URL} /source.tar

FROM toolchain AS build
# Empty unless the stack has UCX.
COPY --from=ucx / /
ARG VERSION
ARG FLAGS
RUN --mount=type=bind,from=download,target=/download <<END
set -eu
mkdir /source
cd /source
tar --extract --strip-components=1 --file /download/source.tar
if [ ! -x configure ]; then
    ./autogen.pl
fi
# The option by which mpirun tells its daemons on other hosts where they are has a name of its own since 5.0.
case "$VERSION" in
5.*) prefix=--enable-prte-prefix-by-default ;;
*) prefix=--enable-orterun-prefix-by-default ;;
esac
ucx=
if [ -d /opt/ucx ]; then
    ucx=--with-ucx=/opt/ucx
fi
# shellcheck disable=SC2086
./configure --prefix=/opt/openmpi "$prefix" $ucx $FLAGS
make -j "$(nproc)"
make install DESTDIR=/artifact
rm -rf /artifact/opt/openmpi/share/man
find /artifact -name '*.la' -delete
cd /
rm -rf /source
END

FROM scratch
COPY --from=build /artifact /
