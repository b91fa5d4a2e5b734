# Starts systemd as PID 1 of a machine within the machine: called in new PID, mount, network, UTS and IPC namespaces with a
# folder for its own files, and the folders that it shares with the outside. / is the outside's, under an overlay.
set -e
box=$1
shift
mount --make-rprivate /
mkdir -p "$box/upper" "$box/work" "$box/root" "$box/state"
mount -t overlay overlay -o "lowerdir=/,upperdir=$box/upper,workdir=$box/work" "$box/root"
root=$box/root
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/run"
# Docker's own overlays do not go on top of an overlay.
mkdir -p "$root/var/lib/gantry"
mount --bind "$box/state" "$root/var/lib/gantry"
for shared in "$@"; do
  mkdir -p "$root$shared"
  mount --bind "$shared" "$root$shared"
done
rm -f "$root"/etc/systemd/system/*.wants/*
echo 0123456789abcdef0123456789abcdef >"$root/etc/machine-id"
mount --make-rshared "$root"
exec chroot "$root" /lib/systemd/systemd --system --unit=basic.target --log-target=null
