FROM scratch AS download
ARG CUDA_KEYRING_URL
ARG CUDA_KEYRING_SHA256
ADD --checksum=sha256:${CUDA_KEYRING_SHA256} ${CUDA_KEYRING_URL} /cuda-keyring.deb
ARG LEARNING_KEYRING_URL
ARG LEARNING_KEYRING_SHA256
# Nobody publishes a checksum of this key, so there is none to check; its fingerprint is checked below.
ADD --checksum=${LEARNING_KEYRING_SHA256:+sha256:$LEARNING_KEYRING_SHA256} ${LEARNING_KEYRING_URL} /learning.asc

# Apart from the image, so that gnupg does not stay in it.
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
# One file with exactly one key, the one that is expected.
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
RUN --mount=type=bind,from=mirrors,target=/run/mirrors \
    --mount=type=bind,from=keyrings,source=/keyrings,target=/run/keyrings <<END
set -eu
. /run/mirrors/use
export DEBIAN_FRONTEND=noninteractive
# Without TLS: these images have no certificates yet, and it is the signatures that count.
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
# A source that is left would move CUDA with the packages of the system.
rm -rf /etc/apt/sources.list.d/nvidia.list /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old \
    /var/cache/ldconfig/aux-cache /var/lib/dpkg/*-old /var/log/*
END
