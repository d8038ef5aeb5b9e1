# A wheel's name says what it is, and pip believes it.
FROM scratch AS download
ARG BUILD
ARG VERSION
ARG TORCH_URL
ARG TORCH_SHA256
ADD --checksum=sha256:${TORCH_SHA256} ${TORCH_URL} /torch-${VERSION}+${BUILD}-cp313-cp313-manylinux_2_28_x86_64.whl
ARG VISION
ARG TORCHVISION_URL
ARG TORCHVISION_SHA256
ADD --checksum=sha256:${TORCHVISION_SHA256} ${TORCHVISION_URL} \
    /torchvision-${VISION}+${BUILD}-cp313-cp313-manylinux_2_28_x86_64.whl
ARG AUDIO
ARG TORCHAUDIO_URL
ARG TORCHAUDIO_SHA256
ADD --checksum=sha256:${TORCHAUDIO_SHA256} ${TORCHAUDIO_URL} \
    /torchaudio-${AUDIO}+${BUILD}-cp313-cp313-manylinux_2_28_x86_64.whl

FROM toolchain AS build
COPY --from=python / /
COPY --from=jupyter / /
COPY --from=scipy / /
ARG NB_UID
ARG NB_GID
RUN --mount=type=bind,from=scripts,target=/scripts \
    --mount=type=bind,from=packages,target=/packages \
    --mount=type=bind,from=download,target=/download \
    --mount=type=bind,from=mirrors,target=/run/mirrors \
    . /run/mirrors/use && sh /scripts/add /download/*.whl

FROM scratch
COPY --from=build /artifact /
