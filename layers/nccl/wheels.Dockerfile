FROM toolchain AS build
ARG REQUIREMENTS
RUN --mount=type=bind,from=mirrors,target=/run/mirrors <<END
set -eu
. /run/mirrors/use
printf '%s\n' "$REQUIREMENTS" >/tmp/requirements.txt
# Some of these are hundreds of megabytes: a proxy that looks at them first answers late.
python3 -m pip download --quiet --timeout 180 --no-cache-dir --no-deps --require-hashes --only-binary :all: \
    --dest /tmp/wheels --requirement /tmp/requirements.txt
unzip -q /tmp/wheels/*.whl -d /tmp/unpacked
mkdir -p /artifact/opt
mv /tmp/unpacked/nvidia/nccl /artifact/opt/nccl
cp /tmp/unpacked/*.dist-info/licenses/* /artifact/opt/nccl/ 2>/dev/null || cp /tmp/unpacked/*.dist-info/License* /artifact/opt/nccl/
find /artifact -name '*.py' -delete
# A wheel has only the names that the loader looks for; the linker looks for one without a version.
ln -s libnccl.so.2 /artifact/opt/nccl/lib/libnccl.so
chmod -R u=rwX,go=rX /artifact
rm -rf /tmp/wheels /tmp/unpacked /tmp/requirements.txt
END

FROM scratch
COPY --from=build /artifact /
