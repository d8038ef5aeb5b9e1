FROM toolchain AS build
ARG VERSION
ARG ARCHIVE
ARG FLAGS
# The last refresh of the source package: a new epoch runs the step again.
ARG EPOCH
# Compilers record this time in place of the current one.
ARG SOURCE_DATE_EPOCH
# `apt-config` assigns `list` and `parts`.
# hadolint ignore=SC2154
RUN --mount=type=bind,from=mirrors,target=/run/mirrors --mount=type=secret,id=mirrors \
    --mount=type=bind,source=compile,target=/compile --mount=type=tmpfs,target=/sources <<END
set -eu
. /run/mirrors/use
# The sources of apt, in either format, as sources of source packages. They may have credentials of mirrors, so they are in memory.
eval "$(apt-config shell list Dir::Etc::SourceList/f parts Dir::Etc::SourceParts/d)"
for file in "$list" "$parts"*.list "$parts"*.sources; do
    if [ -f "$file" ]; then
        sed --regexp-extended 's/^deb\s/deb-src /; s/^Types:.*/Types: deb-src/' "$file" >"/sources/${file##*/}"
    fi
done
package=python$VERSION
if [ "$ARCHIVE" = release ]; then
    package=$package/$(. /etc/os-release && echo "$VERSION_CODENAME")
fi
cd /sources
set -- -o Dir::Etc::SourceList=/dev/null -o Dir::Etc::SourceParts=/sources -o Acquire::Retries=3
apt-get update -o APT::Update::Error-Mode=any "$@"
apt-get source --download-only "$@" "$package"
mkdir /source
tar --extract --strip-components=1 --directory /source --file python*.orig.tar.?z
tar --extract --file python*.debian.tar.?z
# Debian's fixes are the patches named after a CVE or `*.patch`; the others are about Debian's paths and packages.
sed --quiet --regexp-extended 's/^(CVE-\S+|\S+\.patch)( .*)?$/\1/p' debian/patches/series >fixes
while read -r name; do
    patch --batch --forward --strip=1 --directory=/source <"debian/patches/$name"
done <fixes
# Debian compiles `pyexpat` into the interpreter, so its fix of 3.11 uses headers that are reserved for that.
sed -i '1i #define Py_BUILD_CORE_MODULE 1' /source/Modules/pyexpat.c
rm -rf /var/lib/apt/lists/*
sh /compile
END

FROM scratch
COPY --from=build /artifact /
