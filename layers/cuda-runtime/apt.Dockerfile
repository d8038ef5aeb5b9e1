FROM scratch AS download
ARG CUDA_KEYRING_URL
ARG CUDA_KEYRING_SHA256
ADD --checksum=sha256:${CUDA_KEYRING_SHA256} ${CUDA_KEYRING_URL} /cuda-keyring.deb
ARG LEARNING_KEYRING_URL
ARG LEARNING_KEYRING_SHA256
# No checksum of this key is published; its fingerprint is checked below.
ADD --checksum=${LEARNING_KEYRING_SHA256:+sha256:$LEARNING_KEYRING_SHA256} ${LEARNING_KEYRING_URL} /learning.asc

# In a separate stage, so that gnupg does not stay in the image.
FROM base AS keyrings
ARG CUDA_FINGERPRINT
ARG LEARNING_FINGERPRINT
RUN --mount=type=bind,from=mirrors,target=/run/mirrors --mount=type=bind,from=download,target=/download <<END
set -eu
. /run/mirrors/use
export DEBIAN_FRONTEND=noninteractive
apt-get update -o APT::Update::Error-Mode=any -o Acquire::Retries=3
apt-get install --yes --no-install-recommends gnupg
dpkg-deb --extract /download/cuda-keyring.deb /unpacked
# Write a file with exactly one key, the expected one.
keyring() {
    export GNUPGHOME="/tmp/gnupg-$1"
    mkdir -m 0700 "$GNUPGHOME"
    gpg --batch --quiet --import "$2"
    gpg --batch --with-colons --fingerprint >/tmp/keys
    found=$(awk -F: '/^pub/ {key = 1} /^fpr/ && key {print $10; key = 0}' /tmp/keys)
    if [ "$found" != "$3" ]; then
        echo "the keys for the $1 packages are $found, expected $3" >&2
        exit 1
    fi
    gpg --batch --export >"/keyrings/$1.gpg"
}
mkdir /keyrings
keyring cuda /unpacked/usr/share/keyrings/cuda-archive-keyring.gpg "$CUDA_FINGERPRINT"
keyring learning /download/learning.asc "$LEARNING_FINGERPRINT"
END

FROM base
ARG RELEASE
ARG VERSION
ARG PACKAGES
# Programs that record a time use this one: accounts in /etc/shadow, compiled Python.
ARG SOURCE_DATE_EPOCH
RUN --mount=type=bind,from=mirrors,target=/run/mirrors \
    --mount=type=bind,from=keyrings,source=/keyrings,target=/run/keyrings <<END
set -eu
. /run/mirrors/use
export DEBIAN_FRONTEND=noninteractive
# Without TLS: these images have no certificates yet; apt checks signatures.
repositories=http://developer.download.nvidia.com/compute
system="ubuntu${RELEASE%.*}${RELEASE#*.}/x86_64"
{
    echo "deb [signed-by=/run/keyrings/cuda.gpg] $repositories/cuda/repos/$system /"
    echo "deb [signed-by=/run/keyrings/learning.gpg] $repositories/machine-learning/repos/$system /"
} >/etc/apt/sources.list.d/nvidia.list
apt-get update -o APT::Update::Error-Mode=any -o Acquire::Retries=3
apt-get install --yes --no-install-recommends $PACKAGES
apt-get clean
ln -sfn "cuda-$VERSION" /usr/local/cuda
# With this source, updates of system packages would move CUDA.
rm -f /etc/apt/sources.list.d/nvidia.list
# Files that differ between two runs, or that an image does not need; docs/layers.md lists them.
rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old /var/cache/fontconfig/* /var/cache/man/* \
    /var/cache/ldconfig/aux-cache /var/lib/dpkg/*-old /var/log/* \
    /etc/passwd- /etc/group- /etc/shadow- /etc/gshadow- /etc/subuid- /etc/subgid-
END
