FROM toolchain AS build
ARG REQUIREMENTS
RUN --mount=type=bind,from=mirrors,target=/run/mirrors <<END
set -eu
. /run/mirrors/use
printf '%s\n' "$REQUIREMENTS" >/tmp/requirements.txt
# Some of these are hundreds of megabytes: a proxy that looks at them first answers late.
python3 -m pip download --quiet --timeout 180 --no-cache-dir --no-deps --require-hashes --only-binary :all: \
    --dest /tmp/wheels --requirement /tmp/requirements.txt
# One toolkit out of parts that lie each in a folder of its own: nvidia/cuda_runtime, nvidia/cudnn, nvidia/cu13.
toolkit=/artifact/usr/local/cuda
mkdir -p "$toolkit/licences" "$toolkit/lib64"
for wheel in /tmp/wheels/*.whl; do
    unzip -q "$wheel" -d /tmp/unpacked
    name=${wheel##*/}
    name=${name%%-*}
    find /tmp/unpacked/*.dist-info -iname 'licen[cs]e*' -type f -exec cp {} "$toolkit/licences/$name.txt" ';'
    for part in /tmp/unpacked/nvidia/*/; do
        if [ -d "${part}lib" ]; then
            cp -a "${part}lib/." "$toolkit/lib64/"
            rm -rf "${part}lib"
        fi
        cp -a "$part." "$toolkit/"
    done
    rm -rf /tmp/unpacked
done
ln -s lib64 "$toolkit/lib"
find "$toolkit" -name '*.py' -delete
rm -rf "$toolkit/.metadata"
# A wheel has only the names that the loader looks for; the linker looks for names without a version.
for library in "$toolkit"/lib64/lib*.so.*; do
    name=$(basename "$library")
    ln -sf "$name" "$toolkit/lib64/${name%%.so.*}.so"
done
if [ -d "$toolkit/bin" ]; then
    find "$toolkit/bin" "$toolkit/nvvm/bin" -type f ! -name '*.profile' ! -name '*.stub' -exec chmod 0755 {} +
fi
chmod -R u=rwX,go=rX /artifact
rm -rf /tmp/wheels /tmp/requirements.txt
END

FROM scratch
COPY --from=build /artifact /
