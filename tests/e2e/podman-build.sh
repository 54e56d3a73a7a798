#!/bin/bash
# SPDX-License-Identifier: Apache-2.0
# podman build and buildah run: each step of a Containerfile runs in a guest.
# timeout: 600
# shellcheck source=lib.sh
. "$(dirname "$0")/lib.sh"
# shellcheck source=podman-lib.sh
. "$(dirname "$0")/podman-lib.sh"
command -v buildah >/dev/null || die "no buildah (tests/deps clients installs it)"

bundle b busybox
import_image "$work/b/rootfs"
mkdir "$work/context"
echo from the context >"$work/context/file"
cat >"$work/context/Containerfile" <<END_OF_FILE
FROM $image
ENV A=b
COPY file /file
WORKDIR /built
RUN uname -r >kernel && cat /file >copy && echo "\$A \$\$" >env
USER 7
CMD ["sh", "-c", "echo \$(id -u) \$(cat copy)"]
END_OF_FILE

say "podman build"
status 0 pod build --network none --tag localhost/built "$work/context"
if long; then
	status 0 pod run --rm --network none localhost/built
	check "its command" "7 from the context" "$(cat "$work/out")"
fi
check "its command and user" '7 ["sh","-c","echo $(id -u) $(cat copy)"]' "$(pod image inspect localhost/built | jq -r '.[0].Config | "\(.User) \(.Cmd | tojson)"')"
mnt=$(pod image mount localhost/built)
check "the step ran in a guest" "$(echo 6.12.*-krun)" "$(sed 's/^6\.12\.[0-9]*-krun$/6.12.*-krun/' "$mnt/built/kernel")"
check "with its environment" "b 1" "$(cat "$mnt/built/env")"
status 0 pod image unmount localhost/built
echo "RUN exit 9" >>"$work/context/Containerfile"
run pod build --network none "$work/context"
[ "$rc" != 0 ] || die "a build whose step failed succeeds"
grep -q "exit status 9" "$work/err" || die "no word of the step's exit status"
ok "a step that fails"

say "buildah run"
c=$(buildah from --pull-never $image)
status 0 buildah run --runtime "$(command -v krun-oci)" --isolation oci --network none "$c" sh -c 'echo in a guest >/made; cat /proc/sys/kernel/osrelease'
grep -q krun "$work/out" || die "not in a guest: $(cat "$work/out")"
check "its file" "in a guest" "$(cat "$(buildah mount "$c")/made")"
status 0 buildah rm "$c"
run krun-oci list --quiet
check "nothing is left" "0 " "$rc $(cat "$work/out")"
done_testing
